"""Voices of all stores and of the model that speaks: listed, found by name, mixed by name, added and changed."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog
from safetensors.numpy import load_file

from more_server.audio import apart
from more_server.audio.read import read, trim_silence
from more_server.errors import BadInput, MoreError, PluginFailure, TooLarge, VoiceNotFound, allowed, shown
from more_server.hookspecs import Listing, VoiceStore
from more_server.registry import Hung, Registry, Snapshot, described, within
from more_server.speech import Audio, Voice, VoiceLatents, check_voice_id
from more_server.tables import LimitSettings
from more_server.voice_toml import REFERENCE_SUFFIXES

OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)
"""OpenAI's names (openai-python 3.54), which clients send without asking; one nobody claims is the default voice."""
SHORTEST_REFERENCE_SECONDS = 1.0
"""XTTS drops chunks below 0.33 s; below a second there is hardly a voice to copy."""
CHECK_SAMPLE_RATE = 24_000
MOST_CHARACTERS = 1000
"""Of what a request calls its voice."""
MOST_MIXED = 8
"""Voices in one mixture: each may have to be conditioned before anything is heard."""
WRITE_TIMES = 6
"""As long as for other things a store may take to write a voice."""

Result = TypeVar("Result")
Shares = tuple[tuple[float, Voice], ...]
"""What a voice is spoken as: weights, which sum to 1, and voices."""
log = structlog.get_logger("more_server.voices")


class VoiceView:
    """All voices at one moment, in order of id."""

    def __init__(self, voices: Sequence[Voice], problems: Sequence[str]) -> None:
        self.voices = tuple(sorted(voices, key=lambda voice: voice.id))
        self.problems = tuple(problems)
        """A sentence for each voice and each store that cannot be used."""

    def find(self, name: str, param: str = "voice") -> Voice:
        """The voice with this id, alias or name, in any case. Raises VoiceNotFound listing what exists."""
        wanted = name.strip().lower()
        # Those that ship own all of OpenAI's names; one of the user's own that claims such a name means it.
        own_first = sorted(self.voices, key=lambda voice: voice.fixed)
        for names in (lambda v: (v.id,), lambda v: v.aliases, lambda v: (v.name.lower(),)):
            for voice in own_first:
                if wanted in names(voice):
                    return voice
        raise VoiceNotFound(
            f"there is no voice {shown(name)}; there are: {allowed(voice.id for voice in self.voices)}", param=param
        )

    def resolve(self, name: str | None, default: str) -> Shares:
        """What a request means by `name`: a voice, or a mixture such as `a+b` or `a(2)+b(1)`.

        None, or one of OpenAI's names that nobody claims, is the default voice, which may be a mixture, too; without a
        default it is the first voice. Raises VoiceNotFound or BadInput.
        """
        if name:
            try:
                return self._named(name)
            except VoiceNotFound:
                if name.strip().lower() not in OPENAI_VOICES:
                    raise
        if default:
            return self._named(default)
        if self.voices:
            return ((1.0, self.voices[0]),)
        raise VoiceNotFound("no voice is installed; add one with `more-server voices add NAME CLIP`", param="voice")

    def _named(self, name: str) -> Shares:
        if len(name) > MOST_CHARACTERS:
            raise BadInput(f"voice has {len(name)} characters; at most {MOST_CHARACTERS} are allowed", param="voice")
        try:
            return ((1.0, self.find(name)),)
        except VoiceNotFound:
            if "+" not in name:  # which may be part of a name that people gave
                raise
        return self._mixture(name)

    def _mixture(self, name: str) -> Shares:
        parts = name.split("+")
        if len(parts) > MOST_MIXED:
            raise BadInput(f"voice mixes {len(parts)} voices; at most {MOST_MIXED} are allowed", param="voice")
        weighed = [_weighed(part, name) for part in parts]
        total = sum(weight for weight, _ in weighed)
        if not total > 0:
            raise BadInput(f"the weights of {shown(name)} are all 0", param="voice")
        shares: dict[str, tuple[float, Voice]] = {}
        for weight, one in weighed:
            voice = self.find(one)
            before = shares[voice.id][0] if voice.id in shares else 0.0
            shares[voice.id] = (before + weight / total, voice)
        return tuple(share for share in shares.values() if share[0] > 0)


def mixed_voice(shares: Shares) -> Voice:
    """The voice of a mixture, as logs and listings name it; a single share is that voice itself."""
    if len(shares) == 1:
        return shares[0][1]
    name = "+".join(f"{voice.id}({weight:.3g})" for weight, voice in shares)
    # The heaviest part's languages come first; where it has none, it speaks whatever the model does, and so does this.
    heaviest = [voice for _, voice in sorted(shares, key=lambda share: -share[0])]
    languages = dict.fromkeys(language for voice in heaviest for language in voice.languages)
    version = "+".join(voice.version for _, voice in shares)
    return Voice(id=name, name=name, languages=tuple(languages) if heaviest[0].languages else (), version=version)


def _weighed(part: str, whole: str) -> tuple[float, str]:
    # One run of anything, then digits: nothing that could be matched in more than one way, however long it is.
    matched = re.fullmatch(r"([^()]+)(?:\( *(\d{1,6}(?:\.\d{0,6})?) *\))?", part.strip())
    if not matched or not matched[1].strip():
        raise BadInput(f"voice {shown(whole)} cannot be read; mixtures are written a+b or a(2)+b(1)", param="voice")
    return float(matched[2] or 1), matched[1].strip()


ADDED_AT_A_TIME = 2
"""Each may take a core, and the memory that audio/apart.py says."""


class VoiceLibrary:
    """The voices of the registry's stores. Methods block; call them off the event loop.

    A store that fails or hangs is told in `problems` and on its plugin's row; the others go on.
    """

    def __init__(self, registry: Registry, plugin_seconds: float) -> None:
        self._registry = registry
        self.seconds = plugin_seconds
        """How long a store may take for one thing."""
        self.adding = asyncio.Semaphore(ADDED_AT_A_TIME)
        """For whoever looks through recordings that were sent: each is decoded in a process of its own."""

    def view(self, studio: Mapping[str, VoiceLatents] | None = None, snapshot: Snapshot | None = None) -> VoiceView:
        """All voices as they are now, an earlier store's before a later one's, `studio` voices of the model last.

        snapshot: other stores than those in force.
        """
        snapshot = snapshot or self._registry.snapshot
        voices = {one: Voice(id=one, name=one.replace("-", " ").title(), fixed=True) for one in studio or {}}
        problems = list(snapshot.lost_stores)
        for plugin, store in reversed(snapshot.stores):
            try:
                listing = self._listing(plugin, store)
            except MoreError as error:
                problems.append(f"store {store.name}: {error.message}")
                continue
            voices |= {voice.id: voice for voice in listing.voices}
            problems += listing.problems
        return VoiceView(list(voices.values()), problems)

    def _listing(self, plugin: str, store: VoiceStore) -> Listing:
        listing = self._asked(plugin, store.list)
        if not isinstance(listing, Listing):
            raise PluginFailure(plugin, f"list of the store {store.name} gave a {type(listing).__name__}, no Listing")
        return listing

    def store(self, name: str = "") -> tuple[str, VoiceStore]:
        """Plugin and store of this name; without one, where new voices go. Raises BadInput."""
        stores = self._registry.snapshot.stores
        for plugin, store in stores:
            if store.name == name if name else store.writable:
                return plugin, store
        names = allowed(store.name for _, store in stores)
        what = f"there is no store {shown(name)}" if name else "no store can be written"
        raise BadInput(f"{what}; there are: {names}", param="store")

    def clips(self, voice: Voice) -> dict[str, bytes]:
        """Content of its references, by name. Raises VoiceNotFound or what the store fails with."""
        if not voice.references:
            return {}
        plugin, store = self.store(voice.store)
        return {name: self._asked(plugin, partial(store.read, voice.id, name)) for name in voice.references}

    def add(self, voice: Voice, clips: Mapping[str, bytes], store_name: str = "") -> Voice:
        """Keep a new voice with clips that were checked (`check_clip`), all of it or nothing.

        Raises BadInput for an id that does not fit or is taken.
        """
        check_voice_id(voice.id)
        plugin, store = self.store(store_name)
        if not store.writable:
            raise BadInput(f"the store {store.name!r} cannot be written", param="store")
        if any(known.id == voice.id for known in self.view().voices):
            raise BadInput(f"a voice {voice.id!r} exists already; remove it first or choose another name", param="name")
        # Clips on their way to another machine may take longer than a question does.
        self._asked(plugin, lambda: store.write(voice, clips), WRITE_TIMES * self.seconds)
        return self.find(voice.id)

    def find(self, voice_id: str) -> Voice:
        """The voice with this very id. Raises VoiceNotFound."""
        view = self.view()
        for voice in view.voices:
            if voice.id == voice_id:
                return voice
        raise VoiceNotFound(
            f"there is no voice {shown(voice_id)}; there are: {allowed(voice.id for voice in view.voices)}",
            param="voice",
        )

    def update(self, voice: Voice) -> Voice:
        """Replace what is known of a voice. Raises BadInput or VoiceNotFound."""
        plugin, store = self._changeable(voice)
        self._asked(plugin, lambda: store.update(voice))
        return self.find(voice.id)

    def remove(self, voice_id: str) -> None:
        """Delete a voice. Raises VoiceNotFound, or BadInput for one that stays."""
        voice = self.find(voice_id)
        plugin, store = self._changeable(voice)
        self._asked(plugin, lambda: store.delete(voice.id))

    def _changeable(self, voice: Voice) -> tuple[str, VoiceStore]:
        if voice.fixed or not voice.store:
            raise BadInput(f"the voice {voice.id!r} came with the model or the program; it stays", param="voice")
        return self.store(voice.store)

    def read_derived(self, voice: Voice, key: str) -> bytes | None:
        """What was worked out for a voice and kept under a key, if it is there; a store that fails has nothing."""
        plugin, store = self.store(voice.store)
        try:
            return self._asked(plugin, lambda: store.read_derived(key))
        except MoreError as error:
            log.warning("nothing read from the cache of a store", store=store.name, reason=error.message)
            return None

    def write_derived(self, voice: Voice, key: str, content: bytes) -> None:
        """Keep what can be worked out again; a store that fails loses it."""
        plugin, store = self.store(voice.store)
        try:
            self._asked(plugin, lambda: store.write_derived(key, content))
        except MoreError as error:
            log.warning("not cached", store=store.name, voice_id=voice.id, reason=error.message)

    def _asked(self, plugin: str, work: Callable[[], Result], seconds: float | None = None) -> Result:
        try:
            return within(seconds or self.seconds, work)
        except Hung as error:
            self._registry.report(plugin, str(error), hung=True)
            raise PluginFailure(plugin, str(error)) from error
        except MoreError:
            raise
        except Exception as error:
            reason = described(error)
            self._registry.report(plugin, reason, error)
            raise PluginFailure(plugin, reason) from error


def check_clip(suffix: str, content: bytes, limits: LimitSettings) -> Audio:
    """The clip's audio at CHECK_SAMPLE_RATE, decoded apart.

    Raises BadInput or TooLarge unless it is read and holds enough speech, and what `apart.decode` does besides.
    """
    if suffix not in REFERENCE_SUFFIXES:
        raise BadInput(
            f"a reference cannot be a {shown(suffix) if suffix else 'nameless'} file; "
            f"allowed are {allowed(REFERENCE_SUFFIXES)}",
            param="audio_sample",
        )
    audio = read(
        content,
        sample_rate=CHECK_SAMPLE_RATE,
        max_bytes=limits.reference_bytes,
        max_seconds=limits.reference_seconds,
        max_channels=limits.reference_channels,
        by=apart.decode,
    )
    speech = len(trim_silence(audio.samples, audio.sample_rate)) / audio.sample_rate
    if speech < SHORTEST_REFERENCE_SECONDS or not np.abs(audio.samples).max() > 0:
        raise BadInput(
            f"the reference holds {speech:.1f} s of sound; at least {SHORTEST_REFERENCE_SECONDS:.0f} s are needed, "
            "6 to 30 s of clean speech are good",
            param="audio_sample",
        )
    return audio


def named_clips(contents: Sequence[tuple[str, bytes]], limits: LimitSettings) -> dict[str, bytes]:
    """Checked clips under the names that a new voice gives them. contents: suffix, such as `.wav`, and content."""
    if not contents:
        raise BadInput("a voice needs at least one reference clip", param="audio_sample")
    if len(contents) > limits.voice_references:
        raise BadInput(
            f"{len(contents)} reference clips; at most {limits.voice_references} are allowed", param="audio_sample"
        )
    for number, (suffix, content) in enumerate(contents, start=1):
        try:
            check_clip(suffix, content, limits)
        except BadInput as error:
            where = f"recording {number} of {len(contents)}: " if len(contents) > 1 else ""
            raise type(error)(where + error.message, param=error.param) from error
    return {f"reference-{number:02}{suffix}": content for number, (suffix, content) in enumerate(contents, start=1)}


def read_clip(path: Path, limits: LimitSettings) -> bytes:
    """Content of a clip on disk. Raises BadInput or TooLarge."""
    try:
        with path.open("rb") as file:
            content = file.read(limits.reference_bytes + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", param="audio_sample") from error
    if len(content) > limits.reference_bytes:
        raise TooLarge(f"{path} is larger than {limits.reference_bytes} bytes", param="audio_sample")
    return content


def read_studio_voices(model_dir: Path) -> dict[str, VoiceLatents]:
    """Voices that a model folder carries as latents: `<name>/conditioning` and `<name>/speaker_embedding`."""
    path = model_dir / "speakers.safetensors"
    if not path.is_file():
        return {}
    tensors = load_file(path)
    voices = {}
    for name in sorted({key.rpartition("/")[0] for key in tensors}):
        voice_id = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        conditioning, embedding = tensors[f"{name}/conditioning"], tensors[f"{name}/speaker_embedding"]
        voices[voice_id] = VoiceLatents(conditioning.astype(np.float32), embedding.astype(np.float32))
    return voices
