"""What fails on the device: one stream's fault is its own, memory that runs out is tried again, the breaker."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from more_server.engine import breaker as breaker_module
from more_server.engine import memory
from more_server.engine.breaker import FAILURES, Breaker
from more_server.engine.engine import Engine
from more_server.engine.memory import GIGABYTE, slot_count
from more_server.engine.recovery import STEPS_UNTIL_DOUBLED, Recovery, is_out_of_memory
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence
from more_server.errors import EngineFailure, SettingsError, Unavailable
from more_server.settings import EngineSettings
from more_server.speech import Samples, Utterance
from tests.engine.test_engine import listen, until

MakeEngine = Callable[..., Engine]
MakeUtterance = Callable[..., Utterance]
CPU = torch.device("cpu")
LONG = "a text that is long enough to be heard while it is made"


def no_memory() -> torch.Tensor:
    """What torch says in earnest when the host has no memory left: half an exabyte is refused everywhere."""
    return torch.empty(2**59)


def failing(
    monkeypatch: pytest.MonkeyPatch, method: str, fails: Callable[[list[Sequence]], bool], how: object
) -> list[int]:
    """Makes a method of the runner fail for some sequences; the sizes of the batches it was asked for."""
    original, sizes = getattr(Runner, method), []

    def run(self: Runner, sequences: list[Sequence]) -> object:
        sizes.append(len(sequences))
        if fails(sequences):
            how()  # type: ignore[operator]
        return original(self, sequences)

    monkeypatch.setattr(Runner, method, run)
    return sizes


def raise_error() -> None:
    raise RuntimeError("a bad kernel")


# -- one stream's fault


@pytest.mark.parametrize("method", ["step", "audio"])
async def test_one_failure_is_one_streams(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    engine = make_engine(slots=3, precision="fp32")
    await engine.wait_ready()
    alone = await listen(engine, utterance(LONG, seed=1))
    failing(monkeypatch, method, lambda batch: any(one.stream.utterance.seed == 13 for one in batch), raise_error)
    good, bad, other = await asyncio.gather(
        listen(engine, utterance(LONG, seed=1)),
        listen(engine, utterance("nothing is well", "nor will be", seed=13)),
        listen(engine, utterance("nor here", seed=2)),
        return_exceptions=True,
    )
    np.testing.assert_array_equal(good, alone)
    assert isinstance(bad, EngineFailure)
    assert "a bad kernel" in bad.message
    assert isinstance(other, np.ndarray)
    assert engine.state().slots_in_use == 0
    assert engine.ready


async def test_values_that_are_not_finite_stay_in_their_slot(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Static shapes look at whole slots behind a mask: NaN left in one would spread to its next owner."""
    engine = make_engine(slots=1, precision="bf16")
    await engine.wait_ready()
    short = utterance("the next one here")
    alone = await listen(engine, short)
    codes = engine._running().runner.model.gpt.code_embedding.weight
    good, calls, original = codes.clone(), [], Runner.step

    def poisoned(self: Runner, sequences: list[Sequence]) -> list[int]:
        calls.append(1)
        with torch.inference_mode():
            codes.copy_(codes * torch.nan if len(calls) == 20 else good)
        return original(self, sequences)

    monkeypatch.setattr(Runner, "step", poisoned)
    # Its prompt is longer than the next one's, so that one does not write over what it leaves behind.
    with pytest.raises(EngineFailure, match="not finite"):
        await listen(engine, utterance(LONG))
    np.testing.assert_array_equal(await listen(engine, short), alone)


async def test_a_step_that_is_repeated_draws_the_same(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's prompt fails after this one's code was drawn; its repetition penalty must not count that code."""
    engine = make_engine(slots=3)
    await engine.wait_ready()
    with torch.inference_mode():  # the tiny model's logits are so flat that the penalty hardly matters
        engine._running().runner.model.gpt.code_head.weight.mul_(20)
    wanted = utterance(LONG, seed=1, repetition_penalty=5.0)
    alone = await listen(engine, wanted)
    original, failures = Runner._begin, []

    def begin(self: Runner, sequences: list[Sequence]) -> list[int]:
        if any(one.stream.utterance.seed == 13 for one in sequences):
            failures.append(1)
            raise_error()
        return original(self, sequences)

    monkeypatch.setattr(Runner, "_begin", begin)
    speaking = asyncio.create_task(listen(engine, wanted))
    await until(lambda: engine.state().speaking == 1)
    for _ in range(2):
        with pytest.raises(EngineFailure):
            await listen(engine, utterance(LONG, seed=13))
    np.testing.assert_array_equal(await speaking, alone)
    assert len(failures) >= 2


async def test_requests_at_fault_do_not_close_the_server(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures in a row open the breaker only where a probe fails as well."""
    engine = make_engine(slots=1)
    await engine.wait_ready()
    failing(monkeypatch, "step", lambda batch: batch[0].stream.utterance.seed == 13, raise_error)
    for _ in range(2 * FAILURES):
        with pytest.raises(EngineFailure):
            await listen(engine, utterance(LONG, seed=13))
    assert engine.ready
    assert len(await listen(engine, utterance(LONG)))


async def test_a_decoder_that_fails_opens_the_breaker(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although codes are drawn without fault all the while."""
    engine = make_engine(slots=1)
    await engine.wait_ready()
    failing(monkeypatch, "audio", lambda batch: True, no_memory)
    for _ in range(FAILURES):
        with pytest.raises(Unavailable):
            await listen(engine, utterance(LONG))
    await until(lambda: engine.state().breaker_open)


# -- memory that runs out


@pytest.mark.parametrize("method", ["step", "audio"])
async def test_out_of_memory_is_tried_again_in_halves(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Three rows are too many at first; nothing is lost and nothing sounds different."""
    engine = make_engine(slots=4)
    await engine.wait_ready()
    asked = [utterance(LONG, seed=seed) for seed in range(4)]
    alone = [await listen(engine, one) for one in asked]
    most = 2 if method == "step" else 0
    refusals = [1]

    def too_many(batch: list[Sequence]) -> bool:
        return len(batch) > most and bool(refusals and not refusals.clear())

    sizes = failing(monkeypatch, method, too_many, no_memory)
    freed = []
    monkeypatch.setattr(Runner, "free", lambda self: freed.append(1))
    engine._running()._recovery._free = lambda: freed.append(1)
    together = await asyncio.gather(*(listen(engine, one) for one in asked))
    for samples, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(samples, expected)
    assert freed
    assert engine.ready
    if method == "step":
        first = next(index for index, size in enumerate(sizes) if size > 2)
        assert sizes[first + 1] <= 2


async def test_a_device_without_memory_opens_the_breaker_until_a_probe_succeeds(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "OPEN_SECONDS", (0.2, 1.0))
    engine = make_engine(slots=1, queue=9)
    await engine.wait_ready()
    broken = [True]
    failing(monkeypatch, "step", lambda batch: broken[0], no_memory)
    original = Runner.probe

    def probe(self: Runner) -> None:
        if broken[0]:
            no_memory()
        original(self)

    monkeypatch.setattr(Runner, "probe", probe)
    results = await asyncio.gather(
        *(listen(engine, utterance(LONG, seed=seed)) for seed in range(FAILURES + 2)), return_exceptions=True
    )
    assert all(isinstance(result, Unavailable) for result in results)
    assert [result.message for result in results if "out of memory" in str(result)]
    assert len([result for result in results if "again and again" in str(result)]) == 2  # those who only waited
    assert not engine.ready
    assert engine.state().breaker_open
    with pytest.raises(Unavailable) as refused:
        await listen(engine, utterance(LONG))
    assert 1 <= (refused.value.retry_after or 0) <= 60
    with pytest.raises(Unavailable):
        await engine.condition([])
    broken[0] = False
    await until(lambda: engine.ready)
    assert len(await listen(engine, utterance(LONG)))


def test_the_breaker() -> None:
    now = [0.0]
    made = Breaker(lambda: now[0])
    assert not made.failed()
    assert not made.failed()
    made.succeeded()
    assert [made.failed() for _ in range(FAILURES)] == [False, False, True]
    assert not made.open
    made.trip()
    assert made.open
    assert made.retry_after == 5
    assert not made.probe_due()
    now[0] = 5.0
    assert made.probe_due()
    made.probed(success=False)
    assert not made.probe_due()
    assert made.retry_after == 10
    for _ in range(5):
        made.probed(success=False)
    assert made.retry_after == 60
    made.probed(success=True)
    assert not made.open
    assert not made.failed()


def test_rows_are_halved_and_come_back() -> None:
    recovery = Recovery(8, lambda: None)
    refusals = [1]

    def work(sequences: list[int]) -> list[int]:
        if refusals:
            refusals.clear()
            no_memory()
        return sequences

    assert recovery.run(work, list(range(8))) == [(n, n) for n in range(8)]  # type: ignore[arg-type, comparison-overlap]
    assert recovery.rows == 4
    for _ in range(STEPS_UNTIL_DOUBLED):
        recovery.run(work, [1])  # type: ignore[arg-type, list-item]
    assert recovery.rows == 8


def test_what_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        no_memory()
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("a bad kernel"))


# -- slots from a budget


def test_slots_fill_the_budget_beside_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def slots(**settings: float) -> int:
        return slot_count(EngineSettings(**settings), CPU, slot_bytes=GIGABYTE // 10, model_bytes=GIGABYTE)  # type: ignore[arg-type]

    assert slots(memory_gb=2.0) == 5
    assert slots(memory_gb=9.0) == 8  # more gain nothing on a CPU
    assert slots(memory_gb=2.0, slots=3) == 3
    assert slots(slots=200) == 200
    with pytest.raises(SettingsError, match=r"engine\.memory_gb 2 holds 5 slots, 6 are asked for"):
        slots(memory_gb=2.0, slots=6)
    with pytest.raises(SettingsError, match=r"holds 0 slots, 1 are asked for: the model takes 1\.00 GB"):
        slots(memory_gb=1.2)
    monkeypatch.setattr(memory, "free_bytes", lambda device: GIGABYTE // 2)
    assert slots() == 4
    monkeypatch.setattr(memory, "free_bytes", lambda device: GIGABYTE // 20)
    with pytest.raises(SettingsError, match="the free memory holds 0 slots"):
        slots()


async def test_a_budget_that_holds_nothing_stops_the_start(tiny_model: Path) -> None:
    engine = Engine(tiny_model, EngineSettings(device="cpu", memory_gb=0.01))
    engine.start()
    with pytest.raises(SettingsError, match=r"engine\.memory_gb 0\.01 holds 0 slots"):
        await engine.wait_ready()
    engine.stop()


async def test_more_at_a_time_than_slots_stops_the_start(tiny_model: Path) -> None:
    engine = Engine(tiny_model, EngineSettings(device="cpu", slots=2, max_concurrency=3))
    engine.start()
    with pytest.raises(SettingsError, match=r"engine\.max_concurrency 3 is more than there are slots \(2\)"):
        await engine.wait_ready()
    engine.stop()


async def test_a_step_that_found_memory_costs_nobody_a_word(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single stream, a single refusal: tried once more, and whole."""
    engine = make_engine(slots=1)
    await engine.wait_ready()
    whole = await listen(engine, utterance(LONG))
    calls: list[int] = []

    def tenth(batch: list[Sequence]) -> bool:
        calls.append(1)
        return len(calls) == 10

    failing(monkeypatch, "step", tenth, no_memory)
    samples: Samples = await listen(engine, utterance(LONG))
    np.testing.assert_array_equal(samples, whole)
