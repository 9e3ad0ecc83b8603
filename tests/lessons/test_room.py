"""Room for a training beside real engines: speech paused, lowered or not, and back as it was however that ends."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from more_server.engine.engine import Engine, usable_cores
from more_server.errors import BadInput, Conflict, Resting
from more_server.fleet import Fleet
from more_server.lessons.room import Room, device_named
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import Samples, Utterance
from more_server.tables import EngineSettings, JobSettings
from more_server.testing import tiny_xtts
from tests.web.conftest import nano_settings, running

CPU = torch.device("cpu")
MakeUtterance = Callable[..., Utterance]
LONG = 4 * ("a long story with a good end",)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("one", "other"):
        tiny_xtts(folder / "models" / name, talkative=True)
    return folder


@asynccontextmanager
async def speaking(data_dir: Path, policy: str = "share", **engine: Any) -> AsyncIterator[Fleet]:
    settings = Settings(
        data_dir=data_dir,
        model="one",
        engine=EngineSettings(**{"device": "cpu", "threads": 1, "slots": 4} | engine),
        jobs=JobSettings(training_memory=policy),
    )
    fleet = Fleet(settings)
    fleet.serving.engine.start()
    await fleet.serving.open()
    try:
        yield fleet
    finally:
        await fleet.stop()


async def heard(engine: Engine, utterance: Utterance) -> Samples:
    return np.concatenate([audio.samples async for audio in engine.generate(utterance)])


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)


# -- pause


async def test_paused_speech_ends_first_and_comes_back(data_dir: Path, utterance: MakeUtterance) -> None:
    """Its memory is free meanwhile, who asks is told when to come back, and the same words sound the same after it."""
    async with speaking(data_dir, "pause") as fleet, Room(fleet, CPU) as room:
        engine = fleet.serving.engine
        alone = await heard(engine, utterance(*LONG, seed=4))
        weights = weakref.ref(engine._running().runner.model.gpt)
        listener = asyncio.create_task(heard(engine, utterance(*LONG, seed=4)))
        await until(lambda: engine.state().speaking == 1)
        making = asyncio.create_task(room.make())
        await until(lambda: engine.resting)
        assert not making.done()
        with pytest.raises(Resting, match=r"jobs\.training_memory") as refused:
            await heard(engine, utterance("too late"))
        assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "speech_paused", 60)
        await making
        assert listener.done(), "room was made before the listener had heard it all"
        np.testing.assert_array_equal(listener.result(), alone)
        gc.collect()
        assert weights() is None, "the model is still in memory"
        state = engine.state()
        assert (state.loaded, state.resting, state.device) == (False, True, "cpu")
        assert "paused" in state.failure
        assert engine.config.languages, "what a model is can be asked while it rests"
        with pytest.raises(Resting):
            await engine.condition([(alone, alone)])
        with pytest.raises(Resting):
            await fleet.load("other")
        await room._stack.aclose()
        await engine.wait_ready()
        assert engine.state().loaded
        np.testing.assert_array_equal(await heard(engine, utterance(*LONG, seed=4)), alone)
        assert (await fleet.load("other")).engine.state().loaded


async def test_a_cancelled_pause_leaves_speech_as_it_was(data_dir: Path, utterance: MakeUtterance) -> None:
    async with speaking(data_dir, "pause") as fleet:
        engine = fleet.serving.engine

        async def train() -> None:
            async with Room(fleet, CPU) as room:
                await room.make()
                await asyncio.sleep(3600)

        listener = asyncio.create_task(heard(engine, utterance(*LONG)))
        await until(lambda: engine.state().speaking == 1)
        for begun in (lambda: engine.resting, lambda: engine._loop is None):  # while it waits, and while it rests
            training = asyncio.create_task(train())
            await until(begun)
            training.cancel()
            with suppress(asyncio.CancelledError):
                await training
            await engine.wait_ready()
            assert engine.state().loaded
            assert not engine.resting
            assert len(await heard(engine, utterance("here again"))) > 0
        assert len(await listener) > 0


async def test_two_trainings_pause_speech_until_both_are_done(data_dir: Path) -> None:
    async with speaking(data_dir, "pause") as fleet:
        engine = fleet.serving.engine
        async with Room(fleet, CPU) as one:
            await one.make()
            async with Room(fleet, CPU) as other:
                await other.make()
                assert other.threads == usable_cores()
            assert engine.resting
        await engine.wait_ready()
        assert not engine.resting
        assert engine.state().loaded


async def test_a_server_that_stops_does_not_load_its_models_again(data_dir: Path) -> None:
    async with speaking(data_dir, "pause") as fleet, Room(fleet, CPU) as room:
        await room.make()
        fleet.close()
        await room._stack.aclose()
        assert fleet.serving.engine._loop is None


async def test_readiness_and_clients_are_told_of_a_pause(tmp_path: Path) -> None:
    speakers: list[Speaker] = []

    def kinds(speaker: Speaker) -> tuple[()]:
        speakers.append(speaker)
        return ()

    def ask() -> tuple[int, str, str]:
        spoken = http.post("/v1/audio/speech", json={"input": "Hello.", "voice": "linden", "response_format": "wav"})
        code = spoken.json()["error"]["code"] if spoken.status_code != 200 else ""
        return spoken.status_code, code, spoken.headers.get("retry-after", "")

    with running(nano_settings(tmp_path), kinds=kinds) as server:
        http, fleet = server.http(), speakers[0].fleet
        async with fleet.resting():
            ready = await asyncio.to_thread(http.get, "/health/ready")
            assert ready.status_code == 503
            assert "paused" in ready.json()["reason"]
            assert await asyncio.to_thread(ask) == (503, "speech_paused", "60")
            for path in ("/v1/models", "/v1/audio/voices", "/v1/admin/models", "/metrics"):
                assert (await asyncio.to_thread(http.get, path)).status_code == 200, path
        await fleet.serving.engine.wait_ready()
        assert (await asyncio.to_thread(http.get, "/health/ready")).status_code == 200
        assert (await asyncio.to_thread(ask))[0] == 200


# -- share


async def test_shared_slots_are_half_for_all_models_until_the_end(data_dir: Path, utterance: MakeUtterance) -> None:
    """Who is being spoken stays; newcomers wait for fewer slots; nobody is refused or cut off."""
    async with speaking(data_dir) as fleet:
        engine = fleet.serving.engine
        async with asyncio.TaskGroup() as listeners:
            told = [listeners.create_task(heard(engine, utterance(*LONG, seed=seed))) for seed in range(4)]
            await until(lambda: engine.state().speaking == 4)
            async with Room(fleet, CPU) as room:
                await room.make()
                assert room.threads == max(1, usable_cores() - 1)
                assert (engine.state().slots, engine.state().speaking) == (2, 4)
                told += [listeners.create_task(heard(engine, utterance(*LONG, seed=seed))) for seed in range(4)]
                await until(lambda: all(one.done() for one in told[:4]))
                await until(lambda: engine.state().speaking == 2)
                state = engine.state()
                assert (state.slots_in_use, state.waiting) == (2, 2)
                assert (await fleet.load("other")).engine.state().slots == 2
            await until(lambda: engine.state().speaking == 4 or all(one.done() for one in told))
        assert [model.engine.state().slots for model in fleet.loaded()] == [4, 4]
        for early, late in zip(told[:4], told[4:], strict=True):
            np.testing.assert_array_equal(early.result(), late.result())


async def test_one_slot_is_left(data_dir: Path, utterance: MakeUtterance) -> None:
    async with speaking(data_dir, slots=1) as fleet, Room(fleet, CPU) as room:
        await room.make()
        assert fleet.serving.engine.state().slots == 1
        assert len(await heard(fleet.serving.engine, utterance("a job", priority=1))) > 0


# -- refuse


async def test_a_training_is_refused_on_the_device_that_speaks(data_dir: Path) -> None:
    async with speaking(data_dir, "refuse") as fleet:
        async with Room(fleet, CPU) as room:
            with pytest.raises(Conflict, match=r"jobs\.training_memory is 'refuse'"):
                await room.make()
        async with Room(fleet, torch.device("cuda:0")) as elsewhere:
            await elsewhere.make()
        assert fleet.serving.engine.state().loaded


def test_another_device_takes_nothing_from_speech() -> None:
    assert device_named("cpu") == CPU
    for name in ("tpu", "meta", "cuda:99", "../cpu"):
        with pytest.raises(BadInput, match="there are: auto, cpu") as refused:
            device_named(name)
        assert refused.value.param == "device"
