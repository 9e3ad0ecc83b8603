"""The two ways to a loudness: at once with what is known of the voice, or exactly once all of it is there."""

import math

import numpy as np

from more_loudness import Settings
from more_loudness.limiter import Limiter
from more_loudness.meter import GATE_LUFS, integrated_loudness
from more_server import PostProcessor, Samples

ROUNDS = 6
"""Of correcting. Speech at -16 LUFS takes one or none; at -10 LUFS, deep in the limiter, four."""
EXACT_LU = 0.05
"""A result this close to the target is not corrected any further."""
LIMITED_AT_ONCE = 1 << 18
"""Samples: 10 MB of gains, whatever the length of the audio."""


class Streaming(PostProcessor):
    """A constant gain from the voice's own loudness, then the limiter; 4 ms behind its input."""

    def __init__(self, settings: Settings, sample_rate: int, measured: float | None) -> None:
        """`measured` in LUFS; a voice whose loudness is not known, or that was silent, is left as loud as it is."""
        self._gain = _factor(_gain(settings, measured))
        self._limiter = Limiter(10 ** (settings.true_peak_dbtp / 20), sample_rate)

    def process(self, samples: Samples) -> Samples:
        return self._limiter.process(samples * self._gain)

    def finish(self) -> Samples:
        return self._limiter.finish()


class Whole(PostProcessor):
    """Everything is collected; the result is measured and corrected until it is as loud as it should be."""

    def __init__(self, settings: Settings, sample_rate: int) -> None:
        self._settings = settings
        self._rate = sample_rate
        self._pieces: list[Samples] = []

    def process(self, samples: Samples) -> Samples:
        self._pieces.append(samples)
        return np.zeros(0, np.float32)

    def finish(self) -> Samples:
        samples = np.concatenate([np.zeros(0, np.float32), *self._pieces])
        self._pieces = []
        loudness = integrated_loudness(samples, self._rate)
        if loudness <= GATE_LUFS:
            return self._limited(samples, 0.0)
        return self._corrected(samples, _gain(self._settings, loudness))

    def _corrected(self, samples: Samples, gain: float) -> Samples:
        """Limited at `gain` dB, and at as much more as the limiter takes away."""
        result, slope = self._limited(samples, gain), 1.0
        reached = integrated_loudness(result, self._rate)
        for _ in range(ROUNDS):
            missing = self._settings.target_lufs - reached
            more = min(gain + missing / slope, self._settings.max_gain_db)
            if abs(missing) <= EXACT_LU or more == gain:
                break
            result = self._limited(samples, more)
            now = integrated_loudness(result, self._rate)
            # Never steeper than without a limiter, and in clicks, which are all peak, next to flat.
            slope = min(1.0, max(0.2, (now - reached) / (more - gain)))
            gain, reached = more, now
        return result

    def _limited(self, samples: Samples, gain: float) -> Samples:
        limiter = Limiter(10 ** (self._settings.true_peak_dbtp / 20), self._rate)
        cuts = range(0, len(samples), LIMITED_AT_ONCE)
        pieces = [limiter.process(samples[start : start + LIMITED_AT_ONCE] * _factor(gain)) for start in cuts]
        return np.concatenate([*pieces, limiter.finish()])


def _gain(settings: Settings, loudness: float | None) -> float:
    """Decibels from `loudness` in LUFS to the target; 0 for silence, and where the loudness is not known."""
    if loudness is None or not GATE_LUFS < loudness < math.inf:
        return 0.0
    return min(settings.target_lufs - loudness, settings.max_gain_db)


def _factor(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
