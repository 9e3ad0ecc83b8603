"""What a folder held when it was looked at last, for as long as a watcher vouches for it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from more_voice_folder.reading import Contents

MOST_SECONDS = 10.0
"""Age at which the folder is looked at all the same: no event tells what another machine changes on a network disk."""


class Memory:
    """Answers from memory while it is trusted, and by looking otherwise. Safe to use on any thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._kept: tuple[float, tuple[int, int] | None, Contents] | None = None
        self._changes = 0
        self._trusted_until = 0.0

    def get(self, look: Callable[[], Contents]) -> Contents:
        """What the folder holds: what `look` gave last, if nothing can have changed since, else what it gives now."""
        now, stamp = time.monotonic(), self._stamp()
        with self._lock:
            changes = self._changes
            if self._kept is not None and now < self._trusted_until:
                since, known, contents = self._kept
                if known == stamp and now - since < MOST_SECONDS:
                    return contents
        contents = look()
        with self._lock:
            if changes == self._changes:
                self._kept = (now, stamp, contents)
        return contents

    def forget(self) -> None:
        """Something has changed; a look that began before does not count either."""
        with self._lock:
            self._changes += 1
            self._kept = None

    def trust(self, seconds: float) -> None:
        """For this long, every change will be told with `forget`; so it was since `trust` was said before."""
        with self._lock:
            now = time.monotonic()
            if now >= self._trusted_until:
                self._changes += 1
                self._kept = None
            self._trusted_until = now + seconds

    def distrust(self) -> None:
        """From now on, changes are not told."""
        with self._lock:
            self._trusted_until = 0.0

    def _stamp(self) -> tuple[int, int] | None:
        # 2 µs, and a voice that was added or removed is there at once: its event takes 80 ms.
        try:
            status = self._home.stat()
        except OSError:  # whatever it is, looking tells it
            return None
        return status.st_ino, status.st_mtime_ns
