"""Durable jobs: taken, worked on, taken up again after a crash, cancelled, resumed, deleted."""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import structlog

from more_server.errors import (
    BadInput,
    Conflict,
    JobNotFound,
    ResultNotFound,
    StorageError,
    Unavailable,
    allowed,
    shown,
)
from more_server.files import staged_folder
from more_server.jobs.kinds import Kind
from more_server.jobs.records import ENDED, SQLITE, Job, Result, Status
from more_server.settings import Settings
from more_server.threads import in_threads, to_its_end

if TYPE_CHECKING:
    from more_server.jobs.backend import Backend
    from more_server.jobs.store import Place

PREFIX = "job_"
LOOK_SECONDS = 0.5
"""Between two looks of whoever watches a job."""
LEAVE_SECONDS = 5.0
"""For a cancelled job to end in order, wherever it runs."""
TEND_SECONDS = 2.0
"""Between two looks for jobs that dead workers left."""
COUNT_SECONDS = 2.0
"""For the database to count; whoever scrapes metrics waits for ten."""

log = structlog.get_logger("more_server.jobs")


class Jobs:
    """All jobs of a data directory, as one server sees them.

    Several servers may share it; each job runs in one of them at a time. Every method raises StorageError where the
    database or the disk refuses, and Unavailable before `start` and after `stop`.
    """

    def __init__(
        self, settings: Settings, kinds: Sequence[Kind[Any]], on_ended: Callable[[Job], Awaitable[None]]
    ) -> None:
        """on_ended: told of each end of a job that has a webhook, at least once, also where the process died before."""
        self.kinds: Mapping[str, Kind[Any]] = {kind.name: kind for kind in kinds}
        self._on_ended = on_ended
        self._settings = settings
        self.folder = settings.jobs_dir
        """Holds the folder of each job, named after its id."""
        self._backend: Backend | None = None
        self._opening = asyncio.Lock()
        self.started = False
        """Between `start` and `stop`."""
        self._tending: asyncio.Task[None] | None = None
        self._trouble = ""

    async def start(self) -> None:
        """Take up work, and the jobs that dead workers left; without `jobs.work` only take orders.

        Where no job was ever asked for, that waits for the first one: dbos takes two seconds and 70 MB. A database
        that is away is tried again and again. Raises SettingsError for an address that is none.
        """
        if self._tending is None:
            self.started = True
            await self._tend_once()
            self._tending = asyncio.create_task(self._tend())

    async def stop(self) -> None:
        """Stop the jobs that run here, which are taken up at the next start, and wait for them."""
        self.started = False
        tending, self._tending = self._tending, None
        if tending is not None:
            tending.cancel()
            await asyncio.wait({tending})
        async with self._opening:
            backend, self._backend = self._backend, None
            if backend is not None:
                await backend.close()

    async def create(self, kind: str, asked: msgspec.Struct, *, owner: str = "", webhook: str = "") -> Job:
        """Take an order; the job is kept once this returns. Raises BadInput and what the kind does not accept."""
        taking = self.kind(kind)
        backend = await self._opened()
        now = time.time()
        job_id = PREFIX + secrets.token_hex(8)
        folder = self.folder / job_id
        async with in_threads(staged_folder(folder)) as stage:
            request = msgspec.to_builtins(await taking.accept(asked, stage))
        job = Job(
            id=job_id, kind=kind, status="queued", created=int(now), request=request, owner=owner, webhook=webhook
        )
        try:
            # Whoever ends before this leaves a folder of no job, which stays: it may belong to another database.
            await to_its_end(backend.store.insert, job, int(now * 1000))
        except StorageError:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        log.info("job_created", job=job_id, kind=kind)
        return job

    def kind(self, name: str) -> Kind[Any]:
        """Raises BadInput listing what exists."""
        if name not in self.kinds:
            there_are = f"kind is one of: {allowed(self.kinds)}"
            raise BadInput(f"there is no kind {shown(name)}; {there_are}" if name else there_are, param="kind")
        return self.kinds[name]

    async def list(
        self,
        *,
        kind: str | None = None,
        status: Status | None = None,
        owner: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> tuple["list[Job]", bool]:
        """Jobs, newest first, behind the job `after`, and whether there are more. Raises JobNotFound for `after`."""
        backend = await self._existing()
        found: Sequence[Job] | None = None if after else ()
        if backend is not None:
            page = partial(backend.store.page, kind=kind, status=status, owner=owner, limit=limit + 1, after=after)
            found = await asyncio.to_thread(page)
        if found is None:
            raise unknown_job(after or "", "after")
        return [*found[:limit]], len(found) > limit

    async def get(self, job_id: str, *, param: str = "job_id") -> Job:
        """A job as it is now. Raises JobNotFound, which names `param`."""
        return (await self._place(job_id, param))[1].job

    async def cancel(self, job_id: str) -> Job:
        """Cancel a queued or running job; when this returns it does not run any more, if it ended in order in 5 s.

        Raises JobNotFound; Conflict where it has ended.
        """
        backend, place = await self._place(job_id)
        cancelled = await asyncio.to_thread(backend.store.cancel, job_id)
        if cancelled is None:
            raise Conflict(f"the job {job_id} is {place.job.status}: only queued and running ones can be cancelled")
        if cancelled.worker is None:
            await asyncio.to_thread(backend.drop, job_id, cancelled.run)
        else:
            await backend.worker.cancelled(job_id, LEAVE_SECONDS)
            await self._left(job_id)
        log.info("job_cancelled", job=job_id)
        return cancelled.job

    async def resume(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again; its finished steps are not done again.

        Raises JobNotFound; Conflict for other jobs.
        """
        backend = await self._left(job_id)
        if not await asyncio.to_thread(backend.store.resume, job_id):
            raise await self._conflict(job_id, "only failed and cancelled ones can be resumed")
        log.info("job_resumed", job=job_id)
        return await self.get(job_id)

    async def delete(self, job_id: str) -> None:
        """Forget an ended job, and delete its folder. Raises JobNotFound; Conflict for queued and running ones."""
        backend = await self._left(job_id)
        if not await asyncio.to_thread(backend.forget, job_id):
            raise await self._conflict(job_id, "only ended ones can be deleted, so cancel it first")

    async def _conflict(self, job_id: str, rule: str) -> Conflict:
        _, place = await self._place(job_id)
        stops = place.worker is not None and place.job.status in ENDED
        state = f"{place.job.status} and still stopping" if stops else place.job.status
        return Conflict(f"the job {job_id} is {state}: {rule}")

    async def _left(self, job_id: str) -> "Backend":
        """Wait a little until an ended job is not run any more, by whomever."""
        last = time.monotonic() + LEAVE_SECONDS
        while True:
            backend, place = await self._place(job_id)
            if place.worker is None or place.job.status not in ENDED or time.monotonic() > last:
                return backend
            await asyncio.to_thread(backend.take_up, place.worker)
            await asyncio.sleep(0.1)

    async def watch(self, job_id: str) -> AsyncGenerator[Job, None]:
        """The job at once, then each time that it has changed, until it has ended, or this server stops.

        Raises JobNotFound.
        """
        seen = await self.get(job_id)
        yield seen
        while seen.status not in ENDED and self.started:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                job = await self.get(job_id)
            except (JobNotFound, Unavailable):  # since the last look it was deleted, or this server stopped
                return
            if job != seen:
                seen = job
                yield seen

    async def result(self, job_id: str, name: str | None) -> tuple[Path, Result]:
        """The file of a result; None: the first one. Raises JobNotFound; ResultNotFound listing what exists."""
        job = await self.get(job_id)
        found = [result for result in job.results if name is None or result.name == name]
        if not found:
            exist = allowed(result.name for result in job.results)
            wanted = "no result yet" if name is None else f"no result {shown(name)}"
            raise ResultNotFound(f"the job {job_id} has {wanted}; there is: {exist}", param="name")
        folder = self.folder.resolve() / job_id
        path = (folder / found[0].name).resolve()
        # The name came from a job that this server ran; what lies there now may be a link to elsewhere.
        if not path.is_relative_to(folder) or not path.is_file():
            raise StorageError(f"the result {found[0].name} of the job {job_id} is not there any more")
        return path, found[0]

    async def counts(self) -> Mapping[tuple[str, str], int]:
        """Jobs by kind and status, zeros included; empty where there was none yet, and where the database is away."""
        if self._backend is not None:
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(COUNT_SECONDS):
                    # Who watches what changes does not see the first one of what was not there before.
                    none = {(kind, status): 0 for kind in self.kinds for status in get_args(Status)}
                    return none | await asyncio.to_thread(self._backend.store.counts)
        return {}

    async def _place(self, job_id: str, param: str = "job_id") -> "tuple[Backend, Place]":
        backend = await self._existing()
        place = None if backend is None else await asyncio.to_thread(backend.store.find, job_id)
        if backend is None or place is None:
            raise unknown_job(job_id, param)
        return backend, place

    async def _existing(self) -> "Backend | None":
        """What is behind, where there was ever a job."""
        self._check_started()
        opened = self._backend is not None or bool(self._settings.database)
        if opened or await asyncio.to_thread((self.folder / SQLITE).exists):
            return await self._opened()
        return None

    async def _opened(self) -> "Backend":
        async with self._opening:
            self._check_started()
            if self._backend is None:
                backend = await asyncio.to_thread(self._imported)
                await backend.open()
                self._backend = backend
            return self._backend

    def _check_started(self) -> None:
        if not self.started:
            raise Unavailable("this server does not take care of jobs at the moment", retry_after=5)

    def _imported(self) -> "Backend":
        from more_server.jobs.backend import Backend

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        return Backend(self._settings, self.kinds, self._on_ended)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            try:
                await self._tend_once()
            except Exception:  # this worker would be taken for dead
                log.exception("jobs_not_tended")

    async def _tend_once(self) -> None:
        try:
            backend = await self._existing()
            if backend is not None:
                await to_its_end(backend.tend)
        except StorageError as error:  # a database that is away for a while keeps nobody from speaking
            if error.message != self._trouble:
                log.warning("jobs_not_tended", reason=error.message)
            self._trouble = error.message
        else:
            self._trouble = ""


def unknown_job(job_id: str, param: str) -> JobNotFound:
    """What is answered where there is no such job, or it is somebody else's."""
    return JobNotFound(f"there is no job {shown(job_id)}", param=param)
