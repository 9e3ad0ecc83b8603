"""One run of a job, as its kind sees it: steps found again by name, progress, results."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from more_server.jobs.kinds import Outcome, Work
from more_server.jobs.records import Progress, Result
from more_server.jobs.store import Claim, Store

RATE_SECONDS = 1.0
"""A rate is told after this time: what comes at once, from a checkpoint or a cache, says nothing about the rest."""

log = structlog.get_logger("more_server.jobs")


class Run(Work):
    """Keeps what one run tells, while the job is this worker's."""

    def __init__(self, store: Store, claim: Claim, folder: Path, worker: str) -> None:
        self.id = claim.job.id
        self.folder = folder
        self._store = store
        self._worker = worker
        self._kept = claim.steps
        self._named: set[str] = set()
        self._results = claim.job.results
        self._pace = Pace()
        self._told: Progress | None = None
        self._written: Progress | None = None
        self._writing = threading.Lock()

    async def step(self, name: str, do: Callable[[], Awaitable[Outcome]], outcome: type[Outcome]) -> Outcome:
        """See Work."""
        if name in self._named:
            raise ValueError(f"two steps of the job are called {name!r}")
        self._named.add(name)
        if name in self._kept:
            try:
                found = msgspec.json.decode(self._kept[name], type=outcome)
            except msgspec.ValidationError as error:  # an older version of the server kept it
                log.warning("step_done_anew", job=self.id, step=name, reason=str(error))
            else:
                self._pace.begin()
                return found
        given = await do()
        await asyncio.to_thread(self._store.keep_step, self.id, name, msgspec.json.encode(given))
        return given

    async def tell(self, stage: str, done: float, total: float, about: Mapping[str, Any] | None = None) -> None:
        """See Work."""
        if self._told is None or stage != self._told.stage:  # another one has another pace
            self._pace.begin()
        self._told = Progress(
            stage=stage,
            done=done,
            total=total,
            percent=round(min(max(done / total, 0.0), 1.0) * 100, 2) if total > 0 else 0.0,
            estimated_end=self._pace.end(done, total, time.monotonic()),
            about=dict(about or {}),
        )

    def write_told(self) -> None:
        """Keep the last word of progress, unless that is done; tell leaves it to the worker. Raises StorageError."""
        with self._writing:  # an older word must not come behind a newer one
            told = self._told
            if told is not None and told is not self._written:
                self._store.tell(self.id, self._worker, told)
                self._written = told

    async def add(self, file: Path, media_type: str, title: str = "") -> None:
        """See Work."""
        name, size = await asyncio.to_thread(self._measured, file)
        result = Result(name=name, media_type=media_type, bytes=size, title=title)
        known = [one.name for one in self._results]
        place = known.index(name) if name in known else len(known)
        self._results = (*self._results[:place], result, *self._results[place + 1 :])
        await asyncio.to_thread(self._store.show, self.id, self._worker, self._results)

    def _measured(self, file: Path) -> tuple[str, int]:
        return file.resolve().relative_to(self.folder.resolve()).as_posix(), file.stat().st_size


class Pace:
    """When a job will have ended, by the rate of this run; steps that were found finished do not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def begin(self) -> None:
        """What is told next is where the rate is counted from."""
        self._first = None

    def end(self, done: float, total: float, now: float) -> int | None:
        """Unix seconds; None while it cannot be told. now: of a clock that is never set."""
        if self._first is None or done < self._first[0]:
            self._first = done, now
        then, since = self._first
        if now - since < RATE_SECONDS or done <= then:
            return None
        return round(time.time() + max(0.0, total - done) * (now - since) / (done - then))
