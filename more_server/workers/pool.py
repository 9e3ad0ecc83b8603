"""The parent of workers: the port, which of them gets a connection, and their lives. It loads no model and no torch."""

import asyncio
import itertools
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from more_server.errors import MoreError, SettingsError
from more_server.logs import RecentLines
from more_server.settings import Loaded, reloaded
from more_server.workers.member import Member
from more_server.workers.messages import (
    Answer,
    Answers,
    Ask,
    Asked,
    Given,
    Line,
    LogAsked,
    LogLines,
    Models,
    OfWorker,
    Reload,
    Started,
)

LOOK_SECONDS = 0.5
RETRY_SECONDS = 0.05
"""Between two attempts to hand on connections that nobody could take."""
ANSWER_SECONDS = 3.0
"""For workers to answer each other; metrics take some milliseconds."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a worker that failed to start is started again, twice as long each time."""
FAILURES = 3
"""Starts that fail one after the other, while no other worker can speak: then the server ends."""
STOP_SECONDS = 30.0
"""Beyond `server.shutdown_seconds`, for jobs and services to end; then a worker is killed."""
log = structlog.get_logger("more_server.workers")


class Pool:
    """Workers behind one port."""

    def __init__(
        self,
        loaded: Loaded,
        said: dict[str, Any],
        listening: socket.socket,
        reread: Callable[[], Loaded],
        lines: RecentLines,
    ) -> None:
        """said: on the command line, by name below `server`. lines: those of the parent's own log."""
        self._loaded, self._said, self._reread, self._lines = loaded, said, reread, lines
        self._listening = listening
        self._members: dict[int, Member] = {}
        self._waiting: deque[socket.socket] = deque()
        """Connections that nobody could take."""
        self._models: tuple[str, ...] = ()
        self._asked: dict[int, tuple[dict[int, str | None], set[int], asyncio.Event]] = {}
        """By the id of an Ask: the answers, who has not answered, and that all have."""
        self._ids = itertools.count()
        self._failures: dict[int, int] = {}
        self._was_ready = False
        self._error: BaseException | None = None
        self._signals: list[signal.Signals] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, ready: Callable[[], None]) -> None:
        """Until a signal ends it. ready: all workers can speak. Raises what keeps them from it."""
        asyncio.run(self._serve(ready))
        if self._error is not None:
            raise self._error
        for number in reversed(self._signals):
            signal.raise_signal(number)  # as uvicorn: whoever started this sees what ended it

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._ready, self._leaving, self._someone = ready, asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload, None)
        self._listening.setblocking(False)
        beside = [asyncio.create_task(work()) for work in (self._accept, self._watch)]
        try:
            await asyncio.gather(*map(self._keep, range(self._loaded.settings.server.workers)))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            for connection in self._waiting:
                connection.close()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    # -- lives

    async def _keep(self, number: int) -> None:
        """Start a worker, and start it anew when it has died, until the server leaves."""
        while not self._leaving.is_set():
            member = Member(number)
            try:
                await member.start(self._given(number))
            except OSError as error:
                self._fail(SettingsError(f"a worker cannot be started: {error.strerror or error}"))
                return
            self._members[number] = member
            self._someone.set()
            if self._leaving.is_set():
                member.signal(signal.SIGTERM)
            await member.listen(self._take)
            pause = self._ended(member)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), pause)

    def _given(self, number: int) -> Given:
        return Given(number=number, loaded=self._loaded, said=self._said, models=self._models)

    def _ended(self, member: Member) -> float:
        """Seconds until it is to be started anew."""
        del self._members[member.number]
        for left in self._asked.values():
            self._answered(left, member.number)
        for connection in member.close():
            self._hand(connection)
        if self._leaving.is_set():
            return 0.0
        status = member.process.returncode or 0
        with_what = signal.Signals(-status).name if status < 0 else f"status {status}"
        failed = self._failures[member.number] = 0 if member.started else self._failures.get(member.number, 0) + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failed - 1)) if failed else 0.0
        log.error(
            "a worker has ended, and is started anew",
            worker=member.number,
            pid=member.process.pid,
            ended_with=with_what,
            reason=member.failure or None,
            pause_seconds=pause,
        )
        # One that cannot start, at a GPU that is lost for instance, is no reason to end those that speak.
        others = any(one.report.ready for one in self._members.values())
        if (member.failed and not self._was_ready) or (failed >= FAILURES and not others):
            reason = member.failure or f"worker {member.number} ended with {with_what} when it started"
            self._fail(MoreError(reason))
        return pause

    def _fail(self, error: BaseException) -> None:
        """End, as this is beyond mending by a new start."""
        self._error = self._error or error
        self._leave(signal.SIGTERM)

    def _stopped(self, number: signal.Signals) -> None:
        # uvicorn's workers end at once at a second SIGINT, as it does without workers.
        again = number == signal.SIGINT and self._leaving.is_set()
        self._signals.append(number)
        self._leave(signal.SIGINT if again else signal.SIGTERM)

    def _leave(self, number: signal.Signals) -> None:
        if not self._leaving.is_set():
            self._leaving.set()
            self._give_up = time.monotonic() + self._loaded.settings.server.shutdown_seconds + STOP_SECONDS
        for member in self._members.values():
            member.signal(number)

    async def _watch(self) -> None:
        """Kill what hangs: a worker that is killed is started anew."""
        hung_seconds = self._loaded.settings.engine.hung_seconds
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for member in self._members.values():
                reason = ""
                if member.report.hung:
                    reason = "a step of its engine does not come back (engine.hung_seconds)"
                elif member.started and member.silent > hung_seconds:
                    reason = f"it has not answered for {member.silent:.0f} s (engine.hung_seconds)"
                elif self._leaving.is_set() and time.monotonic() > self._give_up:
                    reason = "it does not end"
                if reason:
                    log.error("a worker is killed", worker=member.number, pid=member.process.pid, reason=reason)
                    member.signal(signal.SIGKILL)

    # -- connections

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._someone.wait()
            while self._waiting and self._handed_on(self._waiting[0]):
                self._waiting.popleft()
            if self._waiting:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError as error:  # as many files as it may have; what has come waits in the system's queue
                log.warning("no connection is accepted", reason=error.strerror)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._hand(connection)

    def _hand(self, connection: socket.socket) -> None:
        if not self._handed_on(connection):
            self._waiting.append(connection)

    def _handed_on(self, connection: socket.socket) -> bool:
        ranked = sorted((one for one in self._members.values() if one.is_open), key=lambda one: one.rank)
        return any(member.hand(connection) for member in ranked)

    # -- messages

    def _take(self, member: Member, message: OfWorker) -> None:
        match message:
            case Started():
                self._check_ready()
            case Asked():
                self._begin_asking(member, message)
            case Answer():
                if left := self._asked.get(message.id):
                    self._answered(left, member.number, message.content)
            case Models():
                self._models = message.names
                self._tell_others(member, message)
            case Reload():
                self._reload(member)
            case Line():
                self._lines.add(message.line)
            case LogAsked():
                found = tuple(self._lines.tail(message.limit, message.after))
                member.send(LogLines(message.id, found, self._lines.started))

    def _check_ready(self) -> None:
        count = self._loaded.settings.server.workers
        if not self._was_ready and sum(one.started for one in self._members.values()) == count:
            self._was_ready = True
            self._ready()

    def _tell_others(self, member: Member | None, message: msgspec.Struct) -> None:
        for other in self._members.values():
            if other is not member:
                other.send(message)

    def _reload(self, member: Member | None) -> None:
        """All but the one that has done so already; one that is started later shall begin with the same."""
        try:
            now = self._reread()
            settings, _ = reloaded(self._loaded.settings, now.settings)
            self._loaded = Loaded(settings, now.sources)
        except MoreError as error:
            log.warning("settings not reloaded", reason=error.message)
        self._tell_others(member, Reload())

    def _begin_asking(self, asker: Member, asked: Asked) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(asker, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, asker: Member, asked: Asked) -> None:
        others = [one for one in self._members.values() if one is not asker and one.is_listening]
        number = next(self._ids)
        left = self._asked[number] = ({}, {one.number for one in others}, asyncio.Event())
        for other in others:
            other.send(Ask(number, asked.question))
        try:
            if others:
                with suppress(TimeoutError):
                    await asyncio.wait_for(left[2].wait(), ANSWER_SECONDS)
            asker.send(Answers(asked.id, left[0]))
        finally:
            del self._asked[number]

    def _answered(
        self, left: tuple[dict[int, str | None], set[int], asyncio.Event], number: int, content: str | None = None
    ) -> None:
        contents, missing, complete = left
        if number in missing:
            missing.discard(number)
            contents[number] = content
        if not missing:
            complete.set()
