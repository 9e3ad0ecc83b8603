"""Files that several processes write: which of them somebody has changed."""

import os
from collections.abc import Iterable
from pathlib import Path

FOLLOW_SECONDS = 1.0
"""How often a server looks what others have decided; three files take 15 µs."""


class Followed:
    """Files that are replaced whole. The first look finds all of them changed."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._seen: dict[Path, tuple[int, int, int] | None] = dict.fromkeys(paths, (0, 0, 0))

    def changed(self) -> set[Path]:
        """Those that are not as they were at the last look, which may mean that they are gone. Raises OSError."""
        now = {path: signature(path) for path in self._seen}
        changed = {path for path, one in now.items() if one != self._seen[path]}
        self._seen = now
        return changed


def signature(path: Path) -> tuple[int, int, int] | None:
    """The stamp of a file; None: there is none. Raises OSError."""
    try:
        return stamp(path.stat())
    except FileNotFoundError:
        return None


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """What a file is known again by: when it was written, in nanoseconds, its bytes and its inode."""
    return status.st_mtime_ns, status.st_size, status.st_ino
