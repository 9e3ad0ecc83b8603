"""An engine that rests: what runs ends first, whoever listens, and the model's memory is free until it wakes."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from more_server.engine.engine import RESTING, Engine
from more_server.errors import EngineFailure, Resting, Unavailable
from more_server.speech import Utterance
from tests.engine.test_engine import listen, until

MakeEngine = Callable[..., Engine]
MakeUtterance = Callable[..., Utterance]
STORY = ("a long story that nobody listens to", "and on it goes")


def weights(engine: Engine) -> "weakref.WeakSet[Any]":
    """All layers of the model, for as long as they are in memory."""
    model = engine._running().runner.model
    return weakref.WeakSet([*model.gpt.modules(), *model.decoder.generator.modules()])


async def test_who_takes_nothing_is_cut_off_so_that_it_rests(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=1, ahead_seconds=0.1, stalled_seconds=0.2)
    await engine.wait_ready()
    memory = weights(engine)
    idle = engine.generate(utterance(*STORY))
    await anext(idle)
    await until(lambda: engine._running().scheduler.running[0].ahead_since is not None)
    await asyncio.wait_for(engine.rest(), 30)
    assert not memory  # though the listener is there still
    with pytest.raises(Resting):
        await anext(engine.generate(utterance("too late")))
    with pytest.raises(Unavailable, match="not taken"):
        async for _ in idle:
            pass
    engine.wake()
    await engine.wait_ready()
    assert len(await listen(engine, utterance("good morning")))


async def test_a_slow_listener_hears_all_and_keeps_no_model_in_memory(
    make_engine: MakeEngine, utterance: MakeUtterance
) -> None:
    engine = make_engine(slots=1)
    await engine.wait_ready()
    whole = await listen(engine, utterance(STORY[0]))
    memory = weights(engine)
    slow = engine.generate(utterance(STORY[0]))
    first = await anext(slow)
    await asyncio.wait_for(engine.rest(), 30)
    assert not memory
    rest = [audio.samples async for audio in slow]
    np.testing.assert_array_equal(np.concatenate([first.samples, *rest]), whole)


async def test_a_loop_that_crashed_is_freed_and_begins_anew(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    await engine.wait_ready()
    memory = weights(engine)

    def crash(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    engine._running().scheduler.schedule = crash  # type: ignore[assignment, method-assign]
    with pytest.raises(EngineFailure, match="a bug of ours"):
        await listen(engine, utterance("hello"))
    await until(lambda: not engine.ready)
    assert engine.state().failure == "RuntimeError: a bug of ours"
    await asyncio.wait_for(engine.rest(), 30)
    assert not memory
    assert engine.state().failure == RESTING
    engine.wake()
    await engine.wait_ready()
    assert len(await listen(engine, utterance("hello")))
