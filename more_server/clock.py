"""Whether what the machine's clock says may be believed: it can be set while a server runs."""

import time

HOUR = 3600.0


class SetClock:
    """Notices that the clock was set, by more than an hour since the last look at it.

    A machine that slept looks the same, which does no harm: what is old is deleted an hour later.
    """

    def __init__(self) -> None:
        self._ahead = _ahead()
        self._doubted_until = 0.0

    def is_trusted(self) -> bool:
        """Look; False for an hour after the clock was set. What seems old then may be new."""
        ahead, before = _ahead(), self._ahead
        self._ahead = ahead
        if abs(ahead - before) > HOUR:
            self._doubted_until = time.monotonic() + HOUR
        return time.monotonic() >= self._doubted_until


def _ahead() -> float:
    """Seconds of this clock before the one that is never set."""
    return time.time() - time.monotonic()
