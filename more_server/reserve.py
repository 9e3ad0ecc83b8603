"""Room on a disk that is kept for when it is full: whoever deletes something writes a little first."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEAST_BYTES = 4096
"""A block of most file systems."""


class Reserve:
    """A file that does nothing but take room. Threads and processes may use it at the same time."""

    def __init__(self, path: Path, size: int) -> None:
        """size: bytes."""
        self._path, self._size = path, size

    def keep(self) -> None:
        """Make it where it is missing, of what there is room for; the next call may find more."""
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = self._size
                while size >= LEAST_BYTES and os.fstat(file).st_size < size and not _allocated(file, size):
                    size //= 2
            finally:
                os.close(file)

    @contextmanager
    def given(self) -> Iterator[None]:
        """Its room may be written to in the block."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        try:
            yield
        finally:
            self.keep()


def _allocated(file: int, size: int) -> bool:
    try:
        os.posix_fallocate(file, 0, size)
    except OSError:
        return False
    return True
