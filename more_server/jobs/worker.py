"""Runs jobs on the event loop: begins, watches whether they are still wanted here, and writes how they ended."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import structlog

from more_server.errors import MoreError, StorageError
from more_server.files import NO_ROOM
from more_server.jobs.kinds import Kind
from more_server.jobs.records import Failure, Job
from more_server.jobs.run import Run
from more_server.jobs.store import Claim, Store

MOST_STARTS = 5
"""Workers that may die of a job that gets no further; then it is the job that they die of."""
LOOK_SECONDS = 0.5
"""Between two looks whether the jobs that run here are still wanted, and between two writes of their progress."""
RETRY_SECONDS = 5.0
"""Between two tries to write how a job ended, where the disk is full or the database away."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
log = structlog.get_logger("more_server.jobs")


@dataclass
class _Running:
    task: "asyncio.Task[Failure | None]"
    work: Run
    left: asyncio.Event
    unwanted: bool = False


class Worker:
    """Everything that one process runs."""

    def __init__(
        self,
        name: str,
        store: Store,
        kinds: Mapping[str, Kind[Any]],
        folder: Path,
        on_ended: Callable[[Job], Awaitable[None]],
    ) -> None:
        self.name = name
        self._store = store
        self._kinds = kinds
        self._folder = folder
        self._on_ended = on_ended
        self._running: dict[str, _Running] = {}
        self._news: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()

    @contextmanager
    def _called(self) -> Iterator[None]:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    async def run(self, job_id: str, number: int) -> bool:
        """Run a job to its end; False where it was stopped, to go on at the next start."""
        with self._called():
            if self._stopping.is_set():
                return False
            claim = await self._insist(self._store.claim, job_id, number, self.name)
            if claim is None:  # cancelled, resumed since, or deleted
                return not self._stopping.is_set()
            work = Run(self._store, claim, self._folder / job_id, self.name)
            # In a context of its own: it is no part of the request that woke the worker.
            doing = asyncio.create_task(self._do(claim, work), context=contextvars.Context())
            running = _Running(doing, work, asyncio.Event())
            self._running[job_id] = running
            try:
                if self._stopping.is_set():
                    self._unwanted(running)
                await asyncio.wait({running.task})
                await self._insist(work.write_told)
                return await self._end(job_id, running.task)
            finally:
                del self._running[job_id]
                running.left.set()

    async def tell(self, job: Job) -> bool:
        """Tell whoever waits for it that a job has ended; False where that was stopped, to be done again."""
        with self._called():
            if self._stopping.is_set():
                return False
            news = asyncio.ensure_future(self._on_ended(job))
            self._news.add(news)
            await asyncio.wait({news})
            self._news.discard(news)
            if not news.cancelled() and (error := news.exception()) is not None:
                log.error("job_end_not_told", job=job.id, exc_info=error)
            return not (news.cancelled() and self._stopping.is_set())

    async def _end(self, job_id: str, task: "asyncio.Task[Failure | None]") -> bool:
        failure = Failure("server_error", "the job stopped by itself") if task.cancelled() else task.result()
        stopped = self._stopping.is_set() and failure is not None
        ended = None if stopped else await self._insist(self._store.end, job_id, self.name, failure)
        if ended:
            log.info("job_ended", job=job_id, code=failure.code if failure else None)
            return True
        await self._insist(self._store.leave, job_id, self.name)
        return ended is False  # cancelled, or another's; what could not be written before the stop is done again

    async def _do(self, claim: Claim, work: Run) -> Failure | None:
        job = claim.job
        if claim.deaths >= MOST_STARTS:
            return Failure("job_crashed", f"the server died {claim.deaths} times while this job ran and got no further")
        kind = self._kinds[job.kind]
        structlog.contextvars.bind_contextvars(job=job.id)
        log.info("job_begins", kind=job.kind, finished_steps=len(claim.steps))
        try:
            await kind.run(_asked(kind, job.request), work)
        except Exception as error:  # noqa: BLE001 - whatever a kind raises is how its job ended
            return _failure(error)
        return None

    async def watch(self) -> None:
        """Write how far the jobs are that run here, and stop those that were cancelled, or taken up by another worker.

        For as long as the server runs.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._running:
                begun = dict(self._running)
                try:
                    wanted = await asyncio.to_thread(self._looked, [running.work for running in begun.values()])
                except StorageError as error:
                    log.warning("jobs_not_watched", reason=error.message)
                    continue
                for job_id in begun.keys() - wanted:
                    self._unwanted(begun[job_id])

    def _looked(self, works: Sequence[Run]) -> set[str]:
        for work in works:
            work.write_told()
        return self._store.running(self.name)

    async def cancelled(self, job_id: str, seconds: float) -> None:
        """Stop a job that was cancelled, if it runs here, and wait until it has stopped."""
        running = self._running.get(job_id)
        if running is not None:
            self._unwanted(running)
            await _within(seconds, running.left)

    def _unwanted(self, running: _Running) -> None:
        # Once: a second one would hit what the job does to end in order.
        if not running.unwanted:
            running.unwanted = True
            running.task.cancel()

    async def stop(self) -> None:
        """Stop everything that runs here; it goes on at the next start."""
        self._stopping.set()
        for running in self._running.values():
            self._unwanted(running)
        for news in self._news:
            news.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _insist(self, write: Callable[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer | None:
        """Write until there is room, or the database is back; None where the server stops first."""
        while True:
            try:
                return await asyncio.to_thread(write, *given, **named)
            except StorageError as error:
                log.warning("job_not_written", reason=error.message)
            if await _within(RETRY_SECONDS, self._stopping):
                return None


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _asked(kind: Kind[Any], request: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(request, kind.request)
    except msgspec.ValidationError as error:
        raise MoreError(f"this version of the server cannot do what was asked for: {error}") from error


def _failure(error: Exception) -> Failure:
    while isinstance(error, ExceptionGroup):  # of a TaskGroup; the first is what made it stop the others
        error = error.exceptions[0]
    if isinstance(error, MoreError):
        log.warning("job_failed", code=error.code, reason=error.message)
        return Failure(error.code, error.message, error.param)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        log.warning("job_failed", code=StorageError.code, reason=str(error))
        return Failure(StorageError.code, f"there is no room left on the disk ({error}); resume the job once there is")
    log.error("job_failed", code=MoreError.code, exc_info=error)
    return Failure(MoreError.code, f"the job failed: {type(error).__name__}: {error}")
