"""This machine's copies of what the database keeps: made at the start, and renewed within a second of a change."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from more_server.errors import StorageError
from more_server.files import LOCK_SECONDS, keep_file, locked
from more_server.following import signature
from more_server.settings import Settings
from more_server.shared.database import connect, prepare, reported, transaction
from more_server.shared.kept import PRIVATE, KeptFile, Seen, hold, store

if TYPE_CHECKING:
    import psycopg

IDENTITY = "database"
"""Row with the name that a database gave itself; the file of this name in admin/ says whose copies lie there."""

log = structlog.get_logger("more_server.shared")


def take_up(settings: Settings) -> None:
    """Have the copies of this machine as the database has them; without a database, nothing.

    What was decided on this machine alone before goes into the database where that has nothing, and else is renamed to
    `<name>.replaced-<time>`. Raises StorageError where the database is away: without knowing its keys nobody may be let
    in. Raises SettingsError for an address that is none.
    """
    if not settings.database:
        return
    prepare(settings.database)
    files = [KeptFile(settings, name) for name in PRIVATE]
    mark = settings.admin_dir / IDENTITY
    with transaction(settings.database) as connection, locked(mark, seconds=LOCK_SECONDS), _told_of_files():
        found = connection.execute("SELECT content FROM more_files WHERE name = %s", [IDENTITY]).fetchone()
        if found is not None and mark.is_file() and mark.read_bytes() == found[0]:
            for file in files:
                file.renew(connection)
            return
        identity = _identity(connection)
        for file in files:
            with locked(file.path, seconds=LOCK_SECONDS):
                _take(connection, file)
        connection.commit()
        keep_file(mark, identity)


def _identity(connection: "psycopg.Connection[Any]") -> bytes:
    found = hold(connection, IDENTITY)
    if found is None:
        found = secrets.token_hex(16).encode()
        store(connection, IDENTITY, found)
    return found


def _take(connection: "psycopg.Connection[Any]", file: KeptFile) -> None:
    content, ours = hold(connection, file.name), file.read()
    if ours is None or ours == content:
        file.follow(content)
    elif content is None:
        store(connection, file.name, ours)
        log.info("what was decided on this machine counts for all servers of the database now", file=str(file.path))
    else:
        kept = _renamed(file.path)
        log.warning(
            "what was decided on this machine alone does not count: the database has its own",
            file=str(file.path),
            kept=str(kept),
        )
        file.follow(content)


def _renamed(path: Path) -> Path:
    kept = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    path.rename(kept)
    return kept


@contextmanager
def _told_of_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"a copy of what servers share cannot be looked at: {error}") from error


class Copies:
    """Renews them while a server runs. One call at a time."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.database
        self._files = [KeptFile(settings, name) for name in PRIVATE]
        self._seen: dict[str, Seen] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self.renewed = 0.0
        """When they were last seen to be as the database has them, on time.monotonic(); 0: not yet."""

    def renew(self) -> None:
        """Take up what has changed, in the database or in a file. Raises StorageError; then the next call tries again.

        Without a database, nothing.
        """
        if not self._address:
            return
        try:
            with reported(), _told_of_files():
                if self._connection is None:
                    self._connection = connect(self._address, autocommit=True)
                self._renew(self._connection)
            self.renewed = time.monotonic()
        except StorageError:
            self.close()
            raise

    def _renew(self, connection: "psycopg.Connection[Any]") -> None:
        versions = dict(connection.execute("SELECT name, version FROM more_files").fetchall())
        for file in self._files:
            if self._seen.get(file.name) != (versions.get(file.name), signature(file.path)):
                self._seen[file.name] = file.renew(connection)

    def close(self) -> None:
        """Let go of the connection; a further call opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
