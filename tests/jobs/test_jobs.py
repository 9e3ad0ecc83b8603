"""Jobs in one process: taken, run, shown, cancelled, resumed, deleted, kept for a while."""

import asyncio
import errno
import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from more_server.errors import (
    BadInput,
    Conflict,
    JobNotFound,
    MoreError,
    ResultNotFound,
    SettingsError,
    StorageError,
    Unavailable,
)
from more_server.jobs import run as run_module
from more_server.jobs.jobs import Jobs
from more_server.jobs.leases import FileLeases
from more_server.jobs.records import Failure, Job, Progress
from more_server.jobs.run import Pace, Run
from more_server.jobs.store import Claim, Store
from more_server.settings import Settings
from tests.jobs.conftest import MakeJobs, ended, told_nobody, until
from tests.jobs.toys import Toy, ToyKind, diary


async def running(jobs: Jobs, job: Job, place: str) -> Path:
    """The job's folder, when the job has come to a place in its diary."""
    folder = jobs.folder / job.id
    await until(lambda: place in diary(folder))
    return folder


async def test_a_job_from_order_to_result(make_jobs: MakeJobs, tmp_path: Path):
    jobs = await make_jobs()
    assert await jobs.list() == ([], False)
    assert not (tmp_path / "jobs").exists()  # nothing is made before there is a job
    job = await jobs.create("toy", Toy(text="hello:", steps=4, seconds=0.3), owner="0123abcd")
    assert (job.kind, job.status, job.owner, job.request["text"]) == ("toy", "queued", "0123abcd", "")
    seen = [one async for one in jobs.watch(job.id)]
    assert [seen[0].status, seen[-1].status] == ["queued", "succeeded"]
    half = [one.progress for one in seen if one.progress and 0 < one.progress.done < 4]
    assert half
    assert half[0].stage == "speaking"
    assert half[0].percent == 25 * half[0].done
    assert seen[-1].progress
    assert seen[-1].progress.about == {"last": 3}
    assert (seen[-1].progress.done, seen[-1].progress.percent) == (4, 100)
    file, result = await jobs.result(job.id, None)
    assert file.read_text() == "hello:0;1;2;3;"
    assert (result.name, result.media_type, result.bytes, result.title) == ("out.txt", "text/plain", 14, "All of it")
    assert (await jobs.result(job.id, "out.txt"))[0] == file
    for name in ("text.txt", "../jobs.sqlite", str(file)):  # there, and no result
        with pytest.raises(ResultNotFound, match=r"there is: out\.txt") as caught:
            await jobs.result(job.id, name)
        assert caught.value.param == "name"
    file.unlink()
    file.symlink_to(tmp_path / "jobs" / "jobs.sqlite")
    with pytest.raises(StorageError, match="not there any more"):
        await jobs.result(job.id, "out.txt")


async def test_orders_that_cannot_be(make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch):
    jobs = await make_jobs()
    with pytest.raises(BadInput, match="there is no kind 'book'; kind is one of: other, toy") as caught:
        await jobs.create("book", Toy())
    assert caught.value.param == "kind"
    with pytest.raises(BadInput, match="must not be no"):
        await jobs.create("toy", Toy(text="no"))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "insert", refuse)
        with pytest.raises(StorageError, match="no room"):
            await jobs.create("toy", Toy())
    assert [path.name for path in jobs.folder.glob("*job_*")] == []
    for ask in (jobs.get, jobs.cancel, jobs.resume, jobs.delete, lambda job: anext(jobs.watch(job))):
        with pytest.raises(JobNotFound, match="job_none"):
            await ask("job_none")
    with pytest.raises(JobNotFound) as unknown:
        await jobs.list(after="job_none")
    assert unknown.value.param == "after"


def refuse(*_: Any) -> None:
    raise StorageError("no room")


async def test_lists_in_pages(make_jobs: MakeJobs):
    jobs = await make_jobs(work=False)
    made = [await jobs.create(kind, Toy(), owner=owner) for kind, owner in [("toy", "a"), ("other", "b")] * 3]
    ids = [job.id for job in reversed(made)]
    first, more = await jobs.list(limit=4)
    assert ([job.id for job in first], more) == (ids[:4], True)
    last, more = await jobs.list(limit=4, after=first[-1].id)
    assert ([job.id for job in last], more) == (ids[4:], False)
    of_a, more = await jobs.list(kind="toy", owner="a", limit=2)
    assert ([job.id for job in of_a], more) == ([made[4].id, made[2].id], True)
    await jobs.cancel(made[0].id)
    cancelled, _ = await jobs.list(status="cancelled")
    assert [job.id for job in cancelled] == [made[0].id]
    counts = await jobs.counts()
    assert counts["toy", "failed"] == 0
    counts = {which: count for which, count in counts.items() if count}
    assert counts == {("toy", "cancelled"): 1, ("toy", "queued"): 2, ("other", "queued"): 3}
    await jobs.stop()
    assert await jobs.counts() == {}


async def test_as_many_at_a_time_as_the_settings_say(make_jobs: MakeJobs):
    jobs = await make_jobs(at_a_time=2)
    made = [await jobs.create("toy", Toy(seconds=0.25)) for _ in range(4)]
    other = await jobs.create("other", Toy())
    most = 0
    while (await jobs.get(made[-1].id)).status != "succeeded":
        begun, _ = await jobs.list(kind="toy", status="running")
        most = max(most, len(begun))
        await asyncio.sleep(0.05)
    assert most == 2
    assert (await jobs.get(other.id)).status == "succeeded"


async def test_cancel_while_queued_and_in_a_step_then_resume(make_jobs: MakeJobs):
    jobs = await make_jobs()
    job = await jobs.create("toy", Toy(steps=3, seconds=0.6))
    waits = await jobs.create("toy", Toy())
    folder = await running(jobs, job, "begun 1")
    assert (await jobs.cancel(waits.id)).status == "cancelled"
    for forbidden in (jobs.resume, jobs.delete):
        with pytest.raises(Conflict, match="running: only"):
            await forbidden(job.id)
    began = time.monotonic()
    assert (await jobs.cancel(job.id)).status == "cancelled"
    assert time.monotonic() - began < 5
    assert diary(folder)[-1] == "cancelled 1"  # it does not run any more
    with pytest.raises(Conflict, match="cancelled: only queued and running"):
        await jobs.cancel(job.id)
    assert (await jobs.resume(job.id)).status == "queued"
    assert (await jobs.resume(waits.id)).status == "queued"
    assert (await ended(jobs, job.id)).status == "succeeded"
    assert diary(folder).count("begun 0") == 1
    assert diary(folder).count("begun 1") == 2
    assert (await ended(jobs, waits.id)).status == "succeeded"
    with pytest.raises(Conflict, match="succeeded: only failed and cancelled"):
        await jobs.resume(job.id)
    await jobs.delete(job.id)
    assert not folder.exists()
    with pytest.raises(JobNotFound):
        await jobs.get(job.id)


async def test_a_failed_job_begins_anew_where_it_failed(make_jobs: MakeJobs, capsys: pytest.CaptureFixture[str]):
    jobs = await make_jobs()
    jobs.folder.mkdir(parents=True)
    cause = jobs.folder / "cause"
    cause.write_text("bug")
    # Side by side: others are finished while 1 fails, so they are found by name, not by their order.
    job = await jobs.create("toy", Toy(steps=3, window=3, seconds=0.05, fails={"done 1": cause.name}))
    for kind, failure in (
        ("bug", Failure("server_error", "the job failed: RuntimeError: broken")),
        ("voice", Failure("voice_not_found", "the voice was deleted", "voice")),
        ("disk", Failure("storage_error", "there is no room left on the disk")),
        ("group", Failure("model_not_found", "the model was deleted", "model")),
    ):
        cause.write_text(kind)
        if (await jobs.get(job.id)).status == "failed":
            await jobs.resume(job.id)
        failed = await ended(jobs, job.id)
        assert failed.status == "failed"
        assert failed.error
        assert (failed.error.code, failed.error.param) == (failure.code, failure.param)
        assert failed.error.message.startswith(failure.message)
    assert capsys.readouterr().out.count("Traceback") == 1  # of the bug alone
    cause.unlink()
    await jobs.resume(job.id)
    done = await ended(jobs, job.id)
    assert (done.status, done.error) == ("succeeded", None)
    begun = Counter(place for place in diary(jobs.folder / job.id) if place.startswith("begun"))
    assert begun["begun 1"] == 5
    assert max(begun["begun 0"], begun["begun 2"]) <= 2  # one may have been under way when it failed first


async def test_one_worker_in_a_process(make_jobs: MakeJobs):
    jobs = await make_jobs()
    job = await jobs.create("toy", Toy())
    with pytest.raises(MoreError, match="another server in this process"):
        await make_jobs()
    assert (await ended(jobs, job.id)).status == "succeeded"


async def test_stop_and_start(make_jobs: MakeJobs):
    jobs = await make_jobs()
    job = await jobs.create("toy", Toy(steps=3, seconds=0.5))
    waits = await jobs.create("toy", Toy())
    folder = await running(jobs, job, "begun 1")
    watching, later = jobs.watch(job.id), jobs.watch(job.id)
    for one in (watching, later):
        assert (await anext(one)).status == "running"
    waiting = asyncio.create_task(anext(watching, None))
    await asyncio.sleep(0)
    await jobs.stop()
    assert diary(folder)[-1] == "cancelled 1"
    assert [await waiting, await anext(later, None)] == [None, None]  # they ended with the server
    with pytest.raises(Unavailable):
        await jobs.list()
    await jobs.stop()
    orders = await make_jobs(work=False)
    assert {one.status for one in (await orders.list())[0]} == {"queued"}
    await jobs.start()
    assert (await ended(jobs, job.id)).status == "succeeded"
    assert (await ended(jobs, waits.id)).status == "succeeded"
    assert diary(folder).count("begun 0") == 1


async def test_a_kind_that_is_gone(make_jobs: MakeJobs):
    jobs = await make_jobs(work=False)
    job = await jobs.create("other", Toy())
    await jobs.stop()
    jobs = await make_jobs(ToyKind())
    made = await jobs.create("toy", Toy())
    assert (await ended(jobs, made.id)).status == "succeeded"
    assert (await jobs.get(job.id)).status == "queued"
    assert [one.id for one in (await jobs.list(kind="other"))[0]] == [job.id]
    await jobs.cancel(job.id)
    await jobs.delete(job.id)
    assert [one.id for one in (await jobs.list())[0]] == [made.id]


async def test_what_is_old_is_deleted(make_jobs: MakeJobs, tmp_path: Path):
    jobs = await make_jobs()
    job = await jobs.create("toy", Toy())
    await ended(jobs, job.id)
    await jobs.stop()
    half, fresh = jobs.folder / ".job_0000000000000000.partial-0", jobs.folder / ".job_1111111111111111.partial-1"
    for folder in (half, fresh):
        folder.mkdir()
        (folder / "text.txt").touch()
    for folder in (half, jobs.folder / job.id):
        os.utime(folder, (time.time() - 7200, time.time() - 7200))
    # Another database, which knows nothing of the job.
    kept = {path: path.rename(path.with_name(f"kept-{path.name}")) for path in jobs.folder.glob("jobs.sqlite*")}
    jobs = await make_jobs()
    other = await jobs.create("toy", Toy(steps=0))
    await until(lambda: not half.exists())
    await ended(jobs, other.id)
    assert fresh.exists()
    await jobs.stop()
    for path, there in kept.items():
        there.rename(path)
    jobs = await make_jobs()
    assert (await jobs.result(job.id, None))[0].read_text() == "0;1;2;"
    await jobs.stop()
    await asyncio.sleep(1)
    jobs = await make_jobs(keep_days=1e-6)
    await until(lambda: not (jobs.folder / job.id).exists())
    with pytest.raises(JobNotFound):
        await jobs.get(job.id)


async def test_an_end_is_told_to_whoever_waits_for_it(make_jobs: MakeJobs):
    told: list[tuple[str, str]] = []
    stuck = asyncio.Event()

    async def tell(job: Job) -> None:
        await stuck.wait()
        told.append((job.id, job.status))

    jobs = await make_jobs(on_ended=tell)
    quiet = await jobs.create("toy", Toy())
    job = await jobs.create("toy", Toy(steps=1, seconds=60), webhook="https://example.org/")
    await running(jobs, job, "begun 0")
    await jobs.cancel(job.id)
    await jobs.stop()  # while nobody could be told
    assert told == []
    stuck.set()
    await jobs.start()
    await until(lambda: told)
    assert told == [(job.id, "cancelled")]
    assert (await jobs.get(quiet.id)).status == "succeeded"


@pytest.mark.parametrize("settings", [{"database": "postgresql://nobody@127.0.0.1:9/none"}, {}])
async def test_a_database_that_is_away(settings: dict[str, Any], tmp_path: Path):
    (tmp_path / "jobs" / "jobs.sqlite").mkdir(parents=True)
    jobs = Jobs(Settings(data_dir=tmp_path, **settings), [ToyKind()], told_nobody)
    await jobs.start()
    assert await jobs.counts() == {}
    with pytest.raises(StorageError, match="database of jobs"):
        await jobs.create("toy", Toy())
    assert list((tmp_path / "jobs").glob("job_*")) == []
    await jobs.stop()
    none = Settings(data_dir=tmp_path, database="postgresql://a:b:c@d:port/e")
    jobs = Jobs(none, [ToyKind()], told_nobody)
    with pytest.raises(SettingsError, match="database must be"):
        await jobs.start()


async def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    leases = FileLeases(tmp_path)
    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StorageError, match="cannot be locked: No locks"):
        leases.hold("a worker")
    with pytest.raises(StorageError, match="cannot be locked: No locks"), leases.taken("another"):
        pytest.fail("it counts as dead")


async def test_nothing_is_told_before_the_start(tmp_path: Path):
    jobs = Jobs(Settings(data_dir=tmp_path), [ToyKind()], told_nobody)
    for ask in (jobs.list(), jobs.get("job_1"), jobs.create("toy", Toy())):
        with pytest.raises(Unavailable):
            await ask
    assert await jobs.counts() == {}


async def test_nothing_is_imported_before_there_is_a_job(tmp_path: Path):
    code = (
        "import asyncio, sys; from pathlib import Path; from more_server.jobs.jobs import Jobs;"
        "from more_server.settings import Settings; from tests.jobs.toys import ToyKind;"
        f"jobs = Jobs(Settings(data_dir=Path({str(tmp_path)!r})), [ToyKind()], None);"
        "asyncio.run(jobs.start()); asyncio.run(jobs.counts()); print({'dbos', 'sqlalchemy'} & set(sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"set()\n"


def test_the_end_is_estimated_by_the_rate_of_this_run():
    pace = Pace()
    assert pace.end(0, 100, 10.0) is None
    assert pace.end(40, 100, 10.5) is None  # at once: out of a cache
    end = pace.end(50, 100, 20.0)
    assert end is not None
    assert abs(end - (time.time() + 10)) < 2
    pace.begin()  # steps were found finished
    assert pace.end(90, 100, 21.0) is None
    end = pace.end(91, 100, 31.0)
    assert end is not None
    assert abs(end - (time.time() + 90)) < 2


async def test_another_stage_has_another_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept: list[Progress] = []
    store: Any = SimpleNamespace(tell=lambda _job, _worker, progress: kept.append(progress))
    job = Job(id="job_1", kind="train", status="running", created=0, request={})
    run, clock = Run(store, Claim(job, 0, {}), tmp_path, "worker"), SimpleNamespace(time=time.time)
    monkeypatch.setattr(run_module, "time", clock)
    for moment, stage, done in (
        (0, "preparing", 0),
        (3600, "preparing", 2),
        (3600, "training", 2),
        (3610, "training", 12),
    ):
        clock.monotonic = lambda moment=moment: float(moment)
        await run.tell(stage, done, 100)
        run.write_told()
        run.write_told()  # nothing new
    told = [one.estimated_end and round(one.estimated_end - time.time(), -2) for one in kept]
    assert told == [None, 98 * 1800, None, 100]


def test_what_dbos_says_of_a_run_that_was_cancelled_as_it_began_is_no_news() -> None:
    from dbos._error import DBOSAwaitedWorkflowCancelledError, DBOSException

    from more_server.jobs.durable import _is_news

    def told(text: str, error: Exception | None = None) -> bool:
        kind = None if error is None else (type(error), error, None)
        return _is_news(logging.LogRecord("dbos", logging.ERROR, "", 0, text, (), kind))

    assert not told("Exception encountered in asynchronous workflow:", DBOSAwaitedWorkflowCancelledError("job_1-1"))
    assert not told("Workflow job_1-1 outcome was not recorded: the workflow is no longer owned by this execution.")
    assert told("Exception encountered in asynchronous workflow:", DBOSException("the database is away"))
    assert told("the database is away")
