"""The machine's clock is set while a server runs: it tells when something was, and decides nothing else."""

import ast
import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from more_server import clock as clocks
from more_server.errors import UploadNotFound
from more_server.jobs import backend
from more_server.lessons import uploads as uploads_module
from more_server.lessons.uploads import Uploads, keep_swept
from more_server.settings import Settings
from tests.jobs.conftest import MakeJobs, ended, hurry, make_jobs, until
from tests.jobs.toys import Toy, diary

__all__ = ["hurry", "make_jobs"]
ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400.0
TOLD = {
    "more_server/audit.py",  # when a change was made; the order is that of the lines
    "more_server/cli/cluster.py",  # how long a replica of another machine is there, by its word
    "more_server/cli/jobs.py",  # whether a job ends today
    "more_server/files.py",  # in the name of what is set aside
    "more_server/jobs/jobs.py",  # when a job was asked for
    "more_server/jobs/run.py",  # when it will have ended, by a rate of the other clock
    "more_server/jobs/store.py",  # when it began and ended
    "more_server/jobs/webhooks.py",  # what a receiver compares with its own clock
    "more_server/keys.py",  # when a key was made and used
    "more_server/logs.py",  # when its lines begin to be counted; which start it was
    "more_server/models/licences.py",  # when somebody accepted one
    "more_server/models/pull.py",  # when a model was fetched
    "more_server/shared/copies.py",  # in the name of what is renamed
    "more_server/voicebank/consents.py",  # when somebody consented
    "more_server/web/custom_voices.py",  # when a voice was made
}
KEPT = {
    "more_server/clock.py",  # that it was set, which keeps the others from deleting
    "more_server/jobs/backend.py",  # days that jobs are kept
    "more_server/lessons/uploads.py",  # hours that uploads are kept
    "plugins/more_voice_folder/derived.py",  # how old a file without a name is
    "plugins/more_voice_object_store/store.py",  # how old what no voice names is
}
"""Who compares the clock with what is kept, which outlives the process and so any other clock."""
Clock = Callable[[float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the clock, by seconds before or after the real time."""
    real, by = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + by[0])
    return lambda seconds: by.__setitem__(0, seconds)


def test_durations_are_of_the_clock_that_is_never_set() -> None:
    readers = set()
    for path in (one for folder in ("more_server", "plugins") for one in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "datetime.now", "time.time_ns"):
                readers.add(path.relative_to(ROOT).as_posix())
    assert readers == TOLD | KEPT


async def test_jobs_do_not_mind(make_jobs: MakeJobs, clock: Clock) -> None:
    jobs = await make_jobs()
    first = await jobs.create("toy", Toy(steps=4, seconds=0.3))
    await until(lambda: "begun 1" in diary(jobs.folder / first.id))
    clock(DAY)
    tomorrow = await jobs.create("toy", Toy())
    await asyncio.sleep(1)  # somebody looks for dead workers meanwhile, and for what is old
    clock(-DAY)
    yesterday = await jobs.create("toy", Toy())
    for job in (first, tomorrow, yesterday):
        assert (await ended(jobs, job.id)).status == "succeeded"
        assert diary(jobs.folder / job.id).count("run") == 1
    order = [tomorrow.id, first.id, yesterday.id]
    assert [job.id for job in (await jobs.list())[0]] == order
    assert [job.id for job in (await jobs.list(after=order[0]))[0]] == order[1:]
    await jobs.stop()
    clock(DAY)
    jobs = await make_jobs()  # the first thing it does is to delete what is old
    again = await jobs.create("toy", Toy())
    assert (await ended(jobs, again.id)).status == "succeeded"
    assert {job.id for job in (await jobs.list())[0]} == {*order, again.id}
    assert (await jobs.result(yesterday.id, None))[0].read_text() == "0;1;2;"


def test_uploads_outlive_a_day_that_never_was(clock: Clock, tmp_path: Path) -> None:
    uploads = Uploads(Settings(data_dir=tmp_path))
    made = uploads.create("a.wav", 3)
    for number, by in enumerate((DAY, -DAY, 0.0)):
        clock(by)
        uploads.sweep()
        with uploads.opened(made.id, number) as sink:
            sink.write(b"1")
    assert uploads.find(made.id).is_finished
    clock(3 * DAY)
    with pytest.raises(UploadNotFound):
        uploads.find(made.id)


async def test_nothing_is_deleted_because_the_clock_was_set(
    make_jobs: MakeJobs, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backend, "HOUR", 0.1)
    monkeypatch.setattr(uploads_module, "SWEEP_SECONDS", 0.1)
    settings = Settings(data_dir=tmp_path)
    jobs, uploads = await make_jobs(), Uploads(settings)
    sweeping = asyncio.create_task(keep_swept(lambda: settings))
    try:
        job = await ended(jobs, (await jobs.create("toy", Toy())).id)
        upload = uploads.create("a.wav", 3)
        await asyncio.sleep(1)  # they look
        clock(40 * DAY)
        await asyncio.sleep(2)
        assert await jobs.get(job.id) == job
        assert uploads.path(upload.id).exists()
        # It is what they see an hour later that counts.
        clock(0.0)
        await asyncio.sleep(1)
        monkeypatch.setattr(clocks, "HOUR", 0.0)
        clock(40 * DAY)
        await until(lambda: not uploads.path(upload.id).exists() and not (jobs.folder / job.id).exists())
    finally:
        sweeping.cancel()
