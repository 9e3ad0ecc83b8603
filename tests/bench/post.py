"""What the post-processors of each shipped profile take, without a model: the chain as speech goes through it."""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from more_server.speech import PostProcessing, Profile, Samples, Segment, Utterance, Voice, VoiceLatents

SAMPLE_RATE = 24_000
PIECE_SECONDS, SEGMENT_SECONDS, SECONDS = 0.25, 5.0, 20.0
"""As the engine hands audio over: pieces of a quarter of a second, segments of five."""
LEVEL_LUFS = -23.0
RUNS = 7


def measure(data_dir: Path) -> dict[str, Any]:
    """Milliseconds of work per second of audio, by profile: the median of some runs, on one thread."""
    from more_server.registry import Registry  # pyloudnorm and scipy are imported behind it
    from more_server.settings import Settings

    print("· post-processors", file=sys.stderr, flush=True)
    registry = Registry(Settings(data_dir=data_dir))
    registry.open(None)
    snapshot = registry.snapshot
    speech = speechlike(SECONDS)
    found = {}
    for name in ("fast", "balanced", "high_quality"):
        profile = snapshot.profiles[name]
        links = snapshot.chain(profile)
        times = [_run(profile, links, speech) for _ in range(RUNS)]
        found[name] = {
            "post_processors": list(profile.post_processors),
            "ms_per_s": round(1000 * statistics.median(times) / SECONDS, 3),
        }
    return found


def speechlike(seconds: float) -> Samples:
    """Noise in syllables and pauses, at the level that models speak at; its peaks ask something of a limiter."""
    random = np.random.default_rng(2)
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    syllables = np.clip(np.sin(2 * np.pi * 4 * at), 0, 1) * (np.sin(2 * np.pi * 0.4 * at) > -0.6)
    return (0.16 * syllables * random.standard_normal(len(at))).astype(np.float32)


def _run(profile: Profile, links: tuple[PostProcessing, ...], speech: Samples) -> float:
    """Seconds of the processor that one utterance takes in its chain, without the tempo, which is no plugin's."""
    from msgspec.structs import replace

    from more_server.chain import Chain

    segments = tuple(Segment("text", (1,), ".") for _ in range(round(SECONDS / SEGMENT_SECONDS)))
    chain = Chain(
        Utterance(
            id="bench",
            segments=segments,
            voice=Voice(id="nobody", name="Nobody"),
            latents=VoiceLatents(np.zeros((1, 1), np.float32), np.zeros(1, np.float32)),
            language="en",
            profile=profile,
            speed=1.0,
            seed=0,
            post_processors=tuple(replace(link, measured=LEVEL_LUFS) for link in links),
        ),
        SAMPLE_RATE,
    )
    step, segment = round(PIECE_SECONDS * SAMPLE_RATE), round(SEGMENT_SECONDS * SAMPLE_RATE)
    began = time.thread_time()
    chain.begin()
    for start in range(0, len(speech), step):
        chain.process(speech[start : start + step], (start + step) % segment == 0)
    chain.finish()
    return time.thread_time() - began
