"""What fails on the device: one stream's fault is its own, memory that runs out is tried again, the breaker."""

import asyncio
import threading
from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

import numpy as np
import pytest
import structlog
import torch

from more_server.engine import breaker as breaker_module
from more_server.engine.breaker import FAILURES, Breaker
from more_server.engine.engine import Engine
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence
from more_server.errors import EngineFailure, Unavailable
from more_server.speech import Utterance
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


@pytest.mark.parametrize("precision", ["fp32", "bf16, as on a GPU"], indirect=True)
async def test_audio_that_is_not_finite_is_one_streams(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Encoders would make a polite silence of it. Its codes are good all the while; in windows it has neighbours."""
    engine = make_engine(slots=3, precision=precision)
    await engine.wait_ready()
    good = [utterance(LONG, seed=1), utterance("nor here", seed=2)]
    alone = [await listen(engine, one) for one in good]
    vocoder = engine._running().runner._vocoder
    original = vocoder._decoded

    def decoded(
        sequences: Many[Sequence], latents: Many[torch.Tensor], voices: list[torch.Tensor], frames: Many[int]
    ) -> list[torch.Tensor]:
        bad = [one.stream.utterance.seed == 13 for one in sequences]
        voices = [voice * torch.nan if is_bad else voice for voice, is_bad in zip(voices, bad, strict=True)]
        return original(sequences, latents, voices, frames)

    monkeypatch.setattr(vocoder, "_decoded", decoded)
    failed, *heard = await asyncio.gather(
        listen(engine, utterance("nothing is well", "nor will be", seed=13)),
        *(listen(engine, one) for one in good),
        return_exceptions=True,
    )
    assert isinstance(failed, EngineFailure)
    assert "not finite" in failed.message
    for samples, expected in zip(heard, alone, strict=True):
        assert isinstance(samples, np.ndarray)
        np.testing.assert_array_equal(samples, expected)
    assert engine.state().slots_in_use == 0
    assert engine.ready


async def test_a_decoder_that_makes_no_numbers_opens_the_breaker(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe listens to what it makes, so that the breaker stays open as long as nobody would be heard."""
    monkeypatch.setattr(breaker_module, "OPEN_SECONDS", (0.2, 1.0))
    engine = make_engine(slots=1)
    await engine.wait_ready()
    whole = await listen(engine, utterance(LONG))
    generator: Any = engine._running().runner.model.decoder.generator
    bias = generator.conv_pre.bias
    good = bias.detach().clone()
    with torch.inference_mode():
        bias.fill_(torch.nan)
    for _ in range(FAILURES):
        with pytest.raises(EngineFailure, match="not finite"):
            await listen(engine, utterance(LONG))
    await until(lambda: engine.state().breaker_open)
    with torch.inference_mode():
        bias.copy_(good)
    await until(lambda: engine.ready)
    np.testing.assert_array_equal(await listen(engine, utterance(LONG)), whole)


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


# -- the device


async def test_a_step_that_hangs_is_told_to_those_who_wait(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(slots=1, queue=9, hung_seconds=3)
    await engine.wait_ready()
    whole = await listen(engine, utterance(LONG, seed=1))
    entered, goes_on, original, hangs = threading.Event(), threading.Event(), Runner.step, [True]

    def step(self: Runner, sequences: Many[Sequence]) -> object:
        entered.set()
        if hangs[0]:
            goes_on.wait(100)
        return original(self, sequences)

    monkeypatch.setattr(Runner, "step", step)
    with structlog.testing.capture_logs() as logs:
        waiting = [asyncio.ensure_future(listen(engine, utterance(LONG, seed=seed))) for seed in range(3)]
        await until(entered.is_set)
        results = await asyncio.gather(*waiting, engine.condition([]), return_exceptions=True)
    assert all(isinstance(result, Unavailable) and "does not come back" in str(result) for result in results)
    assert "goes_on.wait" in next(line["where"] for line in logs if line["log_level"] == "error")
    assert engine.hung
    assert "does not come back" in engine.state().failure
    with pytest.raises(Unavailable, match="does not come back"):
        await listen(engine, utterance(LONG))
    hangs[0] = False
    goes_on.set()
    await until(lambda: engine.ready)
    assert not engine.hung
    assert np.array_equal(await listen(engine, utterance(LONG, seed=1)), whole)
    await until(lambda: engine.state().slots_in_use == 0)


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
