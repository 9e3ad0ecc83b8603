"""Trainings as jobs: real ones, of few steps, by the real process, beside a server that speaks."""

import asyncio
import csv
import os
import shutil
import signal
import tomllib
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from more_train.run import checkpoints, read_progress

from more_server.app import create_speaker
from more_server.errors import BadInput, Conflict, DatasetNotFound, DiskFull, ModelNotFound, MoreError
from more_server.lessons import registering, train_kind
from more_server.lessons.room import Room
from more_server.lessons.train_kind import TrainJob, TrainKind
from more_server.models import list_models, remove
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import SpeechRequest
from more_server.tables import EngineSettings, JobSettings
from tests.lessons.conftest import FakeWork
from tests.lessons.test_room import until
from tests.train.finetune.material import tiny_trainable, write_dataset

QUICK: dict[str, Any] = {"batch_size": 2, "learning_rate": 2e-3, "average": 0.5, "samples": ["Hello there."]}
"""Five steps an epoch with the ten clips of the dataset."""
LONG = 6 * "Where did you put my green umbrella? "


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a model that can be trained, and a dataset of twelve clips."""
    folder = tmp_path_factory.mktemp("school")
    tiny_trainable(folder / "models" / "tiny")
    write_dataset(folder / "datasets" / "buzz")
    return folder


@pytest.fixture
def data_dir(school: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(school, tmp_path / "data"))


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "share")


@pytest.fixture
def settings(data_dir: Path, policy: str) -> Settings:
    return Settings(
        data_dir=data_dir,
        model="tiny",
        engine=EngineSettings(device="cpu", threads=1, slots=4),
        jobs=JobSettings(training_memory=policy),
        plugins={"more_wyoming": {"enabled": False}},
    )


@pytest.fixture
async def speaker(settings: Settings) -> AsyncIterator[Speaker]:
    made = create_speaker(settings)
    made.engine.start()
    await made.open()
    yield made
    await made.fleet.stop()


@pytest.fixture
def kind(settings: Settings) -> TrainKind:
    """Of a server whose engine has not been started."""
    return TrainKind(create_speaker(settings))


def asked(**fields: Any) -> TrainJob:
    return TrainJob(**({"dataset": "buzz", "recipe": QUICK} | fields))


async def spoken(speaker: Speaker, model: str, text: str = "A cat sat on the wall.") -> bytes:
    request = SpeechRequest(text=text, voice="linden", model=model, language="en", seed=3)
    return b"".join([piece async for piece in speaker.spoken(request, "test", "pcm")])


def children() -> list[int]:
    """Trainings that this process has started and that still run."""
    started = [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [int(pid) for pid in started if b"more_train" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def steps(work: FakeWork, kind: str = "train") -> list[int]:
    return [line.step for line in read_progress(work.folder / "run") if line.kind == kind]


def times(work: FakeWork) -> dict[int, float]:
    """When each of the first steps was taken."""
    lines = read_progress(work.folder / "run")
    return {line.step: line.time for line in lines if line.kind == "train" and line.step <= 15}


# -- what is not accepted


@pytest.mark.parametrize(
    ("fields", "error", "param", "told"),
    [
        ({"dataset": "nobody"}, DatasetNotFound, "dataset", "there are: buzz"),
        ({"dataset": "../buzz"}, DatasetNotFound, "dataset", "there are: buzz"),
        ({"model": "nobody"}, ModelNotFound, "model", "here are: nano, tiny"),
        ({"model": "../models/tiny"}, ModelNotFound, "model", "here are: nano, tiny"),
        ({"name": "tiny"}, Conflict, "name", "there is a model tiny already"),
        ({"name": "nano"}, Conflict, "name", "there is a model nano already"),
        ({"name": "../../x"}, BadInput, "name", "cannot be a model's name"),
        ({"device": "cuda:9"}, BadInput, "device", "there are: auto, cpu"),
    ],
)
async def test_what_is_not_there_is_told(
    kind: TrainKind, work: FakeWork, fields: dict[str, Any], error: type[BadInput], param: str, told: str
) -> None:
    with pytest.raises(error) as refused:
        await kind.accept(asked(**fields), work.folder)
    assert told in refused.value.message
    assert refused.value.param == param
    assert list(work.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"recipe": {"betas": [0.5, 2]}}, "recipe.betas", "recipe.json: Expected `float` <= 1.0 - at `betas[1]`"),
        ({"recipe": {"batch_size": 11}}, "dataset", "10 clips to train on, batch_size is 11"),
        ({"dataset": "long"}, "dataset", "Left out: 12 text too long for one segment"),
        ({"model": "mute"}, "model", "cannot be trained: it has no dvae.safetensors"),
    ],
)
async def test_what_cannot_be_trained_is_told_at_once(
    kind: TrainKind, work: FakeWork, data_dir: Path, fields: dict[str, Any], param: str, told: str
) -> None:
    """By the process that would train, which looks and ends."""
    shutil.copytree(data_dir / "models" / "tiny", data_dir / "models" / "mute")
    (data_dir / "models" / "mute" / "dvae.safetensors").unlink()
    write_dataset(data_dir / "datasets" / "long", text=LONG)
    with pytest.raises(BadInput) as refused:
        await kind.accept(asked(**fields), work.folder)
    assert told in refused.value.message
    assert str(data_dir) not in refused.value.message
    assert (refused.value.status, refused.value.param) == (400, param)
    assert not (work.folder / "run").exists()


def test_a_name_is_found(settings: Settings) -> None:
    assert registering.free_id(settings, "buzz") == "buzz"
    shutil.copytree(settings.model_dirs[0] / "tiny", settings.model_dirs[0] / "buzz")
    assert registering.free_id(settings, "buzz") == "buzz-2"
    assert registering.free_id(settings, "auto") == "auto-2"


async def test_a_full_disk_is_told_before_anything_is_spent(
    kind: TrainKind, work: FakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(work.folder)
    monkeypatch.setattr(train_kind.shutil, "disk_usage", lambda _: usage._replace(free=110_000_000))
    with pytest.raises(DiskFull, match=r"0\.1 GB free; this training may take 0\.1 GB") as refused:
        await kind.accept(asked(), work.folder)
    assert refused.value.status == 507


@pytest.mark.parametrize("policy", ["refuse"], indirect=True)
async def test_trainings_beside_speech_are_refused_by_setting(kind: TrainKind, work: FakeWork) -> None:
    with pytest.raises(Conflict, match=r"jobs\.training_memory is 'refuse'"):
        await kind.accept(asked(device="cpu"), work.folder)
    with pytest.raises(Conflict, match=r"jobs\.training_memory is 'refuse'"):  # accepted under another setting
        await kind.run(msgspec.structs.replace(asked(), model="tiny", name="new"), work)


async def test_what_was_deleted_meanwhile_ends_the_job(kind: TrainKind, work: FakeWork, settings: Settings) -> None:
    kept = await kind.accept(asked(), work.folder)
    assert (kept.model, kept.name) == ("tiny", "buzz"), "what was left open is settled"
    shutil.rmtree(settings.datasets_dir / "buzz")
    with pytest.raises(DatasetNotFound):
        await kind.run(kept, work)
    assert not kind._speaker.engine.resting


# -- from a dataset to speech


def check_results(work: FakeWork) -> None:
    """What there is to look at and to listen to after five steps."""
    assert set(work.results) == {
        *("run/curves.svg", "run/curves.csv"),
        *("samples/before/1.wav", "samples/best/1.wav", "samples/latest/1.wav"),
    }
    assert work.results["samples/best/1.wav"][1] == f"Step {work.told[-1][3]['best_step']}: Hello there."
    assert work.results["samples/latest/1.wav"] == ("audio/wav", "Step 5: Hello there.")
    with wave.open(str(work.folder / "samples/latest/1.wav")) as sample:
        assert sample.getnframes() > 1000
    with (work.folder / "run" / "curves.csv").open() as table:
        assert [row["step"] for row in csv.DictReader(table)] == ["0", "1", "2", "3", "4", "5", "5"]
    assert ElementTree.parse(work.folder / "run" / "curves.svg").getroot().tag.endswith("svg")


async def test_a_dataset_becomes_a_model_that_speaks(speaker: Speaker, work: FakeWork, settings: Settings) -> None:
    """While it goes on there is something to look at and to listen to, and speech has half of its slots."""
    kind, slots = TrainKind(speaker), list[int]()
    kept = await kind.accept(asked(name="anna", recipe={**QUICK, "epochs": 1}), work.folder)
    work.on_told = lambda stage, done: slots.append(speaker.engine.state().slots) if stage == "training" else None
    running = asyncio.create_task(kind.run(kept, work))
    await until(lambda: bool(work.told))
    before = await spoken(speaker, "tiny")
    await running

    assert set(slots) == {2}
    assert speaker.engine.state().slots == 4
    assert steps(work) == [1, 2, 3, 4, 5]
    told = [about for stage, _, _, about in work.told if stage == "training"]
    assert told[-1]["step"] == told[-1]["steps"] == 5
    assert {"loss", "held_out", "learning_rate", "epoch", "device"} <= told[-1].keys()
    assert [step for step, _ in told[-1]["curves"]["held_out"]] == [0, 5]
    done = [percent for _, percent, _, _ in work.told]
    assert done == sorted(done)
    assert done[-1] == 100
    assert max(percent for stage, percent, _, _ in work.told if stage == "preparing") == 3

    check_results(work)
    assert work.told[-1][3] == {
        **{"end": "finished", "step": 5, "best": told[-1]["held_out"], "best_step": 5},
        **{"model": "anna", "loaded": True},
    }
    info = next(one for one in list_models(settings) if one.id == "anna")
    assert not info.problem
    assert info.trainable
    assert tomllib.loads((info.path / "provenance.toml").read_text())["job"] == work.id
    assert not (work.folder / "run" / "checkpoints").exists()
    after = await spoken(speaker, "anna")
    assert after
    assert after != before == await spoken(speaker, "tiny")

    # It is switched to while a request runs, which ends on the weights that it began with.
    whole = await spoken(speaker, "tiny", LONG)
    listener = asyncio.create_task(spoken(speaker, "", LONG))
    await until(lambda: speaker.engine.state().speaking == 1)
    object.__setattr__(speaker.fleet, "settings", msgspec.structs.replace(settings, model="auto"))
    await speaker.fleet.switch("anna")
    assert await spoken(speaker, "") == after
    assert await listener == whole

    # The job, taken up again after its last step was not kept, makes no second model, and offers nothing anew.
    del work.kept["exporting"]
    work.results.clear()
    await kind.run(kept, work.again())
    assert work.results == {}
    assert work.begun == ["training", "exporting", "exporting"]
    assert [one.id for one in list_models(settings)] == ["anna", "nano", "tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["pause"], indirect=True)
async def test_killed_cancelled_and_gone_on_with(
    speaker: Speaker, work: FakeWork, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Speech comes back each time; what was trained up to a checkpoint is not trained again; the rest is judged."""
    monkeypatch.setattr(Room, "threads", 1)  # two that share a busy machine's cores wait for each other
    monkeypatch.setenv("MORE_ENGINE__DEVICE", "cuda:9")  # every process works where the job says
    kind, reached = TrainKind(speaker), asyncio.Queue[int]()
    recipe = {**QUICK, "epochs": 6, "evaluate_epochs": 3, "speak": False}
    kept = await kind.accept(asked(recipe=recipe, evaluate=True), work.folder)

    async def interrupted(step: int, how: Callable[[asyncio.Task[None]], object]) -> asyncio.Task[None]:
        def seen(stage: str, _done: float) -> None:
            if stage == "training" and work.told[-1][3]["step"] >= step:
                reached.put_nowait(step)
                work.on_told = lambda stage, done: None

        work.again().on_told = seen
        job = asyncio.create_task(kind.run(kept, work))
        getting = asyncio.create_task(reached.get())
        await asyncio.wait({job, getting}, return_when=asyncio.FIRST_COMPLETED)
        assert not job.done(), job.exception()
        assert speaker.engine.resting
        how(job)
        async with asyncio.timeout(10):
            await asyncio.wait({job})
        assert not children()
        await speaker.engine.wait_ready()
        assert await spoken(speaker, "tiny")
        return job

    killed = await interrupted(17, lambda _: [os.kill(pid, signal.SIGKILL) for pid in children()])
    assert isinstance(killed.exception(), MoreError)
    assert "was killed" in str(killed.exception())
    assert checkpoints(work.folder / "run")[-1][1].step == 15
    first = times(work)

    cancelled = await interrupted(20, lambda job: job.cancel())
    assert cancelled.cancelled()
    assert checkpoints(work.folder / "run")[-1][1].step >= 20

    told_before = len(work.told)
    await kind.run(kept, work.again())
    told = work.told[told_before:]
    done = [percent for _, percent, _, _ in told]
    assert done == sorted(done)
    assert done[0] >= 3 + 82 * 20 / 30, "it stands where it stood"
    judging = {about["doing"]: percent for stage, percent, _, about in told if stage == "evaluating"}
    assert list(judging.values()) == [92, 94, 97], judging
    assert steps(work) == list(range(1, 31))
    assert times(work) == first, "steps before the checkpoint were taken again"
    assert {"run/evaluation/report.html", "run/evaluation/report.json"} <= work.results.keys()
    assert not list((work.folder / "run" / "evaluation").glob("more-evaluate-*"))
    assert await spoken(speaker, "buzz")
    remove(settings, "buzz")
