"""Admission, slots and next segments, without a model."""

import pytest

from more_server.engine.scheduler import AGEING_SECONDS, LEAD_SECONDS
from more_server.engine.slots import Slots
from more_server.errors import Busy
from tests.engine.scheduling import RATE, Clock, MakeScheduler, MakeStream, end, streams


def test_slots_are_handed_out_once() -> None:
    slots = Slots(2)
    assert [slots.acquire(), slots.acquire(), slots.acquire()] == [0, 1, None]
    slots.release(0)
    assert slots.acquire() == 0
    with pytest.raises(AssertionError, match="released twice"):
        slots.release(1), slots.release(1)


# -- admission


def test_first_come_first_served(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=2)
    four = [stream() for _ in range(4)]
    for clock.now, one in enumerate(four):
        made.add(one)
    first, second = made.schedule()
    assert [first.stream, second.stream] == four[:2]
    end(made, first)
    assert streams(made.schedule()) == four[1:3]
    assert four[2].sequences[0].slot == 0


def test_concurrency_is_a_limit_of_its_own(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=4, concurrency=1)
    one, other = stream(), stream()
    made.add(one)
    made.add(other)
    assert streams(made.schedule()) == [one]
    assert made.waiting == [other]


def test_a_full_queue_says_when_to_come_back(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=1, queue=2)
    first = stream()
    made.add(first)
    made.schedule()
    made.add(stream())
    made.add(stream())
    with pytest.raises(Busy, match=r"engine\.queue") as refused:
        made.add(stream())
    assert refused.value.retry_after == 9.0  # three before it, three seconds each until measured
    clock.now = 13.0
    made.finish(first, spoken=True)
    assert made.retry_after() == 15.0  # a fifth of the way from 3 to the 13 measured


def test_jobs_that_wait_keep_no_person_away(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=1, queue=1)
    made.add(stream())
    made.schedule()
    before = made.retry_after()
    made.add(stream(priority=1))
    assert made.retry_after() == before
    made.add(stream())
    with pytest.raises(Busy, match=r"^1 requests are being spoken and 1 wait.*try again in 6 s"):
        made.add(stream())


def test_jobs_and_failures_say_nothing_of_how_long_people_take(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=3)
    job, failing = stream(priority=1), stream()
    made.add(job)
    made.add(failing)
    made.schedule()
    before = made.retry_after()
    made.finish(failing)
    clock.now = 3600.0
    made.finish(job, spoken=True)
    assert made.retry_after() == before


def test_no_queue_still_fills_the_slots(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=2, queue=0)
    made.add(stream())
    made.add(stream())
    with pytest.raises(Busy):
        made.add(stream())


def test_a_deadline_that_cannot_be_met_is_refused_at_once(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=1, queue=9, deadline=7.0)
    made.add(stream())
    made.schedule()
    made.add(stream())
    made.add(stream())
    with pytest.raises(Busy, match=r"about 9 s.*engine\.deadline_seconds"):
        made.add(stream())
    made.add(stream(priority=1))  # nobody waits for a job


def test_whoever_waited_past_the_deadline_is_named(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=1, deadline=20.0)
    speaking, person, job = stream(), stream(), stream(priority=1)
    for one in (speaking, person, job):
        made.add(one)
        made.schedule()
    clock.now = 19.0
    assert made.expired() == []
    clock.now = 21.0
    assert made.expired() == [person]


def test_people_go_before_jobs_until_those_have_waited_long(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=1, queue=9)
    speaking, old_job, person = stream(), stream(priority=1), stream()
    made.add(speaking)
    (current,) = made.schedule()
    made.add(old_job)
    clock.now = AGEING_SECONDS - 1
    made.add(person)
    clock.now = AGEING_SECONDS + 1
    late = stream()
    made.add(late)
    order = []
    for _ in range(3):
        end(made, current)
        (current,) = made.schedule()
        order.append(current.stream)
    assert order == [person, old_job, late]


def test_jobs_leave_a_slot_to_people(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=3, queue=9)
    jobs = [stream(priority=1) for _ in range(3)]
    for job in jobs:
        made.add(job)
    assert streams(made.schedule()) == jobs[:2]
    person = stream()
    made.add(person)
    assert person in streams(made.schedule())


def test_jobs_leave_a_place_to_people_where_there_are_fewer_than_slots(
    scheduler: MakeScheduler, stream: MakeStream
) -> None:
    made = scheduler(slots=8, concurrency=2, queue=9)
    for _ in range(3):
        made.add(stream(priority=1))
    assert len(made.schedule()) == 1
    person = stream()
    made.add(person)
    assert person in streams(made.schedule())


def test_aborted_streams_leave_at_the_next_step(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=1)
    running, waiting, last = stream(2), stream(), stream()
    for one in (running, waiting, last):
        made.add(one)
    made.schedule()
    running.aborted = waiting.aborted = True
    assert streams(made.schedule()) == [last]
    last.aborted = True
    assert made.schedule() == []
    assert made.slots.free == 1


# -- next segments


def test_the_next_segment_is_in_flight_where_a_slot_is_free(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=4)
    book = stream(5)
    made.add(book)
    assert [sequence.number for sequence in made.schedule()] == [0]
    book.handed_over(round(RATE * (LEAD_SECONDS + 1)), now=0.0)
    assert [sequence.number for sequence in made.schedule()] == [0, 1]
    end(made, book.sequences[0])
    assert [sequence.number for sequence in made.schedule()] == [1, 2]
    assert made.slots.free == 2


def test_the_next_segment_gives_its_slot_to_whoever_comes(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=2)
    book, person = stream(3), stream()
    made.add(book)
    made.schedule()
    current, ahead = book.sequences
    assert ahead.slot is not None
    ahead.prompt_length, ahead.latents = 9, 5
    made.add(person)
    made.schedule()
    assert person.sequences[0].slot is not None
    assert (ahead.slot, ahead.prompt_length, ahead.latents) == (None, 0, 0)
    # It gets one when its turn comes, before whoever waits.
    made.add(stream())
    end(made, current)
    made.schedule()
    assert ahead.slot is not None


def test_a_waiting_job_takes_nobodys_next_segment(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=3, queue=9)
    book, other = stream(3), stream()
    made.add(book)
    made.add(other)
    made.schedule()
    ahead = book.sequences[1]
    assert ahead.slot is not None
    made.add(stream(priority=1))
    made.schedule()
    assert ahead.slot is not None


def test_where_fewer_slots_are_handed_out_next_segments_make_room(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=8)
    books, person = [stream(3) for _ in range(3)], stream()
    for book in books:
        made.add(book)
    made.schedule()
    assert made.slots.in_use == 6
    made.lower(4)
    made.add(person)
    made.schedule()
    assert made.slots.in_use == 4
    assert all(one.sequences[0].slot is not None for one in (*books, person))


def test_no_job_is_suspended_for_a_person_who_has_to_wait_anyway(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=8)
    people, jobs = [stream() for _ in range(3)], [stream(priority=1) for _ in range(2)]
    for one in (*people, *jobs):
        made.add(one)
    made.schedule()
    made.lower(3)
    made.add(late := stream())
    made.schedule()
    assert made.waiting == [late]
    end(made, people[0].sequences[0])
    made.schedule()
    assert made.waiting == jobs  # of whose places there are none any more
    assert late in made.running


def test_next_segments_are_begun_while_others_wait_for_a_place(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=4, concurrency=1)
    book = stream(3)
    made.add(book)
    made.add(stream())
    made.schedule()
    assert [sequence.slot is not None for sequence in book.sequences] == [True, True]


def test_segments_end_with_their_stream(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=1)
    one = stream(2)
    made.add(one)
    for number in range(2):
        (sequence,) = made.schedule()
        assert sequence.number == number
        end(made, sequence)
    assert made.schedule() == []
    assert made.all_streams() == []
    assert made.slots.free == 1
