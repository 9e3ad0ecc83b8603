"""Small files that servers change while they run, each replaced whole by one writer at a time.

Where servers share a database, what counts is a row of it, and the file is this machine's copy: it is read as if it
were the thing itself, and goes on to be while the database is away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from more_server.errors import StorageError
from more_server.files import LOCK_SECONDS, keep_file, locked, read_file
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
IDENTITY = "database"
"""Row with the name that a database gave itself; the file of this name in admin/ says whose copies lie there."""

Keep = Callable[[bytes], None]
Seen = tuple[str | None, tuple[int, int, int] | None]
"""Sum of a row, None where there is nothing, and stamp of the file."""


class KeptFile:
    """One of them."""

    def __init__(self, settings: Settings, name: str) -> None:
        """name: in PRIVATE."""
        self.name = name
        self.path = settings.data_dir / name
        self._is_private = PRIVATE[name]
        self._address = settings.database
        self._mark = mark_of(settings)

    @contextmanager
    def changing(self) -> Iterator[Keep]:
        """Hold the right to change it; within the block it is as it is everywhere. What is yielded replaces it, once.

        Raises StorageError; then it is as it was, unless the text says that only this machine's copy is.
        """
        with locked(self.path, seconds=LOCK_SECONDS):
            if not self._address:
                self._check_alone()
                yield self._put
                return
            with transaction(self._address) as connection:
                check_identity(connection, self._mark)
                self.follow(hold(connection, self.name))
                yield partial(self._keep, connection)

    def renew(self, connection: "psycopg.Connection[Any]") -> Seen:
        """Have the file as the database has it, and what that was. Raises StorageError and psycopg's own errors."""
        seen, content = self._row(connection)
        if self.read() != content:
            # Once more under the lock: what a writer on this machine has changed since then is not undone.
            with locked(self.path, seconds=LOCK_SECONDS):
                seen, content = self._row(connection)
                self.follow(content)
        return seen, signature(self.path)

    def _row(self, connection: "psycopg.Connection[Any]") -> tuple[str | None, bytes | None]:
        """Sum and content."""
        asked = "SELECT md5(content), content FROM more_files WHERE name = %s"
        return connection.execute(asked, [self.name]).fetchone() or (None, None)

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
        return read_file(self.path)

    def _put(self, content: bytes) -> None:
        keep_file(self.path, content, private=self._is_private)

    def _keep(self, connection: "psycopg.Connection[Any]", content: bytes) -> None:
        store(connection, self.name, content)
        connection.commit()
        # Afterwards, so that nobody acts by what is not decided; who cannot write it here takes it up when he can.
        try:
            self._put(content)
        except StorageError as error:
            raise StorageError(
                f"it is decided, and this machine knows of it once its copy can be written: {error.message}"
            ) from error

    def _check_alone(self) -> None:
        if self._mark.exists():
            raise StorageError(
                f"{self.path} is a copy of what is in a database: set `database`, or what is decided here is undone. "
                f"To go on without that database on this machine, delete {self._mark}"
            )


def mark_of(settings: Settings) -> Path:
    """The file that says whose copies lie in a data directory; without it, they are this machine's own."""
    return settings.admin_dir / IDENTITY


def check_identity(connection: "psycopg.Connection[Any]", mark: Path) -> None:
    """Raises StorageError where the copies are of another database, such as one that was emptied since the start."""
    if not is_known(connection, mark):
        raise StorageError(
            "the database is not the one whose copies are here, or has lost what was in it: start this server anew, "
            "with what this machine knows for a beginning"
        )


def is_known(connection: "psycopg.Connection[Any]", mark: Path) -> bool:
    """Whether a machine's copies are of this database. Raises StorageError."""
    found = connection.execute("SELECT content FROM more_files WHERE name = %s", [IDENTITY]).fetchone()
    return found is not None and found[0] is not None and found[0] == read_file(mark)


def hold(connection: "psycopg.Connection[Any]", name: str) -> bytes | None:
    """The content of a row, which nobody else changes before the end of the transaction; None: there is none."""
    connection.execute("INSERT INTO more_files VALUES (%s, NULL) ON CONFLICT DO NOTHING", [name])
    found = connection.execute("SELECT content FROM more_files WHERE name = %s FOR UPDATE", [name]).fetchone()
    assert found is not None
    content: bytes | None = found[0]
    return content


def store(connection: "psycopg.Connection[Any]", name: str, content: bytes) -> None:
    """Replace the content of a row that is held."""
    connection.execute("UPDATE more_files SET content = %s WHERE name = %s", [content, name])
