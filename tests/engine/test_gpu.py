"""The same promises on a GPU, where one answers: graphs give what the functions themselves give, and no row moves."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from more_server.engine.engine import Engine
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence
from more_server.errors import Unavailable
from more_server.measures import gpu_memory
from more_server.speech import Samples, Utterance
from more_server.tables import EngineSettings
from more_server.xtts.load import load
from tests.engine.test_engine import listen, until
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


async def test_a_job_beside_people_is_the_same_audio(engine: Engine, utterance: MakeUtterance) -> None:
    """Pieces of it are put off while people come; theirs are made beside it."""
    await engine.wait_ready()
    job = utterance(*["a chapter of a book that is long"] * 4, seed=1, priority=1)
    people = [utterance("a word in between", seed=seed) for seed in range(2, 8)]
    alone = [await listen(engine, one) for one in (job, *people)]
    speaking = asyncio.create_task(listen(engine, job))
    await until(lambda: engine.state().speaking == 1)
    beside = [await listen(engine, person) for person in people]
    for samples, again in zip(alone, [await speaking, *beside], strict=True):
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


async def test_a_gpu_without_memory_is_tried_again(
    engine: Engine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CUDA says in earnest, behind a step and before a piece of audio; then for good, for a voice."""
    await engine.wait_ready()
    asked = [utterance("the same words every time", seed=seed) for seed in range(4)]
    alone = [await listen(engine, one) for one in asked]
    refused: list[str] = []

    def no_memory() -> None:
        torch.empty(2**50, device="cuda")

    advance, audio = Runner._advance, Runner.audio

    def advanced(self: Runner, sequences: list[Sequence], most: int) -> list[int]:
        codes = advance(self, sequences, most)
        if "step" not in refused and len(sequences) >= 2:
            refused.append("step")
            no_memory()
        return codes

    def heard(self: Runner, sequences: list[Sequence]) -> list[Samples]:
        if "audio" not in refused:
            refused.append("audio")
            no_memory()
        return audio(self, sequences)

    monkeypatch.setattr(Runner, "_advance", advanced)
    monkeypatch.setattr(Runner, "audio", heard)
    together = await asyncio.gather(*(listen(engine, one) for one in asked))
    assert set(refused) == {"step", "audio"}
    for samples, again in zip(alone, together, strict=True):
        np.testing.assert_array_equal(samples, again)
    monkeypatch.setattr(Runner, "condition", lambda self, clips: no_memory())
    with pytest.raises(Unavailable, match="the device ran out of memory"):
        await engine.condition([])
    assert engine.ready


async def test_memory_of_the_gpu_is_told(engine: Engine) -> None:
    await engine.wait_ready()
    before = gpu_memory(engine.state().device)
    assert before is not None
    taken = torch.empty(before[0] // 2, dtype=torch.uint8, device="cuda")
    after = gpu_memory(engine.state().device)
    assert after is not None
    assert after[0] < before[0] - taken.numel() // 2
    assert 0 < after[0] < after[1] == before[1]
    del taken
    torch.cuda.empty_cache()


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_latents_are_those_of_the_reference(precision: str, most: float) -> None:
    exact = load(Path("models/nano"), torch.device("cpu"))
    there = load(Path("models/nano"), torch.device("cuda"), precision)
    latents = [latents_of(exact), latents_of(there).cpu()]
    assert float((latents[0] - latents[1]).norm() / latents[0].norm()) < most
