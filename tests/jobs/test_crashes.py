"""Jobs whose server is killed, or loses its database or its disk: nothing that was finished is lost or done again."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from more_server.errors import StorageError
from more_server.jobs import worker
from more_server.jobs.records import Progress
from more_server.jobs.store import Store
from more_server.settings import Settings
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
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}; run it as root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


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


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return
