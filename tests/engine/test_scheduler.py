"""Admission and turns, without a model."""

from collections.abc import Callable

import pytest

from more_server.engine.scheduler import Scheduler
from more_server.engine.sequence import Stream
from more_server.engine.slots import Slots
from more_server.errors import Busy
from more_server.speech import Samples, Utterance


class Nobody:
    """A listener that hears nothing."""

    def audio(self, samples: Samples) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


@pytest.fixture
def stream(utterance: Callable[..., Utterance]) -> Callable[[], Stream]:
    return lambda: Stream(utterance("hello", "again"), Nobody(), lambda segment: 10)


def test_slots_are_handed_out_once() -> None:
    slots = Slots(2)
    assert [slots.acquire(), slots.acquire(), slots.acquire()] == [0, 1, None]
    slots.release(0)
    assert slots.acquire() == 0
    with pytest.raises(AssertionError, match="released twice"):
        slots.release(1), slots.release(1)


def test_first_come_first_served(stream: Callable[[], Stream]) -> None:
    scheduler = Scheduler(slots=2, queue=5, ahead_samples=100)
    streams = [stream() for _ in range(4)]
    for one in streams:
        scheduler.add(one)
    assert scheduler.schedule() == streams[:2]
    scheduler.finish(streams[0])
    assert scheduler.schedule() == streams[1:3]
    assert streams[2].slot == 0


def test_a_full_queue_says_when_to_come_back(stream: Callable[[], Stream]) -> None:
    now = 0.0
    scheduler = Scheduler(slots=1, queue=2, ahead_samples=100, clock=lambda: now)
    first = stream()
    scheduler.add(first)
    scheduler.schedule()
    scheduler.add(stream())
    scheduler.add(stream())
    with pytest.raises(Busy, match=r"engine\.queue") as refused:
        scheduler.add(stream())
    assert refused.value.retry_after == 9.0  # three before it, three seconds each until measured
    now = 13.0
    scheduler.finish(first)
    assert scheduler.retry_after() == 15.0  # a fifth of the way from 3 to the 13 measured


def test_no_queue_still_fills_the_slots(stream: Callable[[], Stream]) -> None:
    scheduler = Scheduler(slots=2, queue=0, ahead_samples=100)
    scheduler.add(stream())
    scheduler.add(stream())
    with pytest.raises(Busy):
        scheduler.add(stream())


def test_aborted_streams_leave_at_the_next_step(stream: Callable[[], Stream]) -> None:
    scheduler = Scheduler(slots=1, queue=5, ahead_samples=100)
    running, waiting, last = stream(), stream(), stream()
    for one in (running, waiting, last):
        scheduler.add(one)
    scheduler.schedule()
    running.aborted = waiting.aborted = True
    assert scheduler.schedule() == [last]
    assert scheduler.slots.free == 0
    last.aborted = True
    assert scheduler.schedule() == []
    assert scheduler.slots.free == 1


def test_a_stream_far_ahead_of_its_listener_waits(stream: Callable[[], Stream]) -> None:
    scheduler = Scheduler(slots=2, queue=5, ahead_samples=100)
    eager, other = stream(), stream()
    scheduler.add(eager)
    scheduler.add(other)
    scheduler.schedule()
    eager.samples_made = 101
    assert scheduler.schedule() == [other]
    eager.samples_heard = 1
    assert scheduler.schedule() == [eager, other]


def test_segments_follow_each_other(stream: Callable[[], Stream]) -> None:
    one = stream()
    assert one.sequence is not None
    assert one.sequence.segment.text == "hello"
    assert one.next_segment()
    assert one.sequence.segment.text == "again"
    assert not one.next_segment()
    assert one.sequence is None


def test_a_stalled_stream_is_named_only_while_others_wait(stream: Callable[[], Stream]) -> None:
    now = 0.0
    scheduler = Scheduler(slots=1, queue=5, ahead_samples=100, clock=lambda: now)
    stalled = stream()
    scheduler.add(stalled)
    scheduler.schedule()
    stalled.samples_made = 200
    scheduler.schedule()
    now = 31.0
    assert scheduler.stalled(30.0) == []
    scheduler.add(stream())
    assert scheduler.stalled(30.0) == [stalled]
    stalled.samples_heard = 150
    assert scheduler.schedule() == [stalled]
    assert scheduler.stalled(30.0) == []
