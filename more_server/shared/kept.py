"""Small files that servers change while they run, each replaced whole by one writer at a time.

Where servers share a database, what counts is a row of it, and the file is this machine's copy: it is read as if it
were the thing itself, and goes on to be while the database is away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from more_server.errors import StorageError
from more_server.files import LOCK_SECONDS, keep_file, locked
from more_server.following import signature
from more_server.settings import Settings
from more_server.shared.database import transaction

if TYPE_CHECKING:
    import psycopg

PRIVATE = {
    "admin/keys.json": True,
    "admin/keys-used.json": True,
    "admin/plugins.json": True,  # secrets of plugins are in it
    "admin/profiles.json": False,
    "admin/licences.json": False,
    "models/serving": False,
}
"""All of them, by their place in data_dir, and whether a file is for its owner alone."""

Keep = Callable[[bytes], None]
Seen = tuple[int | None, tuple[int, int, int] | None]
"""Version of a row, None where there is none, and stamp of the file."""


class KeptFile:
    """One of them."""

    def __init__(self, settings: Settings, name: str) -> None:
        """name: in PRIVATE."""
        self.name = name
        self.path = settings.data_dir / name
        self._is_private = PRIVATE[name]
        self._address = settings.database

    @contextmanager
    def changing(self) -> Iterator[Keep]:
        """Hold the right to change it; within the block it is as it is everywhere. What is yielded replaces it.

        Raises StorageError; then it is as it was.
        """
        with locked(self.path, seconds=LOCK_SECONDS):
            if not self._address:
                yield self._put
                return
            with transaction(self._address) as connection:
                before = hold(connection, self.name)
                self.follow(before)
                try:
                    yield partial(self._keep, connection)
                    connection.commit()
                except BaseException:
                    self.follow(before)
                    raise

    def renew(self, connection: "psycopg.Connection[Any]") -> Seen:
        """Have the file as the database has it, and what that was. Raises StorageError and psycopg's own errors."""
        # Under the lock: a writer on this machine that has changed both is not undone by what was read before.
        with locked(self.path, seconds=LOCK_SECONDS):
            found = connection.execute("SELECT version, content FROM more_files WHERE name = %s", [self.name])
            version, content = found.fetchone() or (None, None)
            self.follow(content)
            return version, signature(self.path)

    def follow(self, content: bytes | None) -> None:
        """Write the file where it differs; None: there is to be none. Only the holder of its lock may call this.

        Raises StorageError.
        """
        if self.read() == content:
            return
        if content is not None:
            self._put(content)
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be removed: {error.strerror or error}") from error

    def read(self) -> bytes | None:
        """What is in the file; None: there is none. Raises StorageError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _put(self, content: bytes) -> None:
        keep_file(self.path, content, private=self._is_private)

    def _keep(self, connection: "psycopg.Connection[Any]", content: bytes) -> None:
        store(connection, self.name, content)
        self._put(content)


def hold(connection: "psycopg.Connection[Any]", name: str) -> bytes | None:
    """The content of a row, which nobody else changes before the end of the transaction; None: there is none."""
    connection.execute("INSERT INTO more_files VALUES (%s, NULL, 0) ON CONFLICT DO NOTHING", [name])
    found = connection.execute("SELECT content FROM more_files WHERE name = %s FOR UPDATE", [name]).fetchone()
    assert found is not None
    content: bytes | None = found[0]
    return content


def store(connection: "psycopg.Connection[Any]", name: str, content: bytes) -> None:
    """Replace the content of a row that is held."""
    connection.execute("UPDATE more_files SET content = %s, version = version + 1 WHERE name = %s", [content, name])
