"""This machine's copies of what the database keeps: made at the start, and renewed within a second of a change."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from more_server.errors import StorageError
from more_server.files import LOCK_SECONDS, NO_ROOM, keep_file, locked
from more_server.following import signature
from more_server.reserve import Reserve
from more_server.settings import Settings
from more_server.shared.database import connect, prepare, reported, transaction
from more_server.shared.kept import IDENTITY, PRIVATE, KeptFile, Seen, check_identity, hold, is_known, mark_of, store

if TYPE_CHECKING:
    import psycopg

RESERVE_BYTES = 262_144
"""For a copy on a full disk: 600 keys, without one that was revoked."""
log = structlog.get_logger("more_server.shared")


def take_up(settings: Settings, check: Callable[[], None]) -> None:
    """Have the copies of this machine as the database has them; without a database, nothing.

    What was decided on this machine alone before goes into the database where that has nothing, and else is renamed to
    `<name>.replaced-<time>`. check: raises for a file that is not to go there, or puts it aside. Raises that, and
    StorageError where the database is away: without knowing its keys nobody may be let in; SettingsError for an address
    that is none.
    """
    if not settings.database:
        return
    prepare(settings.database)
    files = [KeptFile(settings, name) for name in PRIVATE]
    mark = mark_of(settings)
    with transaction(settings.database) as connection, _told_of_files():
        if is_known(connection, mark):
            for file in files:
                file.renew(connection)
        else:
            with locked(mark, seconds=LOCK_SECONDS):
                _move_in(connection, files, mark, check)
        _reserve(settings).keep()


def _reserve(settings: Settings) -> Reserve:
    return Reserve(settings.admin_dir / "copies.reserve", RESERVE_BYTES)


def _move_in(
    connection: "psycopg.Connection[Any]", files: list[KeptFile], mark: Path, check: Callable[[], None]
) -> None:
    identity = hold(connection, IDENTITY)
    if is_known(connection, mark):  # another process of this machine was quicker
        for file in files:
            file.renew(connection)
        return
    check()
    if identity is None:
        identity = secrets.token_hex(16).encode()
        store(connection, IDENTITY, identity)
    for file in files:
        with locked(file.path, seconds=LOCK_SECONDS):
            _take(connection, file)
    connection.commit()
    keep_file(mark, identity)


def _take(connection: "psycopg.Connection[Any]", file: KeptFile) -> None:
    content, ours = hold(connection, file.name), file.read()
    if ours is not None and content is None:
        store(connection, file.name, ours)
        log.info("what was decided on this machine counts for all servers of the database now", file=str(file.path))
        return
    if ours not in (None, content):
        kept = file.path.with_name(f"{file.path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        os.link(file.path, kept)  # so that there is never a moment without keys
        what = "what was decided on this machine alone does not count: the database has its own"
        log.warning(what, file=str(file.path), kept=str(kept))
    file.follow(content)


@contextmanager
def _told_of_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"a copy of what servers share cannot be made or looked at: {error}") from error


class Copies:
    """Renews them while a server runs, from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.database
        self._mark = mark_of(settings)
        self._files = [KeptFile(settings, name) for name in PRIVATE]
        self._reserve = _reserve(settings)
        self._seen: dict[str, Seen] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.renewed = 0.0
        """When they were last seen to be as the database has them, on time.monotonic(); 0: not yet."""

    def renew(self) -> None:
        """Take up what has changed, in the database or in a file. Raises StorageError; then the next call tries again.

        Without a database, and once it is closed, nothing.
        """
        with self._lock:
            if not self._address or self._closed:
                return
            try:
                with reported():
                    if self._connection is None:
                        self._connection = connect(self._address, autocommit=True)
                    problems = self._renew(self._connection)
            except StorageError:
                self._disconnect()
                raise
            if problems:
                raise problems[0]
            self.renewed = time.monotonic()

    def _renew(self, connection: "psycopg.Connection[Any]") -> list[StorageError]:
        """Problems of single files keep nobody from the others."""
        check_identity(connection, self._mark)
        sums = dict(connection.execute("SELECT name, md5(content) FROM more_files").fetchall())
        problems = []
        for file in self._files:
            try:
                with _told_of_files():
                    if self._seen.get(file.name) != (sums.get(file.name), signature(file.path)):
                        self._seen[file.name] = self._renewed(file, connection)
            except StorageError as error:
                problems.append(error)
        return problems

    def _renewed(self, file: KeptFile, connection: "psycopg.Connection[Any]") -> Seen:
        try:
            return file.renew(connection)
        except StorageError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM):
                raise
            with self._reserve.given():  # a full disk must not keep in force what was revoked
                return file.renew(connection)

    def close(self) -> None:
        """Renew nothing any more."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
