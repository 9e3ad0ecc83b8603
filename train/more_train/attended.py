"""A command that another program attends: JSON lines to it on standard output, and no life without it.

    with attended(asked) as teller:             # asked: the command's option --attended
        made = build(source, out, settings, teller.tell)
        teller.result({"clips": made.clips})

The lines are more_server/lessons/lines.py's. Standard input is never written to: when it closes, whoever attended is
gone, and this process ends, as politely as by SIGTERM. The other side is more_server/lessons/child.py.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import msgspec

from more_server.errors import BadInput, MoreError
from more_server.lessons.lines import POLITE_SECONDS, Failure, Line, Told

MOST_OFTEN_SECONDS = 0.1
"""Between two words of the same stage: nobody reads faster, and each is a line through a pipe."""


class Teller:
    """Tells whoever attends; where nobody does, nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._stage = ""
        self._last = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether somebody attends."""
        return self._descriptor is not None

    def tell(self, stage: str, done: float, total: float, about: Mapping[str, Any] | None = None) -> None:
        """Progress within a stage; as often as there is something to tell."""
        now = time.monotonic()
        if stage == self._stage and done < total and now - self._last < MOST_OFTEN_SECONDS:
            return
        self._stage, self._last = stage, now
        self._write(Line(progress=Told(stage, done, total, None if about is None else dict(about))))

    def result(self, result: Mapping[str, Any]) -> None:
        """What came of it, for whoever asked; the last word."""
        self._write(Line(result=dict(result)))

    def failure(self, error: MoreError) -> None:
        """Why nothing came of it."""
        self._write(Line(failure=Failure(error.status, error.code, error.message, error.param)))

    def _write(self, line: Line) -> None:
        if self._descriptor is None:
            return
        rest = msgspec.json.encode(line) + b"\n"
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BrokenPipeError:
                return  # whoever listened is gone, and standard input says so to the thread that ends this process


@contextmanager
def attended(asked: bool) -> Iterator[Teller]:
    """A teller; where it is asked for, one that is heard, and a process that ends with whoever hears it.

    Errors that a person can mend are told, and raised on.
    """
    if not asked:
        yield Teller(None)
        return
    descriptor = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to the log, not among the lines
    _part()
    threading.Thread(target=_watch, name="attended", daemon=True).start()
    teller = Teller(descriptor)
    try:
        yield teller
    except MoreError as error:
        teller.failure(error)
        raise
    except ModuleNotFoundError as error:
        lacking = BadInput(f"training lacks {error.name}: pip install 'more-server[train]'")
        teller.failure(lacking)
        raise lacking from error


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(POLITE_SECONDS)
    _end()


def _end() -> NoReturn:
    """At once, with all that this process started where it leads its group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)


def _part() -> None:
    """Make a group of this process and those that it starts, to be ended as one, and not by a Ctrl-C elsewhere.

    Not a session: Linux's autogroups would weigh it as much as the server, whatever its niceness. And not asked of
    `create_subprocess_exec`, as uvloop, which some servers run in, cannot.
    """
    with suppress(PermissionError):  # it has a session of its own already
        os.setpgid(0, 0)
