"""What a model needs of a voice, worked out once: latents, and what post-processors measure of its speech."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import structlog
from safetensors import SafetensorError
from safetensors.numpy import load, save

from more_server.audio.read import read, resample, trim_silence
from more_server.errors import BadInput, BrokenVoice, PluginFailure, VoiceNotFound
from more_server.fleet import LoadedModel
from more_server.registry import awaited_within, described
from more_server.settings import Settings
from more_server.speech import Audio, MixPart, PostProcessing, Samples, Utterance, Voice, VoiceLatents
from more_server.voices import Shares, VoiceLibrary

REFERENCE_SECONDS = 60.0
"""Of each voice, at most; the conditioning uses 30, the speaker embedding all of it."""
MOST_LATENTS, MOST_MEASURED = 512, 4096
"""Kept in memory, the longest unused going first: latents take 0.13 MB each for XTTS-v2."""
Result = TypeVar("Result")
Clips = list[tuple[Samples, Samples]]
GetUtterance = Callable[[LoadedModel, Voice, VoiceLatents, int], Utterance]

log = structlog.get_logger("more_server.voiceprints")


class Voiceprints:
    """Latents and measurements, from memory, from the cache of the voice's store, else worked out.

    Whoever asks while something is being worked out waits for that: each would stall the streams that are running.
    """

    def __init__(self, settings: Settings, library: VoiceLibrary, speak_sample: GetUtterance) -> None:
        """speak_sample: what a voice says to be measured, with this priority."""
        self.settings = settings
        self._library = library
        self._speak_sample = speak_sample
        self._latents: _Kept[VoiceLatents] = _Kept(MOST_LATENTS)
        self._measured: _Kept[float | None] = _Kept(MOST_MEASURED)

    # -- latents

    async def latents(self, model: LoadedModel, shares: Shares) -> VoiceLatents:
        """Latents of a voice or of a mixture. Raises BrokenVoice when a reference cannot be used."""
        return mixed([(weight, await self._of_one(model, voice)) for weight, voice in shares])

    async def _of_one(self, model: LoadedModel, voice: Voice) -> VoiceLatents:
        if not voice.store:
            if voice.id not in model.studio:
                raise VoiceNotFound(f"the model {model.id} has no voice {voice.id!r}", param="voice")
            return model.studio[voice.id]
        # Another model may take the id of one that was removed.
        key = f"{voice.store} {voice.id} {voice.version} {model.fingerprint}"
        return await self._latents.get(key, lambda: self._load(model, voice))

    async def _load(self, model: LoadedModel, voice: Voice) -> VoiceLatents:
        try:
            clips = await asyncio.to_thread(self._library.clips, voice)
            key = _key(model, voice, clips)
            if (latents := await asyncio.to_thread(self._read, voice, key)) is not None:
                return latents
            parts = []
            for part in voice.mix or (MixPart(1.0, voice.references),):
                decoded = await asyncio.to_thread(self._decoded, model, part, clips)
                parts.append((part.weight, await model.engine.condition(decoded)))
            latents = mixed(parts)
        except PluginFailure:
            raise
        except (BadInput, OSError) as error:
            # Whoever asked cannot mend the clip, and did not send it.
            raise BrokenVoice(
                f"voice {voice.id} has a reference that cannot be used: {error}", param="voice"
            ) from error
        if not (np.isfinite(latents.conditioning).all() and np.isfinite(latents.speaker_embedding).all()):
            raise BrokenVoice(f"voice {voice.id} has a reference that the model makes no numbers of", param="voice")
        await asyncio.to_thread(self._library.write_derived, voice, key, _packed(latents))
        return latents

    def _read(self, voice: Voice, key: str) -> VoiceLatents | None:
        content = self._library.read_derived(voice, key)
        if content is None:
            return None
        try:
            tensors = load(content)
            return VoiceLatents(tensors["conditioning"], tensors["speaker_embedding"])
        except (SafetensorError, KeyError) as error:
            log.warning("cached latents are damaged and made anew", voice_id=voice.id, reason=str(error))
            return None

    def _decoded(self, model: LoadedModel, part: MixPart, contents: Mapping[str, bytes]) -> Clips:
        """Each clip at the model's mel rate and at its speaker encoder's."""
        config, limits = model.engine.config, self.settings.limits
        clips = []
        for name in part.references:
            try:
                audio = read(
                    contents[name],
                    sample_rate=config.sample_rate,
                    max_bytes=limits.reference_bytes,
                    max_seconds=limits.reference_seconds,
                    max_channels=limits.reference_channels,
                )
            except BadInput as error:
                raise BadInput(f"{name}: {error.message}") from error
            samples = trim_silence(audio.samples, audio.sample_rate)[: round(REFERENCE_SECONDS * audio.sample_rate)]
            clips.append((samples, resample(samples, audio.sample_rate, config.speaker_encoder.sample_rate)))
        return clips

    # -- measurements

    async def measured(
        self, model: LoadedModel, shares: Shares, chain: Sequence[PostProcessing], priority: int
    ) -> tuple[PostProcessing, ...]:
        """The chain, each of its post-processors with what it measures of the voice.

        A mixture is given the weighed mean of its parts. What is not known yet is spoken with this priority. Raises
        PluginFailure naming the plugin.
        """
        found = []
        for link in chain:
            if link.kind.measure is not None:
                values = [(weight, await self._measure(model, voice, link, priority)) for weight, voice in shares]
                known = [weight * value for weight, value in values if value is not None]
                link = msgspec.structs.replace(link, measured=sum(known) if len(known) == len(values) else None)
            found.append(link)
        return tuple(found)

    async def _measure(self, model: LoadedModel, voice: Voice, link: PostProcessing, priority: int) -> float | None:
        latents = await self._of_one(model, voice)
        state = hashlib.sha256(latents.conditioning.tobytes() + latents.speaker_embedding.tobytes())
        # A voice without a language of its own is measured in the default one.
        spoken = voice.languages or self.settings.default_language
        state.update(f"{model.fingerprint} {link.id} {link.stamp} {spoken}".encode())
        key = state.hexdigest()
        return await self._measured.get(key, lambda: self._make(model, voice, latents, link, key, priority))

    async def _make(
        self, model: LoadedModel, voice: Voice, latents: VoiceLatents, link: PostProcessing, key: str, priority: int
    ) -> float | None:
        if voice.store and (kept := await asyncio.to_thread(self._library.read_derived, voice, key)) is not None:
            try:
                return msgspec.json.decode(kept, type=float | None)
            except msgspec.DecodeError as error:
                log.warning("a kept measurement is damaged and made anew", voice_id=voice.id, reason=str(error))
        sample = await self._sample(model, voice, latents, priority)
        assert link.kind.measure is not None
        measure, seconds = link.kind.measure, self.settings.plugin_seconds
        try:
            found = float(await awaited_within(seconds, lambda: measure(sample)))
        except Exception as error:
            raise PluginFailure(link.plugin, f"measure: {described(error)}") from error
        value = found if np.isfinite(found) else None
        if voice.store:
            await asyncio.to_thread(self._library.write_derived, voice, key, msgspec.json.encode(value))
        return value

    async def _sample(self, model: LoadedModel, voice: Voice, latents: VoiceLatents, priority: int) -> Audio:
        utterance = self._speak_sample(model, voice, latents, priority)
        pieces = [audio async for audio in model.engine.generate(utterance)]
        return Audio(np.concatenate([audio.samples for audio in pieces]), pieces[0].sample_rate)


def mixed(parts: Sequence[tuple[float, VoiceLatents]]) -> VoiceLatents:
    """The weighed mean of latents; the embedding keeps the length that the parts' have, as the decoder expects it."""
    if len(parts) == 1:
        return parts[0][1]
    total = sum(weight for weight, _ in parts)
    shares = [(weight / total, latents) for weight, latents in parts]
    conditioning = sum(weight * latents.conditioning for weight, latents in shares)
    embedding = sum(weight * latents.speaker_embedding for weight, latents in shares)
    length = sum(weight * float(np.linalg.norm(latents.speaker_embedding)) for weight, latents in shares)
    scale = length / max(float(np.linalg.norm(embedding)), 1e-9)
    return VoiceLatents(np.asarray(conditioning, np.float32), np.asarray(embedding * scale, np.float32))


def _key(model: LoadedModel, voice: Voice, clips: Mapping[str, bytes]) -> str:
    """Hash of the reference clips, of how they are mixed, and of the model's fingerprint."""
    digest = hashlib.sha256(f"{model.fingerprint}:{REFERENCE_SECONDS}".encode())
    for part in voice.mix or (MixPart(1.0, voice.references),):
        digest.update(f":{part.weight if voice.mix else 1}".encode())
        for name in part.references:
            digest.update(hashlib.sha256(clips[name]).digest())
    return digest.hexdigest()


def _packed(latents: VoiceLatents) -> bytes:
    return save(
        {
            "conditioning": np.ascontiguousarray(latents.conditioning),
            "speaker_embedding": np.ascontiguousarray(latents.speaker_embedding),
        }
    )


class _Kept(Generic[Result]):
    """What is being worked out and what was, by key; failures are forgotten, and so is the longest unused."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: OrderedDict[str, asyncio.Task[Result]] = OrderedDict()

    async def get(self, key: str, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What is kept under a key, else what `make` gives, once for all who ask meanwhile, whoever of them leaves."""
        task = self._tasks.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._tasks[key] = asyncio.create_task(make())
            task.add_done_callback(lambda done: self._forget(key, done))
        self._tasks.move_to_end(key)
        while len(self._tasks) > self._most:
            self._tasks.popitem(last=False)
        return await asyncio.shield(task)

    def _forget(self, key: str, done: "asyncio.Task[Result]") -> None:
        """A failure's traceback holds the clips that it came from."""
        if (done.cancelled() or done.exception() is not None) and self._tasks.get(key) is done:
            del self._tasks[key]
