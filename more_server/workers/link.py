"""The parent as a worker sees it, and through it the other workers."""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from more_server.logs import LogLine
from more_server.siblings import Name, Question, Siblings
from more_server.workers.messages import (
    LINE_BYTES,
    Answer,
    Answers,
    Ask,
    Asked,
    Line,
    LogAsked,
    LogLines,
    Models,
    OfParent,
    Reload,
    decoded,
    encoded,
)

ANSWER_SECONDS = 5.0
"""For the parent, which waits for each worker for less."""


class Link(Siblings):
    """Messages to the parent, and what it asks for. Before `open`, and once the parent is gone, nothing is sent."""

    def __init__(self, number: int, count: int) -> None:
        self.name, self.is_first, self.is_alone = number, number == 0, False
        self._others = [other for other in range(count) if other != number]
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(
        self,
        talk: socket.socket,
        answer: Callable[[Question], Awaitable[bytes]],
        models: Callable[[Sequence[str]], Awaitable[None]],
        reload: Callable[[], Awaitable[None]],
    ) -> asyncio.Task[None]:
        """Begin to listen; the task ends when the parent has."""
        self._answer, self._models, self._reload = answer, models, reload
        self._loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_unix_connection(sock=talk, limit=LINE_BYTES)
        return asyncio.create_task(self._listen(reader))

    def send(self, message: msgspec.Struct) -> None:
        """Of the event loop alone."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encoded(message))

    def send_line(self, line: LogLine) -> None:
        """A line of the log, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.send, Line(line))

    async def flush(self) -> None:
        """Wait until what was sent is with the parent, or nobody reads it."""
        if self._writer is not None:
            self._writer.close()
            await asyncio.wait({asyncio.ensure_future(self._writer.wait_closed())}, timeout=ANSWER_SECONDS)

    # -- Siblings

    async def ask(self, question: Question) -> Mapping[Name, bytes | None]:
        found: Answers | None = await self._asked(lambda number: Asked(number, question))
        contents = {} if found is None else found.contents
        return {number: None if (told := contents.get(number)) is None else told.encode() for number in self._others}

    async def log_lines(self, limit: int, after: int) -> tuple[Sequence[LogLine], int] | None:
        found: LogLines | None = await self._asked(lambda number: LogAsked(number, limit, after))
        return None if found is None else (found.lines, found.started)

    def tell_models(self, names: Sequence[str]) -> None:
        self.send(Models(tuple(names)))

    def tell_reload(self) -> None:
        self.send(Reload())

    async def _asked(self, question: Callable[[int], msgspec.Struct]) -> Any:
        """None where nobody answers."""
        number, answer = next(self._ids), asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self.send(question(number))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    # -- the parent

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(decoded(line, OfParent))
        except OSError:
            pass  # as good as its end

    def _take(self, message: OfParent) -> None:
        match message:
            case Ask():
                self._begin(self._answered(message))
            case Answers() | LogLines():
                waiting = self._waiting.get(message.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case Models():
                self._begin(self._models(message.names))
            case Reload():
                self._begin(self._reload())

    async def _answered(self, ask: Ask) -> None:
        self.send(Answer(ask.id, (await self._answer(ask.question)).decode()))

    def _begin(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
