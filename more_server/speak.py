"""The path of speech: resolve a request, then text → engine → tempo → audio. Every front door comes through here."""

import asyncio
import hashlib
import math
import os
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec
import numpy as np
import structlog

from more_server.audio.read import read_file, resample, trim_silence
from more_server.audio.stretch import Stretcher
from more_server.engine.engine import LOADING_RETRY_SECONDS, Engine
from more_server.errors import (
    BadInput,
    BrokenVoice,
    ModelLoading,
    ModelNotFound,
    SettingsError,
    VoiceNotFound,
    allowed,
    shown,
)
from more_server.profiles import OPENAI_MODELS, QUALITY_OF_MODEL
from more_server.settings import Settings
from more_server.speech import Audio, Profile, Samples, Segment, SpeechRequest, Utterance, Voice, VoiceLatents
from more_server.text import normalise, resolve_language, split
from more_server.voices import LatentCache, VoiceLibrary, read_studio_voices

SPEED_RANGE = (0.25, 4.0)
"""OpenAI's limits of `speed`."""
REFERENCE_SECONDS = 60.0
"""Of each voice, at most; the conditioning uses 30, the speaker embedding all of it."""
WARM_UP = "Hello there, this is what I sound like when I say a whole sentence."
"""Long enough for every size of piece that a stream begins with: oneDNN compiles each when it first comes."""
SEED_BITS = 63
"""Seeds fit a signed 64-bit integer, which is what JSON readers keep exactly at most."""

log = structlog.get_logger("more_server.speak")


def unknown_model(model: str, known: list[str]) -> ModelNotFound:
    """The error for a `model` that is none of those that can be asked for."""
    return ModelNotFound(f"there is no model {shown(model)}; there are: {allowed(known)}", param="model")


def _has_failed(task: asyncio.Task[VoiceLatents]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class Speaker:
    """Speaks requests with one engine, the installed voices and the quality profiles."""

    def __init__(
        self, settings: Settings, engine: Engine, voices: VoiceLibrary, profiles: Mapping[str, Profile]
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.voices = voices
        self.profiles = profiles
        self.ready = False
        """The model is loaded and has spoken once."""
        self._latents = LatentCache(settings.cache_dir / "latents")
        self._recent: dict[str, tuple[object, asyncio.Task[VoiceLatents]]] = {}
        self._weights: os.stat_result | None = None

    async def open(self) -> None:
        """Wait for the model. Raises ModelError or SettingsError."""
        await self.engine.wait_ready()
        self._weights = (self.engine.model_dir / "model.safetensors").stat()
        self.voices.studio = await asyncio.to_thread(read_studio_voices, self.engine.model_dir)
        if name := self.settings.default_voice:
            try:
                self.voices.find(name)
            except VoiceNotFound as error:
                raise SettingsError(f"default_voice: {error.message}") from error

    async def start(self) -> None:
        """Wait for the model, then speak once, so that nobody's first request pays for it. Raises ModelError."""
        await self.open()
        for voice in dict.fromkeys([self.settings.default_voice, *(voice.id for voice in self.voices.all())]):
            language = self.engine.config.languages[0]
            try:
                utterance = await self.resolve(
                    SpeechRequest(text=WARM_UP, voice=voice, language=language, seed=0), "warm-up"
                )
                async for _ in self.speak(utterance):
                    pass
            except BrokenVoice as error:
                log.warning("a voice cannot be used", voice_id=voice, reason=error.message)
            else:
                break
        self.ready = True

    @property
    def model_created(self) -> int:
        """When the weights were written, Unix seconds."""
        return int(self._opened().st_mtime)

    def _opened(self) -> os.stat_result:
        if self._weights is None:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY_SECONDS)
        return self._weights

    # -- resolving

    async def resolve(self, request: SpeechRequest, request_id: str) -> Utterance:
        """Check a request and settle everything it left open.

        Raises BadInput and its kin naming the field, Busy or ModelLoading.
        """
        self._check_text(request.text)
        if not SPEED_RANGE[0] <= request.speed <= SPEED_RANGE[1]:
            raise BadInput(f"speed must be between {SPEED_RANGE[0]} and {SPEED_RANGE[1]}", param="speed")
        if request.seed is not None and not 0 <= request.seed < 2**SEED_BITS:
            raise BadInput(f"seed must be between 0 and {2**SEED_BITS - 1}", param="seed")
        profile = self._profile(request)
        voice = self._voice(request)
        language = self._language(request, voice)
        segments = await asyncio.to_thread(self._segments, request.text, language, profile)
        return Utterance(
            id=request_id,
            segments=segments,
            voice=voice,
            latents=await self.latents(voice),
            language=language,
            profile=profile,
            speed=profile.speed * request.speed,
            # 53 bits: what a JavaScript client can send back unchanged.
            seed=secrets.randbits(53) if request.seed is None else request.seed,
        )

    def model_ids(self) -> list[str]:
        """What `model` may be: the model that serves, and OpenAI's names for it."""
        return [self.engine.model_dir.name, *OPENAI_MODELS]

    def _check_text(self, text: str) -> None:
        limit = self.settings.limits.text_characters
        if not text.strip():
            raise BadInput("input is empty; send the text to speak", param="input")
        if len(text) > limit:
            raise BadInput(f"input has {len(text)} characters; at most {limit} are allowed", param="input")

    def _profile(self, request: SpeechRequest) -> Profile:
        name = request.quality or QUALITY_OF_MODEL.get(request.model or "") or self.settings.default_quality
        if name not in self.profiles:
            raise BadInput(f"there is no quality {shown(name)}; there are: {allowed(self.profiles)}", param="quality")
        return self.profiles[name]

    def _voice(self, request: SpeechRequest) -> Voice:
        default, model = self.settings.default_voice, request.model
        if model and model not in self.model_ids():
            # LibreChat's LocalAI mode sends the voice as the model and no voice.
            if not request.voice:
                try:
                    return self.voices.find(model)
                except VoiceNotFound:
                    pass
            raise unknown_model(model, self.model_ids())
        return self.voices.resolve(request.voice, default)

    def _language(self, request: SpeechRequest, voice: Voice) -> str:
        spoken = self.engine.config.languages
        if request.language:
            language = resolve_language(request.language)
            if language not in spoken:
                raise BadInput(
                    f"language {shown(request.language)} is not spoken by the model {self.engine.model_dir.name}; "
                    f"it speaks: {allowed(spoken)}",
                    param="language",
                )
            return language
        wishes = [*voice.languages, self.settings.default_language, spoken[0]]
        return next(language for wish in wishes if (language := resolve_language(wish)) in spoken)

    def _segments(self, text: str, language: str, profile: Profile) -> tuple[Segment, ...]:
        tokenizer = self.engine.tokenizer
        spoken = normalise(text, language)
        # 16,384 digits are 65,000 letters and half an hour of speech.
        if len(spoken) > (limit := 2 * self.settings.limits.text_characters):
            raise BadInput(
                f"input has {len(spoken)} characters once its numbers and signs are written out; "
                f"at most {limit} are allowed",
                param="input",
            )
        pieces = split(
            spoken,
            language,
            count_tokens=lambda piece: tokenizer.count(piece, language),
            max_tokens=self.engine.config.max_segment_tokens,
            first_max_tokens=profile.first_segment_tokens,
        )
        segments = tuple(Segment(piece, tokenizer.encode(piece, language)) for piece in pieces)
        if not any(len(segment.token_ids) > 1 for segment in segments):
            raise BadInput("input holds nothing that can be spoken: no letter and no digit", param="input")
        return segments

    # -- voices

    async def latents(self, voice: Voice) -> VoiceLatents:
        """Latents of a voice: from memory, from the cache on disk, else from its references.

        Raises BrokenVoice when a reference cannot be used.
        """
        if voice.id in self.voices.studio and not voice.references:
            return self.voices.studio[voice.id]
        try:
            stamp = [(clip, clip.stat().st_mtime_ns) for clip in voice.references]
        except OSError as error:
            raise BrokenVoice(f"voice {voice.id}: {error}", param="voice") from error
        known = self._recent.get(voice.id)
        if known is None or known[0] != stamp or _has_failed(known[1]):
            # One task for all who ask meanwhile: each would stall the streams that are running.
            known = (stamp, asyncio.create_task(self._load_latents(voice)))
            self._recent[voice.id] = known
        return await asyncio.shield(known[1])

    async def _load_latents(self, voice: Voice) -> VoiceLatents:
        try:
            key = await asyncio.to_thread(self._latents.key, voice, self._fingerprint())
            if (latents := await asyncio.to_thread(self._latents.read, key)) is not None:
                return latents
            latents = await self.engine.condition(await asyncio.to_thread(self._clips, voice))
        except (BadInput, OSError) as error:
            # Whoever asked cannot mend the clip, and did not send it.
            raise BrokenVoice(
                f"voice {voice.id} has a reference that cannot be used: {error}", param="voice"
            ) from error
        if not (np.isfinite(latents.conditioning).all() and np.isfinite(latents.speaker_embedding).all()):
            raise BrokenVoice(f"voice {voice.id} has a reference that the model makes no numbers of", param="voice")
        try:
            await asyncio.to_thread(self._latents.write, key, latents)
        except OSError as error:
            log.warning("latents not cached", voice_id=voice.id, reason=str(error))
        return latents

    def _clips(self, voice: Voice) -> list[tuple[Samples, Samples]]:
        config, limits = self.engine.config, self.settings.limits
        clips = []
        for path in voice.references:
            try:
                audio = read_file(
                    path,
                    sample_rate=config.sample_rate,
                    max_bytes=limits.reference_bytes,
                    max_seconds=limits.reference_seconds,
                    max_channels=limits.reference_channels,
                )
            except BadInput as error:
                raise BadInput(f"{path.name}: {error.message}") from error
            samples = trim_silence(audio.samples, audio.sample_rate)[: round(REFERENCE_SECONDS * audio.sample_rate)]
            clips.append((samples, resample(samples, audio.sample_rate, config.speaker_encoder.sample_rate)))
        return clips

    def _fingerprint(self) -> str:
        """What latents depend on besides the clips: the weights, by size and date, and the parameters."""
        weights = self._opened()
        config = hashlib.sha256(msgspec.json.encode(self.engine.config)).hexdigest()
        return f"{config}:{weights.st_size}:{weights.st_mtime_ns}:{REFERENCE_SECONDS}"

    # -- speaking

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        """Audio of an utterance as it is made. Leaving the iterator stops the work."""
        stretcher: Stretcher | None = None
        async with aclosing(self.engine.generate(utterance)) as chunks:
            async for audio in chunks:
                stretcher = stretcher or Stretcher(utterance.speed, audio.sample_rate)
                if len(samples := stretcher.process(audio.samples)) or audio.guards:
                    yield Audio(samples, audio.sample_rate, audio.guards)
        if stretcher and len(samples := stretcher.finish()):
            yield Audio(samples, self.engine.config.output_sample_rate)

    def codes_spoken(self, seconds: float, utterance: Utterance) -> int:
        """Audio codes behind so many seconds of an utterance's audio, its tempo undone."""
        return math.ceil(seconds * utterance.speed / self.engine.config.seconds_per_code)

    def check_ready(self) -> None:
        """Raises ModelLoading or Unavailable until requests can be spoken."""
        if not self.ready:
            state = self.engine.state()
            raise ModelLoading(
                state.failure or "the model is still loading; it will be ready in a moment",
                retry_after=LOADING_RETRY_SECONDS,
            )
