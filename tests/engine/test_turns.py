"""Who takes the next step, without a model."""

from collections.abc import Callable

import msgspec

from more_server.engine.guards import Bounds
from more_server.engine.scheduler import LEAD_SECONDS, PATIENCE_SECONDS, UNHEARD_PATIENCE_SECONDS
from more_server.engine.sequence import Stream
from more_server.speech import Utterance
from tests.engine.scheduling import RATE, Clock, MakeScheduler, MakeStream, Nobody, streams


def test_a_stream_far_ahead_of_its_listener_waits(scheduler: MakeScheduler, stream: MakeStream) -> None:
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
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
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


def test_who_listens_faster_has_less_of_a_lead(
    scheduler: MakeScheduler, stream: MakeStream, utterance: Callable[..., Utterance], clock: Clock
) -> None:
    asked = msgspec.structs.replace(utterance("hello"), speed=2.0)
    fast = Stream(asked, Nobody(), lambda segment: Bounds(1, 10, 20, short=False), RATE)
    fast.handed_over(14 * RATE, now=0.0)
    assert fast.lead_seconds(10.0) == -3.0
    made = scheduler(slots=1, ahead=5.0)
    made.add(fast)
    fast.samples_heard = 4 * RATE
    assert streams(made.schedule()) == [fast]  # ten seconds of samples are five of listening


def test_a_persons_prompt_is_read_before_a_next_segments(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=4, prompts=1)
    book, job = stream(3), stream(priority=1)
    made.add(book)
    made.schedule()[0].prompt_length = 9
    made.add(job)
    book.handed_over(RATE, now=0.0)
    clock.now = 2.0  # the book's listener has run dry, the job has lost all patience
    person = stream()
    made.add(person)
    turn = made.schedule()
    assert [sequence.stream for sequence in turn if not sequence.prompt_length] == [person]


def test_rows_that_are_cut_off_have_had_no_turn(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=3)
    three = [stream() for _ in range(3)]
    for one in three:
        made.add(one)
    clock.now = 1.0
    assert len(made.schedule(rows=1)) == 1
    clock.now = 2.0
    made.schedule(rows=1)
    assert sorted(one.sequences[0].stepped_at for one in three) == [1.0, 1.0, 2.0]


def test_a_job_gets_its_turns_where_people_fill_the_rows_that_are_left(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
) -> None:
    made = scheduler(slots=2)
    person, job = stream(), stream(priority=1)
    made.add(person)
    made.add(job)
    made.schedule()
    turns = []
    for clock.now in (0.5, UNHEARD_PATIENCE_SECONDS, UNHEARD_PATIENCE_SECONDS + 0.5):
        turns.append(streams(made.schedule(rows=1)))
    assert turns == [[person], [job], [person]]


def test_prompts_are_read_a_few_at_a_time(scheduler: MakeScheduler, stream: MakeStream) -> None:
    made = scheduler(slots=4, prompts=1)
    three = [stream() for _ in range(3)]
    for one in three:
        made.add(one)
    for number in range(3):
        turn = made.schedule()
        assert streams(turn) == three[: number + 1]
        turn[-1].prompt_length = 9


def test_jobs_move_on_with_people_who_have_a_lead(scheduler: MakeScheduler, stream: MakeStream, clock: Clock) -> None:
    made = scheduler(slots=3)
    person, job = stream(), stream(priority=1)
    made.add(person)
    made.add(job)
    made.schedule()
    assert streams(made.schedule()) == [person]
    person.handed_over(round((LEAD_SECONDS + 1) * RATE), now=clock.now)
    assert set(streams(made.schedule())) == {person, job}


def test_a_stalled_stream_is_named_only_while_others_wait(
    scheduler: MakeScheduler, stream: MakeStream, clock: Clock
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
    # Whoever waits for it to end waits as well as whoever wants its slot.
    made.finish(made.waiting[0])
    assert made.stalled(30.0) == []
    made.draining = True
    assert made.stalled(30.0) == [stalled]
    made.draining = False
    made.add(stream())
    # Who takes something, though not enough to be spoken on for, is not stalled.
    stalled.samples_heard = 50
    made.schedule()
    assert made.stalled(30.0) == []
    stalled.samples_heard = 150
    assert streams(made.schedule()) == [stalled]
    assert made.stalled(30.0) == []
