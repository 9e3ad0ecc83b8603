"""Loudness by ITU-R BS.1770-4. Importing pyloudnorm takes 1.2 s, so it waits for the first measurement."""

import numpy as np

from more_server import Samples

BLOCK_SECONDS = 0.4
"""What the standard measures in."""
GATE_LUFS = -70.0
"""The standard's absolute gate: what is softer is not measured."""
INAUDIBLE = 1e-4
"""A peak of -80 dB, which no weighting lifts over the gate."""


def integrated_loudness(samples: Samples, sample_rate: int) -> float:
    """Gated loudness of mono `samples`, shape (n,), in LUFS; GATE_LUFS for silence.

    What is shorter than a block is measured with silence behind it, as it is heard. 1.1 ms per second of audio.
    """
    import pyloudnorm

    if np.abs(samples).max(initial=0) < INAUDIBLE:
        return GATE_LUFS
    # One sample more than a block: pyloudnorm compares with a product that rounding may have made larger.
    missing = max(0, int(BLOCK_SECONDS * sample_rate) + 1 - len(samples))
    padded = np.pad(samples.astype(np.float64), (0, missing))
    # Blocks of digital silence are log10(0) on their way to the gate. pyloudnorm hides that warning in a way that
    # threads undo for each other.
    with np.errstate(divide="ignore"):
        loudness = pyloudnorm.Meter(sample_rate, block_size=BLOCK_SECONDS).integrated_loudness(padded)
    return max(GATE_LUFS, float(loudness))
