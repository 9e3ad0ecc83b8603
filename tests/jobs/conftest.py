"""Servers of jobs in this process and in others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from more_server.jobs import durable
from more_server.jobs import jobs as jobs_module
from more_server.jobs.jobs import Jobs
from more_server.jobs.kinds import Kind
from more_server.jobs.records import ENDED, Job
from more_server.settings import Settings
from more_server.tables import JobSettings
from tests.jobs.postgres import make_database, postgres
from tests.jobs.toys import OtherKind, ToyKind

__all__ = ["postgres"]
WAIT_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]

MakeJobs = Callable[..., Awaitable[Jobs]]
OnEnded = Callable[[Job], Awaitable[None]]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a server does, so that tests wait less."""
    monkeypatch.setattr(durable, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(jobs_module, "TEND_SECONDS", 0.5)


async def told_nobody(_: Job) -> None:
    """Nobody waits for the end of a job."""


@pytest.fixture
async def make_jobs(tmp_path: Path) -> AsyncIterator[MakeJobs]:
    """Started Jobs of toys on tmp_path: `await make_jobs(work=False)`; stopped at the end."""
    made = []

    async def make(
        *kinds: Kind[Any],
        data_dir: Path = tmp_path,
        database: str = "",
        on_ended: OnEnded = told_nobody,
        **settings: Any,
    ) -> Jobs:
        asked = Settings(data_dir=data_dir, database=database, jobs=JobSettings(**settings))
        jobs = Jobs(asked, kinds or [ToyKind(), OtherKind()], on_ended)
        made.append(jobs)
        await jobs.start()
        return jobs

    yield make
    for jobs in made:
        await jobs.stop()


async def until(what: Callable[[], object]) -> None:
    """Wait for something to come true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110 - of another process, too
            await asyncio.sleep(0.02)


async def ended(jobs: Jobs, job_id: str) -> Job:
    """The job, when it has ended."""
    async with asyncio.timeout(WAIT_SECONDS):
        async for job in jobs.watch(job_id):
            if job.status in ENDED:
                return job
    raise AssertionError("it is watched until it has ended")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting `database`: SQLite, and a new database of Postgres."""
    if request.param == "sqlite":
        return ""
    address: str = request.getfixturevalue("postgres")
    return make_database(address, tmp_path.name)
