"""The engine's truths, on the tiny model: same seed same audio in any company, nothing lost, nothing left behind."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import torch

from more_server.engine.engine import Engine
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence, Stream
from more_server.errors import Busy, EngineFailure, ModelError, ModelLoading, SettingsError, Unavailable
from more_server.speech import Samples, Utterance
from more_server.tables import EngineSettings
from more_server.testing import tiny_xtts
from more_server.xtts import load as load_module

MakeEngine = Callable[..., Engine]
MakeUtterance = Callable[..., Utterance]


async def listen(engine: Engine, utterance: Utterance, pause: float = 0.0) -> Samples:
    pieces = []
    async for audio in engine.generate(utterance):
        pieces.append(audio.samples)
        await asyncio.sleep(pause)
    return np.concatenate(pieces)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("batch", [1, 4], ids=["pieces", "windows"])
async def test_streamed_is_whole(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """What is streamed is what one decode of all latents gives, to the last sample."""
    monkeypatch.setattr(load_module, "window_batch", lambda device: batch)
    last: dict[int, torch.Tensor] = {}
    original = Runner.audio

    def spy(self: Runner, sequences: list[Sequence]) -> list[Samples]:
        for sequence in sequences:
            last[sequence.number] = self._latents[sequence.slot, : sequence.latents].clone()
        return original(self, sequences)

    monkeypatch.setattr(Runner, "audio", spy)
    engine = make_engine()
    await engine.wait_ready()
    request = utterance("the quick brown fox jumps", "over the lazy dog")
    streamed = await listen(engine, request)
    decoder = engine._running().runner.model.decoder
    embedding = torch.from_numpy(request.latents.speaker_embedding)
    with torch.inference_mode():
        wholes = [decoder.decode(last[number], embedding).numpy() for number in (0, 1)]
    for number, whole in enumerate(wholes):
        assert len(whole) == decoder.frame_count(len(last[number])) * decoder.hop_length
    np.testing.assert_allclose(streamed, np.concatenate(wholes), atol=1e-4)


async def test_a_seed_is_the_same_audio_in_any_company(
    make_engine: MakeEngine, utterance: MakeUtterance, precision: str
) -> None:
    """Bit for bit, whoever comes and goes beside it and whichever slot it is in."""
    engine = make_engine(slots=4, precision=precision)
    await engine.wait_ready()
    wanted = utterance("the same words every time", "and again", "until the end of time", seed=5)
    alone = await listen(engine, wanted)

    async def leave_early(seed: int) -> None:
        async with aclosing(engine.generate(utterance("someone else is talking here", seed=seed))) as chunks:
            async for _ in chunks:
                break

    results = await asyncio.gather(
        leave_early(1),
        listen(engine, utterance("another one", seed=6, temperature=0.3)),
        listen(engine, wanted),
        leave_early(2),
        listen(engine, wanted),
    )
    np.testing.assert_array_equal(results[2], alone)
    np.testing.assert_array_equal(results[4], alone)
    other_seed = await listen(engine, utterance("the same words every time", "and again", seed=7))
    assert len(other_seed) != len(alone) or not np.array_equal(other_seed, alone)


async def test_streams_of_different_length_interleave(
    make_engine: MakeEngine, utterance: MakeUtterance, precision: str
) -> None:
    """A short one that comes in the middle of a long one is heard out before it, and changes nothing."""
    engine = make_engine(slots=2, precision=precision)
    await engine.wait_ready()
    long, short = (
        utterance("a long story " * 3, "with more to come " * 2, seed=1),
        utterance("a short word here", seed=2),
    )
    alone = [await listen(engine, one) for one in (long, short)]
    order = []

    async def told(one: Utterance, name: str) -> Samples:
        samples = await listen(engine, one)
        order.append(name)
        return samples

    begun = asyncio.create_task(told(long, "long"))
    await until(lambda: engine.state().speaking == 1)
    together = [await told(short, "short"), await begun]
    assert order == ["short", "long"]
    np.testing.assert_array_equal(together[1], alone[0])
    np.testing.assert_array_equal(together[0], alone[1])


async def test_steps_are_shared(make_engine: MakeEngine, utterance: MakeUtterance, precision: str) -> None:
    engine = make_engine(slots=4, precision=precision)
    await engine.wait_ready()
    await asyncio.gather(*(listen(engine, utterance("the same words", seed=seed)) for seed in range(4)))
    assert max(engine.state().steps_by_rows) == 4


async def test_a_next_segment_that_lost_its_slot_says_the_same(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    evictions, original = [], Sequence.begin

    def spy(self: Sequence) -> None:
        if getattr(self, "latents", 0):
            evictions.append(self.number)
        original(self)

    engine = make_engine(slots=2)
    await engine.wait_ready()
    book = utterance(*["a chapter of a book that is long"] * 4, seed=1, retries=0)
    alone = await listen(engine, book)
    monkeypatch.setattr(Sequence, "begin", spy)
    reading = asyncio.create_task(listen(engine, book))

    def ahead() -> bool:
        return any(len(one.sequences) > 1 and one.sequences[1].latents for one in engine._running().scheduler.running)

    # More than one: the segment before may end, and give its slot, just when somebody comes.
    while not evictions and not reading.done():
        await until(lambda: ahead() or reading.done())
        await listen(engine, utterance("hey", retries=0))
    np.testing.assert_array_equal(await reading, alone)
    assert evictions


async def test_a_sentence_is_not_starved_by_books(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    """Jobs that fill the slots and the queue leave room for a person."""
    engine = make_engine(slots=3, max_concurrency=3)
    await engine.wait_ready()
    books = [
        asyncio.create_task(listen(engine, utterance(*["a chapter of a book"] * 20, seed=seed, priority=1)))
        for seed in range(4)
    ]
    await until(lambda: engine.state().speaking == 2)
    await listen(engine, utterance("a sentence", seed=9))
    assert not any(book.done() for book in books)
    for book in books:
        book.cancel()
    await until(lambda: engine.state().slots_in_use == 0, seconds=1.0)


async def test_leaving_frees_the_slot(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=1)
    await engine.wait_ready()
    chunks = engine.generate(utterance("a long story " * 5, "with more to come " * 4))
    await anext(chunks)
    assert engine.state().slots_in_use == 1
    await chunks.aclose()
    await until(lambda: engine.state().slots_in_use == 0, seconds=1.0)


async def test_the_stop_code_ends_a_segment(tmp_path: Path, utterance: MakeUtterance) -> None:
    """An untrained model draws each code about once in 34: long texts end long before their limit."""
    engine = Engine(tiny_xtts(tmp_path / "terse"), EngineSettings(device="cpu", threads=1))
    engine.start()
    await engine.wait_ready()
    lengths = {len(await listen(engine, utterance("a text of many words " * 3, seed=seed))) for seed in range(8)}
    engine.stop()
    assert len(lengths) > 1
    assert min(lengths) > 0


async def test_cancelling_while_waiting_leaves_the_queue(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=1, ahead_seconds=0.01)
    await engine.wait_ready()
    speaking = engine.generate(utterance("hold the only slot for a while"))
    await anext(speaking)
    waiting = asyncio.create_task(listen(engine, utterance("never heard")))
    await until(lambda: engine.state().waiting == 1)
    waiting.cancel()
    await until(lambda: engine.state().waiting == 0)
    await speaking.aclose()


async def test_a_full_queue_refuses(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=1, queue=1, ahead_seconds=0.01)
    await engine.wait_ready()
    speaking = engine.generate(utterance("one speaks for quite a long time"))
    await anext(speaking)
    waiting = asyncio.create_task(listen(engine, utterance("one waits")))
    await until(lambda: engine.state().waiting == 1)
    with pytest.raises(Busy) as refused:
        await anext(engine.generate(utterance("one is refused")))
    assert 1 <= (refused.value.retry_after or 0) <= 60
    await speaking.aclose()
    assert len(await waiting)


async def test_a_slow_listener_is_not_outrun(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=2, ahead_seconds=0.1)
    await engine.wait_ready()
    slow = engine.generate(utterance("a long story that nobody listens to " * 2, "and on it goes"))
    first = await anext(slow)
    # Others are served while it waits for its listener…
    assert len(await listen(engine, utterance("quick words")))
    # …and then it goes on, losing nothing.
    rest = [audio.samples async for audio in slow]
    whole = await listen(engine, utterance("a long story that nobody listens to " * 2, "and on it goes"))
    np.testing.assert_array_equal(np.concatenate([first.samples, *rest]), whole)


async def test_a_listener_that_takes_nothing_loses_its_slot_to_those_who_wait(
    make_engine: MakeEngine, utterance: MakeUtterance
) -> None:
    engine = make_engine(slots=1, ahead_seconds=0.1, stalled_seconds=0.2)
    await engine.wait_ready()
    idle = engine.generate(utterance("a long story that nobody listens to", "and on it goes"))
    await anext(idle)
    await asyncio.sleep(0.4)
    assert engine.state().slots_in_use == 1  # nobody waits, nobody is hurt
    assert len(await listen(engine, utterance("me now")))
    with pytest.raises(Unavailable, match="not taken"):
        async for _ in idle:
            pass


async def test_the_engine_may_end_between_a_check_and_the_queue(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    await engine.wait_ready()
    original = Stream.__init__

    def stop_first(self: Stream, *arguments: object) -> None:
        engine.stop()
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Stream, "__init__", stop_first)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(anext(engine.generate(utterance("too late"))), 5)


async def test_output_that_is_not_finite_is_an_error(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    await engine.wait_ready()
    with torch.inference_mode():
        engine._running().runner.model.gpt.code_head.bias[2] = torch.nan
    with pytest.raises(EngineFailure, match="not finite"):
        await listen(engine, utterance("broken"))


async def test_stopping_tells_everyone(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(slots=1, ahead_seconds=0.01)
    await engine.wait_ready()
    speaking = engine.generate(utterance("interrupted in the middle of a sentence"))
    await anext(speaking)
    waiting = asyncio.create_task(listen(engine, utterance("never begun")))
    await until(lambda: engine.state().waiting == 1)
    await asyncio.to_thread(engine.stop)
    with pytest.raises(Unavailable, match="shutting down"):
        async for _ in speaking:
            pass
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await anext(engine.generate(utterance("too late")))


async def test_not_loaded_yet(tiny_model: Path, utterance: MakeUtterance) -> None:
    engine = Engine(tiny_model, EngineSettings())
    with pytest.raises(ModelLoading) as refused:
        await anext(engine.generate(utterance("too early")))
    assert refused.value.retry_after


async def test_waiters_that_give_up_do_not_hurt_the_start(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    waiter = asyncio.create_task(engine.wait_ready())
    await asyncio.sleep(0)
    waiter.cancel()
    await engine.wait_ready()
    assert len(await listen(engine, utterance("still here")))


async def test_stopping_refuses_what_waits_for_the_device(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()

    def hold(self: Runner, clips: object) -> None:
        began.set()
        release.wait(10)

    monkeypatch.setattr(Runner, "condition", hold)
    engine = make_engine()
    await engine.wait_ready()
    running = asyncio.create_task(engine.condition([]))
    await asyncio.to_thread(began.wait, 10)
    waiting, given_up = asyncio.create_task(engine.condition([])), asyncio.create_task(engine.condition([]))
    await asyncio.sleep(0.01)
    given_up.cancel()
    stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
    await asyncio.sleep(0.05)
    release.set()
    await stopping
    assert await running is None
    with pytest.raises(Unavailable):
        await waiting


async def test_a_broken_model_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    engine = Engine(tmp_path / "broken", EngineSettings())
    engine.start()
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        await engine.wait_ready()
    assert not engine.ready
    assert "config.json" in engine.state().failure
    engine.stop()


async def test_an_unknown_device_says_what_to_do(tiny_model: Path) -> None:
    engine = Engine(tiny_model, EngineSettings(device="toaster"))
    engine.start()
    with pytest.raises(SettingsError, match=r"engine\.device 'toaster'"):
        await engine.wait_ready()
    engine.stop()
