"""What parent and workers tell each other: a line of JSON each, over a socket pair; connections go over another one."""

from typing import Any, TypeVar

import msgspec

from more_server.logs import LogLine
from more_server.settings import Loaded
from more_server.siblings import Question

LINE_BYTES = 16_777_216
"""Longest message; the metrics of a worker are 30 kB."""
Message = TypeVar("Message")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is started with, on its standard input: secrets are in it."""

    number: int
    """From 0 on."""
    loaded: Loaded
    """Settings as the others have them, whatever the file says by now."""
    said: dict[str, Any]
    """What was said on the command line, by name below `server`."""
    models: tuple[str, ...] = ()
    """Those that the others have loaded, the one that serves first; empty: as the settings say."""


# -- of a worker


class Started(msgspec.Struct, frozen=True, tag=True):
    """It can speak."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It cannot start, and ends."""

    message: str
    """For whoever can mend it; empty: the log says what it was."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """How it is, at each change and at least once a second."""

    taken: int = 0
    """Connections that it has taken since it started."""
    speaking: int = 0
    """Texts that are being spoken or wait for it, and connections that have come a moment ago."""
    requests: int = 0
    """Requests and WebSockets at work, of any kind."""
    connections: int = 0
    ready: bool = False
    """Requests are taken."""
    hung: bool = False
    """A step of its engine does not come back: only a new start helps."""


class Asked(msgspec.Struct, frozen=True, tag=True):
    """A question to all other workers."""

    id: int
    question: Question


class Answer(msgspec.Struct, frozen=True, tag=True):
    """To an Ask."""

    id: int
    content: str | None


class Models(msgspec.Struct, frozen=True, tag=True):
    """Loaded by an administrator's wish, the one that serves first. Goes both ways."""

    names: tuple[str, ...]


class Reload(msgspec.Struct, frozen=True, tag=True):
    """Settings are to be read anew. Goes both ways."""


class Line(msgspec.Struct, frozen=True, tag=True):
    """Of its log."""

    line: LogLine


class LogAsked(msgspec.Struct, frozen=True, tag=True):
    """For the last lines of all."""

    id: int
    limit: int
    after: int


OfWorker = Started | Failed | Report | Asked | Answer | Models | Reload | Line | LogAsked

# -- of the parent


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question of another worker."""

    id: int
    question: Question


class Answers(msgspec.Struct, frozen=True, tag=True):
    """To an Asked: by the worker's number; None: it does not answer."""

    id: int
    contents: dict[int, str | None]


class LogLines(msgspec.Struct, frozen=True, tag=True):
    """To a LogAsked."""

    id: int
    lines: tuple[LogLine, ...]
    started: int
    """Unix seconds since when they are counted."""


OfParent = Ask | Answers | LogLines | Models | Reload


def encoded(message: msgspec.Struct) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def decoded(line: bytes, kind: type[Message] | Any) -> Message:
    """A message of one of these kinds, which are OfWorker or OfParent or Given."""
    found: Message = msgspec.json.decode(line, type=kind, dec_hook=lambda kind, value: kind(value))
    return found
