"""Durable jobs: taken, worked on, taken up again after a crash, cancelled, resumed, deleted."""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from more_server.errors import BadInput, Conflict, JobNotFound, StorageError, Unavailable, allowed, shown
from more_server.jobs.kinds import Kind
from more_server.jobs.records import ENDED, Job, Result, Status
from more_server.jobs.threads import to_its_end
from more_server.settings import Settings

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

log = structlog.get_logger("more_server.jobs")


class Jobs:
    """All jobs of a data directory, as one server sees them.

    Several servers may share it; each job runs in one of them at a time. Every method raises StorageError where the
    database or the disk refuses, and Unavailable before `start` and after `stop`.
    """

    def __init__(self, settings: Settings, kinds: Sequence[Kind[Any]]) -> None:
        self.kinds: Mapping[str, Kind[Any]] = {kind.name: kind for kind in kinds}
        self.on_ended: Callable[[Job], Awaitable[None]] = _nobody
        """Told of each end of a job that has a webhook: at least once, also where the process died in between."""
        self._settings = settings
        self.folder = settings.jobs_dir
        """Holds the folder of each job, named after its id."""
        self._backend: Backend | None = None
        self._opening = asyncio.Lock()
        self._started = False
        self._tending: asyncio.Task[None] | None = None
        self._counts: Mapping[tuple[str, str], int] = {}
        self._trouble = ""

    async def start(self) -> None:
        """Take up work, and the jobs that dead workers left; without `jobs.work` only take orders.

        Where no job was ever asked for, that waits for the first one: dbos takes two seconds and 70 MB. A database
        that is away is tried again and again. Raises SettingsError for an address that is none.
        """
        if self._tending is None:
            self._started = True
            await self._tend_once()
            self._tending = asyncio.create_task(self._tend())

    async def stop(self) -> None:
        """Stop the jobs that run here, which are taken up at the next start, and wait for them."""
        self._started = False
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
        if kind not in self.kinds:
            raise BadInput(f"kind must be one of {allowed(self.kinds)}, not {shown(kind)}", param="kind")
        backend = await self._opened()
        now = time.time()
        job_id = PREFIX + secrets.token_hex(8)
        folder = self.folder / job_id
        try:
            folder.mkdir()
            request = msgspec.to_builtins(await self.kinds[kind].accept(asked, folder))
        except OSError as error:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        job = Job(
            id=job_id, kind=kind, status="queued", created=int(now), request=request, owner=owner, webhook=webhook
        )
        try:
            # Not cut off with the caller's connection: a job that is kept has its folder.
            await asyncio.shield(asyncio.to_thread(backend.store.insert, job, int(now * 1000)))
        except StorageError:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        log.info("job_created", job=job_id, kind=kind)
        return job

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
            raise _unknown(after or "", "after")
        return [*found[:limit]], len(found) > limit

    async def get(self, job_id: str) -> Job:
        """A job as it is now. Raises JobNotFound."""
        return (await self._place(job_id))[1].job

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
        while seen.status not in ENDED and self._started:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                job = await self.get(job_id)
            except JobNotFound:  # it ended and was deleted since the last look
                return
            if job != seen:
                seen = job
                yield seen

    async def result(self, job_id: str, name: str | None) -> tuple[Path, Result]:
        """The file of a result; None: the first one. Raises JobNotFound; BadInput (`name`) listing what exists."""
        job = await self.get(job_id)
        found = [result for result in job.results if name is None or result.name == name]
        if not found:
            exist = allowed(result.name for result in job.results)
            wanted = "no result yet" if name is None else f"no result {shown(name)}"
            raise BadInput(f"the job {job_id} has {wanted}; there is: {exist}", param="name")
        folder = self.folder.resolve() / job_id
        path = (folder / found[0].name).resolve()
        # The name came from a job that this server ran; what lies there now may be a link to elsewhere.
        if not path.is_relative_to(folder) or not path.is_file():
            raise StorageError(f"the result {found[0].name} of the job {job_id} is not there any more")
        return path, found[0]

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Jobs by kind and status, for the metrics: two seconds old at most, empty until there was a first job."""
        return self._counts

    async def _place(self, job_id: str) -> "tuple[Backend, Place]":
        backend = await self._existing()
        place = None if backend is None else await asyncio.to_thread(backend.store.find, job_id)
        if backend is None or place is None:
            raise _unknown(job_id, "job_id")
        return backend, place

    async def _existing(self) -> "Backend | None":
        """What is behind, where there was ever a job."""
        started = self._backend is not None or bool(self._settings.jobs.database)
        if started or await asyncio.to_thread((self.folder / "jobs.sqlite").exists):
            return await self._opened()
        return None

    async def _opened(self) -> "Backend":
        async with self._opening:
            if not self._started:
                raise Unavailable("this server does not take care of jobs at the moment", retry_after=5)
            if self._backend is None:
                backend = await asyncio.to_thread(self._imported)
                await backend.open()
                self._backend = backend
            return self._backend

    def _imported(self) -> "Backend":
        from more_server.jobs.backend import Backend

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        return Backend(self._settings, self.kinds, lambda job: self.on_ended(job))

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
                self._counts = await to_its_end(backend.store.counts)
        except StorageError as error:  # a database that is away for a while keeps nobody from speaking
            if error.message != self._trouble:
                log.warning("jobs_not_tended", reason=error.message)
            self._trouble = error.message
        else:
            self._trouble = ""


def _unknown(job_id: str, param: str) -> JobNotFound:
    return JobNotFound(f"there is no job {shown(job_id)}", param=param)


async def _nobody(job: Job) -> None:
    """Nobody is told."""
