"""Jobs that make datasets: real recordings, a real process, and whatever ends it."""

import asyncio
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from more_server.errors import BadInput, Conflict, MoreError, StorageError
from more_server.files import staged_folder
from more_server.lessons import child, dataset_kind
from more_server.lessons.dataset_kind import DatasetJob, DatasetKind
from more_server.lessons.datasets import Datasets
from more_server.lessons.uploads import Uploads
from more_server.settings import Settings
from more_server.threads import in_threads
from tests.lessons.conftest import FakeWork, Killed
from tests.train.dataset.recordings import SENTENCES, ljspeech
from tests.zips import endless


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ljspeech(tmp_path_factory.mktemp("source") / "reader", SENTENCES[:3])


@pytest.fixture(scope="module")
def archive(reader: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for file in sorted(reader.rglob("*.*")):
            made.write(file, file.relative_to(reader))
    return path.read_bytes()


@pytest.fixture
def kind(settings: Settings) -> DatasetKind:
    return DatasetKind(settings)


def uploaded(settings: Settings, name: str, content: bytes, length: int | None = None) -> str:
    made = Uploads(settings).create(name, len(content) if length is None else length)
    with Uploads(settings).opened(made.id, 0) as sink:
        sink.write(content)
    return made.id


async def accepted(kind: DatasetKind, work: FakeWork, uploads: list[str], **fields: Any) -> DatasetJob:
    """As a server takes it: into a folder that gets its name when the job is kept."""
    asked = DatasetJob(**({"name": "reader", "language": "English", "uploads": tuple(uploads)} | fields))
    shutil.rmtree(work.folder, ignore_errors=True)
    async with in_threads(staged_folder(work.folder)) as stage:
        return await kind.accept(asked, stage)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def is_free(folder: Path) -> bool:
    """Whether no process works for the job any more."""
    with (folder / ".process.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


async def test_whatever_ends_it_a_dataset_is_made_once(
    settings: Settings, kind: DatasetKind, work: FakeWork, reader: Path
) -> None:
    names = ("metadata.csv", *(f"wavs/{number:04}.wav" for number in range(3)))
    uploads = [uploaded(settings, name.rpartition("/")[2], (reader / name).read_bytes()) for name in names]
    asked = await accepted(kind, work, uploads, speaker="--Anna")
    assert asked.language == "en"
    await cancelled(kind, asked, work)
    await killed(kind, asked, work.again())
    assert Datasets(settings).list_all() == ([], [])
    assert len(Uploads(settings).list_all()) == len(uploads)
    work.again().dies_in = "place"  # when all is in place
    with pytest.raises(Killed):
        await kind.run(asked, work)
    await kind.run(asked, work.again())
    assert work.begun == ["build", "build", "build", "place", "place"]
    (found,), problems = Datasets(settings).list_all()
    assert (found.name, found.language, found.clips, found.speakers, problems) == ("reader", "en", 3, ("anna",), [])
    assert set(work.results) == {"report.html", "report.json"}
    assert work.told[-1] == ("done", 100, 100, {"clips": 3, "seconds": found.seconds, "held_out": 1})
    assert files(work.folder) == ["dataset.log", "report.html", "report.json"]
    assert Uploads(settings).list_all() == []
    assert Datasets(settings).report("reader").recordings == 3
    # The name is taken from now on, also for a job that was accepted before.
    other = FakeWork(settings.jobs_dir / "job-2")
    with pytest.raises(Conflict, match="there is a dataset reader already"):
        await kind.run(asked, other)
    assert other.begun == []


async def cancelled(kind: DatasetKind, asked: DatasetJob, work: FakeWork) -> None:
    """Within five seconds, and with all that it started."""
    running = asyncio.create_task(kind.run(asked, work))
    begun = 0.0

    def cancel(stage: str, done: float) -> None:
        nonlocal begun
        begun = time.monotonic()
        running.cancel()

    work.on_told = cancel
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begun < 5
    assert is_free(work.folder)


async def killed(kind: DatasetKind, asked: DatasetJob, work: FakeWork) -> None:
    """As the system does where memory runs out."""
    real, begun = child._started, []

    async def started(*arguments: Any) -> Any:
        begun.append(await real(*arguments))
        return begun[-1]

    def kill(stage: str, done: float) -> None:
        assert os.getpriority(os.PRIO_PROCESS, begun[0].pid) == child.NICENESS
        os.kill(begun[0].pid, signal.SIGKILL)

    work.on_told = kill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "_started", started)
        with pytest.raises(MoreError, match=r"was killed, .* where memory runs out; its log ends: ") as told:
            await kind.run(asked, work)
    assert told.value.status == 500


async def test_an_archive_becomes_a_dataset(
    settings: Settings, kind: DatasetKind, work: FakeWork, archive: bytes
) -> None:
    await kind.run(await accepted(kind, work, [uploaded(settings, "Anna's voice.zip", archive)]), work)
    done = [told[1] for told in work.told]
    assert done == sorted(done)
    assert list(dict.fromkeys(told[0] for told in work.told)) == ["reading", "checking", "writing", "done"]
    assert Datasets(settings).find("reader").speakers == ("reader",)


async def test_what_is_no_audio_inside_is_told_with_the_report(
    settings: Settings, kind: DatasetKind, work: FakeWork
) -> None:
    uploads = [uploaded(settings, "a.wav", b"nonsense"), uploaded(settings, "metadata.csv", b"a.wav|What is said.\n")]
    asked = await accepted(kind, work, uploads)
    with pytest.raises(BadInput, match=r"^0 clips of uploads can be used, .*damaged.* report\.html tells"):
        await kind.run(asked, work)
    assert set(work.results) == {"report.html", "report.json"}
    assert Datasets(settings).list_all() == ([], [])
    assert len(Uploads(settings).list_all()) == 2  # for another try


ATTENDING = """
import asyncio, sys
from pathlib import Path
from more_server.lessons.child import attend

async def tell(told):
    print(told.stage, flush=True)

job, source = Path(sys.argv[1]), Path(sys.argv[2])
asyncio.run(attend(job, ["dataset", source, job / "made", "--language=en", "--workers=1"], tell))
"""


def test_a_killed_server_leaves_no_process(reader: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", ATTENDING, str(tmp_path), str(reader)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "reading\n"
        assert not is_free(tmp_path)
        server.kill()
    last = time.monotonic() + 10
    while not is_free(tmp_path):
        assert time.monotonic() < last
        time.sleep(0.05)
    assert not (tmp_path / "made" / "dataset.json").exists()


async def test_a_job_that_is_worked_on_elsewhere_is_left_alone(
    settings: Settings, kind: DatasetKind, work: FakeWork, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "ORPHAN_SECONDS", 0.1)
    asked = await accepted(kind, work, [uploaded(settings, "a.zip", archive)])
    with (work.folder / ".process.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process still works"):
            await kind.run(asked, work)


def zipped(folder: Path, **entries: bytes) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return (folder / "a.zip").read_bytes()


WAV, TEXTS = {"a.wav": b"RIFF"}, {"metadata.csv": b"a|One.\n"}


async def test_what_the_process_refuses_is_told_at_once(settings: Settings, kind: DatasetKind, tmp_path: Path) -> None:
    """By a process, as what strangers send is not taken apart where others speak."""
    (settings.data_dir / "whisper" / "small").mkdir(parents=True)
    good = zipped(tmp_path / "zip", **WAV, **TEXTS)
    refusals: tuple[tuple[str, bytes, dict[str, Any], int, str, str], ...] = (
        ("a.zip", zipped(tmp_path / "zip", **TEXTS), {}, 400, "uploads",
         r"^there is no recording in uploads/a\.zip; put wav, .* there$"),
        ("c.zip", zipped(tmp_path / "zip", **WAV), {}, 400, "uploads", r"^uploads/c\.zip has no metadata\.csv"),
        ("d.zip", b"nonsense", {}, 400, "uploads", r"^uploads/d\.zip is neither a folder nor a zip archive"),
        ("e.zip", endless(2_000_000), {}, 413, "uploads",
         r"^the list of the files in e\.zip has 94000000 bytes; at most 64000000 are"),
        ("metadata.csv", b"a|One.", {}, 400, "uploads", r"^there is no recording in uploads"),
        ("g.zip", good, {"longest_seconds": 5.0}, 400, "preferred_seconds", "are 1, 6 and 5; they must rise"),
        ("i.zip", good, {"whisper": "small"}, 400, "whisper", r"the Whisper model .*small lacks config\.json"),
    )  # fmt: skip
    asking = [
        accepted(kind, FakeWork(settings.jobs_dir / name), [uploaded(settings, name, content)], **fields)
        for name, content, fields, *_ in refusals
    ]
    found = await asyncio.gather(*asking, return_exceptions=True)
    for error, (name, _, _, status, param, told) in zip(found, refusals, strict=True):
        assert isinstance(error, BadInput), (name, error)
        assert (error.status, error.param) == (status, param), name
        assert re.search(told, error.message), (name, error.message)
    assert list(settings.jobs_dir.iterdir()) == []
    assert len(Uploads(settings).list_all()) == len(refusals)


async def test_what_is_not_accepted(settings: Settings, kind: DatasetKind, work: FakeWork, archive: bytes) -> None:
    whole, part = uploaded(settings, "a.zip", archive), uploaded(settings, "b.zip", archive, len(archive) + 1)
    (settings.data_dir / "whisper" / "small").mkdir(parents=True)
    (settings.datasets_dir / "taken").mkdir()
    refusals: tuple[tuple[dict[str, Any], type[BadInput], str, str], ...] = (
        ({"name": "A"}, BadInput, "name", "cannot be a dataset's; it is 1 to 64 lower-case"),
        ({"name": "uploads"}, BadInput, "name", "cannot be a dataset's"),
        ({"name": "taken"}, Conflict, "name", "there is a dataset taken already"),
        ({"speaker": "a\nb"}, BadInput, "speaker", "100 visible characters"),
        ({"whisper": "large"}, BadInput, "whisper", "there are: small"),
        ({"whisper": "../whisper/small"}, BadInput, "whisper", "there is no '../whisper/small'"),
        ({"uploads": [part]}, BadInput, "uploads", "is not finished"),
        ({"uploads": ["0" * 32]}, BadInput, "uploads", "there is no upload"),
        ({"uploads": [whole, whole]}, BadInput, "uploads", "2 of them are called 'a.zip'"),
        ({"uploads": [whole, uploaded(settings, "b.wav", b"")]}, BadInput, "uploads", "an archive, which comes alone"),
    )
    for fields, kind_of_error, param, told in refusals:
        with pytest.raises(kind_of_error, match=told) as refused:
            await accepted(kind, work, **({"uploads": [whole]} | fields))
        assert refused.value.param == param, fields
        assert files(work.folder) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(BadInput, match=r"training is not installed .*pip install 'more-server\[train\]'"):
            await accepted(kind, work, [whole])


async def test_a_request_that_is_given_up_leaves_nothing_at_work(
    settings: Settings, kind: DatasetKind, work: FakeWork, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while the uploads are linked, or the caller would remove the folder under a thread that still fills it."""
    linking, go_on = threading.Event(), threading.Event()

    def link(*given: Any) -> None:
        linking.set()
        assert go_on.wait(20)
        os.link(*given)

    monkeypatch.setattr(dataset_kind, "os", SimpleNamespace(link=link))
    asking = asyncio.create_task(accepted(kind, work, [uploaded(settings, "a.zip", archive)]))
    assert await asyncio.to_thread(linking.wait, 20)
    asking.cancel()
    await asyncio.wait({asking}, timeout=0.2)
    assert not asking.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert list(settings.jobs_dir.iterdir()) == []


async def test_without_links_the_uploads_are_copied(
    settings: Settings, kind: DatasetKind, work: FakeWork, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(dataset_kind.os, "link", link)
    await accepted(kind, work, [uploaded(settings, "a.zip", archive)])
    assert (work.folder / "uploads" / "a.zip").read_bytes() == archive
