"""`python -m more_train …` as a process of its own, which a job attends: its crash touches no speech.

    result = await attend(work.folder, ["dataset", source, out, "--language", "en"], tell)

The other side is more_train/attended.py, which tells the lines (lines.py) and ends the process when this one dies, by
SIGKILL too.
"""

import asyncio
import importlib.util
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from more_server.errors import BadInput, MoreError, StorageError
from more_server.files import try_lock
from more_server.lessons.lines import POLITE_SECONDS, Failure, Line, Told

log = structlog.get_logger("more_server.lessons")

NEEDED = ("more_train", "onnxruntime", "silero_vad", "tensorboard")
"""Modules that come with the extra `train`."""
NICENESS = 10
"""A tenth of the time that speech gets where both want the same core; all of it where speech does not."""
MEMORY_SCORE = "500"
"""Where memory runs out, the kernel ends this process before the one that speaks (oom_score_adj)."""
ORPHAN_SECONDS = 20.0
"""How long a process of the same job, left by a server that died, may take to notice that and end."""
LINE_BYTES = 1 << 20
TAIL_BYTES, TAIL_LINES = 4000, 5


def check_installed() -> None:
    """Raises BadInput where this server has no training."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(
            f"training is not installed on this server ({', '.join(missing)}): pip install 'more-server[train]'",
            param="kind",
        )


async def nobody(_told: Told) -> None:
    """Nobody is told."""


async def attend(
    folder: Path, arguments: Sequence[str | Path], tell: Callable[[Told], Awaitable[None]] = nobody
) -> Any:
    """Run a command of more_train to its end; what it gives as its result, a dict.

    folder: the job's, which has one such process at a time; its log is `<command>.log` there. Cancelled, the process is
    gone within five seconds. Raises what the command tells of, or a MoreError with the end of its log where it died.
    """
    check_installed()
    path = folder / f"{arguments[0]}.log"
    lock = await _locked(folder)
    try:
        begin, written = _opened(path)
        try:
            process = await _started(arguments, written, lock)
        finally:
            os.close(written)
    finally:
        os.close(lock)  # the process has its own, so that it is free when that ends, not when this server does
    last = Line()
    # From here to the `finally` nothing waits, so that no cancellation leaves the process alone.
    try:
        assert process.stdout
        async for line in process.stdout:
            last = _read(line, last)
            if last.progress:
                await tell(last.progress)
        status = await process.wait()
    finally:
        await asyncio.shield(_ended(process))
    if last.failure:
        raise _error(last.failure, folder)
    if status:
        raise MoreError(f"{_cause(status)}; its log ends: {await asyncio.to_thread(_tail, path, begin)}")
    return last.result or {}


async def _started(arguments: Sequence[str | Path], written: int, lock: int) -> Process:
    command = (sys.executable, "-m", "more_train", *map(str, arguments), "--attended")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=written, pass_fds=(lock,), limit=LINE_BYTES
    )
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    _offer_to_kernel(process.pid)
    return process


def _offer_to_kernel(pid: int) -> None:
    with suppress(OSError):  # no Linux, or it has ended
        Path(f"/proc/{pid}/oom_score_adj").write_text(MEMORY_SCORE, "ascii")


async def _ended(process: Process) -> None:
    """It and all that it started, gone; asked to first where it still runs."""
    if process.stdin:
        process.stdin.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), POLITE_SECONDS)
    with suppress(ProcessLookupError):  # it makes the group itself once it begins, and before that starts nothing
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock. Raises StorageError."""
    last = time.monotonic() + ORPHAN_SECONDS
    lock = os.open(folder / ".process.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        while not try_lock(lock):
            if time.monotonic() > last:
                raise StorageError(f"another process still works in {folder}; end it, and resume the job")
            await asyncio.sleep(0.05)
        stack.pop_all()
    return lock


def _opened(path: Path) -> tuple[int, int]:
    """Where the log ends at the moment, and a descriptor that appends to it."""
    written = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fstat(written).st_size, written


def _read(line: bytes, before: Line) -> Line:
    try:
        return msgspec.json.decode(line, type=Line)
    except msgspec.DecodeError:
        log.warning("a line of the training's process is not understood", line=line[:200].decode("utf-8", "replace"))
        return before


def _error(told: Failure, folder: Path) -> MoreError:
    """What the process tells of, with the names of files below the job's folder instead of their paths."""
    message = told.message.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    error = (BadInput if told.status < 500 else MoreError)(message, param=told.param)
    error.status, error.code = told.status, told.code
    return error


def _cause(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the training's process was killed, as the system does where memory runs out"
    if status < 0:
        return f"the training's process died of {signal.Signals(-status).name}"
    return f"the training's process failed (status {status})"


def _tail(path: Path, begin: int) -> str:
    """The last lines that this process wrote."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").split("\n")
    found = [line.strip() for line in lines if line.strip()]
    return " / ".join(found[-TAIL_LINES:]) or "nothing"
