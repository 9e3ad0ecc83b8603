"""Asks for the list of voices ahead of time, so that no request waits for the storage."""

import asyncio

import structlog

from more_server import Service, errors
from more_voice_object_store.store import ObjectVoiceStore

UNUSED_SECONDS = 60.0
"""A server that nobody speaks to stops asking after this long: listings cost money."""
log = structlog.get_logger("more_voice_object_store")


class Refresher(Service):
    """Asks twice within the time for which an answer is fresh."""

    def __init__(self, store: ObjectVoiceStore, refresh_seconds: float) -> None:
        self._store = store
        self._seconds = refresh_seconds / 2
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the first answer is asked for when somebody wants it."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a request that is under way ends by itself."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        works = True
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await asyncio.to_thread(self._store.catalogue.refresh, UNUSED_SECONDS)
            except errors.StorageError as error:
                if works:
                    log.warning("the list of voices cannot be refreshed", store=self._store.name, reason=error.message)
                works = False
            else:
                works = True
