"""Who speaks next: admission, slots, turns, and how far a stream may run ahead. Knows no tensors."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from more_server.engine.sequence import Sequence, Stream
from more_server.engine.slots import Slots
from more_server.errors import Busy

FIRST_GUESS_SECONDS = 3.0
"""Time that a stream is spoken for, until it has been measured: a sentence at real time."""
RETRY_SECONDS = (1.0, 60.0)
"""OpenAI's SDKs honour at most 60 seconds (JavaScript) and use their own backoff beyond."""
AGEING_SECONDS = 30.0
"""A class of priority is worth so much waiting: a job that has waited longer goes before a person who just came."""
LEAD_SECONDS = 3.0
"""A listener who has so much audio before him can let others go first; the largest window of audio lasts 2 s."""
PATIENCE_SECONDS = 0.25
"""Whoever can wait still gets a turn so often: some 4 codes a second beside listeners who are in need."""
UNHEARD_PATIENCE_SECONDS = 1.0
"""A job gets one so often while somebody has heard nothing yet: a piece of its audio takes a fifth of that wait."""


@dataclass(frozen=True)
class Limits:
    """What the scheduler may hand out."""

    slots: int
    """Segments spoken at a time."""
    concurrency: int
    """Utterances spoken at a time, at most as many as slots."""
    queue: int
    """Utterances that may wait beyond those."""
    ahead_seconds: float
    """Audio made ahead of what a listener has taken."""
    deadline_seconds: float
    """Longest wait of an utterance that somebody waits for."""
    prompts: int
    """Prompts read in one turn; those who speak already wait for it."""
    job_rows: int = sys.maxsize
    """Segments of jobs in one turn: a person who comes waits for its end. More than one make sense where rows gain from
    company."""


class Scheduler:
    """A bounded queue in front of a fixed number of slots. Not thread-safe: the engine calls it under its lock.

    Slots go first to streams that are being spoken, then to those who wait, and what is left to the next segments
    of running streams, which give theirs back when somebody comes. So do jobs where all else is taken by people.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = self._usual = limits
        self.slots = Slots(limits.slots)
        self.waiting: list[Stream] = []
        self.running: list[Stream] = []
        self.draining = False
        """All are waited for to end, so a listener who takes nothing keeps others waiting, too."""
        self.clock = clock
        self._service_seconds = FIRST_GUESS_SECONDS
        self._turn_at = -math.inf

    # -- coming and going

    def add(self, stream: Stream) -> None:
        """Queue a stream. Raises Busy, saying when to come back, when the queue is full or its wait too long."""
        limits, now = self.limits, self.clock()
        stream.arrived_at = now
        # Jobs give way to people, so they take none of their places.
        taken = sum(not self._gives_way(other, stream) for other in self.running)
        before = [other for other in self.waiting if stream.utterance.priority or not other.utterance.priority]
        free = max(0, limits.concurrency - taken)
        if len(before) >= limits.queue + free:
            raise self._busy(
                f"{taken} requests are being spoken and {len(before)} wait, which is the limit "
                "(engine.max_concurrency, engine.queue)"
            )
        ahead = sum(self._rank(other) <= now + self._handicap(stream) for other in self.waiting)
        wait = self._service_seconds * (ahead + 1 - free) / limits.concurrency
        if not stream.utterance.priority and wait > limits.deadline_seconds:
            raise self._busy(
                f"{ahead} requests wait already, about {wait:.0f} s; longer than {limits.deadline_seconds:g} s nobody "
                "is kept waiting (engine.deadline_seconds)"
            )
        self.waiting.append(stream)

    def finish(self, stream: Stream, *, spoken: bool = False) -> None:
        """Take a stream out and free its slots; a stream that has left already is left alone.

        spoken: to its end, so that it shows how long people's requests take; a job shows nothing of the kind.
        """
        if stream in self.running:
            self.running.remove(stream)
            assert stream.admitted_at is not None
            if spoken and not stream.utterance.priority:
                self._service_seconds += 0.2 * (self.clock() - stream.admitted_at - self._service_seconds)
        elif stream in self.waiting:
            self.waiting.remove(stream)
        for sequence in stream.sequences:
            self.free(sequence)
        stream.let_go()

    def free(self, sequence: Sequence) -> None:
        """Take a sequence's slot back."""
        if sequence.slot is not None:
            self.slots.release(sequence.slot)
            sequence.slot = None

    def all_streams(self) -> list[Stream]:
        return [*self.running, *self.waiting]

    def retry_after(self) -> float:
        """Seconds until a person who comes would find a place: people before him, at the measured service time."""
        people = sum(not stream.utterance.priority for stream in self.waiting)
        wait = self._service_seconds * (people + 1) / self.limits.concurrency
        return min(max(wait, RETRY_SECONDS[0]), RETRY_SECONDS[1])

    def expired(self) -> list[Stream]:
        """Streams that somebody waits for and that have waited for too long."""
        since = self.clock() - self.limits.deadline_seconds
        return [stream for stream in self.waiting if not stream.utterance.priority and stream.arrived_at < since]

    def stalled(self, seconds: float) -> list[Stream]:
        """Streams whose listeners have taken nothing for so long while other people wait, or it is draining."""
        if not self.draining and all(stream.utterance.priority for stream in self.waiting):
            return []
        since = self.clock() - seconds
        return [stream for stream in self.running if stream.ahead_since is not None and stream.ahead_since < since]

    def _busy(self, reason: str) -> Busy:
        retry_after = self.retry_after()
        return Busy(f"{reason}; try again in {retry_after:.0f} s", retry_after=retry_after)

    def lower(self, slots: int | None) -> None:
        """Hand out so many slots at most, or as many as usual; what is being spoken goes on to its end."""
        usual = self._usual
        self.slots.most = most = min(slots or usual.slots, usual.slots)
        self.limits = replace(usual, slots=most, concurrency=min(usual.concurrency, most))

    # -- turns

    def schedule(self, rows: int | None = None) -> list[Sequence]:
        """Sequences to move on by one code, at most `rows`, each in its slot.

        Aborted streams leave, waiting ones come in.
        """
        for stream in self.all_streams():
            if stream.aborted:
                self.finish(stream)
        self._hand_out_slots()
        return self._turn(rows or self.slots.count)

    def _hand_out_slots(self) -> None:
        for stream in self.running:
            current = stream.sequences[0] if stream.sequences else stream.begin_segment()
            if current.slot is None and not current.whole:
                self._seat(current)
        for stream in sorted(self.waiting, key=self._rank):
            if self._may_have_slot(stream) and self._has_room(stream):
                self.waiting.remove(stream)
                stream.admitted_at = self.clock()
                self.running.append(stream)
                self._seat(stream.sequences[0] if stream.sequences else stream.begin_segment())
        self._look_ahead()

    def _has_room(self, stream: Stream) -> bool:
        """Whether there is a place and a slot, or both were made."""
        places = self.limits.concurrency
        if stream.utterance.priority:
            return len(self.running) < places and self.slots.free > 0
        if sum(not self._gives_way(other, stream) for other in self.running) >= places:
            return False  # whoever gave way would do so in vain
        while len(self.running) >= places:
            self._suspend(stream)
        while not self.slots.free and (self._evict() or self._suspend(stream)):
            pass
        return self.slots.free > 0

    def _look_ahead(self) -> None:
        """Begin next segments in slots that nobody wants, so that they are there when the current ones end."""
        for stream in self.running:
            if not self.slots.free or not self._may_have_slot(stream):
                continue
            if len(stream.sequences) == 1 and not stream.all_begun:
                stream.begin_segment()
            for sequence in list(stream.sequences)[1:]:
                if sequence.slot is None and not sequence.whole:
                    self._seat(sequence)

    def _seat(self, sequence: Sequence) -> None:
        if not self.slots.free:
            self._evict()
        sequence.slot = self.slots.acquire()
        sequence.stepped_at = self.clock()

    def _evict(self) -> bool:
        """Take the slot of a next segment that has got least far; it begins anew later and says the same."""
        ahead = [
            sequence
            for stream in self.running
            for sequence in list(stream.sequences)[1:]
            if sequence.slot is not None and not sequence.whole
        ]
        if not ahead:
            return False
        least = min(ahead, key=lambda sequence: sequence.latents)
        self.free(least)
        least.begin()
        return True

    def _suspend(self, person: Stream) -> bool:
        """Send the job back to the queue that has got least far; it is spoken anew later and says the same."""
        jobs = [stream for stream in self.running if self._gives_way(stream, person)]
        if not jobs:
            return False
        job = min(jobs, key=lambda stream: sum(sequence.latents for sequence in stream.sequences))
        self.running.remove(job)
        self.waiting.append(job)
        for sequence in job.sequences:
            self.free(sequence)
            if not sequence.whole:
                sequence.begin()
        return True

    def _gives_way(self, job: Stream, person: Stream) -> bool:
        return job.utterance.priority > person.utterance.priority and self._rank(job) > self._rank(person)

    def _may_have_slot(self, stream: Stream) -> bool:
        """Jobs leave a slot and a place to people, so that a sentence need not wait for a chapter."""
        if not stream.utterance.priority or self.limits.concurrency == 1:
            return True
        jobs = [other for other in self.running if other.utterance.priority]
        if stream not in jobs and len(jobs) >= self.limits.concurrency - 1:
            return False
        taken = sum(sequence.slot is not None for other in jobs for sequence in other.sequences)
        return taken < self.slots.most - 1

    def _turn(self, rows: int) -> list[Sequence]:
        now = self._turn_at = self.clock()
        ready = list(self._ready(now))
        needed = {id(sequence) for sequence in ready if self._is_needed(sequence, now)}
        people = [sequence for sequence in ready if not sequence.stream.utterance.priority]
        people.sort(key=lambda sequence: (id(sequence) not in needed, sequence.stream.lead_seconds(now)))
        turn = [
            sequence
            for sequence in people
            if not needed or id(sequence) in needed or now - sequence.stepped_at >= PATIENCE_SECONDS
        ]
        patience = self._patience(beside_people=bool(turn), needed=bool(needed))
        jobs = [one for one in ready if one.stream.utterance.priority and now - one.stepped_at >= patience]
        jobs = sorted(jobs, key=lambda sequence: sequence.stepped_at)[: self.limits.job_rows]
        # Where memory has run out, people may fill all rows that are left for as long as they come.
        turn = turn[: rows - bool(jobs)] + jobs
        late = [sequence for sequence in turn if not sequence.prompt_length][self.limits.prompts :]
        turn = [sequence for sequence in turn if sequence not in late][:rows]
        for sequence in turn:
            sequence.stepped_at = now
        return turn

    def _patience(self, *, beside_people: bool, needed: bool) -> float:
        """Seconds that a job has to wait between two turns."""
        if not beside_people:
            return 0.0
        if self.somebody_unheard():
            return UNHEARD_PATIENCE_SECONDS
        return PATIENCE_SECONDS if needed else 0.0

    def somebody_unheard(self) -> bool:
        """Whether a person who has a slot, or has come since the last turn, has heard nothing yet."""
        came = (stream for stream in self.waiting if stream.arrived_at > self._turn_at)
        return any(
            not stream.utterance.priority and stream.first_audio_at is None and not stream.aborted
            for stream in (*self.running, *came)
        )

    def _ready(self, now: float) -> Iterator[Sequence]:
        for stream in self.running:
            if not self._is_ahead(stream):
                stream.ahead_since = None
                yield from (s for s in stream.sequences if s.slot is not None and not s.whole)
            elif stream.ahead_since is None or stream.samples_heard > stream.heard_when_ahead:
                stream.ahead_since, stream.heard_when_ahead = now, stream.samples_heard

    def _is_ahead(self, stream: Stream) -> bool:
        return stream.seconds(stream.samples_made - stream.samples_heard) > self.limits.ahead_seconds

    def _is_needed(self, sequence: Sequence, now: float) -> bool:
        """Whether somebody waits for this sequence, or will run dry soon."""
        stream = sequence.stream
        return (
            not stream.utterance.priority
            and sequence is stream.sequences[0]
            and stream.lead_seconds(now) < LEAD_SECONDS
        )

    def _rank(self, stream: Stream) -> float:
        """Who comes first among those who wait; the lowest does."""
        return stream.arrived_at + self._handicap(stream)

    def _handicap(self, stream: Stream) -> float:
        return AGEING_SECONDS * stream.utterance.priority
