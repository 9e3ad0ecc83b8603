"""A circuit breaker: after repeated failures of the device nobody is sent into it, until a probe succeeds."""

import time
from collections.abc import Callable

FAILURES = 3
"""In a row, after which it opens: one may be the request's own, three are the device's."""
OPEN_SECONDS = (5.0, 60.0)
"""Time until the first probe, doubled with each that fails, and its most."""


class Breaker:
    """Closed: work flows. Open: it does not, and `probe_due` says when to try again. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._wait = OPEN_SECONDS[0]
        self._probe_at: float | None = None

    @property
    def open(self) -> bool:
        return self._probe_at is not None

    @property
    def retry_after(self) -> float:
        """Seconds until the next probe, at least one: when it makes sense to come back."""
        return max(1.0, (self._probe_at or 0.0) - self._clock())

    def failed(self) -> bool:
        """Note a failure of work; True when there were so many in a row that it may be the device's."""
        self._failures += 1
        return not self.open and self._failures >= FAILURES

    def trip(self) -> None:
        """Open it."""
        self._wait = OPEN_SECONDS[0]
        self._probe_at = self._clock() + self._wait

    def succeeded(self) -> None:
        """Note work that succeeded."""
        self._failures = 0

    def probe_due(self) -> bool:
        return self._probe_at is not None and self._clock() >= self._probe_at

    def probed(self, *, success: bool) -> None:
        """Note a probe: success closes the breaker, failure doubles the wait."""
        if success:
            self._failures, self._probe_at = 0, None
        else:
            self._wait = min(2 * self._wait, OPEN_SECONDS[1])
            self._probe_at = self._clock() + self._wait
