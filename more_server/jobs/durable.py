"""dbos, which nothing else knows: queues of runs and of news, and that both are begun again when a worker died.

A run is a workflow of one call, which dbos dequeues, at most so many at a time, and keeps as pending for the worker
that has it. What a run finished is in our own record (store.py), by name: dbos numbers steps in the order of their
calls, which is another one where steps run side by side, and it keeps an error as a step's outcome.
Imported when there is a first job: dbos takes 1.9 s.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions

from more_server.errors import MoreError, StorageError
from more_server.jobs.records import Job
from more_server.jobs.store import reported

APPLICATION = "more-server"
VERSION = "1"
"""dbos takes up only what was queued under the same; its own default changes with the code and strands the rest."""
POLL_SECONDS = 1.0
"""Between two looks into a queue: with three kinds an idle server spends 4 % of a core, at 0.5 s 6 %."""
NEWS = "news"
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

Given = ParamSpec("Given")
log = structlog.get_logger("more_server.jobs")


class Durable:
    """The queues of one process. dbos is one for the whole process, so only one of these is open at a time.

    run and tell are called on the event loop; they give False where they were stopped, and are called again in the
    next life of this server, or by another one. Neither may raise.
    """

    def __init__(
        self,
        engine: sa.Engine,
        worker: str,
        run: Callable[[str, int], Awaitable[bool]],
        tell: Callable[[Job], Awaitable[bool]],
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._run = run
        self._tell = tell
        self._works = False
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
            lazy=True,
        )

    def prepare(self) -> None:
        """Make dbos's tables where they are missing. Raises StorageError."""
        # dbos would put its own lines beside ours, in a shape of its own.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        logging.getLogger("dbos").setLevel(logging.WARNING)
        logging.getLogger("dbos").addFilter(_is_news)
        with reported():
            self._client._sys_db.run_migrations()  # it has no other door for an engine that is ours

    def work(self, kinds: Sequence[str], at_a_time: int, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to call run and tell. Raises StorageError."""
        queues = [NEWS, *map(_queue, kinds)]
        config = DBOSConfig(
            name=APPLICATION,
            system_database_engine=self._engine,
            serializer=DBOSPortableJSONSerializer(),
            application_version=VERSION,
            executor_id=self._worker,
            log_level="WARNING",
            use_listen_notify=False,  # as the client, which made the tables; nothing here waits for an event
            notification_listener_polling_interval_sec=0.2,  # it asks nothing, and the end waits for it
        )
        with reported():
            # Before the launch, which looks for queues at once, then after a second.
            for name in queues:
                limit = None if name == NEWS else at_a_time
                self._client.register_queue(name, worker_concurrency=limit, polling_interval_sec=POLL_SECONDS)
            DBOS(config=config)
            if DBOS.executor_id != self._worker:
                raise MoreError("another server in this process works on jobs already; one process has one")
            self._works = True
            self._register(loop)
            DBOS.listen_queues(queues)
            DBOS.launch()

    def _register(self, loop: asyncio.AbstractEventLoop) -> None:
        @DBOS.workflow(name="run", max_recovery_attempts=None)
        async def run(job_id: str, number: int) -> None:
            await _there(loop, self._run, job_id, number)

        @DBOS.workflow(name="tell", max_recovery_attempts=None)
        async def tell(job: dict[str, Any]) -> None:
            await _there(loop, self._tell, msgspec.convert(job, Job))

    def close(self) -> None:
        """End the threads of dbos; what they had in hand is queued again."""
        if self._works:
            logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of each workflow that it stops
            DBOS.destroy(destroy_registry=True)
            try:
                self.left_by(self._worker)
            except StorageError as error:  # the next start, or another worker, does it as after a crash
                log.warning("jobs_not_left", reason=error.message)
        self._client.destroy()

    def run(self, connection: sa.Connection, job_id: str, kind: str, run: int) -> None:
        """Queue a run."""
        self._enqueue(connection, "run", _queue(kind), f"{job_id}-{run}", job_id, run)

    def tell(self, connection: sa.Connection, job: Job, run: int) -> None:
        """Queue the news of an end, which each run has once."""
        self._enqueue(connection, "tell", NEWS, f"{job.id}-{run}-end", msgspec.to_builtins(job))

    def _enqueue(self, connection: sa.Connection, name: str, queue: str, key: str, *given: object) -> None:
        options = EnqueueOptions(workflow_name=name, queue_name=queue, workflow_id=key, app_version=VERSION)
        self._client.enqueue_in_transaction(connection, options, *given)

    def drop(self, job_id: str, run: int) -> None:
        """Take a run out of its queue; if one gets it nevertheless, the record says that it is not due."""
        with reported():
            self._client.cancel_workflow(f"{job_id}-{run}")

    def workers(self) -> set[str]:
        """Everybody who has a run or news in hand."""
        with reported():
            pending = self._client.list_workflows(status="PENDING", load_input=False, load_output=False)
        return {one.executor_id for one in pending if one.executor_id}

    def left_by(self, worker: str) -> None:
        """Queue what a dead worker had in hand; only the holder of its lease may call this."""
        with reported():
            pending = self._client.list_workflows(
                status="PENDING", executor_id=worker, load_input=False, load_output=False
            )
            for one in pending:
                # Without the queue's name it would go to dbos's own, which knows no limit.
                self._client.resume_workflow(one.workflow_id, queue_name=one.queue_name)

    def forget(self, seconds: float) -> None:
        """Delete what dbos keeps of runs and news that were over before a Unix time; the record is elsewhere."""
        before = datetime.fromtimestamp(seconds, UTC).isoformat()
        with reported():
            while over := self._client.list_workflows(
                status=FINISHED, completed_before=before, limit=500, load_input=False, load_output=False
            ):
                self._client.delete_workflows([one.workflow_id for one in over])


def _is_news(record: logging.LogRecord) -> bool:
    """False for what dbos tells, with a traceback, of a run that was cancelled while it began: nothing is amiss."""
    error = record.exc_info[1] if record.exc_info else None
    # The error has no public name in dbos 3.4, as little as the message of the warning before it.
    return type(error).__name__ != "DBOSAwaitedWorkflowCancelledError" and "no longer owned" not in record.getMessage()


async def _there(
    loop: asyncio.AbstractEventLoop, do: Callable[Given, Awaitable[bool]], *given: Given.args, **named: Given.kwargs
) -> None:
    """Do it on the server's event loop; dbos has one of its own."""

    async def done() -> bool:
        return await do(*given, **named)

    try:
        if await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), loop)):
            return
    except Exception as error:
        # An error would be kept as the outcome, and the job would be lost. As it is, the next start takes it up.
        log.exception("job_left", error_type=type(error).__name__)
    # Pending until dbos ends this loop: a workflow that returns is done, and one that is cancelled frees its place
    # for the next run, which must not begin while the server stops.
    await asyncio.get_running_loop().create_future()


def _queue(kind: str) -> str:
    return f"jobs-{kind}"
