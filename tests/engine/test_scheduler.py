"""Admission and turns, without a model."""

from collections.abc import Callable

import pytest

from more_server.engine.guards import Bounds
from more_server.engine.scheduler import AGEING_SECONDS, LEAD_SECONDS, PATIENCE_SECONDS, Limits, Scheduler
from more_server.engine.sequence import Sequence, Stream
from more_server.engine.slots import Slots
from more_server.errors import Busy
from more_server.speech import Samples, Utterance

RATE = 100
"""Hertz of these tests' audio."""

MakeStream = Callable[..., Stream]


class Nobody:
    """A listener that hears nothing."""

    def audio(self, samples: Samples, guards: tuple[str, ...]) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


class Clock:
    """Time as the test wants it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Callable[..., Scheduler]:
    def make(
        slots: int = 2,
        concurrency: int = 0,
        queue: int = 5,
        ahead: float = 10.0,
        deadline: float = 30.0,
        prompts: int = 9,
    ) -> Scheduler:
        return Scheduler(Limits(slots, concurrency or slots, queue, ahead, deadline, prompts), clock)

    return make


@pytest.fixture
def stream(utterance: Callable[..., Utterance]) -> MakeStream:
    """Streams of one segment, or of as many as asked: `stream(3, priority=1)`."""

    def make(segments: int = 1, priority: int = 0) -> Stream:
        asked = utterance(*["hello"] * segments, priority=priority)
        return Stream(asked, Nobody(), lambda segment: Bounds(1, 10, 20, short=False), RATE)

    return make


def streams(turn: list[Sequence]) -> list[Stream]:
    return [sequence.stream for sequence in turn]


def end(scheduler: Scheduler, sequence: Sequence) -> None:
    """As the loop does when a segment has been handed over whole."""
    sequence.whole = True
    scheduler.free(sequence)
    sequence.stream.sequences.remove(sequence)
    if not sequence.stream.sequences and sequence.stream.all_begun:
        scheduler.finish(sequence.stream)


def test_slots_are_handed_out_once() -> None:
    slots = Slots(2)
    assert [slots.acquire(), slots.acquire(), slots.acquire()] == [0, 1, None]
    slots.release(0)
    assert slots.acquire() == 0
    with pytest.raises(AssertionError, match="released twice"):
        slots.release(1), slots.release(1)


# -- admission


def test_first_come_first_served(scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=2)
    four = [stream() for _ in range(4)]
    for clock.now, one in enumerate(four):
        made.add(one)
    first, second = made.schedule()
    assert [first.stream, second.stream] == four[:2]
    end(made, first)
    assert streams(made.schedule()) == four[1:3]
    assert four[2].sequences[0].slot == 0


def test_concurrency_is_a_limit_of_its_own(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
    made = scheduler(slots=4, concurrency=1)
    one, other = stream(), stream()
    made.add(one)
    made.add(other)
    assert streams(made.schedule()) == [one]
    assert made.waiting == [other]


def test_a_full_queue_says_when_to_come_back(
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
) -> None:
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
    made.finish(first)
    assert made.retry_after() == 15.0  # a fifth of the way from 3 to the 13 measured


def test_no_queue_still_fills_the_slots(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
    made = scheduler(slots=2, queue=0)
    made.add(stream())
    made.add(stream())
    with pytest.raises(Busy):
        made.add(stream())


def test_a_deadline_that_cannot_be_met_is_refused_at_once(
    scheduler: Callable[..., Scheduler], stream: MakeStream
) -> None:
    made = scheduler(slots=1, queue=9, deadline=7.0)
    made.add(stream())
    made.schedule()
    made.add(stream())
    made.add(stream())
    with pytest.raises(Busy, match=r"about 9 s.*engine\.deadline_seconds"):
        made.add(stream())
    made.add(stream(priority=1))  # nobody waits for a job


def test_whoever_waited_past_the_deadline_is_named(
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
) -> None:
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
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
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


def test_jobs_leave_a_slot_to_people(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
    made = scheduler(slots=3, queue=9)
    jobs = [stream(priority=1) for _ in range(3)]
    for job in jobs:
        made.add(job)
    assert streams(made.schedule()) == jobs[:2]
    person = stream()
    made.add(person)
    assert person in streams(made.schedule())


def test_aborted_streams_leave_at_the_next_step(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
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


def test_the_next_segment_is_in_flight_where_a_slot_is_free(
    scheduler: Callable[..., Scheduler], stream: MakeStream
) -> None:
    made = scheduler(slots=4)
    book = stream(5)
    made.add(book)
    assert [sequence.number for sequence in made.schedule()] == [0]
    book.handed_over(round(RATE * (LEAD_SECONDS + 1)), now=0.0)
    assert [sequence.number for sequence in made.schedule()] == [0, 1]
    end(made, book.sequences[0])
    assert [sequence.number for sequence in made.schedule()] == [1, 2]
    assert made.slots.free == 2


def test_the_next_segment_gives_its_slot_to_whoever_comes(
    scheduler: Callable[..., Scheduler], stream: MakeStream
) -> None:
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


def test_segments_end_with_their_stream(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
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


# -- turns


def test_a_stream_far_ahead_of_its_listener_waits(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
    made = scheduler(slots=2, ahead=1.0)
    eager, other = stream(), stream()
    made.add(eager)
    made.add(other)
    made.schedule()
    eager.handed_over(101, now=0.0)
    assert streams(made.schedule()) == [other]
    eager.samples_heard = 1
    assert set(streams(made.schedule())) <= {eager, other}
    assert eager.ahead_since is None


def test_who_has_a_lead_lets_others_go_first_and_still_gets_turns(
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=2)
    comfortable, in_need = stream(), stream()
    made.add(comfortable)
    made.add(in_need)
    assert set(streams(made.schedule())) == {comfortable, in_need}
    comfortable.handed_over(round((LEAD_SECONDS + 1) * RATE), now=clock.now)
    assert streams(made.schedule()) == [in_need]
    clock.now = PATIENCE_SECONDS
    assert streams(made.schedule()) == [in_need, comfortable]
    assert streams(made.schedule()) == [in_need]
    # Its lead melts while it is listened to.
    clock.now = 1.5
    assert set(streams(made.schedule())) == {comfortable, in_need}


def test_prompts_are_read_a_few_at_a_time(scheduler: Callable[..., Scheduler], stream: MakeStream) -> None:
    made = scheduler(slots=4, prompts=1)
    three = [stream() for _ in range(3)]
    for one in three:
        made.add(one)
    for number in range(3):
        turn = made.schedule()
        assert streams(turn) == three[: number + 1]
        turn[-1].prompt_length = 9


def test_jobs_move_on_with_people_who_have_a_lead(
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=3)
    person, job = stream(), stream(priority=1)
    made.add(person)
    made.add(job)
    made.schedule()
    assert streams(made.schedule()) == [person]
    person.handed_over(round((LEAD_SECONDS + 1) * RATE), now=clock.now)
    assert set(streams(made.schedule())) == {person, job}


def test_a_stalled_stream_is_named_only_while_others_wait(
    scheduler: Callable[..., Scheduler], stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=1, ahead=1.0, deadline=1000.0)
    stalled = stream()
    made.add(stalled)
    made.schedule()
    stalled.handed_over(200, now=0.0)
    made.schedule()
    clock.now = 31.0
    assert made.stalled(30.0) == []
    made.add(stream())
    assert made.stalled(30.0) == [stalled]
    stalled.samples_heard = 150
    assert streams(made.schedule()) == [stalled]
    assert made.stalled(30.0) == []
