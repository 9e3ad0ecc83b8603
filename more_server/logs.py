"""Log lines: JSON for machines, coloured text on a terminal, and the last ones in memory for administrators."""

import asyncio
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import msgspec
import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from more_server.errors import MoreError

KEPT_LINES = 1000
FIELDS_BYTES = 16_384
"""Of a line that is kept: a traceback with its causes, and most of what else may be in it."""
LEAST_BYTES = 1000
"""Where less is left, no further field begins."""
EVENT_CHARACTERS, NAME_CHARACTERS = 2000, 100
# Tracebacks without local variables, which both renderers would show: they hold the text that people send.
AS_DICT = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the log."""

    number: int
    """Counts up from 1 since the server's start."""
    timestamp: str
    """UTC, ISO 8601."""
    level: str
    """debug, info, warning, error or critical."""
    event: str
    """What happened."""
    # JSON already: a thousand lines take no more memory than they have letters, and are sent as they are.
    fields: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
    """What else is told, by name; a value that is too long is text, and ends with how long it was."""


class RecentLines:
    """The last lines of a log, in bounded memory; for any thread."""

    def __init__(self, most: int = KEPT_LINES, on_line: Callable[[LogLine], None] = lambda line: None) -> None:
        """on_line: is told each line, in whatever thread it was logged."""
        self.started = int(time.time())
        """Unix seconds."""
        self._on_line = on_line
        self._lines: deque[LogLine] = deque(maxlen=most)
        self._last = 0
        self._lock = threading.RLock()  # as logging's own: a finaliser may log while its thread is in here

    def keep(self, logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Keep a copy of a line: one of structlog's processors, somewhere before the one that renders."""
        with suppress(Exception):  # what cannot be kept, such as an object that fails to describe itself, is written
            fields = dict(AS_DICT(logger, method, dict(entry)))
            event, timestamp, level = (str(fields.pop(name, "")) for name in ("event", "timestamp", "level"))
            told = msgspec.Raw(_told_fields(fields))
            # Half a character that was cut in two is no UTF-8; standard error shows it this way, too.
            event = _cut(event, EVENT_CHARACTERS).encode("utf-8", "backslashreplace").decode()
            with self._lock:
                self._last = number = self._last + 1
                line = LogLine(number=number, timestamp=timestamp, level=level, event=event, fields=told)
                self._lines.append(line)
            self._on_line(line)
        return entry

    def add(self, line: LogLine) -> None:
        """Keep a line of another process, under the next number here."""
        with self._lock:
            self._last = number = self._last + 1
            self._lines.append(msgspec.structs.replace(line, number=number))

    def tail(self, limit: int, after: int = 0) -> list[LogLine]:
        """The last lines whose numbers are larger than after, the latest last."""
        with self._lock:
            found = [line for line in self._lines if line.number > after]
        return found[max(0, len(found) - limit) :]


def configure(level: str, style: str, recent: RecentLines | None = None, worker: int | None = None) -> None:
    """Send structlog's and the standard library's lines to standard error in one shape, and keep the last in recent.

    style: `json`, `text`, or `auto`: text where standard error is a terminal. worker: its number, told in each line.
    """
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if worker is None else [partial(_told_by, worker)]),
    ]
    kept: list[structlog.typing.Processor] = [recent.keep] if recent else []
    renderer: list[structlog.typing.Processor] = (
        [*kept, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [AS_DICT, *kept, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
        )
    )
    handler.addFilter(_is_news)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells each address that it asks, and that of a webhook may be what lets somebody in.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _told_by(worker: int, _logger: Any, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    entry.setdefault("worker", worker)
    return entry


def _is_news(record: logging.LogRecord) -> bool:
    """False for uvicorn's traceback of a connection that was cut on purpose: the request's own line tells why."""
    return not (record.exc_info and _is_told(record.exc_info[1]))


def _is_told(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_told, error.exceptions))
    return error is not None and (isinstance(error, MoreError | asyncio.CancelledError) or _is_told(error.__cause__))


def _told_fields(fields: Mapping[str, Any]) -> bytes:
    """JSON of fields, in about FIELDS_BYTES at most."""
    told: list[str] = []
    room = FIELDS_BYTES
    for number, (name, value) in enumerate(fields.items()):
        if room < LEAST_BYTES:
            told.append(json.dumps("…") + ":" + json.dumps(f"{len(fields) - number} more fields"))
            break
        told.append(json.dumps(str(name)[:NAME_CHARACTERS]) + ":" + _told(value, room))
        room -= len(told[-1])
    return f"{{{','.join(told)}}}".encode()


def _told(value: Any, room: int) -> str:
    """JSON of a value; where that is longer than room, a text with the beginning of it."""
    try:
        told = json.dumps(value, default=repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, an infinite number, a circle
        value = repr(value)
        told = json.dumps(value)
    whole, most = value if isinstance(value, str) else told, room
    while len(told) > room:
        most //= 2  # at least once: quotes in it take two letters each
        told = json.dumps(_cut(whole, most))
    return told


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters, cut)"
