"""What a training offers as results: few, under the same names all the while, each once."""

import os
import shutil
from pathlib import Path

import pytest

from more_server.lessons.outcome import Outcome
from tests.lessons.conftest import FakeWork


def spoken(run: Path, step: int, *texts: str) -> None:
    folder = run / "samples" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    for number, text in enumerate(texts, start=1):
        (folder / f"{number}.wav").write_text(f"{text} at {step}")
        os.utime(folder / f"{number}.wav", ns=(step, step))
    (folder / "sentences.txt").write_text("".join(f"{n}.wav\t{text}\n" for n, text in enumerate(texts, start=1)))


def offered(work: FakeWork) -> dict[str, str]:
    """What was offered since this was last asked: content and title."""
    found = {name: f"{(work.folder / name).read_text()} | {title}" for name, (_, title) in work.results.items()}
    work.results.clear()
    return found


async def test_samples_are_offered_under_stable_names(work: FakeWork) -> None:
    run = work.folder / "run"
    await Outcome(work, run).look(None)
    assert offered(work) == {}
    spoken(run, 0, "One", "Two")
    (run / "curves.csv").write_text("1")
    outcome = Outcome(work, run)
    await outcome.look(0)
    assert set(offered(work)) == {
        "run/curves.csv",
        *(f"samples/{which}/{number}.wav" for which in ("before", "best", "latest") for number in (1, 2)),
    }
    spoken(run, 40, "One", "Two")
    (run / "samples" / ".step-00000080.partial-0123").mkdir()
    await outcome.look(0)
    assert offered(work) == {}, "the last look was a moment ago"
    await outcome.look(0, now=True)
    assert offered(work) == {
        "samples/latest/1.wav": "One at 40 | Step 40: One",
        "samples/latest/2.wav": "Two at 40 | Step 40: Two",
    }
    await outcome.look(40, now=True)
    assert offered(work)["samples/best/2.wav"] == "Two at 40 | Step 40: Two"
    await outcome.look(80, now=True)  # evaluated, and not yet spoken
    assert offered(work) == {}


async def test_after_a_restart_only_what_is_new_is_offered(work: FakeWork) -> None:
    run = work.folder / "run"
    spoken(run, 0, "One")
    spoken(run, 40, "One")
    await Outcome(work, run).look(40)
    assert len(offered(work)) == 3
    await Outcome(work, run).look(None)
    assert offered(work) == {}
    shutil.rmtree(run / "samples" / "step-00000040")  # taken away, to be spoken anew
    await Outcome(work, run).look(None)
    assert offered(work) == {"samples/latest/1.wav": "One at 0 | Step 0: One"}
    spoken(run, 40, "One")
    await Outcome(work, run).look(40)
    assert offered(work) == {"samples/latest/1.wav": "One at 40 | Step 40: One"}


async def test_what_could_not_be_offered_is_offered_later(work: FakeWork, monkeypatch: pytest.MonkeyPatch) -> None:
    run = work.folder / "run"
    spoken(run, 0, "One")

    async def refuse(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(work, "add", refuse)
        with pytest.raises(ConnectionError):
            await Outcome(work, run).look(None)
    await Outcome(work, run).look(None)
    assert set(offered(work)) == {"samples/before/1.wav", "samples/latest/1.wav"}
