"""What every side is asked to speak, and what is made of its times. Knows no torch."""

import statistics
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from more_server.engine.guards import Bounds
from more_server.speech import Profile, Segment, Utterance, Voice, VoiceLatents
from more_server.xtts.config import XttsConfig

CONDITIONING_POSITIONS = 32
"""XTTS's perceiver gives so many latents, whatever the model's size."""
SAMPLING = {"temperature": 0.75, "top_p": 0.85, "top_k": 50, "repetition_penalty": 10.0}
"""The defaults of coqui's `inference`, so that both sides draw alike."""
STREAM_GAP_SECONDS = 0.001
"""Shorter ones are the clock's."""


def forced_utterance(config: XttsConfig, codes: int, tokens: int, seed: int, latents: VoiceLatents) -> Utterance:
    """An utterance of so many text tokens that an engine with `forced_bounds` speaks in exactly so many codes.

    latents: one object for all, as a server has of a voice that is used again.
    """
    random = np.random.default_rng(seed)
    # The upper half of a vocabulary is never a special token.
    token_ids = random.integers(config.gpt.number_text_tokens // 2, config.gpt.number_text_tokens, tokens).tolist()
    return Utterance(
        id=f"bench-{seed}",
        segments=(Segment("a" * codes, tuple(token_ids)),),
        voice=Voice(id="nobody", name="Nobody"),
        latents=latents,
        language=config.languages[0],
        profile=Profile(name="bench", retries=0, **SAMPLING),
        speed=1.0,
        seed=seed,
    )


def forced_bounds(segment: Segment, _language: str, most_codes: int) -> Bounds:
    """As many codes as the segment has characters: no stop before, none needed then."""
    codes = min(len(segment.text), most_codes)
    return Bounds(floor=codes, expected=codes, limit=codes, short=False)


def random_latents(config: XttsConfig) -> VoiceLatents:
    """Latents of nobody's voice, always the same, of the model's sizes."""
    random = np.random.default_rng(11)
    embedding = random.normal(size=config.decoder.cond_channels)
    return VoiceLatents(
        conditioning=(0.3 * random.normal(size=(CONDITIONING_POSITIONS, config.gpt.model_dim))).astype(np.float32),
        speaker_embedding=(embedding / np.linalg.norm(embedding)).astype(np.float32),
    )


def check_lengths(config: XttsConfig, codes: int, tokens: int) -> None:
    """Raises ValueError for what the model has no positions for."""
    most_codes = config.gpt.max_mel_tokens - 3  # coqui's own limit: two less than ours, see `max_gen_mel_tokens`
    if codes > most_codes:
        raise ValueError(f"--codes {codes}: {config.name} speaks at most {most_codes} codes in one breath")
    most_tokens = config.gpt.max_text_tokens - 1  # coqui asserts that the text is shorter than the table
    if tokens > most_tokens:
        raise ValueError(f"--tokens {tokens}: {config.name} reads at most {most_tokens} text tokens in one breath")


class Heard(msgspec.Struct):
    """One stream as its listener had it: when each chunk arrived and how long it plays, seconds from the request."""

    asked: float
    arrivals: list[float] = msgspec.field(default_factory=list)
    lengths: list[float] = msgspec.field(default_factory=list)

    def chunk(self, seconds: float) -> None:
        """A chunk of so many seconds of audio has just arrived."""
        if seconds:
            self.arrivals.append(time.perf_counter() - self.asked)
            self.lengths.append(seconds)

    @property
    def first(self) -> float:
        return self.arrivals[0]

    @property
    def audio(self) -> float:
        return sum(self.lengths)

    def gaps(self) -> list[float]:
        """Seconds of silence, each time that a player which began with the first chunk had nothing left to play."""
        found, heard_out = [], self.arrivals[0]
        for arrival, length in zip(self.arrivals, self.lengths, strict=True):
            if arrival > heard_out + STREAM_GAP_SECONDS:
                found.append(arrival - heard_out)
            heard_out = max(heard_out, arrival) + length
        return found


def listening(streams: Sequence[Heard]) -> dict[str, object]:
    """First audio and gaps of streams, whatever served them."""
    firsts, gaps = [heard.first for heard in streams], [gap for heard in streams for gap in heard.gaps()]
    return {
        "first_audio_ms_p50": milliseconds(statistics.median(firsts)),
        "first_audio_ms_p95": milliseconds(percentile(firsts, 0.95)),
        "heard": len(streams),
        "gaps": len(gaps),
        "longest_gap_ms": milliseconds(max(gaps, default=0.0)),
    }


def codes_in(config: XttsConfig, seconds: float) -> int:
    """Codes that so much audio was made of."""
    return round(seconds / config.seconds_per_code)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 2)
