"""The record of jobs in the database: what was asked for, where it is, which steps are finished, what came of it.

Two tables of ours stand beside those of dbos in one database, so that a job changes and its run or its webhook is
queued in one transaction. Every change names the state that it starts from; who comes second changes nothing.
Imported when there is a first job: sqlalchemy takes 0.3 s.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa
import structlog

from more_server.errors import SettingsError, StorageError
from more_server.jobs.records import ENDED, SQLITE, Failure, Job, Progress, Result, Status
from more_server.settings import Settings
from more_server.shared.database import CONNECT_SECONDS, KEEPALIVES

BUSY_MS = 30_000
"""How long one process waits for another that writes SQLite's file."""

_METADATA = sa.MetaData()
JOBS = sa.Table(
    "more_jobs",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("webhook", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("started", sa.BigInteger),
    sa.Column("ended", sa.BigInteger),
    sa.Column("progress", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("results", sa.Text, nullable=False),
    # Which run of the job counts: the first is 1, each resumption is a further one.
    sa.Column("run", sa.Integer, nullable=False),
    # Who runs it, or is still leaving it after it was cancelled.
    sa.Column("worker", sa.Text),
    # Workers that died of it since it last got on, and how far it was then.
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("known_steps", sa.Integer, nullable=False),
    sa.Column("known_done", sa.Float, nullable=False),
    sa.Index("more_jobs_newest", "created_ms", "id"),
)
STEPS = sa.Table(
    "more_job_steps",
    _METADATA,
    sa.Column("job", sa.Text, sa.ForeignKey("more_jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
)

log = structlog.get_logger("more_server.jobs")


class Queue(Protocol):
    """Where runs and webhooks are queued, within the transaction that makes them due."""

    def run(self, connection: sa.Connection, job_id: str, kind: str, run: int) -> None:
        """Queue a run of a job."""

    def tell(self, connection: sa.Connection, job: Job, run: int) -> None:
        """Queue the news that a job has ended."""


class Place(NamedTuple):
    """Where a job is."""

    job: Job
    run: int
    worker: str | None


class Claim(NamedTuple):
    """A job that is ours to run."""

    job: Job
    deaths: int
    """Workers that died of it without getting on."""
    steps: Mapping[str, bytes]
    """JSON of what finished steps gave, by name."""


class DamagedRecord(StorageError):
    """What is written of a job cannot be read; SQLite finds damage of its pages alone."""


class Store:
    """Reads and writes the record. Every method is one transaction; it blocks, and raises StorageError."""

    def __init__(self, settings: Settings) -> None:
        self.engine = _engine(settings)
        self.queue: Queue

    def open(self) -> None:
        """Make the tables where they are missing; one process at a time may do so."""
        with self._begin() as connection:
            _METADATA.create_all(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with reported(), self.engine.begin() as connection:
            yield connection

    def insert(self, job: Job, created_ms: int) -> None:
        """Keep a new job and queue its first run."""
        row = {
            "id": job.id,
            "kind": job.kind,
            "status": job.status,
            "owner": job.owner,
            "webhook": job.webhook,
            "request": _json(job.request),
            "created_ms": created_ms,
            "results": "[]",
            "run": 1,
            "deaths": 0,
            "known_steps": 0,
            "known_done": 0.0,
        }
        with self._begin() as connection:
            connection.execute(sa.insert(JOBS).values(row))
            self.queue.run(connection, job.id, job.kind, 1)

    def find(self, job_id: str) -> Place | None:
        """A job; None: there is none."""
        with self._begin() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
        return None if row is None else Place(_shown(row), row.run, row.worker)

    def page(
        self, *, kind: str | None, status: str | None, owner: str | None, limit: int, after: str | None
    ) -> Sequence[Job] | None:
        """Up to `limit` jobs, newest first; None: there is no job `after`."""
        query = sa.select(JOBS).order_by(JOBS.c.created_ms.desc(), JOBS.c.id.desc()).limit(limit)
        for column, value in ((JOBS.c.kind, kind), (JOBS.c.status, status), (JOBS.c.owner, owner)):
            if value is not None:
                query = query.where(column == value)
        with self._begin() as connection:
            if after is not None:
                place = sa.select(JOBS.c.created_ms, JOBS.c.id).where(JOBS.c.id == after)
                last = connection.execute(place).one_or_none()
                if last is None:
                    return None
                query = query.where(sa.tuple_(JOBS.c.created_ms, JOBS.c.id) < sa.tuple_(*last))
            return [_shown(row) for row in connection.execute(query)]

    def counts(self) -> dict[tuple[str, str], int]:
        """Jobs by kind and status."""
        query = sa.select(JOBS.c.kind, JOBS.c.status, sa.func.count()).group_by(JOBS.c.kind, JOBS.c.status)
        with self._begin() as connection:
            return {(kind, status): number for kind, status, number in connection.execute(query)}

    def claim(self, job_id: str, run: int, worker: str) -> Claim | None:
        """Begin a run; None where it is not due any more, or its record is damaged, which is how it ends then."""
        try:
            return self._claimed(job_id, run, worker)
        except DamagedRecord as error:
            log.error("job_failed", job=job_id, code=error.code, reason=error.message)  # noqa: TRY400 - it says it all
            due = sa.and_(JOBS.c.id == job_id, JOBS.c.run == run, JOBS.c.status == "queued")
            with self._begin() as connection:
                self._end(connection, due, {"status": "failed", "error": _json(Failure(error.code, error.message))})
            return None

    def _claimed(self, job_id: str, run: int, worker: str) -> Claim | None:
        due = sa.and_(JOBS.c.id == job_id, JOBS.c.run == run, JOBS.c.status == "queued", JOBS.c.worker.is_(None))
        started = sa.func.coalesce(JOBS.c.started, int(time.time()))
        change = sa.update(JOBS).where(due).values(status="running", worker=worker, started=started).returning(*JOBS.c)
        with self._begin() as connection:
            row = connection.execute(change).one_or_none()
            if row is None:
                return None
            kept = connection.execute(sa.select(STEPS.c.name, STEPS.c.outcome).where(STEPS.c.job == job_id))
            return Claim(_job(row), row.deaths, {name: outcome.encode() for name, outcome in kept})

    def running(self, worker: str) -> set[str]:
        """Ids of the jobs that a worker shall be running."""
        query = sa.select(JOBS.c.id).where(JOBS.c.worker == worker, JOBS.c.status == "running")
        with self._begin() as connection:
            return set(connection.execute(query).scalars())

    def keep_step(self, job_id: str, name: str, outcome: bytes) -> None:
        """Keep what a step gave."""
        with self._begin() as connection:
            connection.execute(sa.delete(STEPS).where(STEPS.c.job == job_id, STEPS.c.name == name))
            connection.execute(sa.insert(STEPS).values(job=job_id, name=name, outcome=outcome.decode()))

    def tell(self, job_id: str, worker: str, progress: Progress) -> None:
        """Keep how far a running job is."""
        self._note(job_id, worker, progress=_json(progress))

    def show(self, job_id: str, worker: str, results: Sequence[Result]) -> None:
        """Keep what has come out of a running job."""
        self._note(job_id, worker, results=_json(results))

    def _note(self, job_id: str, worker: str, **values: str) -> None:
        mine = sa.and_(JOBS.c.id == job_id, JOBS.c.worker == worker)
        with self._begin() as connection:
            connection.execute(sa.update(JOBS).where(mine).values(values))

    def end(self, job_id: str, worker: str, error: Failure | None) -> bool:
        """End a run of ours; False where it had been cancelled, or is not ours any more."""
        mine = sa.and_(JOBS.c.id == job_id, JOBS.c.worker == worker, JOBS.c.status == "running")
        status = "succeeded" if error is None else "failed"
        with self._begin() as connection:
            values = {"status": status, "error": None if error is None else _json(error), "worker": None}
            return self._end(connection, mine, values) is not None

    def cancel(self, job_id: str) -> Place | None:
        """Cancel a job; None where it is neither queued nor running. Whoever runs it leaves it as soon as it sees."""
        going = sa.and_(JOBS.c.id == job_id, JOBS.c.status.in_(("queued", "running")))
        with self._begin() as connection:
            return self._end(connection, going, {"status": "cancelled"})

    def _end(
        self, connection: sa.Connection, where: sa.ColumnElement[bool], values: Mapping[str, str | None]
    ) -> Place | None:
        change = sa.update(JOBS).where(where).values(ended=int(time.time()), **values).returning(*JOBS.c)
        row = connection.execute(change).one_or_none()
        if row is None:
            return None
        job = _shown(row)
        if job.webhook:
            self.queue.tell(connection, job, row.run)
        return Place(job, row.run, row.worker)

    def leave(self, job_id: str, worker: str) -> None:
        """A run was stopped: because the job was cancelled, or it goes on at the next start."""
        mine = sa.and_(JOBS.c.id == job_id, JOBS.c.worker == worker)
        with self._begin() as connection:
            connection.execute(sa.update(JOBS).where(mine).values(worker=None, status=_NOT_RUNNING))

    def left_by(self, worker: str) -> None:
        """A worker died: what it ran is queued again, and each job remembers whether it got on meanwhile."""
        query = sa.select(JOBS).where(JOBS.c.worker == worker)
        with self._begin() as connection:
            for row in connection.execute(query).all():
                count = sa.select(sa.func.count()).select_from(STEPS).where(STEPS.c.job == row.id)
                steps = connection.execute(count).scalar_one()
                progress = _shown(row).progress
                done = progress.done if progress else 0.0
                values = {
                    "worker": None,
                    "status": _NOT_RUNNING,
                    "deaths": 0 if steps > row.known_steps or done > row.known_done else row.deaths + 1,
                    "known_steps": steps,
                    "known_done": max(done, row.known_done),
                }
                mine = sa.and_(JOBS.c.id == row.id, JOBS.c.worker == worker)
                connection.execute(sa.update(JOBS).where(mine).values(values))

    def workers(self) -> set[str]:
        """Everybody who runs a job."""
        with self._begin() as connection:
            return set(connection.execute(sa.select(JOBS.c.worker).where(JOBS.c.worker.is_not(None))).scalars())

    def resume(self, job_id: str) -> bool:
        """Queue a further run of a job; False where it has not failed, was not cancelled, or is still being left."""
        ended = sa.and_(JOBS.c.id == job_id, JOBS.c.status.in_(("failed", "cancelled")), JOBS.c.worker.is_(None))
        values = {"status": "queued", "run": JOBS.c.run + 1, "deaths": 0, "error": None, "ended": None}
        with self._begin() as connection:
            row = connection.execute(sa.update(JOBS).where(ended).values(values).returning(*JOBS.c)).one_or_none()
            if row is not None:
                self.queue.run(connection, job_id, row.kind, row.run)
            return row is not None

    def delete(self, job_id: str) -> bool:
        """Forget a job; False where it has not ended, or is still being left."""
        ended = sa.and_(JOBS.c.id == job_id, JOBS.c.status.in_(ENDED), JOBS.c.worker.is_(None))
        with self._begin() as connection:
            return connection.execute(sa.delete(JOBS).where(ended)).rowcount == 1

    def ended_before(self, seconds: float) -> Sequence[str]:
        """Ids of the jobs that ended before a Unix time."""
        with self._begin() as connection:
            return connection.execute(sa.select(JOBS.c.id).where(JOBS.c.ended < seconds)).scalars().all()


@contextmanager
def reported() -> Iterator[None]:
    """What the database refuses is a StorageError; the statement and its values are in its cause alone."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise StorageError(f"the database of jobs cannot be used: {str(error.orig).strip()}") from error
    except sa.exc.SQLAlchemyError as error:
        raise StorageError(f"the database of jobs cannot be used: {type(error).__name__}") from error


_NOT_RUNNING = sa.case((JOBS.c.status == "running", "queued"), else_=JOBS.c.status)


def _engine(settings: Settings) -> sa.Engine:
    address = settings.database
    if not address:
        url = sa.URL.create("sqlite", database=str(settings.jobs_dir / SQLITE))
        engine = sa.create_engine(url, pool_size=5, max_overflow=20)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        url = sa.make_url(address).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError) as error:  # its text holds the address, and that a password
        raise SettingsError("database must be postgresql://user:password@host/name") from error
    arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "more-server", "options": KEEPALIVES}
    return sa.create_engine(url, pool_size=5, max_overflow=20, pool_pre_ping=True, connect_args=arguments)


def _prepare_sqlite(connection: Any, _: object) -> None:
    # As dbos does with an engine of its own: who means to write waits for the lock at once, and for long.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    # Readers, which look twice a second, do not hold up writers.
    connection.execute("PRAGMA journal_mode=WAL")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _job(row: Any) -> Job:
    status: Status = row.status
    try:
        return Job(
            id=row.id,
            kind=row.kind,
            status=status,
            created=row.created_ms // 1000,
            started=row.started,
            ended=row.ended,
            request=msgspec.json.decode(row.request),
            owner=row.owner,
            webhook=row.webhook,
            progress=msgspec.json.decode(row.progress, type=Progress) if row.progress else None,
            error=msgspec.json.decode(row.error, type=Failure) if row.error else None,
            results=msgspec.json.decode(row.results, type=tuple[Result, ...]),
        )
    except msgspec.DecodeError as error:
        raise DamagedRecord(f"the record of the job {row.id} is damaged: {error}") from error


def _shown(row: Any) -> Job:
    """A job; of one whose record is damaged what can be read, and that: it must not keep others from being seen."""
    try:
        return _job(row)
    except DamagedRecord as error:
        status: Status = row.status
        return Job(
            id=row.id,
            kind=row.kind,
            status=status,
            created=row.created_ms // 1000,
            started=row.started,
            ended=row.ended,
            request={},
            owner=row.owner,
            webhook=row.webhook,
            error=Failure(error.code, error.message),
        )
