"""Memory that runs out: work is tried again in halves, and nobody hears of it where there is enough for less."""

import asyncio
from collections.abc import Callable
from collections.abc import Sequence as Many
from pathlib import Path

import numpy as np
import pytest
import torch

from more_server.engine import breaker as breaker_module
from more_server.engine import memory
from more_server.engine.breaker import FAILURES
from more_server.engine.engine import Engine
from more_server.engine.memory import GIGABYTE, slot_count
from more_server.engine.recovery import STEPS_UNTIL_DOUBLED, Recovery, is_out_of_memory
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence
from more_server.engine.vocoder import PieceVocoder
from more_server.errors import BadInput, EngineFailure, SettingsError, Unavailable
from more_server.speech import Samples, VoiceLatents
from more_server.tables import EngineSettings
from more_server.xtts.streaming import Streamed
from tests.engine.test_engine import listen, until
from tests.engine.test_faults import CPU, LONG, MakeEngine, MakeUtterance, failing, no_memory, raise_error


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


@pytest.mark.parametrize("precision", ["fp32", "int8", "bf16, as on a GPU"], indirect=True)
async def test_out_of_memory_when_the_work_is_nearly_done_is_not_heard(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """In a prompt, then in a step, then in the vocoder. Caches, the mask of codes and the decoder's state have moved on
    by then; what is repeated must not add to it."""
    engine = make_engine(slots=4, precision=precision)
    await engine.wait_ready()
    asked = [utterance(LONG, seed=seed, repetition_penalty=5.0) for seed in range(4)]
    alone = [await listen(engine, one) for one in asked]
    runner = engine._running().runner
    batch: list[Sequence] = []
    for method in ("step", "audio"):
        outer = getattr(Runner, method)

        def run(self: Runner, sequences: list[Sequence], outer: Callable[..., object] = outer) -> object:
            batch[:] = sequences
            return outer(self, sequences)

        monkeypatch.setattr(Runner, method, run)
    pieces = isinstance(runner._vocoder, PieceVocoder)
    vocoder: tuple[object, str] = (Streamed, "process") if pieces else (runner.model.decoder, "decode_all")
    refused: list[str] = []

    def refuse_in(owner: object, name: str, now: Callable[[], bool]) -> None:
        original = getattr(owner, name)

        def run(*given: object, **named: object) -> object:
            done = original(*given, **named)
            if name not in refused and now():
                refused.append(name)
                no_memory()
            return done

        monkeypatch.setattr(owner, name, run)

    # In this order, as each halves the rows of steps to come: of four rows, of two, and of a segment that is begun.
    refuse_in(runner._passes, "prefill", lambda: len(batch) == 4)
    refuse_in(runner._passes, "step", lambda: refused == ["prefill"] and len(batch) == 2)
    refuse_in(*vocoder, lambda: len(refused) == 2 and bool(batch[0].pieces))
    together = await asyncio.gather(*(listen(engine, one) for one in asked))
    assert refused == ["prefill", "step", vocoder[1]]
    for samples, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(samples, expected)
    assert engine.ready
    assert engine.state().slots_in_use == 0


async def test_a_voice_finds_memory_or_says_what_it_lacks(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its latents are nobody's row: tried once more, then told as speech is; speech goes on."""
    engine = make_engine(slots=1)
    await engine.wait_ready()
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * engine.config.sample_rate).astype(np.float32)
    clips = [(noise, noise)]
    wanted = await engine.condition(clips)
    original, how, calls = Runner.condition, list[Callable[[], object]](), list[int]()

    def condition(self: Runner, given: Many[tuple[Samples, Samples]]) -> VoiceLatents:
        calls.append(1)
        done = original(self, given)
        if how:
            how.pop()()
        return done

    monkeypatch.setattr(Runner, "condition", condition)
    how[:] = [no_memory]
    again = await engine.condition(clips)
    np.testing.assert_array_equal(again.conditioning, wanted.conditioning)
    np.testing.assert_array_equal(again.speaker_embedding, wanted.speaker_embedding)
    assert len(calls) == 2
    how[:] = [no_memory] * 2
    with pytest.raises(Unavailable, match="the device ran out of memory") as lacking:
        await engine.condition(clips)
    assert 1 <= (lacking.value.retry_after or 0) <= 60
    assert len(calls) == 4
    how[:] = [raise_error]
    with pytest.raises(EngineFailure, match=r"RuntimeError: a bad kernel"):
        await engine.condition(clips)
    with pytest.raises(BadInput, match="of speech"):  # what the clip is at fault for is still said as it is
        await engine.condition([(noise[:100], noise)])
    assert len(calls) == 6
    assert engine.ready


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
