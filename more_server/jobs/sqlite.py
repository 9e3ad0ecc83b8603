"""SQLite's file of the record: whoever opens it first looks whether it is damaged, and sets it aside if so."""

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO

from more_server.errors import StorageError
from more_server.files import set_aside, try_lock

BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the names of what SQLite keeps beside a database."""
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRIMARY = 0xFF
"""Of SQLite's error codes: the rest of the bits tells more about the same error."""


class SqliteFile:
    """The file as one of its users sees it. Only who holds the lock of its folder may call `open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._used: IO[bytes] | None = None

    def open(self) -> None:
        """Use it from now on. A damaged one is set aside where nobody else uses it. Raises StorageError.

        Under another process that has it open it may not be renamed: that goes on to write beside it by the old name.
        """
        path = self._path.with_name(f".{self._path.name}.users")
        try:
            self._used = path.open("ab")
            if try_lock(self._used) and self._path.exists() and (reason := damage(self._path)):
                set_aside(self._path, reason, BESIDE)
            fcntl.flock(self._used, fcntl.LOCK_SH)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Use it no longer."""
        if self._used is not None:
            self._used.close()
            self._used = None


def damage(path: Path) -> str:
    """What is the matter with a database; empty: nothing. The files stay as they are, for whoever wants to mend them.

    What else keeps it from being read is for its users to complain of. 210 MB take 0.7 s.
    """
    try:
        # One that may write would, as it closes, write the log into the damaged file and remove it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error) if error.sqlite_errorcode & PRIMARY in DAMAGE else ""
    return "" if found == "ok" else " ".join(found.split())
