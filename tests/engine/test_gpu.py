"""The same promises on a GPU, where one answers: graphs give what the functions themselves give, and no row moves."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from more_server.engine.engine import Engine
from more_server.engine.runner import Runner
from more_server.settings import EngineSettings
from more_server.speech import Utterance
from more_server.xtts.load import load
from tests.engine.test_engine import listen
from tests.xtts.test_precision import latents_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU answers here")

MakeUtterance = Callable[..., Utterance]


@pytest.fixture(params=["bf16", "fp32"])
def engine(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Engine]:
    made = Engine(tiny_model, EngineSettings(device="cuda", precision=request.param, slots=8))
    made.start()
    yield made
    made.stop()


async def test_a_seed_is_the_same_audio_in_any_company(engine: Engine, utterance: MakeUtterance) -> None:
    """Bit for bit, although each number of neighbours and each length runs another graph."""
    await engine.wait_ready()
    asked = [utterance("the same words every time " * 2, "and again", seed=seed) for seed in range(8)]
    alone = [await listen(engine, one) for one in asked]
    together = await asyncio.gather(*(listen(engine, one) for one in asked))
    for samples, again in zip(alone, together, strict=True):
        np.testing.assert_array_equal(samples, again)


async def test_every_step_is_a_captured_one(
    engine: Engine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.wait_ready()
    runner = engine._running().runner
    assert len(runner._graphs._captured) == len(runner._extents)

    def eager(*_: object, **__: object) -> None:
        raise AssertionError("a step ran as it is")

    monkeypatch.setattr(Runner, "_forward", eager)
    await asyncio.gather(*(listen(engine, utterance("hello there", seed=seed)) for seed in range(5)))


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_latents_are_those_of_the_reference(precision: str, most: float) -> None:
    exact = load(Path("models/nano"), torch.device("cpu"))
    there = load(Path("models/nano"), torch.device("cuda"), precision)
    latents = [latents_of(exact), latents_of(there).cpu()]
    assert float((latents[0] - latents[1]).norm() / latents[0].norm()) < most
