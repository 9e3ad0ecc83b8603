"""The models that are loaded: one serves, others may stand beside it and are asked for by name."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from more_server.engine.engine import LOADING_RETRY_SECONDS, RESTING, RESTING_RETRY_SECONDS, Engine
from more_server.errors import BadInput, ModelLoading, ModelNotFound, Resting, Unavailable, allowed, shown
from more_server.models import AUTO, check_model, find_model, serving_model, use
from more_server.profiles import OPENAI_MODELS
from more_server.settings import Settings
from more_server.speech import VoiceLatents
from more_server.voices import read_studio_voices

log = structlog.get_logger("more_server.fleet")


def unknown_model(model: str, known: list[str]) -> ModelNotFound:
    """The error for a `model` that is none of those that can be asked for."""
    return ModelNotFound(f"there is no model {shown(model)}; there are: {allowed(known)}", param="model")


class LoadedModel:
    """A model in memory: its engine, and what belongs to its files."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.id = folder.name
        self.lease = f"{folder.name} {secrets.token_hex(8)}"
        """What utterances know it by: the same model, loaded another time, is another one."""
        self.engine = Engine(folder, settings.engine)
        self.studio: dict[str, VoiceLatents] = {}
        """Voices that the model carries as latents, by id."""
        self.resolving = 0
        """Requests that are about to be spoken by it."""
        self._weights: os.stat_result | None = None

    async def open(self) -> None:
        """Wait until it can speak. Raises ModelError or SettingsError."""
        await self.engine.wait_ready()
        self.studio = await asyncio.to_thread(read_studio_voices, self.engine.model_dir)
        self._weights = (self.engine.model_dir / "model.safetensors").stat()

    @property
    def created(self) -> int:
        """When the weights were written, Unix seconds."""
        return int(self._opened().st_mtime)

    @property
    def fingerprint(self) -> str:
        """What latents depend on besides the clips: the weights, by size and date, and the parameters."""
        weights = self._opened()
        config = hashlib.sha256(msgspec.json.encode(self.engine.config)).hexdigest()
        return f"{config}:{weights.st_size}:{weights.st_mtime_ns}"

    def _opened(self) -> os.stat_result:
        if self._weights is None:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY_SECONDS)
        return self._weights


class Fleet:
    """Loads, switches and unloads models. One change at a time; requests that run are never touched by it."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is loaded yet; `serving.engine.start()` begins with that. Raises ModelError or ModelNotFound."""
        self.settings = settings
        self.serving = LoadedModel(serving_model(settings), settings)
        """The model of requests that name none."""
        self._beside: dict[str, LoadedModel] = {}
        self._changing = asyncio.Lock()
        self.changed: Callable[[], None] = lambda: None
        """Is called when other models are loaded by a decision of this server's."""
        self._resting = self._lowered = 0
        """How many want it so."""
        self._closing = False
        self._draining: dict[asyncio.Task[None], LoadedModel] = {}

    def loaded(self) -> list[LoadedModel]:
        """The one that serves, then the others."""
        return [self.serving, *self._beside.values()]

    def present(self) -> list[LoadedModel]:
        """Those, and what still speaks although it is about to be unloaded."""
        return [*self.loaded(), *self._draining.values()]

    def names(self) -> list[str]:
        """What `model` may be: loaded models, and OpenAI's names for the one that serves."""
        return [*(model.id for model in self.loaded()), *OPENAI_MODELS]

    def find(self, name: str | None) -> LoadedModel:
        """The model that a request means. Raises ModelNotFound."""
        if not name or name in OPENAI_MODELS:
            return self.serving
        for model in self.loaded():
            if model.id == name:
                return model
        raise unknown_model(name, self.names())

    def leased(self, lease: str) -> LoadedModel:
        """The model of a request that was resolved, though it may be about to be unloaded. Raises Unavailable."""
        for model in self.present():
            if model.lease == lease:
                return model
        raise Unavailable("the model was unloaded before the request could be spoken", retry_after=1.0)

    async def load(self, name: str, *, decided: bool = True) -> LoadedModel:
        """Load a model beside the one that serves. Raises ModelNotFound, ModelError, SettingsError, Resting.

        decided: here and elsewhere, False where another server has decided so.
        """
        async with self._changing:
            model = await self._load(name)
        self._tell(decided)
        return model

    def _tell(self, decided: bool) -> None:
        if decided:
            self.changed()

    async def _load(self, name: str) -> LoadedModel:
        for model in self.loaded():
            if model.id == name:
                return model
        folder = await asyncio.to_thread(find_model, self.settings, name)
        await asyncio.to_thread(check_model, folder)
        if self._resting:
            raise Resting(RESTING, retry_after=RESTING_RETRY_SECONDS)
        model = LoadedModel(folder, self.settings)
        model.engine.start()
        try:
            await model.open()
        except BaseException:
            await asyncio.to_thread(model.engine.stop)
            raise
        model.engine.lower(self._lowered > 0)
        self._beside[name] = model
        return model

    async def switch(
        self,
        name: str,
        *,
        keep: bool = False,
        check: Callable[[LoadedModel], None] = lambda model: None,
        decided: bool = True,
    ) -> None:
        """Let another model serve, now and after a restart; the old one ends when its requests have.

        keep: leave the old one loaded. check: raises for a model that cannot serve here. What was not decided here is
        written down already. Raises ModelNotFound, ModelError, SettingsError, Resting and what the check does; then the
        old one serves on.
        """
        async with self._changing:
            if self.settings.model not in (AUTO, name):
                raise BadInput(f"the setting `model` is {self.settings.model!r}; set it to `auto` first", param="model")
            beside = set(self._beside)
            model = await self._load(name)
            try:
                await asyncio.to_thread(check, model)
                if decided:
                    await asyncio.to_thread(use, self.settings, name)
            except BaseException:
                if name in self._beside and name not in beside:
                    self._drain(self._beside.pop(name))
                raise
            if model is self.serving:
                return
            old, self.serving = self.serving, self._beside.pop(name)
            if keep:
                self._beside[old.id] = old
            else:
                self._drain(old)
        self._tell(decided)

    async def unload(self, name: str, *, decided: bool = True) -> None:
        """Free a model that does not serve, once its requests have ended. Raises ModelNotFound or BadInput."""
        async with self._changing:
            if name == self.serving.id:
                raise BadInput(f"{name} serves; let another model serve first", param="model")
            if name not in self._beside:
                raise ModelNotFound(
                    f"the model {shown(name)} is not loaded; loaded are: {allowed(m.id for m in self.loaded())}",
                    param="model",
                )
            self._drain(self._beside.pop(name))
        self._tell(decided)

    def _drain(self, model: LoadedModel) -> None:
        task = asyncio.create_task(_end(model))
        self._draining[task] = model
        task.add_done_callback(self._draining.pop)

    # -- making room

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """All models, what is loaded meanwhile included, speak half as many segments at a time while the block runs."""
        self._lowered += 1
        self._lower()
        try:
            yield
        finally:
            self._lowered -= 1
            self._lower()

    def _lower(self) -> None:
        for model in self.loaded():
            model.engine.lower(self._lowered > 0)

    @asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """No model takes speech while the block runs, none is loaded, and their memory is free.

        The block begins when what was being spoken has ended. However it ends, speech comes back.
        """
        self._resting += 1
        try:
            async with self._changing:  # what is being loaded is there first
                models = self.present()
            await asyncio.gather(*(model.engine.rest() for model in models))
            yield
        finally:
            self._resting -= 1
            if not (self._resting or self._closing):
                for model in self.loaded():
                    model.engine.wake()

    # -- the end

    def is_at_work(self) -> bool:
        """Whether anybody is spoken to, or about to be."""
        models = self.present()
        states = [(model.resolving, model.engine.state()) for model in models]
        return any(resolving or ((state.speaking or state.waiting) and not state.hung) for resolving, state in states)

    def close(self) -> None:
        """The server is about to stop: models that rest are not loaded again for that."""
        self._closing = True

    async def stop(self) -> None:
        """End all of them; what still runs is cut off."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        for model in self.loaded():
            await asyncio.to_thread(model.engine.stop)


async def _end(model: LoadedModel) -> None:
    """Stop a model's engine when nobody listens to it any more, or at once when this is cancelled."""
    try:
        is_resolving = True
        while is_resolving:
            is_resolving = model.resolving > 0
            with suppress(Unavailable):  # a step hangs, so nobody is spoken to
                await model.engine.drained()  # afterwards: what has just been resolved is on its way to the engine
    finally:
        await asyncio.to_thread(model.engine.stop)
        log.info("model unloaded", model=model.id)
