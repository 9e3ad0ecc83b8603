"""The parts behind Jobs, put together when there is a first job: record, queues, lease, worker, retention."""

import asyncio
import contextvars
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from more_server.clock import SetClock
from more_server.files import locked, remove_folder
from more_server.jobs.durable import Durable
from more_server.jobs.kinds import Kind
from more_server.jobs.leases import FileLeases, PostgresLeases
from more_server.jobs.records import SQLITE, Job
from more_server.jobs.sqlite import SqliteFile
from more_server.jobs.store import Store
from more_server.jobs.worker import Worker
from more_server.reserve import Reserve
from more_server.settings import Settings
from more_server.shared.folder import check_folder
from more_server.threads import to_its_end

OPEN_SECONDS = 30.0
"""For other processes to make or change the tables."""
DAY, HOUR = 86_400.0, 3_600.0
RESERVE_BYTES = 1 << 20
"""For SQLite to forget a job on a full disk: one of 2000 steps and 2 MB of text takes it 480 kB."""

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
        self._leases = PostgresLeases(self.store.engine) if settings.database else FileLeases(self._folder / "leases")
        self._file = None if settings.database else SqliteFile(self._folder / SQLITE)
        self._watching: asyncio.Task[None] | None = None
        self._swept = 0.0
        self._clock = SetClock()
        self._reserve = Reserve(self._folder / "jobs.reserve", RESERVE_BYTES)

    async def open(self) -> None:
        """Make the tables where they are missing, and begin to work if this server works on jobs."""
        try:
            await to_its_end(self._open, asyncio.get_running_loop())
        except BaseException:
            await to_its_end(self._close)
            raise
        if self._settings.jobs.work:
            # Of no request, although it may be one that opens this.
            self._watching = asyncio.create_task(self.worker.watch(), context=contextvars.Context())

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reserve.keep()
        with locked(self._folder, seconds=OPEN_SECONDS):
            if self._file is not None:
                self._file.open()
            self._durable.prepare()
            self.store.open()
            if self._settings.database:
                check_folder(self._settings)
            if self._settings.jobs.work:
                self._leases.hold(self._name)
                self._leases.sweep(self.store.workers() | self._durable.workers())
        if self._settings.jobs.work:
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
        if self._file is not None:
            self._file.close()

    def tend(self) -> None:
        """Take up what dead workers left; every hour, delete what is old, unless the clock was just set."""
        trusted = self._clock.is_trusted()
        if self._settings.jobs.work:
            self._leases.hold(self._name)
            for worker in self.store.workers() | self._durable.workers():
                self.take_up(worker)
        if trusted and (time.monotonic() - self._swept > HOUR or not self._swept):
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
        with self._reserve.given():
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
        # Of orders and removals that a kill cut off; taking an order lasts less than an hour. Other folders without a
        # job are left alone: another server may keep its record of them in another database.
        for path in self._folder.glob(".*.partial-*"):
            if _untouched(path, HOUR):
                shutil.rmtree(path, ignore_errors=True)


def _untouched(folder: Path, seconds: float) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:  # another server was quicker
        return False
