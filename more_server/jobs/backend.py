"""The parts behind Jobs, put together when there is a first job: record, queues, lease, worker, retention."""

import asyncio
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from more_server.files import locked, remove_folder
from more_server.jobs.durable import Durable
from more_server.jobs.kinds import Kind
from more_server.jobs.leases import FileLeases, PostgresLeases
from more_server.jobs.records import Job
from more_server.jobs.store import Store
from more_server.jobs.threads import to_its_end
from more_server.jobs.worker import Worker
from more_server.settings import Settings

OPEN_SECONDS = 30.0
"""For other processes to make or change the tables."""
DAY, HOUR = 86_400.0, 3_600.0
LEASES = "leases"

log = structlog.get_logger("more_server.jobs")


class Backend:
    """One process's part in the jobs of a data directory."""

    def __init__(
        self, settings: Settings, kinds: Mapping[str, Kind[Any]], on_ended: Callable[[Job], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._kinds = kinds
        self._folder = settings.jobs_dir
        # Never used again: what a worker of this name left is left by a dead one, whatever else runs.
        self._name = f"{int(time.time())}-{secrets.token_hex(8)}"
        self.store = Store(settings)
        self.worker = Worker(self._name, self.store, kinds, self._folder, on_ended)
        self._durable = Durable(self.store.engine, self._name, self.worker.run, self.worker.tell)
        self.store.queue = self._durable
        self._leases = (
            PostgresLeases(self.store.engine) if settings.jobs.database else FileLeases(self._folder / LEASES)
        )
        self._watching: asyncio.Task[None] | None = None
        self._swept = 0.0

    async def open(self) -> None:
        """Make the tables where they are missing, and begin to work if this server works on jobs."""
        try:
            await to_its_end(self._open, asyncio.get_running_loop())
        except BaseException:
            await to_its_end(self._close)
            raise
        if self._settings.jobs.work:
            self._watching = asyncio.create_task(self.worker.watch())

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        with locked(self._folder, seconds=OPEN_SECONDS):
            self._durable.prepare()
            self.store.open()
        if self._settings.jobs.work:
            self._leases.hold(self._name)
            self._durable.work(list(self._kinds), self._settings.jobs.at_a_time, loop)

    async def close(self) -> None:
        """Stop what runs here and leave it to the next start."""
        await self.worker.stop()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await to_its_end(self._close)

    def _close(self) -> None:
        self._durable.close()
        self._leases.let_go()
        self.store.close()

    def tend(self) -> None:
        """Take up what dead workers left; every hour, delete what is old."""
        if self._settings.jobs.work:
            self._leases.hold(self._name)
            for worker in self.store.workers() | self._durable.workers():
                self.take_up(worker)
        if time.monotonic() - self._swept > HOUR or not self._swept:
            self._swept = time.monotonic()
            self._forget_old()

    def take_up(self, worker: str) -> None:
        """Queue what a worker left, if it is dead."""
        if worker == self._name:
            return
        with self._leases.taken(worker) as dead:
            if dead:
                log.warning("jobs_taken_up", worker=worker)
                # In this order: a run that is queued again finds its job queued.
                self.store.left_by(worker)
                self._durable.left_by(worker)

    def drop(self, job_id: str, run: int) -> None:
        """Take a run out of its queue that is not wanted any more."""
        self._durable.drop(job_id, run)

    def forget(self, job_id: str) -> bool:
        """Delete a job with its folder; False where it has not ended, or is still being left."""
        if not self.store.delete(job_id):
            return False
        folder = self._folder / job_id
        if folder.exists():
            remove_folder(folder)
        log.info("job_deleted", job=job_id)
        return True

    def _forget_old(self) -> None:
        for job_id in self.store.ended_before(time.time() - self._settings.jobs.keep_days * DAY):
            self.forget(job_id)
        self._durable.forget(time.time() - HOUR)
        # Of requests that were not accepted, and of removals that were cut off; asking takes less than an hour.
        found = [path for path in self._folder.iterdir() if path.name != LEASES and _untouched(path, HOUR)]
        known = self.store.ids()
        for path in found:
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)


def _untouched(folder: Path, seconds: float) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:  # another server was quicker
        return False
