"""The words of this house: what is asked for, what it is resolved to, and what comes out."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), full scale ±1."""


class Audio(msgspec.Struct, frozen=True):
    """A piece of mono audio."""

    samples: Samples
    """Shape (n,), full scale ±1."""
    sample_rate: int
    """Hertz."""
    guards: tuple[str, ...] = ()
    """What guards on speech did since the piece before, such as `retry`."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


class VoiceLatents(msgspec.Struct, frozen=True):
    """What XTTS keeps of a voice; both parts depend on the reference audio and the model alone."""

    conditioning: NDArray[np.float32]
    """Prompt of the GPT, shape (positions, model width): 32 × 1024 for XTTS-v2."""
    speaker_embedding: NDArray[np.float32]
    """Condition of the decoder, shape (512,)."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that can be asked for by `id` or by one of its `aliases`."""

    id: str
    name: str
    languages: tuple[str, ...] = ()
    """Languages of the reference, the first one the default; empty: whatever the model speaks."""
    aliases: tuple[str, ...] = ()
    """Other names that resolve to this voice, such as OpenAI's `alloy`."""
    references: tuple[Path, ...] = ()
    """Reference clips; empty for a voice that the model itself carries as latents."""
    description: str = ""
    licence: str = ""
    consent: str = ""
    """Who agreed to the voice being cloned, in words."""
    source: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A quality profile: the sole owner of every sampling parameter."""

    name: str
    temperature: float
    top_p: float
    """Smallest set of codes whose probabilities sum to this is kept."""
    top_k: int = 50
    repetition_penalty: float = 5.0
    """Divides positive logits of codes already spoken; 1 leaves them alone."""
    speed: float = 1.0
    """Tempo of the result against the model's own; the pitch stays."""
    first_segment_tokens: int = 60
    """Token limit of an utterance's first segment: a short one is heard sooner."""
    retries: int = 2
    """Further seeds tried for a segment that came out wrong while nothing of it was handed over."""
    self_check: bool = False
    """Hand segments over only when they are whole and no guard finds fault with them, or the retries are used up."""


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Speech as a front door asks for it; everything but the text may be left open."""

    text: str
    voice: str | None = None
    model: str | None = None
    quality: str | None = None
    language: str | None = None
    speed: float = 1.0
    """Factor on the profile's own speed, 0.25 to 4."""
    seed: int | None = None


class Segment(msgspec.Struct, frozen=True):
    """A stretch of text that the model speaks in one breath."""

    text: str
    """Normalised text."""
    token_ids: tuple[int, ...]
    """The model's text tokens, language token first."""


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """A request with nothing left open: all that the engine needs."""

    id: str
    """Request id, for logs."""
    segments: tuple[Segment, ...]
    voice: Voice
    latents: VoiceLatents
    language: str
    profile: Profile
    speed: float
    """Tempo of the result against the model's own: the profile's times the request's."""
    seed: int
    priority: int = 0
    """0: somebody waits for it; 1: a job, which lets people go first."""
