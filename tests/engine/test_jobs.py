"""Jobs beside people: what they leave, what they give back, and that none of it is heard."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from more_server.engine.engine import Engine
from more_server.engine.scheduler import (
    AGEING_SECONDS,
    PATIENCE_SECONDS,
    UNHEARD_PATIENCE_SECONDS,
    Limits,
    Scheduler,
)
from more_server.errors import Busy
from more_server.speech import Samples, Utterance
from tests.engine.scheduling import RATE, Clock, MakeScheduler, MakeStream, end, streams


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


async def test_a_job_that_people_interrupt_says_the_same(
    make_engine: Callable[..., Engine], utterance: Callable[..., Utterance]
) -> None:
    job = utterance("hello there my friends", "good evening to all of you", seed=4, priority=1)
    engine = make_engine(slots=1, queue=9)
    await engine.wait_ready()

    async def listen(asked: Utterance) -> tuple[Samples, int]:
        pieces = [audio async for audio in engine.generate(asked)]
        return np.concatenate([audio.samples for audio in pieces]), sum(audio.ends_segment for audio in pieces)

    undisturbed, _ = await listen(job)
    pieces, ends, begun = [], 0, engine.state().steps_by_rows[1]
    async for audio in engine.generate(job):  # a person comes in the middle of every piece
        pieces.append(audio.samples)
        ends += audio.ends_segment
        if len(pieces) < 4:
            await asyncio.wait_for(listen(utterance("oh", seed=len(pieces))), 60)
    assert np.array_equal(np.concatenate(pieces), undisturbed)
    assert ends == 2
    assert engine.state().steps_by_rows[1] - begun > 2 * begun  # it was begun anew, so more codes were drawn
    assert engine.state().slots_in_use == 0
