"""Discrete events: requests come, wait, are spoken beside others, and leave; replicas start, and drain away.

Streams of one replica share it: each gets what `Service.speeds` says for so many. So a replica needs no event for every
piece of audio, only a count of the audio that each of its streams has got so far (`attained`): who came when it stood
at a and has l seconds to be spoken is done when it stands at a + l, whoever comes and goes meanwhile. A request costs
two events, and one more where somebody joined while it was spoken: 3 to 7 µs in all.
"""

import math
import random
from collections import deque
from heapq import heappop, heappush
from typing import Literal

import msgspec
import numpy as np

from more_server.engine.scheduler import FIRST_GUESS_SECONDS
from more_server.tables import EngineSettings
from tests.bench.simulated.outcome import DEADLINE, FULL, LATE, PARTS, Life, Outcome
from tests.bench.simulated.scaling import TICK_SECONDS, Autoscaler, Autoscaling
from tests.bench.simulated.service import Service
from tests.bench.simulated.traffic import Floats

Routing = Literal["two", "least", "random"]
TICK = -1
"""Event of the autoscaler; others are the number of a replica, or READY below it."""
READY = -2
NEVER = math.inf
SMOOTHING = 0.2
"""Of the measured service time, as the scheduler has it."""
SLACK_SECONDS = 1e-9
"""Of audio: rounding."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet."""

    service: Service
    replicas: int
    """At the begin, ready."""
    concurrency: int = 0
    """`engine.max_concurrency`; 0: as many as there are slots."""
    queue: float = EngineSettings().queue
    """`engine.queue`, of each replica."""
    deadline_seconds: float = EngineSettings().deadline_seconds
    """`engine.deadline_seconds`"""
    routing: Routing = "two"
    """`two`: the less busy of two at random, as Serve does it; `least`: the least busy of all; `random`."""
    start_seconds: float = 0.0
    """From the wish for a replica until it takes requests."""
    autoscaling: Autoscaling | None = None
    first_audio_factor: float = 1.0
    """Beside speech jobs it takes longer."""

    @property
    def places(self) -> int:
        """Requests spoken at a time by one replica. Raises ValueError where so many were not measured."""
        return self.concurrency or self.service.slots


class Replica:
    """One server."""

    __slots__ = ("attained", "changed_at", "draining", "due", "life", "number", "service", "speaking", "waiting")

    def __init__(self, number: int, life: Life) -> None:
        self.number, self.life = number, life
        self.speaking: list[tuple[float, int]] = []
        """Heap: what `attained` will be when a request is done, and its number."""
        self.waiting: deque[int] = deque()
        self.attained = 0.0
        """Seconds of audio that a stream has got which was there from the begin."""
        self.changed_at = life.ready
        self.due = NEVER
        """The event at which it is looked at; others are outdated."""
        self.service = FIRST_GUESS_SECONDS
        self.draining = False


class Simulation:
    """One run. The same setup, requests and seed give the same outcome."""

    def __init__(self, setup: Setup, times: Floats, lengths: Floats, seed: int) -> None:
        self.setup = setup
        self._times: list[float] = times.tolist()
        self._lengths: list[float] = lengths.tolist()
        self._speeds = setup.service.speeds(setup.places)
        self._firsts = [setup.first_audio_factor * seconds for seconds in setup.service.firsts(setup.places)]
        self._random = random.Random(seed).random
        count = len(self._times)
        self._admitted, self._ended = [math.nan] * count, [math.nan] * count
        self._first, self._refused = [math.nan] * count, bytearray(count)
        self._events: list[tuple[float, int]] = [(NEVER, TICK)]
        self._under_way, self._under_way_seconds, self._counted_at = 0, 0.0, 0.0
        self.replicas: list[Replica] = []
        self._ready: list[Replica] = []
        self._starting: list[Replica] = []
        self._least: list[tuple[int, float, int]] | None = [] if setup.routing == "least" else None
        self._idle = [0.0] * PARTS
        """Seconds without anybody to speak to."""
        self._part_seconds = ((self._times[-1] if count else 0.0) or 1.0) / PARTS
        self._target = setup.replicas
        self._scaler = Autoscaler(setup.autoscaling) if setup.autoscaling else None
        for _ in range(setup.replicas):
            self._take_in(self._new(0.0, 0.0))
        if self._scaler:
            heappush(self._events, (TICK_SECONDS, TICK))

    def run(self, until: float = NEVER) -> Outcome:
        """All requests that come before `until`, seconds; without it, to the end of the last one."""
        events, happen, arrive = self._events, self._happen, self._arrive
        if until < NEVER:
            self._part_seconds = until / PARTS
        for request, time in enumerate(self._times):
            if time > until:
                break
            while events[0][0] <= time:
                happen(*heappop(events))
            arrive(request, time)
        now = self._times[-1] if self._times else 0.0
        while events[0][0] <= until and (self._under_way or until < NEVER):
            now, which = heappop(events)
            if now == NEVER:
                break
            happen(now, which)
        return self._outcome(until if until < NEVER else now)

    # -- events

    def _happen(self, now: float, which: int) -> None:
        if which >= 0:
            replica = self.replicas[which]
            if replica.due == now:
                self._look_at(replica, now)
        elif which == TICK:
            self._tick(now)
        else:
            replica = self.replicas[READY - which]
            if replica in self._starting:
                self._starting.remove(replica)
                self._take_in(replica)

    def _arrive(self, request: int, now: float) -> None:
        replica, places = self._route(), self.setup.places
        waiting = replica.waiting
        if waiting:
            self._expire(replica, now)
        if len(replica.speaking) < places and not waiting:
            self._count(now, 1)
            self._speak(replica, request, now)
        elif len(waiting) >= self.setup.queue:
            self._refused[request] = FULL
        elif replica.service * (len(waiting) + 1) / places > self.setup.deadline_seconds:
            self._refused[request] = DEADLINE
        else:
            self._count(now, 1)
            waiting.append(request)
            if self._least is not None:
                self._note(replica)

    def _speak(self, replica: Replica, request: int, now: float) -> None:
        """Give a request a slot."""
        speaking, speeds = replica.speaking, self._speeds
        others = len(speaking)
        if others:
            replica.attained += (now - replica.changed_at) * speeds[others]
        else:
            self._was_idle(replica.changed_at, now)
        replica.changed_at = now
        heappush(speaking, (replica.attained + self._lengths[request], request))
        self._admitted[request] = now
        self._first[request] = now + self._firsts[others + 1]
        due = now + (speaking[0][0] - replica.attained) / speeds[others + 1]
        # Whoever joins makes the others later, which is seen when their event comes.
        if due < replica.due:
            replica.due = due
            heappush(self._events, (due, replica.number))
        if self._least is not None:
            self._note(replica)

    def _look_at(self, replica: Replica, now: float) -> None:
        """Let go who has been spoken to the end, and let in who waits."""
        speaking = replica.speaking
        replica.attained += (now - replica.changed_at) * self._speeds[len(speaking)]
        replica.changed_at = now
        replica.due = NEVER
        if speaking[0][0] <= replica.attained + SLACK_SECONDS:
            _, request = heappop(speaking)
            self._ended[request] = now
            replica.service += SMOOTHING * (now - self._admitted[request] - replica.service)
            self._count(now, -1)
            if replica.waiting:
                self._expire(replica, now)
            if replica.waiting:
                self._speak(replica, replica.waiting.popleft(), now)
            elif self._least is not None:
                self._note(replica)
        if not speaking:
            if replica.draining:
                replica.life.gone = now
        elif replica.due == NEVER:
            replica.due = now + (speaking[0][0] - replica.attained) / self._speeds[len(speaking)]
            heappush(self._events, (replica.due, replica.number))

    def _expire(self, replica: Replica, now: float) -> None:
        """Send away who has waited for longer than the deadline: the first in the queue."""
        waiting = replica.waiting
        while waiting and now - self._times[waiting[0]] > self.setup.deadline_seconds:
            request = waiting.popleft()
            self._refused[request] = LATE
            self._count(now, -1)

    def _count(self, now: float, more: int) -> None:
        self._under_way_seconds += self._under_way * (now - self._counted_at)
        self._counted_at = now
        self._under_way += more

    def _was_idle(self, since: float, until: float) -> None:
        part, last = int(since / self._part_seconds), int(until / self._part_seconds)
        while part < last and part < PARTS - 1:
            part += 1
            self._idle[part - 1] += part * self._part_seconds - since
            since = part * self._part_seconds
        self._idle[min(part, PARTS - 1)] += until - since

    # -- routing

    def _route(self) -> Replica:
        ready, random = self._ready, self._random
        count = len(ready)
        if count == 1:
            return ready[0]
        if self._least is not None:
            return self._least_busy(self._least)
        first = int(random() * count)
        one = ready[first]
        if self.setup.routing == "random":
            return one
        second = int(random() * (count - 1))
        other = ready[second + (second >= first)]
        one_load, other_load = _load(one), _load(other)
        return other if other_load < one_load else one

    def _least_busy(self, heap: list[tuple[int, float, int]]) -> Replica:
        """The first entry of the heap that is no outdated one."""
        while True:
            load, _, number = heap[0]
            replica = self.replicas[number]
            if load == _load(replica) and not replica.draining:
                return replica
            heappop(heap)

    def _note(self, replica: Replica) -> None:
        """Into the heap of the least busy; among equals, by chance."""
        if self._least is not None and not replica.draining:
            heappush(self._least, (_load(replica), self._random(), replica.number))

    # -- replicas

    def _new(self, ordered: float, ready: float) -> Replica:
        replica = Replica(len(self.replicas), Life(ordered=ordered, ready=ready))
        self.replicas.append(replica)
        return replica

    def _take_in(self, replica: Replica) -> None:
        self._ready.append(replica)
        self._note(replica)

    def _tick(self, now: float) -> None:
        assert self._scaler is not None
        self._count(now, 0)
        self._target = self._scaler.decide(now, self._under_way_seconds, len(self._ready), self._target)
        there = len(self._ready) + len(self._starting)
        for _ in range(self._target - there):
            replica = self._new(now, now + self.setup.start_seconds)
            self._starting.append(replica)
            heappush(self._events, (replica.life.ready, READY - replica.number))
        for _ in range(there - self._target):
            self._let_go(now)
        heappush(self._events, (now + TICK_SECONDS, TICK))

    def _let_go(self, now: float) -> None:
        """One that has not started yet, else the youngest: it takes no more requests and speaks what it has."""
        if self._starting:
            replica = self._starting.pop()
            replica.life.ready = replica.life.gone = now
            return
        replica = self._ready.pop()
        replica.draining = True
        replica.life.drained = now
        if not replica.speaking:
            replica.life.gone = now

    # -- the end

    def _outcome(self, now: float) -> Outcome:
        for replica in self.replicas:
            self._expire(replica, now)
            if not replica.speaking and replica.life.ready < now:
                self._was_idle(replica.changed_at, max(replica.changed_at, min(now, replica.life.gone)))
        come = int(np.searchsorted(self._times, now, side="right"))
        return Outcome(
            setup=self.setup,
            ended_at=now,
            times=np.array(self._times[:come]),
            lengths=np.array(self._lengths[:come]),
            admitted=np.array(self._admitted[:come]),
            first=np.array(self._first[:come]),
            ended=np.array(self._ended[:come]),
            refused=np.frombuffer(bytes(self._refused[:come]), dtype=np.uint8),
            lives=[replica.life for replica in self.replicas],
            idle_seconds=np.array(self._idle),
        )


def _load(replica: Replica) -> int:
    return len(replica.speaking) + len(replica.waiting)


def simulate(setup: Setup, times: Floats, lengths: Floats, seed: int = 1, until: float = NEVER) -> Outcome:
    """One run of a fleet under requests that come at `times` and are spoken for `lengths`, seconds."""
    return Simulation(setup, times, lengths, seed).run(until)
