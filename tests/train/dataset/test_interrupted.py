"""Killed, cancelled, or without room on the disk: the next run goes on, and ends where an undisturbed one does."""

import errno
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from more_train.dataset import clip, store
from more_train.dataset.build import build
from more_train.dataset.format import read_dataset
from more_train.dataset.journal import Journal
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.transcribe import Transcript

from more_server.errors import StorageError
from tests.train.dataset.recordings import SENTENCES, content, ljspeech, made

KILLED = """
import os, signal, sys
from pathlib import Path
from more_train.dataset.build import build
from more_train.dataset.settings import DatasetSettings

source, out, stage, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
steps = 0

def progress(now, done, total):
    global steps
    journal = out / ".work" / "recordings.jsonl"
    steps = len(journal.read_bytes().splitlines()) if now == "reading" else steps + 1 if now == stage else 0
    if now == stage and steps >= step:
        os.kill(os.getpid(), signal.SIGKILL)

build(source, out, DatasetSettings(language="en", workers=1), progress)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ljspeech(tmp_path_factory.mktemp("source") / "reader", SENTENCES[:6])


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "out"
    made(source, out)
    return content(out)


def clips(out: Path) -> dict[str, tuple[int, int]]:
    """Which file each clip is."""
    found = {path.name: path.stat() for path in out.rglob("*.flac")}
    return {name: (state.st_ino, state.st_mtime_ns) for name, state in found.items()}


@pytest.mark.parametrize(("stage", "step"), [("reading", 2), ("checking", 1), ("writing", 1), ("writing", 2)])
def test_a_killed_run_is_gone_on_with(stage: str, step: int, source: Path, whole: dict[str, str], tmp_path: Path):
    out = tmp_path / "out"
    ran = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), stage, str(step)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not (out / "dataset.json").exists()
    left = clips(out)
    assert len(left) >= (2 if stage == "reading" else 6)
    made(source, out)
    assert content(out) == whole
    # What was on record was not cut again; one clip may have been written whose record was not.
    assert len(left.items() & clips(out).items()) >= len(left) - 1
    assert not list((out / ".work").rglob("*.partial-*"))


def test_halves_that_a_kill_left_are_not_taken_for_whole(source: Path, whole: dict[str, str], tmp_path: Path):
    out = tmp_path / "out"
    made(source, out)
    (out / "dataset.json").unlink()  # killed before it was there …
    journal = out / ".work" / "recordings.jsonl"
    rows = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(rows[:-1]) + rows[-1][:100])  # … in the middle of a line
    victim = next((out / "clips").rglob("*.flac"))
    victim.write_bytes(victim.read_bytes()[:5000])  # a disk that lost the end of a file
    (out / ".work" / "cut" / f".{victim.name}.partial-0123").write_bytes(b"half")
    (out / ".work" / "scratch").mkdir()
    (out / ".work" / "scratch" / "left").write_bytes(b"half")
    made(source, out)
    assert content(out) == whole
    assert not (out / ".work" / "scratch").exists()
    assert not list((out / ".work" / "cut").iterdir())


def fill_up(module: Any, name: str, after: int, patch: pytest.MonkeyPatch) -> None:
    """A disk that has room for so many more files."""
    real, count = getattr(module, name), 0

    def write(*arguments: Any, **more: Any) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments, **more)

    patch.setattr(module, name, write)


@pytest.mark.parametrize(
    "fill",
    [
        lambda patch: fill_up(clip, "write_file", 2, patch),
        lambda patch: fill_up(store, "keep_file", 1, patch),
        lambda patch: fill_up(Journal, "_append", 3, patch),
        lambda patch: fill_up(Path, "replace", 8, patch),
    ],
)
def test_a_full_disk_is_told_and_gone_on_with(
    fill: Callable[[pytest.MonkeyPatch], None], source: Path, whole: dict[str, str], tmp_path: Path
):
    out = tmp_path / "out"
    said = r"out is not finished: .*No space left on device; what is done stays there, and the same command goes on"
    with pytest.MonkeyPatch.context() as patch:
        fill(patch)
        with pytest.raises(StorageError, match=said):
            made(source, out, workers=1)
    assert not (out / "dataset.json").exists()
    left = clips(out)
    made(source, out)
    assert content(out) == whole
    assert len(left.items() & clips(out).items()) >= len(left) - 2


def test_no_room_to_unpack_is_told_too(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.rglob("*.*"):
            archive.write(path, path.relative_to(source))

    def full(**_: Any) -> IO[bytes]:
        return Path("/dev/full").open("w+b", buffering=0)

    monkeypatch.setattr("more_train.dataset.sources.tempfile.TemporaryFile", full)
    with pytest.raises(StorageError, match="No space left on device"):
        made(tmp_path / "a.zip", tmp_path / "out")


class Cancelled(Exception):
    """What a caller may raise."""


@pytest.mark.parametrize("stage", ["reading", "checking", "writing"])
def test_whoever_waits_may_cancel(stage: str, source: Path, whole: dict[str, str], tmp_path: Path):
    out, heard = tmp_path / "out", []

    def progress(now: str, done: int, total: int) -> None:
        heard.append(now)
        if now == stage and heard.count(stage) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        build(source, out, DatasetSettings(language="en"), progress)
    assert not (out / "dataset.json").exists()
    made(source, out)
    assert content(out) == whole


def test_an_interrupted_change_of_mind_mixes_nothing(source: Path, whole: dict[str, str], tmp_path: Path):
    """Half of the clips were cut in another way, with the same names."""
    out = tmp_path / "out"
    made(source, out)

    def stop(now: str, done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        build(source, out, DatasetSettings(language="en", loudness=-30, workers=1), stop)
    made(source, out)
    assert content(out) == whole
    assert read_dataset(out)[0].settings.loudness == -20


def test_a_journal_keeps_whole_lines(tmp_path: Path):
    def row(key: str, text: str) -> Transcript:
        return Transcript(key=key, text=text, confidence=0, repetition=1)

    path = tmp_path / "journal.jsonl"
    with Journal(path, Transcript) as journal:
        journal.add(row("a", "one"))
        journal.add(row("b", "two"))
        journal.add(row("a", "three"))
    path.write_bytes(path.read_bytes() + b'{"key":"c"}\nnonsense\n{"key":"d","te')
    with Journal(path, Transcript) as journal:
        assert {key: found.text for key, found in journal.rows.items()} == {"a": "three", "b": "two"}
        journal.add(row("e", "four"))
    with Journal(path, Transcript) as journal:
        assert sorted(journal.rows) == ["a", "b", "e"]
        journal.shrink(["b", "e", "x"])
        journal.add(row("f", "five"))
    assert len(path.read_bytes().splitlines()) == 3
    with Journal(path, Transcript) as journal:
        assert sorted(journal.rows) == ["b", "e", "f"]
