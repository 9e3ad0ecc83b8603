"""Who changed what while the server ran: one JSON line a change, only ever appended."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import structlog

from more_server.errors import MoreError, StorageError, shown
from more_server.reserve import Reserve
from more_server.shared.lines import TableLines

ALLOWED = "allowed"
"""Outcome of a line written before its change is made."""
UNREADABLE = "unreadable line"
"""Action under which `tail` shows what a killed process left half written."""
DELETES = ".delete"
"""How actions end that make room on a disk, or take a right away: a full disk must not keep anybody from them."""
RESERVE_BYTES = 65_536
"""For two lines of this log, and what else lies beside it and is written anew without what is deleted."""
BLOCK_BYTES = 65_536


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asked."""

    kind: Literal["key", "local", "command line", "anybody"]
    """`local`: a request while there is no key; `anybody`: a request that needs none although there are keys."""
    id: str = ""
    """The key's id."""
    name: str = ""
    """The key's name."""

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.name})" if self.id else self.kind


LOCAL = Actor("local")
COMMAND_LINE = Actor("command line")
ANYBODY = Actor("anybody")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the log."""

    time: str
    """UTC, ISO 8601."""
    actor: Actor
    """Who asked."""
    action: str
    """What for, such as `plugins.disable`."""
    target: str
    """The id or name of what is changed."""
    changes: dict[str, Any]
    """What is set, by field; never a secret."""
    outcome: str
    """`allowed`: written before the change; a change that failed then has a second line, `failed: …`."""
    request_id: str = ""
    """Of the request that asked for it, as in the log; empty on the command line."""


class Lines(Protocol):
    """Where the lines are kept."""

    def append(self, line: bytes) -> None:
        """Keep a line, with a line break at its end, and wait until that is certain. Raises StorageError."""

    def tail(self, limit: int) -> Sequence[bytes]:
        """The last ones without their line breaks, the latest last. Raises StorageError."""


class FileLines:
    """In a file of this machine, which several processes append to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: bytes) -> None:
        """Keep a line, with a line break at its end, and wait until it is on the disk. Raises StorageError."""
        try:
            self._append(line)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror or error}") from error

    def tail(self, limit: int) -> list[bytes]:
        """The last ones without their line breaks, the latest last. Raises StorageError."""
        try:
            return self._last(limit)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror or error}") from error

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A long line of another process grows page by page; without this its middle would look like a cut-off end.
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line that was cut off must not swallow this one
            if os.write(file, line) != len(line):
                with suppress(OSError):  # where it may only be appended to, `tail` shows a cut-off line
                    os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
        if not size:
            _sync_folder(self._path.parent)

    def _last(self, limit: int) -> list[bytes]:
        with self._path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            start = file.seek(0, os.SEEK_END)
            content = b""
            while start and content.count(b"\n") <= limit:
                length = min(BLOCK_BYTES, start)
                start = file.seek(start - length)
                content = file.read(length) + content
        lines = content.splitlines()
        return lines[max(0, len(lines) - limit) :]


class AuditLog:
    """`audit.jsonl` in a folder, or a table of the database that servers share.

    A change is recorded before it is made, and not made if that fails, on a full disk for example. So the log may
    name a change that a killed process never came to, and lacks none that was made. Deletions have room of their own.
    """

    def __init__(self, folder: Path, database: str = "") -> None:
        """database: its address; empty: none."""
        self._lines: Lines = TableLines(database) if database else FileLines(folder / "audit.jsonl")
        self._reserve = Reserve(folder / "audit.reserve", RESERVE_BYTES)

    @contextmanager
    def change(
        self, actor: Actor, action: str, target: str, changes: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """Record a change that is made in the block. Raises StorageError before it where it cannot be recorded."""
        if action.endswith(DELETES):
            with self._reserve.given(), self._recorded(actor, action, target, changes):
                yield
        else:
            with self._recorded(actor, action, target, changes):
                yield
            self._reserve.keep()

    @contextmanager
    def _recorded(self, actor: Actor, action: str, target: str, changes: Mapping[str, Any] | None) -> Iterator[None]:
        self.record(actor, action, target, changes)
        try:
            yield
        except BaseException as error:
            reason = error.message if isinstance(error, MoreError) else type(error).__name__
            try:
                self.record(actor, action, target, changes, f"failed: {reason}")
            except StorageError as second:
                error.add_note(second.message)  # the change's own failure is what matters to whoever asked
            raise

    def record(
        self,
        actor: Actor,
        action: str,
        target: str,
        changes: Mapping[str, Any] | None = None,
        outcome: str = ALLOWED,
    ) -> None:
        """Append a line, and wait until it is on the disk. Raises StorageError."""
        entry = Entry(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            actor=actor,
            action=action,
            target=target,
            changes=dict(changes or {}),
            outcome=outcome,
            request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")),
        )
        # ASCII alone: nothing that a caller named can steer the terminal of whoever reads the file.
        line = json.dumps(msgspec.to_builtins(entry, str_keys=True, enc_hook=str), separators=(",", ":"))
        try:
            self._lines.append(line.encode() + b"\n")
        except StorageError as error:
            raise StorageError(f"{error.message}; nothing is changed without a record of it") from error

    def tail(self, limit: int) -> list[Entry]:
        """The last lines, the latest last. Raises StorageError."""
        return [_decoded(line) for line in self._lines.tail(limit)]


def _decoded(line: bytes) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = shown(line.decode("utf-8", "replace"))
        return Entry(time="", actor=ANYBODY, action=UNREADABLE, target=text, changes={}, outcome="")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
