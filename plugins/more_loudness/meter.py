"""Loudness by ITU-R BS.1770-4. Importing pyloudnorm takes 1.2 s, so it waits for the first measurement."""

import numpy as np
from numpy.typing import NDArray

from more_server import Samples

HOPS = 4
"""The standard measures blocks of 0.4 s; one begins every 0.1 s, a hop."""
GATE_LUFS = -70.0
"""The standard's absolute gate: what is softer is not measured."""
RELATIVE_GATE = 0.1
"""The standard's second gate, as a share of the power of all that passes the first: -10 LU."""
OFFSET_LUFS = -0.691
"""The standard's: a sine of 997 Hz has the same number in LUFS as in dB."""
FILTERED_AT_ONCE = 100
"""Hops: 10 s. An hour measured by pyloudnorm's own Meter takes 2 GB."""


def integrated_loudness(samples: Samples, sample_rate: int) -> float:
    """Gated loudness of mono `samples`, shape (n,), in LUFS; GATE_LUFS for silence.

    What is shorter than a block is measured with silence behind it, as it is heard. Costs 0.4 ms per second of audio.
    """
    hop = round(sample_rate / 10)
    # A block that half a hop is missing of counts, as it does for pyloudnorm.
    count = max(1, round(len(samples) / hop) - HOPS + 1)
    blocks = np.convolve(_energies(samples, sample_rate, hop), np.ones(HOPS), "valid")[:count] / (HOPS * hop)
    audible = blocks[blocks > 10 ** ((GATE_LUFS - OFFSET_LUFS) / 10)]
    if not len(audible):
        return GATE_LUFS
    return float(OFFSET_LUFS + 10 * np.log10(audible[audible > RELATIVE_GATE * audible.mean()].mean()))


def _energies(samples: Samples, sample_rate: int, hop: int) -> NDArray[np.float64]:
    """Sums of the squares of the weighted samples of each hop, with silence behind them for a block at least."""
    import pyloudnorm
    from scipy.signal import sosfilt

    # The standard's two filters: the head as a sphere, and the ear's lower end.
    shelf = pyloudnorm.IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, sample_rate, "high_shelf")
    low_end = pyloudnorm.IIRfilter(0.0, 0.5, 38.0, sample_rate, "high_pass")
    sections = np.array([[*shelf.b, *shelf.a], [*low_end.b, *low_end.a]])
    energies, state = [], np.zeros((2, 2))
    for start in range(0, max(1, len(samples)), step := FILTERED_AT_ONCE * hop):
        part = samples[start : start + step].astype(np.float64)
        hops = max(HOPS, -(-len(part) // hop))
        weighted, state = sosfilt(sections, np.pad(part, (0, hops * hop - len(part))), zi=state)
        energies.append(np.square(weighted).reshape(hops, hop).sum(axis=1))
    return np.concatenate(energies)
