"""Jobs beside people: what they leave, what they give back, and that none of it is heard."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest

from more_server.engine.engine import Engine
from more_server.engine.guards import Bounds
from more_server.engine.runner import Runner
from more_server.engine.scheduler import (
    AGEING_SECONDS,
    PATIENCE_SECONDS,
    UNHEARD_PATIENCE_SECONDS,
    Limits,
    Scheduler,
)
from more_server.engine.sequence import Sequence, Stream
from more_server.errors import Busy
from more_server.speech import Samples, Utterance
from more_server.xtts import load as load_module
from tests.engine.scheduling import RATE, Clock, MakeScheduler, MakeStream, Nobody, end, streams
from tests.engine.test_engine import listen


def test_a_job_gives_its_slot_to_a_person_and_goes_on_later(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=3)
    jobs = [stream(priority=1) for _ in range(2)]
    people = [stream(), stream()]
    for one in (*jobs, people[0]):
        made.add(one)
        made.schedule()
    jobs[0].sequences[0].latents = 5  # the other has got less far
    made.add(people[1])
    assert set(streams(made.schedule())) <= {jobs[0], *people}
    assert made.waiting == [jobs[1]]
    for person in people:
        person.handed_over(1000 * RATE, now=0.0)
        end(made, person.sequences[0])
    assert set(streams(made.schedule())) == set(jobs)
    assert [one.sequences[0].number for one in jobs] == [0, 0]


def test_a_job_that_has_waited_long_is_not_sent_away(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=1)
    job, person = stream(priority=1), stream()
    made.add(job)
    made.schedule()
    clock.now = AGEING_SECONDS + 1
    made.add(person)
    assert streams(made.schedule()) == [job]
    assert made.waiting == [person]


def test_what_waits_of_a_job_takes_no_place_from_people(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=2, queue=0)
    for _ in range(2):
        made.add(stream(priority=1))
        made.schedule()
    with pytest.raises(Busy):
        made.add(stream(priority=1))
    people = [stream(), stream()]
    for person in people:
        made.add(person)
        made.schedule()
    assert set(made.running) == set(people)
    with pytest.raises(Busy):
        made.add(stream())


def test_nobody_is_cut_off_for_a_job(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=1, ahead=1.0)
    slow = stream()
    made.add(slow)
    made.schedule()
    slow.handed_over(2 * RATE, now=0.0)
    made.schedule()
    made.add(stream(priority=1))
    clock.now = 31.0
    assert made.stalled(30.0) == []


def test_jobs_take_turns_in_small_groups(stream: MakeStream, clock: Clock) -> None:
    made = Scheduler(Limits(8, 8, 9, 10.0, 30.0, 9, job_rows=2), clock)
    jobs = [stream(priority=1) for _ in range(4)]
    for job in jobs:
        made.add(job)
    made.schedule()
    turns = []
    for clock.now in (1.0, 2.0, 3.0):
        turns.append(streams(made.schedule()))
    assert turns == [jobs[:2], jobs[2:], jobs[:2]]


def test_jobs_hold_still_until_a_person_has_heard_something(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=3)
    job, person = stream(priority=1), stream()
    made.add(job)
    made.schedule()
    clock.now = 1.0
    made.schedule()
    made.add(person)
    assert not made.somebody_unheard()  # who came at the moment of the turn is in it
    clock.now = 1.0 + UNHEARD_PATIENCE_SECONDS / 2
    late = stream()
    made.add(late)
    assert made.somebody_unheard()
    made.finish(late)
    assert streams(made.schedule()) == [person]
    clock.now = 1.0 + UNHEARD_PATIENCE_SECONDS
    assert streams(made.schedule()) == [person, job]
    person.handed_over(RATE, now=clock.now)
    clock.now += PATIENCE_SECONDS
    assert streams(made.schedule()) == [person, job]


def test_a_segment_that_is_spoken_anew_tells_nothing_twice(utterance: Callable[..., Utterance]) -> None:
    def speak() -> tuple[int, tuple[str, ...]] | None:
        """To its limit, a piece of it made."""
        one.pieces.append(16)
        for code in range(20):
            one.take(code, stop=33)
        one.hear(np.ones(RATE, np.float32), last=False)
        given = one.hand_over()
        return (len(given[0]), given[1]) if given else None

    asked = utterance("hello", priority=1, retries=1)
    one = Stream(asked, Nobody(), lambda segment: Bounds(1, 20, 20, short=False), RATE).begin_segment()
    one.take(33, stop=33)
    one.begin()
    assert one.attempt == 1
    assert speak() == (RATE, ("premature", "retry", "limit"))
    one.begin()
    assert speak() is None
    one.hear(np.ones(RATE, np.float32), last=True)
    assert one.hand_over() is not None
    assert one.guards == ["premature", "retry", "limit"]


@pytest.mark.parametrize("batch", [1, 4], ids=["pieces", "windows"])
async def test_a_piece_that_is_put_off_for_a_person_is_cut_the_same(
    make_engine: Callable[..., Engine], utterance: Callable[..., Utterance], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """It is made before the next code is drawn: that may be the last one, and the rest of a segment is one piece."""
    monkeypatch.setattr(load_module, "window_batch", lambda device: batch)
    limit, event_loop, people = [57], asyncio.get_running_loop(), list[Future[Samples]]()
    looks: dict[int, list[int]] = {}  # by the number of a job's piece, the latents there were when it was complete
    engine = make_engine(slots=2, bounds=lambda *_: Bounds(0, limit[0], limit[0], short=False))
    disturbed, with_audio = -1, Runner.with_audio

    def look(self: Runner, sequences: list[Sequence]) -> list[list[Sequence]]:
        groups = with_audio(self, sequences)
        for one in (one for group in groups for one in group if one.stream.utterance.priority):
            looks.setdefault(len(one.pieces), []).append(one.latents)
            if len(one.pieces) == disturbed and not people:  # a person comes, of whom this turn knew nothing
                people.append(asyncio.run_coroutine_threadsafe(listen(engine, utterance("oh")), event_loop))
                while not engine.state().waiting:
                    time.sleep(0.001)
        return groups

    async def spoken() -> list[Samples]:
        looks.clear()
        job = utterance("a job of a single segment", seed=4, priority=1)
        return [audio.samples async for audio in engine.generate(job)]

    await engine.wait_ready()
    monkeypatch.setattr(Runner, "with_audio", look)
    await spoken()
    last = len(looks) - 2
    limit[0] = looks[last][0] + 1
    alone = await spoken()
    disturbed = last
    beside = await spoken()
    assert len(looks[last]) == 2  # it was put off
    assert [len(samples) for samples in beside] == [len(samples) for samples in alone]
    np.testing.assert_array_equal(np.concatenate(beside), np.concatenate(alone))
    await asyncio.wrap_future(people[0])


async def test_a_job_that_people_interrupt_says_the_same(
    make_engine: Callable[..., Engine], utterance: Callable[..., Utterance]
) -> None:
    job = utterance("hello there my friends", "good evening to all of you", seed=4, priority=1)
    engine = make_engine(slots=1, queue=9)
    await engine.wait_ready()

    async def whole(asked: Utterance) -> tuple[Samples, int]:
        pieces = [audio async for audio in engine.generate(asked)]
        return np.concatenate([audio.samples for audio in pieces]), sum(audio.ends_segment for audio in pieces)

    undisturbed, _ = await whole(job)
    pieces, ends, begun = [], 0, engine.state().steps_by_rows[1]
    async for audio in engine.generate(job):  # a person comes in the middle of every piece
        pieces.append(audio.samples)
        ends += audio.ends_segment
        if len(pieces) < 4:
            await asyncio.wait_for(listen(engine, utterance("oh", seed=len(pieces))), 60)
    assert np.array_equal(np.concatenate(pieces), undisturbed)
    assert ends == 2
    assert engine.state().steps_by_rows[1] - begun > 2 * begun  # it was begun anew, so more codes were drawn
    assert engine.state().slots_in_use == 0
