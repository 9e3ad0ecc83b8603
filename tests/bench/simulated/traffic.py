"""A day of people who want something spoken: when each comes, and how long its speech is."""

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HOURS = 24
STEP_SECONDS = 60.0
"""So long the rate stays what it is; then bursts draw it anew."""
SHORTEST_SECONDS = 0.5


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """The curve of a day, which begins and ends in the middle of the night."""

    peak: float
    """Requests a second at the busiest moment, without bursts."""
    night: float = 0.1
    """Rate at the quietest moment, in peaks."""
    sharpness: float = 1.5
    """Of the peak: 1 is a cosine, more is a shorter rush hour; with `night` 1 the rate is the same all day."""
    bursts: float = 0.15
    """Standard deviation of the rate from minute to minute, in rates: people do not come independently."""
    median_seconds: float = 4.0
    """Length of the speech of a request."""
    spread: float = 0.7
    """Of its logarithm's normal distribution: 0.7 makes the 95th percentile three medians."""
    most_seconds: float = 30.0
    """Longest speech. By default `engine.ahead_seconds`, so that no stream has to wait for its listener."""

    def rate(self, hours: Floats) -> Floats:
        """Requests a second, by hours from 0 to 24; the peak is at 12."""
        wave = ((1 - np.cos(2 * np.pi * hours / HOURS)) / 2) ** self.sharpness
        return self.peak * (self.night + (1 - self.night) * wave)

    @property
    def mean_rate(self) -> float:
        """Requests a second over the whole day."""
        return float(self.rate(np.linspace(0, HOURS, 1440, endpoint=False)).mean())

    @property
    def mean_seconds(self) -> float:
        """Of the speech of a request."""
        return float(self.lengths(np.random.default_rng(0), 200_000).mean())

    def lengths(self, random: np.random.Generator, count: int) -> Floats:
        """Seconds of speech of so many requests."""
        drawn = self.median_seconds * np.exp(self.spread * random.standard_normal(count))
        return np.clip(drawn, SHORTEST_SECONDS, self.most_seconds)

    def arrivals(self, random: np.random.Generator, seconds: float) -> tuple[Floats, Floats]:
        """Times, ascending, and lengths of speech, both in seconds, of a day that goes by in so many seconds.

        Within each minute they come as a Poisson process does.
        """
        starts = np.arange(0, seconds, STEP_SECONDS)
        widths = np.minimum(STEP_SECONDS, seconds - starts)
        rates = self.rate((starts + widths / 2) * HOURS / seconds)
        if self.bursts:
            shape = 1 / self.bursts**2
            rates = rates * random.gamma(shape, 1 / shape, len(rates))
        counts = random.poisson(rates * widths)
        times = np.repeat(starts, counts) + np.repeat(widths, counts) * random.random(counts.sum())
        times.sort()
        return times, self.lengths(random, len(times))
