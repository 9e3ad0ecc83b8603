"""A worker: `python -m more_server.workers DOOR TALK`, sockets that the parent left open, its settings on stdin."""

import asyncio
import os
import socket
import sys
from contextlib import suppress

import msgspec
import structlog

from more_server import logs
from more_server.app import create_app, kinds_of_jobs, web_server
from more_server.errors import MoreError
from more_server.graceful import settle
from more_server.settings import COMMAND_LINE, Loaded, read
from more_server.siblings import Question
from more_server.web.health import condition
from more_server.web.own import own
from more_server.workers.devices import engine_of, share, sockets, usable_cores
from more_server.workers.door import Door
from more_server.workers.link import Link
from more_server.workers.messages import Failed, Given, Report, Started, decoded, encoded

REPORT_SECONDS = 1.0
STARTED_LOOK_SECONDS = 0.01
log = structlog.get_logger("more_server.workers")


class Worker:
    """The whole application, served to the connections that the parent hands over."""

    def __init__(self, given: Given, door: socket.socket) -> None:
        """Raises MoreError."""
        settings = given.loaded.settings
        self._count = settings.server.workers
        self._given = given
        self._cores = self._settle_on_cores()
        self._link = Link(given.number, self._count)
        lines = logs.RecentLines(on_line=self._link.send_line)
        logs.configure(settings.log_level, settings.log_format, lines, worker=given.number)
        settings = self._own(given.loaded).settings
        self._application = create_app(
            settings, self._started, lambda: self._own(read()), kinds_of_jobs, lines, self._link
        )
        self._server = web_server(self._application, settings)
        self._door = Door(door, self._server, self._changed)
        self._failure: BaseException | None = None
        self._is_told = False
        self._following: asyncio.Task[None] | None = None

    def run(self, talk: socket.socket) -> int:
        """Until the parent says so, or is gone; the status to end with."""
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve(talk))
        return 1 if self._failure else 0

    def _settle_on_cores(self) -> int:
        """How many cores there are for all workers; where there are several sockets, this one stays on its own."""
        cores = usable_cores()
        if sockets(cores) > 1 and len(cores) >= self._count:
            # The weights lie in the memory of the socket that loads them. On one socket it is left to the system: the
            # cores of a worker that has nothing to do are of use to the others.
            os.sched_setaffinity(0, share(cores, self._given.number, self._count))
        return len(cores)

    def _own(self, loaded: Loaded) -> Loaded:
        """What was said on the command line, and this worker's share of the machine, before all else."""
        settings, given = loaded.settings, self._given
        changed = msgspec.structs.replace(
            settings,
            server=msgspec.structs.replace(settings.server, **given.said),
            engine=engine_of(settings.engine, given.number, self._count, self._cores),
        )
        said = {f"server.{name}": COMMAND_LINE for name in given.said}
        shared = dict.fromkeys(("engine.device", "engine.threads"), f"worker {given.number} of {self._count}")
        return Loaded(changed, loaded.sources | said | shared)

    async def _serve(self, talk: socket.socket) -> None:
        application = self._application
        parent = await self._link.open(talk, self._told, application.administration.take_models, application.reload)
        serving = asyncio.create_task(self._server.serve(sockets=[]))
        while not (self._server.started or serving.done()):  # noqa: ASYNC110 - uvicorn tells nobody else
            await asyncio.sleep(STARTED_LOOK_SECONDS)
        if not serving.done():
            self._door.open()
        telling = asyncio.create_task(self._tell())
        await asyncio.wait({serving, parent}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            log.warning("the parent is gone, so this worker ends")
            self._server.should_exit = True
        try:
            await serving
        finally:
            telling.cancel()
            if self._failure is not None:
                told = self._failure.message if isinstance(self._failure, MoreError) else ""
                self._link.send(Failed(told))
            await self._link.flush()

    def _started(self, error: BaseException | None) -> None:
        if error is not None:
            self._failure = error
            self._server.should_exit = True
            if not isinstance(error, MoreError):
                log.error("this worker cannot start", exc_info=error)
            return
        settle()
        self._report()  # before whoever hears of the start asks for something
        self._link.send(Started())
        if self._given.models:
            work = self._application.administration.take_models(self._given.models)
            self._following = asyncio.create_task(work)

    async def _told(self, question: Question) -> bytes:
        return await own(self._application.speaker, question)

    # -- reports

    async def _tell(self) -> None:
        while True:
            self._changed()
            await asyncio.sleep(REPORT_SECONDS)

    def _changed(self) -> None:
        """There is news: told in this turn of the loop, once."""
        if not self._is_told:
            self._is_told = True
            asyncio.get_running_loop().call_soon(self._report)

    def _report(self) -> None:
        self._is_told = False
        door, speaker = self._door, self._application.speaker
        states = [(model.resolving, model.engine.state()) for model in speaker.fleet.present()]
        at_work = sum(resolving + state.speaking + state.waiting for resolving, state in states)
        self._link.send(
            Report(
                taken=door.taken,
                speaking=door.speaking(at_work),
                requests=door.requests,
                connections=door.connections,
                ready=condition(speaker).ready,
                hung=any(state.hung for _, state in states),
            )
        )


def main(door: str, talk: str) -> int:
    """The status to end with."""
    given: Given = decoded(sys.stdin.buffer.read(), Given)
    doors, talking = socket.socket(fileno=int(door)), socket.socket(fileno=int(talk))
    for one in (doors, talking):
        one.set_inheritable(False)  # no business of what this process starts
    try:
        worker = Worker(given, doors)
    except MoreError as error:
        with suppress(OSError):
            talking.sendall(encoded(Failed(error.message)))
        return 1
    return worker.run(talking)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
