"""What an administrator changes while the server runs: on record, kept on disk, and taken up by the next request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from more_server.audit import Actor, AuditLog
from more_server.errors import BadInput, ModelError, MoreError, SettingsError, StorageError, Unavailable
from more_server.following import FOLLOW_SECONDS, Followed, signature
from more_server.models import choice_path, fetch_chosen, serving_model
from more_server.registry import Row, Snapshot
from more_server.settings import Loaded, reloaded
from more_server.shared.copies import Copies
from more_server.siblings import Siblings
from more_server.speak import Speaker
from more_server.speech import Profile
from more_server.threads import in_threads

LONGEST_PAUSE = 60.0
"""Seconds between two tries to fetch a model, at most."""
Result = TypeVar("Result")

log = structlog.get_logger("more_server.administration")


class Administration:
    """One change at a time, in the order in which they were asked for."""

    def __init__(
        self,
        speaker: Speaker,
        audit: AuditLog,
        follow: Callable[[Snapshot], Awaitable[None]],
        loaded: Loaded,
        reread: Callable[[], Loaded],
        siblings: Siblings,
    ) -> None:
        """follow: runs the services and answers the routes of a snapshot. reread: settings as they are on disk now."""
        self.speaker = speaker
        self.loaded = loaded
        """The settings in force, and where each comes from."""
        self._registry = speaker.registry
        self._audit = audit
        self._follow = follow
        self._reread = reread
        self._siblings = siblings
        speaker.fleet.changed = self._tell_models
        self._choices_file, self._profiles_file = speaker.registry.choices_path, speaker.profiles.path
        self._model_file = choice_path(speaker.settings)
        self.copies = Copies(speaker.settings)
        """Of what servers on several machines share."""
        self._files = Followed((self._choices_file, self._profiles_file, self._model_file))
        self._written = signature(self._choices_file)
        """The choices as this server has written them, or found them at its start."""
        self._taking_models = asyncio.Lock()
        self._waiting: set[Path] = set()
        """Files that cannot be taken up yet, as while a training pauses speech."""
        self._told: dict[Path, str] = {}
        """What could not be taken up of a file, so that the log has it once."""
        self._changing = asyncio.Lock()
        self._preparing: asyncio.Task[None] | None = None
        self._modelling: asyncio.Task[None] | None = None
        self._pause, self._again = FOLLOW_SECONDS, 0.0
        """Seconds between two tries to fetch a model, and when the next one is due, on time.monotonic()."""

    # -- plugins

    async def enable(self, actor: Actor, name: str) -> Row:
        """Raises PluginNotFound, PluginFailure or BadInput; then it is as it was."""
        return await self._plugin(actor, "plugins.enable", name, {}, partial(self._registry.enable, name))

    async def disable(self, actor: Actor, name: str) -> Row:
        """Requests that run keep it. Raises PluginNotFound, or BadInput where something needs it."""
        return await self._plugin(actor, "plugins.disable", name, {}, partial(self._registry.disable, name))

    async def configure(self, actor: Actor, name: str, changes: Mapping[str, Any]) -> Row:
        """Raises PluginNotFound, PluginFailure, or BadInput naming the field; then it is as it was."""
        told = await asyncio.to_thread(self._registry.told, name, changes)
        work = partial(self._registry.configure, name, dict(changes))
        return await self._plugin(actor, "plugins.configure", name, told, work)

    async def _plugin(
        self, actor: Actor, action: str, name: str, changes: Mapping[str, Any], work: Callable[[], None]
    ) -> Row:
        async with self._changing:
            await asyncio.to_thread(self.copies.renew)  # so that it is worked out from what is decided everywhere
            await asyncio.to_thread(self._registry.row, name)  # what does not exist is not on record
            await asyncio.to_thread(self._recorded, actor, action, name, changes, work)
            self._written = await asyncio.to_thread(signature, self._choices_file)
            await self._follow(self._registry.snapshot)
            return await asyncio.to_thread(self._registry.row, name)

    async def reload(self, actor: Actor, *, tell: bool = False) -> list[str]:
        """Read settings anew and look for plugins; the paths of settings that wait for the next start.

        tell: the other workers are to do so, too. Raises BadInput for settings that do not fit; then everything is as
        it was.
        """
        async with self._changing:
            try:
                now = await asyncio.to_thread(self._reread)
                settings, waiting = reloaded(self.speaker.settings, now.settings)
                work = partial(self.speaker.reload, settings)
                await asyncio.to_thread(self._recorded, actor, "reload", "settings", {}, work)
            except SettingsError as error:
                raise BadInput(error.message) from error
            self.loaded = Loaded(settings, now.sources)
            await self._follow(self._registry.snapshot)
            log.info("settings reloaded", waiting=waiting)
            if tell:
                self._siblings.tell_reload()
            return waiting

    # -- profiles

    async def create_profile(self, actor: Actor, name: str, base: str, changes: Mapping[str, Any]) -> Profile:
        """Raises BadInput naming the field."""
        book, snapshot = self.speaker.profiles, self._registry.snapshot
        told = {"base": base, **changes}
        work = partial(book.create, name, base, changes, snapshot)
        return await self._recorded_alone(actor, "profiles.create", name, told, work)

    async def change_profile(self, actor: Actor, name: str, changes: Mapping[str, Any]) -> Profile:
        """Raises BadInput naming the field, or for a profile of a plugin."""
        book, snapshot = self.speaker.profiles, self._registry.snapshot
        work = partial(book.change, name, changes, snapshot)
        return await self._recorded_alone(actor, "profiles.change", name, changes, work)

    async def delete_profile(self, actor: Actor, name: str) -> None:
        """Raises BadInput for a profile of a plugin, and for one that something is made of or that is the default."""
        if name == self.speaker.settings.default_quality:
            raise BadInput(f"{name} is the default quality (default_quality)", param="name")
        book, snapshot = self.speaker.profiles, self._registry.snapshot
        await self._recorded_alone(actor, "profiles.delete", name, {}, partial(book.delete, name, snapshot))

    # -- models

    async def load_model(self, actor: Actor, name: str) -> None:
        """Raises ModelNotFound, or BadInput for one that cannot be loaded."""
        await self._model(actor, "models.load", name, {}, self.speaker.fleet.load(name))

    async def switch_model(self, actor: Actor, name: str, *, keep: bool) -> None:
        """Raises ModelNotFound, or BadInput for one that cannot serve here; then the old one serves on."""
        work = self.speaker.fleet.switch(name, keep=keep, check=self.speaker.check_default_voice)
        await self._model(actor, "models.switch", name, {"keep": keep}, work)
        self._prepare()

    async def unload_model(self, actor: Actor, name: str) -> None:
        """Raises ModelNotFound, or BadInput for the one that serves."""
        await self._model(actor, "models.unload", name, {}, self.speaker.fleet.unload(name))

    async def _model(
        self, actor: Actor, action: str, name: str, changes: Mapping[str, Any], work: Coroutine[Any, Any, Any]
    ) -> None:
        """Work of the event loop, on record; the log is written off it."""
        try:
            async with in_threads(self._audit.change(actor, action, name, changes)):
                await work
        except (ModelError, SettingsError) as error:
            raise BadInput(error.message, param="model") from error
        finally:
            work.close()  # where it was not begun

    def _tell_models(self) -> None:
        self._siblings.tell_models([model.id for model in self.speaker.fleet.loaded()])

    def _prepare(self) -> None:
        if self.speaker.settings.prepare_voices:
            self._preparing = asyncio.create_task(self.speaker.prepare_all())

    # -- what others have changed

    async def follow_others(self) -> None:
        """Take up what other servers and the command line decide, until this one ends."""
        told = ""
        while not self.speaker.draining:
            try:
                changed = await asyncio.to_thread(self._files.changed)
            except Exception as error:  # whatever it is, the next change is to be seen
                if told != (told := repr(error)):
                    log.exception("whether others have changed something cannot be told")
            else:
                waiting = self._waiting - changed
                if changed | waiting:
                    await self._take_up(changed | waiting, waiting)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def close(self) -> None:
        """Follow nobody any more."""
        if self._modelling is not None:
            self._modelling.cancel()
            await asyncio.wait({self._modelling})
        await asyncio.to_thread(self.copies.close)

    async def renew_copies(self) -> None:
        """Have what servers on other machines decide in the files that are followed, until this is cancelled."""
        told = ""
        while True:
            try:
                await asyncio.to_thread(self.copies.renew)
            except Exception as error:  # whatever it is, the next key that is revoked is to be known
                known = isinstance(error, MoreError)
                if told != (told := str(error) or repr(error)):
                    log.warning("what is decided on other machines is not known", reason=told, exc_info=not known)
            else:
                if told:
                    log.info("what is decided on other machines is known again")
                told = ""
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _take_up(self, changed: set[Path], waiting: set[Path]) -> None:
        async with self._changing:
            if self._choices_file in changed:
                await self._taking(self._choices_file, self._take_up_choices())
            if self._profiles_file in changed:
                await self._taking(self._profiles_file, self._take_up_profiles())
        if self._model_file in changed:
            # Minutes where it is fetched or large: plugins and profiles are followed meanwhile.
            self._waiting.add(self._model_file)
            if self._model_file not in waiting:
                self._pause, self._again = FOLLOW_SECONDS, 0.0
            due = time.monotonic() >= self._again
            if due and (self._modelling is None or self._modelling.done()):
                self._modelling = asyncio.create_task(self._taking(self._model_file, self._take_up_model()))

    async def _taking(self, path: Path, work: Coroutine[Any, Any, None]) -> None:
        self._waiting.discard(path)
        try:
            await work
        except Exception as error:  # whatever it is, the next change is to be seen
            known = error if isinstance(error, MoreError) else None
            if known is not None and known.retry_after is not None:
                self._waiting.add(path)
            reason = repr(error) if known is None else known.message
            if self._told.get(path) != reason:
                what = "a change by another server cannot be taken up"
                log.warning(what, file=path.name, reason=reason, exc_info=known is None)
            self._told[path] = reason
        else:
            self._told.pop(path, None)

    async def _take_up_choices(self) -> None:
        again = self._written != await asyncio.to_thread(signature, self._choices_file)
        plugins = await asyncio.to_thread(self._registry.take_up, again=again)
        for name, problem in plugins.items():
            tell = log.warning if problem else log.info
            tell("a plugin was changed by another server", plugin=name, not_taken_up=problem or None)
        if plugins:
            await self._follow(self._registry.snapshot)

    async def _take_up_profiles(self) -> None:
        speaker = self.speaker
        check = partial(speaker.check_defaults, speaker.settings)
        if await asyncio.to_thread(speaker.profiles.take_up, check):
            log.info("profiles were changed by another server")

    async def _take_up_model(self) -> None:
        try:
            await asyncio.to_thread(fetch_chosen, self.speaker.settings, self.speaker.check_staying)
        except (ModelError, StorageError) as error:  # a network that fails, a licence that nobody has accepted yet
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._again = time.monotonic() + self._pause
            raise Unavailable(error.message, retry_after=self._pause) from error
        name = (await asyncio.to_thread(serving_model, self.speaker.settings)).name
        if name != self.speaker.fleet.serving.id:
            await self._switch_as_decided(name, keep=False)

    async def _switch_as_decided(self, name: str, *, keep: bool) -> None:
        check = self.speaker.check_default_voice
        await self.speaker.fleet.switch(name, keep=keep, check=check, decided=False)
        log.info("another model serves, as another server has decided", model=name)
        self._prepare()

    async def take_models(self, names: Sequence[str]) -> None:
        """Load, switch and unload until these models are loaded, the one that serves first; the log tells failures."""
        fleet = self.speaker.fleet
        async with self._taking_models:
            try:
                if names[0] != fleet.serving.id:
                    await self._switch_as_decided(names[0], keep=fleet.serving.id in names)
                for name in names[1:]:
                    await fleet.load(name, decided=False)
                for model in fleet.loaded()[1:]:
                    if model.id not in names:
                        await fleet.unload(model.id, decided=False)
            except MoreError as error:
                log.warning("models are not as in the other workers", wanted=list(names), reason=error.message)

    async def _recorded_alone(
        self, actor: Actor, action: str, target: str, changes: Mapping[str, Any], work: Callable[[], Result]
    ) -> Result:
        async with self._changing:
            await asyncio.to_thread(self.copies.renew)
            with suppress(MoreError):  # the log has it: what others have made of profiles does not fit here
                await self._take_up_profiles()
            return await asyncio.to_thread(self._recorded, actor, action, target, changes, work)

    def _recorded(
        self, actor: Actor, action: str, target: str, changes: Mapping[str, Any], work: Callable[[], Result]
    ) -> Result:
        with self._audit.change(actor, action, target, changes):
            return work()
