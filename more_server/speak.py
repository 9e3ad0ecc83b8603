"""The path of speech: a request resolved, then text → engine → post-processors → audio. There is no second path."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import msgspec
import structlog

from more_server.audio.encoded import encoded, encoded_whole
from more_server.chain import Chain, Piece
from more_server.deadlines import in_time
from more_server.engine.engine import LOADING_RETRY_SECONDS, Engine
from more_server.errors import (
    BadInput,
    ModelLoading,
    MoreError,
    PluginFailure,
    SettingsError,
    Unavailable,
    VoiceNotFound,
    allowed,
)
from more_server.fleet import Fleet, LoadedModel, unknown_model
from more_server.languages import LanguageChoice
from more_server.profiles import QUALITY_OF_MODEL, ProfileBook
from more_server.registry import Escaped, Hung, Registry, Snapshot, awaited_within
from more_server.report import Reports
from more_server.settings import Settings
from more_server.speech import (
    EMPTY,
    Audio,
    PostProcessing,
    Profile,
    Segment,
    SpeechRequest,
    Utterance,
    Voice,
    VoiceLatents,
)
from more_server.talk import Talk
from more_server.text import LANGUAGES, SAMPLES, TextStream, normalise, resolve_language, split
from more_server.tracing import Span, here, made, step
from more_server.voiceprints import Voiceprints
from more_server.voices import Shares, VoiceLibrary, mixed_voice

SPEED_RANGE = (0.25, 4.0)
"""OpenAI's limits of `speed`."""
WARM_UP = "Hello there, this is what I sound like when I say a whole sentence."
"""Long enough for every size of piece that a stream begins with: oneDNN compiles each when it first comes."""
SEED_BITS = 63
"""Seeds fit a signed 64-bit integer, which is what JSON readers keep exactly at most."""
WORK_PER_SECOND = 0.1
"""Seconds that post-processors may take beyond `plugin_seconds` for each second of audio, which some of them work on
when it is whole: 20 minutes took loudness 3 s."""
SAMPLE_SEED = 20
"""Of what voices say to be measured."""

log = structlog.get_logger("more_server.speak")


class Speaker:
    """Speaks requests with the loaded models, the voices of all stores and the profiles of all plugins."""

    def __init__(self, settings: Settings, fleet: Fleet, registry: Registry) -> None:
        """The registry is not opened yet. Raises SettingsError where a file of the administrator's cannot be used."""
        self.settings = settings
        self.fleet = fleet
        self.registry = registry
        self.profiles = ProfileBook(settings)
        self.voices = VoiceLibrary(registry, settings.plugin_seconds)
        self.prints = Voiceprints(settings, self.voices, self._sample)
        self._languages = LanguageChoice(settings)
        self.reports = Reports(settings.telemetry)
        self.ready = False
        """The model is loaded and has spoken once."""
        self.draining = False
        """The server ends: what is being spoken goes on, nothing new is taken."""
        registry.check = self._check_snapshot

    @property
    def engine(self) -> Engine:
        """Of the model that serves."""
        return self.fleet.serving.engine

    async def open(self) -> None:
        """Wait for the model. Raises ModelError or SettingsError."""
        await self.fleet.serving.open()
        await asyncio.to_thread(self.check_defaults, self.settings)

    async def start(self) -> None:
        """Wait for the model, then speak once, so that nobody's first request pays for it. Raises ModelError."""
        await self.open()
        await asyncio.to_thread(self._languages.warm, self.languages())
        view = await asyncio.to_thread(self.voices.view, self.fleet.serving.studio)
        for voice in dict.fromkeys([self.settings.default_voice, *(voice.id for voice in view.voices)]):
            language = self.engine.config.languages[0]
            text = WARM_UP[: self.settings.limits.text_characters]
            asked = SpeechRequest(text=text, voice=voice, language=language, seed=0)
            try:
                async for _ in self.speak(await self.resolve(asked, "warm-up")):
                    pass
            except MoreError as error:
                # A store that is out of reach, a clip that is broken: requests are told so, and others may succeed.
                log.warning("a voice cannot be used", voice_id=voice, reason=error.message)
            else:
                break
        self.ready = True

    def reload(self, settings: Settings) -> None:
        """Take up settings while requests run, which keep the old ones. Raises SettingsError; then all is as it was."""
        self.registry.reload(settings, lambda snapshot: self.check_defaults(settings, snapshot))
        self.settings = self.prints.settings = self._languages.settings = settings
        self.voices.seconds = settings.plugin_seconds

    def check_defaults(self, settings: Settings, snapshot: Snapshot | None = None) -> None:
        """Raises SettingsError where a default quality, voice or language does not exist, with other plugins, too."""
        snapshot = snapshot or self.registry.snapshot
        if resolve_language(settings.default_language) is None:
            raise SettingsError(f"default_language {settings.default_language!r} is none of: {allowed(LANGUAGES)}")
        try:
            self.profiles.find(settings.default_quality, snapshot)
        except BadInput as error:
            raise SettingsError(f"default_quality: {error.message}") from error
        if settings.default_voice and self.fleet.serving.engine.state().loaded:
            try:
                self.voices.view(self.fleet.serving.studio, snapshot).resolve(None, settings.default_voice)
            except BadInput as error:
                raise SettingsError(f"default_voice: {error.message}") from error

    def check_default_voice(self, model: LoadedModel) -> None:
        """Raises BadInput where requests that name no voice could not be spoken by a model."""
        if self.settings.default_voice:
            self.voices.view(model.studio).resolve(None, self.settings.default_voice)

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        try:
            self.check_defaults(self.settings, snapshot)
        except SettingsError as error:
            raise BadInput(f"the server would be left without a default: {error.message}", param="name") from error

    # -- resolving

    async def resolve(self, request: SpeechRequest, request_id: str) -> Utterance:
        """Check a request and settle everything it left open.

        Raises BadInput and its kin naming the field, PluginFailure, Busy or ModelLoading.
        """
        self._check(request)
        # Jobs are told to stop, and go on where they were; a text that arrives in pieces is spoken to its end.
        if not (request.priority or request.before):
            self.check_staying()
        snapshot = self.registry.snapshot
        profile = self.profile(request, snapshot)
        chain = snapshot.chain(profile)
        model = self._model(request)
        model.resolving += 1
        try:
            shares = await self._voice(request, model)
            voice = mixed_voice(shares)
            language, segments = await asyncio.to_thread(self._worded, request, voice, profile, model)
            return Utterance(
                id=request_id,
                segments=segments,
                voice=voice,
                latents=await self.prints.latents(model, shares),
                language=language,
                profile=profile,
                speed=profile.speed * request.speed,
                seed=_seed(request),
                priority=request.priority,
                model=model.lease,
                sample_rate=model.engine.config.output_sample_rate,
                seconds_per_code=model.engine.config.seconds_per_code,
                whole=request.whole,
                continues=request.continues,
                post_processors=await self._measured(model, shares, chain, request.priority),
            )
        finally:
            model.resolving -= 1

    def _check(self, request: SpeechRequest) -> None:
        text, limit = request.text, self.settings.limits.text_characters
        if not text.strip():
            raise BadInput("input is empty; send the text to speak", param="input")
        if len(text) > limit:
            raise BadInput(f"input has {len(text)} characters; at most {limit} are allowed", param="input")
        self._check_numbers(request)

    def _check_numbers(self, request: SpeechRequest) -> None:
        if not SPEED_RANGE[0] <= request.speed <= SPEED_RANGE[1]:
            raise BadInput(f"speed must be between {SPEED_RANGE[0]} and {SPEED_RANGE[1]}", param="speed")
        if request.seed is not None and not 0 <= request.seed < 2**SEED_BITS:
            raise BadInput(f"seed must be between 0 and {2**SEED_BITS - 1}", param="seed")

    def profile(self, request: SpeechRequest, snapshot: Snapshot) -> Profile:
        """The quality that a request means. Raises BadInput listing what exists."""
        if request.profile is not None:
            return request.profile
        name = request.quality or dict(QUALITY_OF_MODEL).get(request.model or "") or self.settings.default_quality
        return self.profiles.find(name, snapshot)

    def _model(self, request: SpeechRequest) -> LoadedModel:
        """The model that a request means; where it names none that exists, `_voice` looks what it meant."""
        known = request.model in self.fleet.names()
        return self.fleet.find(request.model) if known else self.fleet.serving

    async def _voice(self, request: SpeechRequest, model: LoadedModel) -> Shares:
        names = self.fleet.names()
        view = await asyncio.to_thread(self.voices.view, model.studio)
        if not request.model or request.model in names:
            return view.resolve(request.voice, self.settings.default_voice)
        # LibreChat's LocalAI mode sends the voice as the model and no voice.
        if not request.voice:
            try:
                return ((1.0, view.find(request.model)),)
            except VoiceNotFound:
                pass
        raise unknown_model(request.model, names)

    def _worded(
        self, request: SpeechRequest, voice: Voice, profile: Profile, model: LoadedModel
    ) -> tuple[str, tuple[Segment, ...]]:
        with step("text"):
            language = self._language(request, voice, model)
            return language, self._segments(request.text, language, profile, model)

    def _language(self, request: SpeechRequest, voice: Voice, model: LoadedModel) -> str:
        return self._languages.choose(request, voice, model.id, model.engine.config.languages)

    def _segments(self, text: str, language: str, profile: Profile, model: LoadedModel) -> tuple[Segment, ...]:
        spoken = normalise(text, language)
        tokenizer = model.engine.tokenizer
        limit = 4 * self.settings.limits.text_characters
        if len(spoken) > limit:
            raise BadInput(
                f"input has {len(spoken)} characters once its numbers and signs are written out; "
                f"at most {limit} are allowed",
                param="input",
            )
        pieces = split(
            spoken,
            language,
            count_tokens=lambda piece: tokenizer.count(piece, language),
            max_tokens=model.engine.config.max_segment_tokens,
            first_max_tokens=profile.first_segment_tokens,
        )
        segments = tuple(Segment(piece.text, tokenizer.encode(piece.text, language), piece.mark) for piece in pieces)
        if not any(len(segment.token_ids) > 1 for segment in segments):
            raise BadInput("input holds nothing that can be spoken: no letter and no digit", param="input")
        return segments

    async def splitter(self, request: SpeechRequest) -> TextStream:
        """Cuts the text of a request that arrives in pieces, which says all but the text itself. Raises BadInput."""
        self._check_numbers(request)
        self.profile(request, self.registry.snapshot)
        model = self._model(request)
        return TextStream(self._language(request, mixed_voice(await self._voice(request, model)), model))

    # -- voices

    def languages(self) -> tuple[str, ...]:
        """What the model that serves speaks."""
        return self.engine.config.languages

    def all_voices(self) -> list[Voice]:
        """Every voice, in order of id, those of the serving model included. Blocks."""
        return list(self.voices.view(self.fleet.serving.studio).voices)

    async def prepare_all(self) -> None:
        """Prepare every voice, one after the other; those that cannot be are told in the log."""
        model = self.fleet.serving
        for voice in (await asyncio.to_thread(self.voices.view, model.studio)).voices:
            if self.draining:
                return
            try:
                await self._prepare(voice, model)
            except MoreError as error:
                log.warning("a voice cannot be prepared", voice_id=voice.id, reason=error.message)

    async def prepare(self, voice: Voice) -> None:
        """Work out ahead what the first request for a voice would wait for. Raises BrokenVoice or PluginFailure."""
        await self._prepare(voice, self.fleet.serving)

    async def _prepare(self, voice: Voice, model: LoadedModel) -> None:
        snapshot = self.registry.snapshot
        chain = snapshot.chain(self.profiles.find(self.settings.default_quality, snapshot))
        shares = ((1.0, voice),)
        await self.prints.latents(model, shares)
        await self._measured(model, shares, chain, priority=1)

    async def _measured(
        self, model: LoadedModel, shares: Shares, chain: tuple[PostProcessing, ...], priority: int = 0
    ) -> tuple[PostProcessing, ...]:
        try:
            return await self.prints.measured(model, shares, chain, priority)
        except PluginFailure as error:
            await self._report(error, hung=isinstance(error.__cause__, Hung))
            raise

    def _sample(self, model: LoadedModel, voice: Voice, latents: VoiceLatents, priority: int) -> Utterance:
        """For measuring: no profile's own choices matter to a level."""
        profile = Profile(name="sample", temperature=0.75, top_p=0.9)
        language = self._language(SpeechRequest(text=""), voice, model)
        return Utterance(
            id=f"sample of {voice.id}",
            segments=self._segments(SAMPLES[language], language, profile, model),
            voice=voice,
            latents=latents,
            language=language,
            profile=profile,
            speed=1.0,
            seed=SAMPLE_SEED,
            model=model.lease,
            priority=priority,
        )

    # -- speaking

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        """Audio of an utterance as it is made. Leaving the iterator stops the work. Raises PluginFailure."""
        engine, rate, silent = self.fleet.leased(utterance.model).engine, utterance.sample_rate, True
        chain = Chain(utterance, rate)
        with here().below("post_processors") as span:
            await self._worked(chain, chain.begin, span)
            timely = in_time(engine.generate(utterance), utterance, self.settings.limits)
            async with aclosing(made("engine", "engine.first_audio", timely)) as chunks:
                async for audio in chunks:
                    process = partial(chain.process, audio.samples, audio.ends_segment)
                    pieces = await self._worked(chain, process, span)
                    if audio.guards and not pieces:
                        yield Audio(EMPTY, rate, audio.guards)
                    for number, (samples, ends_segment) in enumerate(pieces):
                        silent = False
                        yield Audio(samples, rate, () if number else audio.guards, ends_segment)
            for samples, ends_segment in await self._worked(chain, chain.finish, span):
                silent = False
                yield Audio(samples, rate, (), ends_segment)
        if silent:  # post-processors have left nothing: a file all the same
            yield Audio(EMPTY, rate, (), ends_segment=True)

    async def _worked(self, chain: Chain, work: Callable[[], list[Piece]], span: Span) -> list[Piece]:
        """What a chain gives; plugins' code runs on a thread, where it can neither stop the others nor hang them."""
        try:
            limit = self.settings.plugin_seconds + chain.seconds * WORK_PER_SECOND
            with span.busy():
                return await awaited_within(limit, work) if chain.plugins else work()
        except (Hung, Escaped) as error:
            failure = PluginFailure(chain.working, str(error))
            failure.__cause__ = error
            await self._report(failure, hung=isinstance(error, Hung))
            raise failure from error
        except PluginFailure as error:
            await self._report(error)
            raise

    async def _report(self, error: PluginFailure, *, hung: bool = False) -> None:
        # Off the event loop: the registry may be waiting for another plugin at the moment.
        await asyncio.to_thread(self.registry.report, error.plugin, error.reason, error.__cause__, hung=hung)

    async def spoken(self, request: SpeechRequest, request_id: str, format_name: str) -> AsyncGenerator[bytes, None]:
        """Encoded audio of a request, as early as the codec lets it out; of a whole one, a file in one piece.

        Writes the log line. Raises as `resolve` and `speak` do.
        """
        with self.reports.begin(request_id, request.door, request.user_agent, request.traceparent) as report:
            report.asked(request.text)
            utterance = await report.resolving(self.resolve(request, request_id))
            encode = encoded_whole if utterance.whole else encoded
            encoder = encode(report.watched(self.speak(utterance)), format_name)
            async with aclosing(report.encoding(encoder)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def talk(self, request: SpeechRequest, request_id: str) -> Talk:
        """For text that arrives in pieces; that of the request is not looked at."""
        return Talk(self, msgspec.structs.replace(request, seed=_seed(request)), request_id, self.reports)

    def check_staying(self) -> None:
        """Raises Unavailable when the server ends."""
        if self.draining:
            raise Unavailable("the server is shutting down", retry_after=LOADING_RETRY_SECONDS)

    def check_ready(self) -> None:
        """Raises ModelLoading until requests can be spoken, and Unavailable when the server ends."""
        self.check_staying()
        if not self.ready:
            state = self.engine.state()
            raise ModelLoading(
                state.failure or "the model is still loading; it will be ready in a moment",
                retry_after=LOADING_RETRY_SECONDS,
            )


def _seed(request: SpeechRequest) -> int:
    # 53 bits: what a JavaScript client can send back unchanged.
    return secrets.randbits(53) if request.seed is None else request.seed
