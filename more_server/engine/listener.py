"""How the engine's thread and event loops speak to each other: audio out, work for the device in."""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from more_server.engine.runner import Runner
from more_server.speech import Samples

Result = TypeVar("Result")
Piece = tuple[Samples, tuple[str, ...], bool]
"""Audio, what guards did to it, and whether its segment ends with it."""


class Mailbox:
    """A listener in an event loop: what the engine's thread hands over is read there in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()

    def audio(self, samples: Samples, guards: tuple[str, ...], ends_segment: bool) -> None:
        self._put((samples, guards, ends_segment))

    def end(self, error: BaseException | None) -> None:
        self._put(error)

    def _put(self, item: Piece | BaseException | None) -> None:
        # A loop that has closed has no listener left; its stream is aborted by then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def pieces(self) -> AsyncIterator[Piece]:
        """What was handed over, until the end; raises what the stream failed with."""
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


class Task(Generic[Result]):
    """Work for the device between two steps, and who waits for it."""

    def __init__(self, future: "concurrent.futures.Future[Result]", work: Callable[[Runner], Result]) -> None:
        self._future = future
        self._work = work

    def run(self, attempt: Callable[[Callable[[Runner], Result]], Result]) -> None:
        """attempt: gives the work the runner, and sees to what fails there."""
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            self._future.set_result(attempt(self._work))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self._future.set_exception(error)

    def refuse(self, error: BaseException) -> None:
        if self._future.set_running_or_notify_cancel():
            self._future.set_exception(error)
