"""Which workers live: each holds a lock that ends with its process. Who gets the lock of another knows it is dead."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from more_server.errors import StorageError
from more_server.files import try_lock
from more_server.jobs.store import reported


class FileLeases:
    """Locks of files, for workers that share a file of SQLite. A name is used by one worker, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: tuple[str, IO[bytes]] | None = None

    def hold(self, worker: str) -> None:
        """Live, or go on living; it is called again and again. Raises StorageError."""
        if self._held is None:
            with ExitStack() as stack:
                file = stack.enter_context(self._open(worker))
                if not try_lock(file):
                    raise StorageError(f"{file.name} is locked by another process")
                stack.pop_all()
            self._held = worker, file

    def let_go(self) -> None:
        """Live no longer."""
        if self._held is not None:
            worker, file = self._held
            self._held = None
            self._path(worker).unlink(missing_ok=True)
            file.close()

    @contextmanager
    def taken(self, worker: str) -> Iterator[bool]:
        """Whether a worker is dead; then nobody else may take up what it left, until this ends."""
        with self._open(worker) as file:
            dead = try_lock(file)
            yield dead
            if dead:
                self._path(worker).unlink(missing_ok=True)

    def sweep(self, busy: Collection[str]) -> None:
        """Remove the locks of dead workers that left nothing; nobody may begin to live meanwhile."""
        for path in self._folder.glob("*.lock"):
            if path.stem not in busy:
                with self.taken(path.stem):
                    pass

    def _open(self, worker: str) -> IO[bytes]:
        path = self._path(worker)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("ab")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"


class PostgresLeases:
    """Advisory locks, for workers that share a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._held: sa.Connection | None = None

    def hold(self, worker: str) -> None:
        """Live, or go on living; where the connection was lost, another may have taken up our jobs in between."""
        with reported():
            if self._held is not None:
                try:
                    self._held.execute(sa.text("SELECT 1"))
                except sa.exc.DBAPIError:
                    self._held.invalidate()
                    self._held.close()
                    self._held = None
                else:
                    return
            connection = self._connect()
            if not _advised(connection, worker):  # somebody takes up what we left this very moment
                connection.close()
                raise StorageError(f"the lease of {worker} is held by another process")
            self._held = connection

    def let_go(self) -> None:
        """Live no longer."""
        if self._held is not None:
            with suppress(sa.exc.DBAPIError):  # it ended with its connection
                self._held.execute(sa.text("SELECT pg_advisory_unlock_all()"))
            self._held.close()
            self._held = None

    @contextmanager
    def taken(self, worker: str) -> Iterator[bool]:
        """Whether a worker is dead; then nobody else may take up what it left, until this ends."""
        with reported():
            connection = self._connect()
            dead = _advised(connection, worker)
        try:
            yield dead
        finally:
            with reported():
                if dead:
                    connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))
                connection.close()

    def sweep(self, _busy: Collection[str]) -> None:
        """They went with their connections."""

    def _connect(self) -> sa.Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _advised(connection: sa.Connection, worker: str) -> bool:
    # Postgres numbers its advisory locks, in one space for the whole database.
    number = int.from_bytes(hashlib.sha256(f"more-server worker {worker}".encode()).digest()[:8], signed=True)
    return bool(connection.execute(sa.text("SELECT pg_try_advisory_lock(:number)"), {"number": number}).scalar())
