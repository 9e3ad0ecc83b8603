"""Utterances that nobody speaks, audio for them, and a post-processor driven the way the server does it."""

from collections.abc import Iterable, Sequence
from itertools import cycle, pairwise

import numpy as np
from numpy.typing import NDArray

from more_server import PostProcessor, Profile, Segment, Stage, Utterance, Voice, VoiceLatents

RATE = 24_000
Samples = NDArray[np.float32]


def stage(*marks: str, speed: float = 1.0, measured: float | None = None, rate: int = RATE, **utterance: bool) -> Stage:
    """Of an utterance of one segment for each mark."""
    made = Utterance(
        id="test",
        segments=tuple(Segment(text="text", token_ids=(1,), mark=mark) for mark in marks),
        voice=Voice(id="nobody", name="Nobody"),
        latents=VoiceLatents(np.zeros((1, 1), np.float32), np.zeros(1, np.float32)),
        language="en",
        profile=Profile(name="test", temperature=0.7, top_p=0.9),
        speed=speed,
        seed=0,
        **utterance,
    )
    return Stage(made, rate, measured)


def driven(
    processor: PostProcessor, samples: Samples, sizes: Sequence[int] = (1 << 30,), ends: Iterable[int] = ()
) -> list[Samples]:
    """What comes out of each segment of `samples`, the rest in the last one.

    `ends` are where segments end before the last one; `sizes`, of which one is above 0, are those of the pieces.
    """
    size, out = cycle(sizes), []
    for start, end in pairwise([0, *sorted(ends), len(samples)]):
        pieces = [np.zeros(0, np.float32)]
        while start < end:
            piece = samples[start : min(end, start + next(size))]
            start += len(piece)
            pieces.append(processor.process(piece))
        out.append(np.concatenate([*pieces, processor.end_segment()]))
    out[-1] = np.concatenate([out[-1], processor.finish()])
    return out


def through(
    processor: PostProcessor, samples: Samples, sizes: Sequence[int] = (1 << 30,), ends: Iterable[int] = ()
) -> Samples:
    """All that comes out."""
    return np.concatenate(driven(processor, samples, sizes, ends))


def speech(seconds: float, peak: float = 0.3, seed: int = 0, rate: int = RATE) -> Samples:
    """Like a voice in level: syllables of a buzz and a hiss, four a second, over faint noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 110 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    # Phases as in speech: all at 0 would make peaks that no voice has.
    buzz = sum(np.cos(number * phase + number**2) / number for number in range(1, 25))
    syllables = np.maximum(0, np.sin(2 * np.pi * 4 * time)) ** 0.5 * (0.5 + 0.5 * np.sin(2 * np.pi * 0.9 * time) ** 2)
    voice = buzz * syllables + 0.3 * random.standard_normal(len(time)) * np.roll(syllables, rate // 8)
    voice += 0.001 * random.standard_normal(len(time))
    return (peak * voice / np.abs(voice).max(initial=1e-9)).astype(np.float32)


def decibels(samples: Samples) -> float:
    """Root mean square, against full scale."""
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2)) + 1e-12))
