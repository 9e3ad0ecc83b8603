"""Processes that work on toy jobs: forked from one that has imported what takes two seconds."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from more_server import logs
from more_server.jobs import durable, jobs
from more_server.jobs.jobs import Jobs
from more_server.jobs.records import Job
from more_server.settings import Settings
from tests.jobs.toys import OtherKind, ToyKind

END_SECONDS = 60.0


class Servers:
    """Processes that work on jobs."""

    codes: tuple[int | None, ...] = ()
    """How each has ended: 0, or -9 for the killed."""


@asynccontextmanager
async def servers(number: int, data_dir: Path, database: str = "") -> AsyncIterator[Servers]:
    """So many of them at once; afterwards they end in order, unless they died before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["more_server.jobs.backend", __name__])
    made, begun = Servers(), []
    for _ in range(number):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, data_dir, database))
        await asyncio.to_thread(process.start)
        theirs.close()
        begun.append((process, ours))
    try:
        yield made
        for _, ours in begun:
            ours.close()
        for process, _ in begun:
            await asyncio.to_thread(process.join, END_SECONDS)
        made.codes = tuple(process.exitcode for process, _ in begun)
    finally:
        for process, ours in begun:
            ours.close()
            process.kill()
            process.join()
            process.close()


def hurry() -> None:
    """Look more often than a server does, so that tests wait less."""
    durable.POLL_SECONDS = 0.1
    jobs.TEND_SECONDS = 0.5


def _serve(until: Connection, data_dir: Path, database: str) -> None:
    hurry()
    logs.configure("info", "text")
    asyncio.run(_work(until, data_dir, database))


async def _work(until: Connection, data_dir: Path, database: str) -> None:
    """Work, and write a line into told.txt for each end that is to be told; die once where there is a file `die`."""

    async def tell(job: Job) -> None:
        if (data_dir / "die").exists():
            (data_dir / "die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        with (data_dir / "told.txt").open("a") as file:
            file.write(f"{job.id} {job.status}\n")

    working = Jobs(Settings(data_dir=data_dir, database=database), [ToyKind(), OtherKind()], tell)
    await working.start()
    with suppress(EOFError):  # nothing is ever sent
        await asyncio.to_thread(until.recv)
    await working.stop()
