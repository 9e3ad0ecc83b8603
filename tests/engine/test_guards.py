"""Guards on speech, each provoked on a rigged model, and their rules alone."""

import asyncio
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from more_server.engine.engine import Engine
from more_server.engine.guards import (
    LOOP_CODES,
    MOST_STOP_BIAS,
    NATURAL_TAIL_SECONDS,
    Bounds,
    Tail,
    bounds,
    loop_length,
    stop_bias,
    usual_codes,
)
from more_server.speech import Samples, Segment, Utterance
from more_server.xtts.streaming import Streamed

MakeEngine = Callable[..., Engine]
MakeUtterance = Callable[..., Utterance]
RATE = 24_000
LONG = "a text that is long enough to be heard while it is made"
STOP = 33


def segment(text: str) -> Segment:
    return Segment(text, tuple(range(len(text))))


def rig(engine: Engine, **changes: float) -> None:
    """Adds to the logits of codes: `rig(engine, code_5=100.0)`; `stop` is the stop code."""
    with torch.inference_mode():
        for name, value in changes.items():
            code = STOP if name == "stop" else int(name.removeprefix("code_"))
            engine._running().runner.model.gpt.code_head.bias[code] += value


def make_silent(engine: Engine) -> None:
    generator = engine._running().runner.model.decoder.generator
    with torch.inference_mode():
        generator.conv_post.weight.zero_()  # type: ignore[union-attr, operator]


async def spoken(engine: Engine, utterance: Utterance) -> tuple[Samples, Counter[str]]:
    pieces, guards = [np.zeros(0, np.float32)], Counter[str]()
    async for audio in engine.generate(utterance):
        pieces.append(audio.samples)
        guards.update(audio.guards)
    return np.concatenate(pieces), guards


# -- on a rigged model


async def test_a_stop_that_comes_too_early_is_tried_again(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    await engine.wait_ready()
    # The stop is drawn about every fifth time with this bias; a floor of 31 codes is never reached.
    rig(engine, stop=102.0)
    asked = utterance(LONG, seed=1, retries=2, self_check=True, temperature=1.0, top_p=1.0)
    samples, guards = await spoken(engine, asked)
    assert guards["premature"] == guards["retry"] == 2
    # After the last retry the stop is forbidden below the floor, so nothing is cut off in any case.
    floor = bounds(asked.segments[0], "en", 57).floor
    assert len(samples) > floor * 1024


async def test_a_stop_is_forbidden_below_the_floor_where_it_cannot_be_tried_again(
    make_engine: MakeEngine, utterance: MakeUtterance
) -> None:
    engine = make_engine()
    await engine.wait_ready()
    rig(engine, stop=1000.0)
    samples, guards = await spoken(engine, utterance(LONG, retries=0))
    assert guards == {}
    floor = bounds(segment(LONG), "en", 57).floor
    assert len(samples) // 1024 == pytest.approx(floor * 24_000 / 22_050, abs=3)


async def test_a_loop_is_cut(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    await engine.wait_ready()
    rig(engine, code_7=1000.0)
    samples, guards = await spoken(engine, utterance(LONG))
    assert guards == {"loop": 1}
    # What only repeats is not spoken, except what had been handed over before it was known to repeat.
    assert len(samples) < (LOOP_CODES - 2) * 1024 * RATE / 22_050


async def test_a_loop_in_what_is_held_back_is_tried_again(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine()
    await engine.wait_ready()
    rig(engine, code_7=1000.0)
    _, guards = await spoken(engine, utterance(LONG, self_check=True, retries=2))
    assert guards == {"loop": 3, "retry": 2}


async def test_a_retry_is_another_seed(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    """With codes that loop half of the time, trying again finds an attempt that does not."""
    engine = make_engine()
    await engine.wait_ready()
    once, often = (
        utterance(LONG, seed=3, self_check=True, retries=0),
        utterance(LONG, seed=3, self_check=True, retries=3),
    )
    plain, _ = await spoken(engine, once)
    again, guards = await spoken(engine, often)
    if not guards["retry"]:  # the talkative model reaches its limit in every attempt
        pytest.fail("the limit is a fault, so it is tried again")
    assert not np.array_equal(plain, again[: len(plain)])


async def test_babble_is_cut_at_the_limit(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    engine = make_engine(bounds=lambda text, language, most: Bounds(3, 20, 30, short=False))
    await engine.wait_ready()
    samples, guards = await spoken(engine, utterance(LONG))
    assert guards == {"limit": 1}
    assert len(samples) == engine._running().runner.model.decoder.frame_count(30) * 256


async def test_the_stop_is_made_likelier_beyond_the_expected_length(
    make_engine: MakeEngine, utterance: MakeUtterance
) -> None:
    """The talkative model's stop code is a hundred below the others: only the bias of many codes brings it up."""
    engine = make_engine(bounds=lambda text, language, most: Bounds(0, 10, 57, short=False))
    await engine.wait_ready()
    _, guards = await spoken(engine, utterance(LONG, seed=1))
    assert guards["limit"] == 1
    rig(engine, stop=96.0)
    _, guards = await spoken(engine, utterance(LONG, seed=1))
    assert guards == {"shaped": 1}


async def test_silence_that_runs_on_ends_the_segment(
    make_engine: MakeEngine, utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(bounds=lambda text, language, most: Bounds(3, 57, 57, short=False))
    await engine.wait_ready()
    make_silent(engine)
    # A burst of sound in the first frames, then nothing for longer than anybody pauses.
    original, calls = Streamed.process, []

    def first_piece_sounds(self: Streamed, frames: torch.Tensor, *, last: bool) -> torch.Tensor:
        calls.append(1)
        return original(self, frames, last=last) + (0.5 if len(calls) == 1 else 0.0)

    monkeypatch.setattr(Streamed, "process", first_piece_sounds)
    samples, guards = await spoken(engine, utterance(LONG))
    assert guards == {"silence": 1, "trimmed": 1}
    loud = int(np.flatnonzero(np.abs(samples) > 0.1)[-1])
    assert (len(samples) - loud) / RATE == pytest.approx(NATURAL_TAIL_SECONDS, abs=0.02)


async def test_a_checked_segment_that_is_silent_is_tried_again(
    make_engine: MakeEngine, utterance: MakeUtterance
) -> None:
    engine = make_engine(bounds=lambda text, language, most: Bounds(0, 57, 57, short=True))
    await engine.wait_ready()
    make_silent(engine)
    rig(engine, stop=104.0)
    _, guards = await spoken(engine, utterance("hi", retries=1))
    assert guards == {"silent": 2, "retry": 1}


async def test_guards_do_the_same_in_any_company(make_engine: MakeEngine, utterance: MakeUtterance) -> None:
    """A retry depends on what was made, never on who had heard what when."""
    engine = make_engine(slots=3)
    await engine.wait_ready()
    rig(engine, stop=97.0, code_3=2.0)
    asked = [utterance(LONG, "and then another", "ok", seed=seed, temperature=1.5, top_p=1.0) for seed in range(4)]
    alone = [await spoken(engine, one) for one in asked]
    together = await asyncio.gather(*(spoken(engine, one) for one in asked))
    assert sum((guards for _, guards in alone), Counter())
    for (samples, guards), (again, again_guards) in zip(alone, together, strict=True):
        assert guards == again_guards
        np.testing.assert_array_equal(samples, again)


# -- the rules alone


def test_bounds_grow_with_the_text_and_the_language() -> None:
    short, long = bounds(segment("Hi."), "en", 600), bounds(segment("a" * 100), "en", 600)
    assert (short.floor, short.short) == (2, True)
    assert (long.floor, long.expected, long.limit, long.short) == (57, 230, 330, False)
    assert bounds(segment("a" * 500), "en", 600).limit == 600
    assert usual_codes("日本語", "ja") / usual_codes("abc", "en") == pytest.approx(250 / 71)
    assert usual_codes("キャット", "ja") < usual_codes("日本語で", "ja")
    assert usual_codes("مَرْحَبًا", "ar") == usual_codes("مرحبا", "ar")  # vowel signs are written or not
    # Latin letters inside another script take no longer than English ones.
    assert usual_codes("abc", "ja") == usual_codes("abc", "en")
    assert usual_codes("Bonjour", "fr") < usual_codes("Bonjour", "en")


def test_the_stop_bias_grows_by_the_code_and_is_bounded() -> None:
    rule = Bounds(5, 20, 900, short=False)
    assert [stop_bias(rule, drawn) for drawn in (0, 20, 21, 24)] == [0, 0, 0.25, 1.0]
    assert stop_bias(rule, 800) == MOST_STOP_BIAS


@pytest.mark.parametrize(
    ("codes", "repeated"),
    [
        ([1] * 24, 23),
        ([1] * 23, 0),
        ([9, 8, *[1, 2, 3] * 8], 21),
        ([*[1, 2, 3] * 8, 9], 0),
        (list(range(16)) * 4, 48),
        (list(range(17)) * 5, 0),
        (list(range(60)), 0),
    ],
)
def test_loops(codes: list[int], repeated: int) -> None:
    assert loop_length(codes) == repeated


def tone(seconds: float) -> Samples:
    return (0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.05)).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def through(samples: Samples, piece: int) -> tuple[Samples, bool]:
    tail = Tail(RATE)
    given = [tail.process(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    rest, trimmed = tail.finish()
    return np.concatenate([*given, rest]), trimmed


@pytest.mark.parametrize("piece", [100, 2048, 10**6])
@pytest.mark.parametrize(
    ("lengths", "out", "trimmed"),
    [
        ((0.3, 0.5, 0.3, 0.15), 1.25, False),  # a pause inside, a natural tail
        ((0.3, 0.9, 0.3, 0.5), 2.0, False),  # a long pause inside stays: words follow
        ((0.3, 0.0, 0.3, 0.9), 0.6 + NATURAL_TAIL_SECONDS, True),
    ],
)
def test_tails(lengths: tuple[float, ...], out: float, trimmed: bool, piece: int) -> None:
    first, pause, second, tail = lengths
    whole = np.concatenate([silence(0.2), tone(first), silence(pause), tone(second), silence(tail)])
    given, was_trimmed = through(whole, piece)
    assert was_trimmed is trimmed
    assert len(given) / RATE == pytest.approx(out + 0.2, abs=0.001)
    np.testing.assert_array_equal(given, whole[: len(given)])


def test_silence_before_any_sound_is_not_held_back() -> None:
    tail = Tail(RATE)
    assert len(tail.process(silence(0.5))) == 0.5 * RATE
    assert len(tail.process(tone(0.1))) == 0.1 * RATE
    assert len(tail.process(silence(0.5))) == 0
    assert tail.silent_seconds == 0.5
    assert len(tail.process(tone(0.1))) == 0.6 * RATE
