"""The words of this house: what is asked for, what it is resolved to, and what comes out."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from more_server.errors import BadInput, shown

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
    ends_segment: bool = False
    """The last piece of its segment; a piece never reaches over the end of one."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


class VoiceLatents(msgspec.Struct, frozen=True):
    """What XTTS keeps of a voice; both parts depend on the reference audio and the model alone."""

    conditioning: NDArray[np.float32]
    """Prompt of the GPT, shape (positions, model width): 32 × 1024 for XTTS-v2."""
    speaker_embedding: NDArray[np.float32]
    """Condition of the decoder, shape (512,)."""


class MixPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several voices that a voice is mixed of."""

    weight: float
    """Share of the whole, against the weights of the other parts."""
    references: tuple[str, ...]
    """Its clips, among those of the whole voice."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that can be asked for by `id` or by one of its `aliases`."""

    id: str
    name: str
    languages: tuple[str, ...] = ()
    """Languages of the reference, the first one the default; empty: whatever the model speaks."""
    aliases: tuple[str, ...] = ()
    """Other names that resolve to this voice, such as OpenAI's `alloy`; lower case."""
    references: tuple[str, ...] = ()
    """File names of the reference clips in its store, in order; empty for a voice of the model itself."""
    mix: tuple[MixPart, ...] = ()
    """Voices that this one is mixed of; empty: all references are of one."""
    description: str = ""
    licence: str = ""
    consent: str = ""
    """Who agreed to the voice being cloned, in words."""
    source: str = ""
    store: str = ""
    """Name of the store that keeps it; empty: the model itself carries it."""
    version: str = ""
    """Another one whenever the references change; its store says what it is made of."""
    fixed: bool = False
    """It can be neither changed nor removed: it came with the program or with the model."""


VOICE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
REFERENCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ -]{0,99}\.[a-z0-9]{2,4}")
NAME_RULE = "1 to 64 lower-case letters, digits, '-' and '_', beginning with a letter or digit"
VOICE_ID_RULE = f"a voice's name is {NAME_RULE}"


def check_voice_id(voice_id: str) -> str:
    """The id, where it can be a folder's name and a part of an address everywhere. Raises BadInput."""
    if not VOICE_ID.fullmatch(voice_id):
        raise BadInput(f"{shown(voice_id)} cannot be a voice's name: {VOICE_ID_RULE}", param="name")
    return voice_id


def check_reference_name(name: str) -> str:
    """The name, where it can be a file's name everywhere. Raises BadInput."""
    if not REFERENCE_NAME.fullmatch(name):
        raise BadInput(f"{shown(name)} cannot be the name of a reference clip", param="references")
    return name


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quality profile: the sole owner of every sampling parameter."""

    name: str
    """1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter or digit."""
    temperature: Annotated[float, Meta(gt=0, le=2)]
    top_p: Annotated[float, Meta(gt=0, le=1)]
    """Smallest set of codes whose probabilities sum to this is kept."""
    top_k: Annotated[int, Meta(ge=1, le=1024)] = 50
    repetition_penalty: Annotated[float, Meta(ge=1, le=20)] = 5.0
    """Divides positive logits of codes already spoken; 1 leaves them alone."""
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    """Tempo of the result against the model's own; the pitch stays."""
    first_segment_tokens: Annotated[int, Meta(ge=5, le=1000)] = 60
    """Token limit of an utterance's first segment: a short one is heard sooner."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Further seeds tried for a segment that came out wrong while nothing of it was handed over."""
    self_check: bool = False
    """Hand segments over only when they are whole and no guard finds fault with them, or the retries are used up."""
    post_processors: tuple[str, ...] = ()
    """What the audio goes through, in order: the name of a plugin, or `plugin.name` where it offers several."""

    def derived(self, name: str, changes: Mapping[str, Any]) -> "Profile":
        """Another profile that differs in `changes`. Raises BadInput naming the field and what is allowed."""
        if not VOICE_ID.fullmatch(name):
            raise BadInput(f"name: {shown(name)} cannot be a profile's; it is {NAME_RULE}", param="name")
        if unknown := sorted(set(changes) - (set(self.__struct_fields__) - {"name"})):
            fields = ", ".join(field for field in self.__struct_fields__ if field != "name")
            raise BadInput(f"a profile has no {shown(unknown[0])}; it has: {fields}", param=unknown[0])
        try:
            values = msgspec.to_builtins(self) | dict(changes) | {"name": name}
            return msgspec.convert(values, Profile, strict=False)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            field = path.rstrip("`").lstrip(".").partition("[")[0]
            raise BadInput(f"{field}: {what[0].lower()}{what[1:]}", param=field) from error


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Speech as a front door asks for it; everything but the text may be left open."""

    text: str
    voice: str | None = None
    model: str | None = None
    quality: str | None = None
    profile: Profile | None = None
    """A quality as it was once; then `quality` is not looked at."""
    language: str | None = None
    speed: float = 1.0
    """Factor on the profile's own speed, 0.25 to 4."""
    seed: int | None = None
    whole: bool = False
    """Nobody listens before the end: what can be done better with all of the audio at hand is done so."""
    before: str = ""
    """What was spoken just before, where the text is a part of a longer one: it helps to tell the language."""
    continues: bool = False
    """More will follow it, so that the pause at its end is one between sentences."""
    priority: int = 0
    """0: somebody waits for it; 1: a job, which lets people go first."""
    door: str = ""
    """Front door that it came by, for the log, such as `http`."""
    user_agent: str = ""
    """What the client calls itself, for the log."""
    traceparent: str = ""
    """Header of W3C's Trace Context that the client sent, for the trace."""


class Segment(msgspec.Struct, frozen=True):
    """A stretch of text that the model speaks in one breath."""

    text: str
    """Normalised text."""
    token_ids: tuple[int, ...]
    """The model's text tokens, language token first."""
    mark: str = ""
    """Punctuation that it ended with in the text, such as `.`, whether it is spoken or not; empty for none."""


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
    model: str = ""
    """Lease on the loaded model that speaks it."""
    sample_rate: int = 24_000
    """Hertz of its audio."""
    seconds_per_code: float = 0.0
    """Of the model that speaks it."""
    whole: bool = False
    """Nobody listens before the end."""
    continues: bool = False
    """More of the same text will follow in another utterance."""
    post_processors: tuple["PostProcessing", ...] = ()
    """What its audio goes through, in order."""


EMPTY = np.zeros(0, np.float32)


class Stage(msgspec.Struct, frozen=True):
    """What a post-processor is made for: the audio of one utterance."""

    utterance: Utterance
    sample_rate: int
    """Hertz."""
    measured: float | None = None
    """What the kind's `measure` found for the voice; None where it has none or found nothing finite."""


class PostProcessor(ABC):
    """Audio of one utterance in, audio out; the same samples come out however the input was cut.

    Its methods are called in order on any thread, one at a time, and none after `finish`. The samples that they are
    given are finite, within ±16, and not theirs to write to. What they raise fails the request with the plugin's name.
    """

    changes_length = False
    """False: as many samples come out as went in, in all. True: the rest of a segment comes out in `end_segment`."""

    @abstractmethod
    def process(self, samples: Samples) -> Samples:
        """Take `samples`, shape (n,), and give what is ready, shape (m,), often less or nothing."""

    def end_segment(self) -> Samples:
        """A segment has ended with the last samples; called for every one, the last included, before `finish`."""
        return EMPTY

    def finish(self) -> Samples:
        """The rest."""
        return EMPTY


class PostProcessorKind(msgspec.Struct, frozen=True):
    """A post-processor as a plugin offers it."""

    make: Callable[[Stage], PostProcessor]
    """Makes one for an utterance; quick, as the first audio waits for it."""
    name: str = ""
    """Among the plugin's own; empty for its only one, which goes by the plugin's name."""
    measure: Callable[[Audio], float] | None = None
    """Measures some seconds of a voice's unprocessed speech; kept with the voice and handed to `make` until the code of
    the plugin changes, whatever its settings. What is not finite counts as not measured."""


class PostProcessing(msgspec.Struct, frozen=True):
    """A post-processor in the chain of an utterance."""

    id: str
    """As profiles name it."""
    plugin: str
    kind: PostProcessorKind
    measured: float | None = None
    """Of the utterance's voice."""
    stamp: str = ""
    """Another one when the plugin's code has changed."""
