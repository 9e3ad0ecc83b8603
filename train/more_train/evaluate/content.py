"""What was said, without a recogniser: mel-cepstra matched by dynamic time warping against readings of sentences."""

from collections.abc import Mapping

import librosa
import numpy as np
from numpy.typing import NDArray

from more_server.audio.read import resample
from more_server.speech import Audio

RATE = 22_050
WINDOW, HOP, COEFFICIENTS = 1024, 256, 20
PAUSE_DECIBELS = 35
"""Edges this far below the peak are silence."""
SILENT_PEAK = 0.001
"""-60 dBFS: nothing is heard of it."""
FEWEST_FRAMES = 8
"""0.1 s; what is shorter says nothing."""
OTHERS = 9
"""Sentences that the right one stands among: chance finds one of ten."""

Cepstra = NDArray[np.float32]
"""Shape (coefficients, frames)."""


def cepstra(audio: Audio) -> Cepstra | None:
    """Mel-cepstra without the level, each coefficient normalised over the sentence; None for silence."""
    samples = resample(audio.samples, audio.sample_rate, RATE)
    if not len(samples) or np.abs(samples).max() < SILENT_PEAK:
        return None
    trimmed, _ = librosa.effects.trim(librosa.util.normalize(samples), top_db=PAUSE_DECIBELS)
    if len(trimmed) < FEWEST_FRAMES * HOP:
        return None
    mfcc = librosa.feature.mfcc(y=trimmed, sr=RATE, n_mfcc=COEFFICIENTS, n_fft=WINDOW, hop_length=HOP)[1:]
    spread = np.maximum(mfcc.std(axis=1, keepdims=True), 1e-6)
    return np.asarray((mfcc - mfcc.mean(axis=1, keepdims=True)) / spread, np.float32)


def seconds(frames: int) -> float:
    """That so many frames last."""
    return frames * HOP / RATE


def distance(one: Cepstra, other: Cepstra) -> float:
    """Mean cosine distance along the best time warping, 0 to 2."""
    cost, path = librosa.sequence.dtw(one, other, metric="cosine")
    return float(cost[-1, -1] / len(path))


def nearest(spoken: Cepstra, readings: Mapping[str, Cepstra]) -> tuple[float, str]:
    """Distance from the nearest reading of a sentence, and who reads it."""
    return min((distance(spoken, reading), reader) for reader, reading in readings.items())
