"""Notices what is changed in the folder by hand: tells the store, logs it, and has new voices prepared."""

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path

import structlog

from more_server import Server, Service, Voice, errors
from more_voice_folder.memory import MOST_SECONDS
from more_voice_folder.reading import Contents
from more_voice_folder.store import FolderStore

HEARTBEAT_MS = 500
"""Longest wait for an event; each end of it renews the store's trust."""
STEP_MS, GROUP_MS = 50, 200
"""Events are handed over when none came for a step, and after this long at the latest: 80 ms from write to here."""
TRUST_SECONDS = 5.0
"""A watcher that hangs or dies is believed for this long; ten heartbeats, as the event loop may be late."""
SETTLE_SECONDS = 2.0
"""A voice is looked at when nothing has changed in its folder for this long: it may still be copied there."""
log = structlog.get_logger("more_voice_folder")
Known = Voice | str | None
"""A voice, what is wrong with it, or nothing there."""


class Watcher(Service):
    """Watches the folder of a store while it runs; when it ends, for whatever reason, the store looks for itself."""

    def __init__(self, store: FolderStore, server: Server) -> None:
        self._store = store
        self._server = server
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._known: dict[str, Known] = {}
        self._restless: dict[str, float] = {}
        self._looked = 0.0

    async def start(self) -> None:
        """Look once, then watch. Raises StorageError where there is no folder and none can be made."""
        # Its INFO lines tell of every change, those of speech caches beside the folder included.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        with _Home(self._store.home):
            pass
        self._known = _by_name(await asyncio.to_thread(self._store.contents))
        self._looked = time.monotonic()
        self._stopped.clear()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """End within a step."""
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._store.memory.distrust()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._store.memory.distrust()
        if not task.cancelled() and (error := task.exception()):
            log.error("voices are no longer watched; every request looks at all of them", exc_info=error)

    async def _run(self) -> None:
        waiting: asyncio.Queue[Voice] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(waiting))
            group.create_task(self._prepare(waiting))

    async def _watch(self, waiting: "asyncio.Queue[Voice]") -> None:
        from watchfiles import awatch

        while not self._stopped.is_set():
            with _Home(self._store.home) as home:
                beats = awatch(
                    home.path,
                    watch_filter=None,
                    debounce=GROUP_MS,
                    step=STEP_MS,
                    rust_timeout=HEARTBEAT_MS,
                    yield_on_timeout=True,
                    stop_event=self._stopped,
                    ignore_permission_denied=True,
                )
                async with aclosing(beats):
                    async for changes in beats:
                        if changes:
                            self._store.memory.forget()
                            self._note(Path(path).relative_to(home.path) for _, path in changes)
                        # Where it was removed or replaced, the kernel still watches the one that is gone.
                        if not await asyncio.to_thread(home.is_in_place):
                            break
                        self._store.memory.trust(TRUST_SECONDS)
                        await self._settle(waiting)
            self._store.memory.distrust()
            self._looked = float("-inf")  # no event tells what came before the next watch

    def _note(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path.parts and not path.parts[0].startswith("."):
                self._restless[path.parts[0]] = time.monotonic()

    async def _settle(self, waiting: "asyncio.Queue[Voice]") -> None:
        """Tell of the voices that have come to rest, and now and then look for changes that no event told."""
        now = time.monotonic()
        quiet = {name for name, since in self._restless.items() if now - since >= SETTLE_SECONDS}
        overdue = now - self._looked >= MOST_SECONDS
        if not quiet and not overdue:
            return
        try:
            current = _by_name(await asyncio.to_thread(self._store.contents))
        except errors.StorageError as error:
            log.warning("voices cannot be looked at", reason=error.message)
            return
        for name in quiet:
            del self._restless[name]
            self._tell(name, self._known.get(name), current.get(name), waiting)
        if overdue:
            self._looked = now
            for name in (self._known.keys() | current.keys()) - quiet:
                if self._known.get(name) != current.get(name):
                    self._restless.setdefault(name, now)

    def _tell(self, name: str, before: Known, after: Known, waiting: "asyncio.Queue[Voice]") -> None:
        if after is None:
            self._known.pop(name, None)
        else:
            self._known[name] = after
        if self._store.was_own(name) or before == after:
            return
        match after:
            case None:
                log.info("a voice is gone", voice_id=name)
            case str():
                log.warning("a voice cannot be used", voice_id=name, reason=after)
            case Voice():
                old = before if isinstance(before, Voice) else None
                log.info("a voice has changed" if old else "a voice is new", voice_id=name, name=after.name)
                if old is None or (old.version, old.mix) != (after.version, after.mix):
                    waiting.put_nowait(after)

    async def _prepare(self, waiting: "asyncio.Queue[Voice]") -> None:
        while True:
            voice = await waiting.get()
            try:
                await self._server.prepare(voice)
            except errors.MoreError as error:
                log.warning("a voice cannot be prepared", voice_id=voice.id, reason=error.message)


class _Home:
    """The folder that is watched, made where it is missing. While it is held, no other one gets its inode."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "_Home":
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise errors.StorageError(f"{self._folder} cannot be watched: {error.strerror or error}") from error
        self.path = os.path.realpath(self._folder)
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)

    def is_in_place(self) -> bool:
        """Whether the folder is still this one."""
        try:
            return os.path.samestat(self._folder.stat(), os.fstat(self._descriptor))
        except OSError:
            return False


def _by_name(contents: Contents) -> dict[str, Known]:
    return {**contents.voices, **contents.problems}
