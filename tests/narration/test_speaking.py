"""A job among people: it waits for its turn, and says what keeps it from going on."""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from more_server.errors import ModelNotFound, VoiceChanged, VoiceNotFound
from more_server.narration import speaking as speaking_module
from more_server.narration.kind import SpeechKind
from more_server.narration.request import SpeechJob
from more_server.narration.speaking import FOLDER
from more_server.speak import Speaker
from more_server.speech import SpeechRequest
from more_server.testing import tiny_config, tiny_xtts
from tests.narration.conftest import BOOK, Crash, FakeWork, add_voice, names, run, speaking


async def accepted(speaker: Speaker, folder: Path) -> SpeechJob:
    return await SpeechKind(speaker).accept(SpeechJob(input=BOOK, voice="ada", response_format="wav"), folder)


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.01)


async def test_a_voice_that_is_gone_and_one_that_is_another(speaker: Speaker, tmp_path: Path, work: FakeWork) -> None:
    kind, asked = SpeechKind(speaker), await accepted(speaker, tmp_path)
    voice = speaker.settings.data_dir / "voices" / "ada"
    stopped = FakeWork(tmp_path, work.kept, lambda name, moment: crash_at(name, "passage 4"))
    with pytest.raises(Crash):
        await run(kind, asked, stopped)
    assert work.kept
    voice.rename(tmp_path / "ada")
    with pytest.raises(VoiceNotFound, match=r"'ada'.*resume the job once it is back"):
        await run(kind, asked, FakeWork(tmp_path, work.kept))
    add_voice(speaker.settings.data_dir, "ada", 333.0)
    with pytest.raises(VoiceChanged, match="the voice ada is not the one any more") as changed:
        await run(kind, asked, FakeWork(tmp_path, work.kept))
    assert (changed.value.status, changed.value.code, changed.value.param) == (409, "voice_changed", "voice")
    shutil.rmtree(voice)
    (tmp_path / "ada").rename(voice)
    last = FakeWork(tmp_path, work.kept)
    await run(kind, asked, last)
    assert "file 1" in last.done
    assert set(last.done).isdisjoint(stopped.done)


def crash_at(name: str, at: str) -> None:
    if name == at:
        raise Crash


async def test_a_model_that_is_gone_and_one_that_is_unloaded_meanwhile(
    speaker: Speaker, tmp_path: Path, work: FakeWork
) -> None:
    folder = tiny_xtts(speaker.settings.data_dir / "models" / "other", config=tiny_config(("en", "de")))
    await speaker.fleet.load("other")
    kind = SpeechKind(speaker)
    asked = await kind.accept(SpeechJob(input=BOOK, voice="ada", model="other"), tmp_path)
    unloading: list[asyncio.Task[None]] = []

    def unload(name: str, moment: str) -> None:
        if (name, moment) == ("passage 2", "after"):
            unloading.append(asyncio.create_task(speaker.fleet.unload("other")))

    with pytest.raises(ModelNotFound, match="the model other was unloaded while the job spoke with it; resume the job"):
        await run(kind, asked, FakeWork(tmp_path, work.kept, unload))
    await unloading[0]
    shutil.rmtree(folder)
    with pytest.raises(ModelNotFound, match="the model other, which is not here any more; bring it back"):
        await run(kind, asked, FakeWork(tmp_path, work.kept))


async def test_a_job_has_its_model_loaded_and_waits_with_that_for_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart only the model that serves is loaded, whichever a job speaks with."""
    monkeypatch.setattr(speaking_module, "LONGEST_WAIT_SECONDS", 0.1)
    data_dir, folder = tmp_path / "data", tmp_path / "job"
    folder.mkdir()
    tiny_xtts(data_dir / "models" / "other", config=tiny_config(("en", "de")))
    async with speaking(data_dir) as speaker:
        await speaker.fleet.load("other")
        kind = SpeechKind(speaker)
        asked = await kind.accept(SpeechJob(input=BOOK, voice="ada", model="other"), folder)
        await speaker.fleet.unload("other")
        work = FakeWork(folder)
        async with speaker.fleet.resting():
            job = asyncio.create_task(run(kind, asked, work))
            await until(lambda: any("paused" in about.get("waiting_for", "") for *_, about in work.told))
            assert not work.done
        await job
        assert "file 1" in work.done
        assert [model.id for model in speaker.fleet.loaded()] == ["tiny", "other"]
        assert speaker.fleet.find("other").engine.state().steps_by_rows
        await speaker.fleet.stop()


async def test_a_job_that_is_cancelled_leaves_no_slot_busy(speaker: Speaker, tmp_path: Path, work: FakeWork) -> None:
    kind, asked = SpeechKind(speaker), await accepted(speaker, tmp_path)
    job = asyncio.create_task(run(kind, asked, work))
    await until(lambda: speaker.engine.state().slots_in_use > 0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: not speaker.engine.state().slots_in_use and not speaker.engine.state().waiting)
    assert not [name for name in names(tmp_path / FOLDER) if "partial" in name]
    await run(kind, asked, FakeWork(tmp_path, work.kept))


async def test_a_job_waits_while_the_server_is_busy_or_speech_is_paused(tmp_path: Path) -> None:
    async with speaking(tmp_path / "data", slots=1, queue=0, ahead_seconds=0.1) as speaker:
        (tmp_path / "job").mkdir()
        kind, asked = SpeechKind(speaker), await accepted(speaker, tmp_path / "job")
        work = FakeWork(tmp_path / "job")
        person = await speaker.resolve(SpeechRequest(text=BOOK, seed=3, voice="ada"), "person")
        async with aclosing(speaker.speak(person)) as listening:
            await anext(listening)  # and takes no more, so that the only place stays taken
            job = asyncio.create_task(run(kind, asked, work))
            await until(lambda: any(stage == "waiting" for stage, *_ in work.told))
            assert "engine.max_concurrency" in work.told[-1][3]["waiting_for"]
            assert not work.done
        await until(lambda: len(work.done) > 0)
        await speaker.engine.rest()
        await until(lambda: any("paused" in about.get("waiting_for", "") for *_, about in work.told))
        spoken = len(work.done)
        await asyncio.sleep(0.2)
        assert len(work.done) == spoken
        speaker.engine.wake()
        await job
        assert "file 1" in work.done
