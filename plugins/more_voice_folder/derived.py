"""What was worked out from voices, in files under hashes; losing it costs time, nothing else."""

import os
import re
import time
from pathlib import Path

import structlog

from more_server import errors, files

KEY = re.compile(r"[0-9a-f]{64}")
ABANDONED_SECONDS = 3600.0
"""A file that was begun this long ago and has no name yet was left by a process that is gone."""
log = structlog.get_logger("more_voice_folder")


class DerivedFiles:
    """A folder of files with a limit on their size in all. The longest unused go first; reading is using."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def read(self, key: str) -> bytes | None:
        """What is kept under a key; None where there is nothing or it cannot be read."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("a cached file cannot be used", path=str(path), reason=error.strerror)
            return None
        return content

    def write(self, key: str, content: bytes) -> None:
        """Keep something, all of it or nothing; what is larger than the limit is not kept. Raises StorageError."""
        path = self._path(key)
        if len(content) > self._most_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files.write_file(path, content)
            self._shrink(path)
        except OSError as error:
            raise errors.StorageError(f"{path} cannot be written: {error.strerror or error}") from error

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise errors.BadInput(f"{errors.shown(key)} is no key: 64 hexadecimal digits are")
        return self._folder / f"{key}.bin"

    def _shrink(self, newest: Path) -> None:
        found = self._files()
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was used last, its bytes, its path."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process shrinks the folder too
                    continue
                if entry.name.startswith(".") and time.time() - status.st_mtime < ABANDONED_SECONDS:
                    continue
                if entry.is_file(follow_symlinks=False):
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
        return found
