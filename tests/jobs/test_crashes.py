"""Jobs whose server is killed, or loses its database or its disk: nothing that was finished is lost or done again."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from more_server.errors import StorageError
from more_server.files import set_aside_in, try_lock
from more_server.jobs import worker
from more_server.jobs.records import SQLITE, Progress
from more_server.jobs.store import Store
from more_server.settings import Settings
from tests.disks import fill, small
from tests.jobs.conftest import MakeJobs, ended, until
from tests.jobs.postgres import make_database
from tests.jobs.server import servers
from tests.jobs.toys import Toy, diary

# The first is killed before the first step, two within the second one, one between steps, one in the end.
PLACES = {"run": 1, "begun 1": 2, "kept 1": 1, "added": 1}


async def test_killed_at_every_place(make_jobs: MakeJobs, database: str, tmp_path: Path):
    places = PLACES if not database else {"begun 1": 1, "added": 1}
    (tmp_path / "die").touch()  # one more, while it tells of the end
    deaths = sum(places.values()) + 1
    jobs = await make_jobs(work=False, database=database)
    toy = Toy(text="book:", steps=3, dies=places)
    job = await jobs.create("toy", toy, webhook="https://example.org/")
    # As many servers at once: the next one takes up what the dead one left. One is left.
    async with servers(deaths + 1, tmp_path, database) as made:
        done = await ended(jobs, job.id)
        await until((tmp_path / "told.txt").exists)
    assert Counter(made.codes) == {-9: deaths, 0: 1}
    assert done.status == "succeeded"
    assert (await jobs.result(job.id, None))[0].read_text() == "book:0;1;2;"
    assert (tmp_path / "told.txt").read_text() == f"{job.id} succeeded\n"
    begun = Counter(place for place in diary(jobs.folder / job.id) if place.startswith("begun"))
    assert begun == {"begun 0": 1, "begun 1": 1 + places["begun 1"], "begun 2": 1}


async def test_two_servers_share_the_work(make_jobs: MakeJobs, database: str, tmp_path: Path):
    jobs = await make_jobs(work=False, database=database)
    made = [await jobs.create("toy", Toy(steps=2, seconds=0.2)) for _ in range(6)]
    most = 0
    async with servers(2, tmp_path, database):
        while len((await jobs.list(status="succeeded"))[0]) < len(made):
            most = max(most, len((await jobs.list(status="running"))[0]))
            await asyncio.sleep(0.05)
    assert most == 2
    assert [diary(jobs.folder / job.id).count("run") for job in made] == [1] * 6


async def test_all_died_and_one_is_started_again(make_jobs: MakeJobs, tmp_path: Path):
    jobs = await make_jobs(work=False)
    job = await jobs.create("toy", Toy(steps=2, window=2, dies={"kept 0": 1}))
    async with servers(1, tmp_path) as made:
        await until(lambda: "kept 0" in diary(jobs.folder / job.id))
    assert made.codes == (-9,)
    assert (await jobs.get(job.id)).status == "running"  # nobody has told otherwise
    jobs = await make_jobs()
    assert (await ended(jobs, job.id)).status == "succeeded"
    assert diary(jobs.folder / job.id).count("begun 0") == 1


async def test_cancelled_by_another_process(make_jobs: MakeJobs, database: str, tmp_path: Path):
    jobs = await make_jobs(work=False, database=database)
    job = await jobs.create("toy", Toy(steps=2, seconds=3))
    folder = jobs.folder / job.id
    async with servers(1, tmp_path, database):
        await until(lambda: "begun 0" in diary(folder))
        assert (await jobs.cancel(job.id)).status == "cancelled"
        assert diary(folder)[-1] == "cancelled 0"  # it is waited for
        await jobs.resume(job.id)
        await until(lambda: diary(folder).count("begun 0") == 2)
        await jobs.cancel(job.id)
        await jobs.delete(job.id)
    assert not folder.exists()


async def test_a_worker_that_died_of_a_cancelled_job(make_jobs: MakeJobs, tmp_path: Path):
    jobs = await make_jobs(work=False)
    job = await jobs.create("toy", Toy(dies={"begun 1": 1}))
    async with servers(1, tmp_path) as made:
        await until(lambda: "begun 1" in diary(jobs.folder / job.id))
    assert made.codes == (-9,)
    assert (await jobs.cancel(job.id)).status == "cancelled"
    await jobs.delete(job.id)
    assert await jobs.list() == ([], False)


@pytest.mark.parametrize("gets_on", [False, True])
async def test_a_job_that_kills_its_servers(make_jobs: MakeJobs, tmp_path: Path, gets_on: bool):
    jobs = await make_jobs(work=False)
    job = await jobs.create("toy", Toy())
    store = Store(Settings(data_dir=tmp_path))
    for death in range(worker.MOST_STARTS):
        assert store.claim(job.id, 1, f"worker {death}")
        if gets_on and death == worker.MOST_STARTS - 2:
            progress = Progress(stage="training", done=death, total=1000, percent=0.3)
            store.tell(job.id, f"worker {death}", progress)
        store.left_by(f"worker {death}")
    store.close()
    jobs = await make_jobs()
    done = await ended(jobs, job.id)
    if gets_on:
        assert done.status == "succeeded"
    else:
        assert done.error
        assert (done.status, done.error.code) == ("failed", "job_crashed")
        await jobs.resume(job.id)  # perhaps it was the server's fault
        assert (await ended(jobs, job.id)).status == "succeeded"


async def test_postgres_ends_all_connections(make_jobs: MakeJobs, postgres: str, tmp_path: Path):
    database = make_database(postgres, tmp_path.name)
    jobs = await make_jobs(database=database)
    job = await jobs.create("toy", Toy(steps=4, seconds=0.7))
    await until(lambda: "begun 1" in diary(jobs.folder / job.id))
    with psycopg.connect(database, autocommit=True) as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'more-server'"
        assert len(connection.execute(query).fetchall()) > 1
    assert (await ended(jobs, job.id)).status == "succeeded"
    again = await jobs.create("toy", Toy())
    assert (await ended(jobs, again.id)).status == "succeeded"
    assert diary(jobs.folder / again.id).count("run") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    with small(tmp_path / "disk") as folder:
        yield folder


async def test_a_full_disk(small_disk: Path, make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.5)
    jobs = await make_jobs(data_dir=small_disk)
    job = await jobs.create("toy", Toy(steps=3, seconds=0.5))
    await until(lambda: "begun 1" in diary(jobs.folder / job.id))
    full = small_disk / "full"
    fill(full)
    with pytest.raises(StorageError):
        await jobs.create("toy", Toy(text="x" * 10_000))
    await asyncio.sleep(1.5)  # its end cannot be written either, so it is tried again
    assert (await jobs.get(job.id)).status == "running"
    full.unlink()
    done = await ended(jobs, job.id)
    assert done.error
    assert (done.status, done.error.code) == ("failed", "storage_error")
    await jobs.resume(job.id)
    assert (await ended(jobs, job.id)).status == "succeeded"
    assert diary(jobs.folder / job.id).count("begun 0") == 1
    assert [one.id for one in (await jobs.list())[0]] == [job.id]


async def test_a_damaged_row(make_jobs: MakeJobs):
    """SQLite does not find it, and it takes nothing else with it: not the list, nor the jobs that wait behind it."""
    jobs = await make_jobs(work=False)
    hurt, whole = [await jobs.create("toy", Toy()) for _ in range(2)]
    with closing(sqlite3.connect(jobs.folder / SQLITE)) as database, database:
        database.execute("UPDATE more_jobs SET request = '{' WHERE id = ?", [hurt.id])
    told = (await jobs.get(hurt.id)).error
    assert told
    assert told.message.startswith(f"the record of the job {hurt.id} is damaged")
    assert [one.id for one in (await jobs.list())[0]] == [whole.id, hurt.id]
    await jobs.stop()
    again = await make_jobs()
    assert (await ended(again, whole.id)).status == "succeeded"
    assert (await ended(again, hurt.id)).status == "failed"


async def test_an_end_that_could_not_be_written_before_the_stop(
    make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    jobs = await make_jobs()
    with monkeypatch.context() as broken:
        tried = asyncio.Event()
        running = asyncio.get_running_loop()

        def no_room(*_: object) -> bool:
            running.call_soon_threadsafe(tried.set)
            raise StorageError("no room")

        broken.setattr(Store, "end", no_room)
        job = await jobs.create("toy", Toy(steps=2))
        await asyncio.wait_for(tried.wait(), 60)
        await jobs.stop()
    again = await make_jobs()
    assert (await ended(again, job.id)).status == "succeeded"
    assert diary(again.folder / job.id).count("begun 0") == 1


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def scratch(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x5a" * (len(content) - 4096))


@pytest.mark.parametrize("harm", [cut, overwrite, scratch])
async def test_a_damaged_database_is_set_aside(make_jobs: MakeJobs, harm: Callable[[Path], None]):
    jobs = await make_jobs()
    done = await jobs.create("toy", Toy(steps=1))
    await ended(jobs, done.id)
    await jobs.stop()
    database = jobs.folder / SQLITE
    harm(database)
    damaged = database.read_bytes()
    (jobs.folder / f"{SQLITE}-wal").write_bytes(b"what was not yet in it")
    with capture_logs() as logs:
        jobs = await make_jobs()
    (kept,) = set_aside_in(jobs.folder)
    assert (jobs.folder / kept).read_bytes() == damaged
    assert (jobs.folder / f"{kept}-wal").read_bytes() == b"what was not yet in it"
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["path"], line["kept"]) == (str(database), kept)
    assert await jobs.list() == ([], False)
    again = await jobs.create("toy", Toy(steps=1))
    assert (await ended(jobs, again.id)).status == "succeeded"
    assert (jobs.folder / done.id / "out.txt").read_text() == "0;"  # what came of it is nobody's now, and stays
    await jobs.stop()
    jobs = await make_jobs()
    assert [job.id for job in (await jobs.list())[0]] == [again.id]
    assert set_aside_in(jobs.folder) == [kept]


async def test_a_damaged_database_that_another_server_uses_stays(make_jobs: MakeJobs):
    """SQLite would go on to write by the old name what belongs to the renamed file."""
    ours = await make_jobs(work=False)
    await ours.create("toy", Toy())
    with closing(sqlite3.connect(ours.folder / SQLITE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(ours.folder / SQLITE)
    theirs = await make_jobs(work=False)
    with pytest.raises(StorageError, match="the database of jobs cannot be used"):
        await theirs.list()
    assert set_aside_in(ours.folder) == []
    await ours.stop()
    assert await theirs.list() == ([], False)
    assert len(set_aside_in(ours.folder)) == 1


async def test_locks_of_killed_servers_go(make_jobs: MakeJobs, tmp_path: Path):
    folder = tmp_path / "jobs" / "leases"
    folder.mkdir(parents=True)
    dead, living = folder / "1-dead.lock", folder / "2-living.lock"
    dead.touch()
    with living.open("ab") as file:
        assert try_lock(file)
        jobs = await make_jobs()
        await jobs.create("toy", Toy(steps=0))
        assert (dead.exists(), living.exists(), len(list(folder.iterdir()))) == (False, True, 2)
