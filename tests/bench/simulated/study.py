"""What a fleet carries, what its day is like, and the cheapest settings of the autoscaler that will do."""

import itertools
import math
from collections.abc import Callable

import msgspec
import numpy as np

from tests.bench.simulated.outcome import Outcome
from tests.bench.simulated.scaling import Autoscaling
from tests.bench.simulated.simulation import Setup, simulate
from tests.bench.simulated.traffic import Day

DAY_SECONDS = 86_400.0
SHORTEST_DAY_SECONDS = 14_400.0
"""A fleet that does not change forgets within a minute, so its day may go by faster; in less than this, too few minutes
are left whose bursts would show what they do."""
SHORTEST_SCALED_SECONDS = 7_200.0
LEAST_SLICE, LEAST_SCALED = 30, 3
"""Replicas. The day of a fleet that changes is that of a slice of the first size rather than a shorter one; a slice of
less than the second has nothing to change."""
SEARCHED_REPLICAS, SEARCHED_REQUESTS = (5, 30), (60_000, 400_000)
"""At least and at most while looking for what a fleet carries, of a slice that does no better than the whole."""
SEARCHED_SECONDS = (1_800.0, 7_200.0, 43_200.0)
"""At least, usually, and at most then: two hours have bursts enough, and few replicas need longer for many requests."""
STEPS = 7
"""Halvings of the load: to one hundredth."""
TUNED_REPLICAS, TUNED_REQUESTS = 10, 200_000
TARGETS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85)
"""Requests for each replica, in places."""
FACTORS = (1.0, 0.5, 0.25)
"""Of the way down that is gone at a time; 1 is Serve's default."""
UPSCALE_SECONDS, DOWNSCALE_SECONDS = (10.0, 30.0, 60.0), (300.0, 600.0, 1_200.0)
ROOM = 1.25
"""Most replicas, in those that carry the peak. It is also what keeps an autoscaler from running far beyond it."""
MARGIN = 0.8
"""Settings are chosen by a tighter goal, as they are tried on one day of one fleet."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What people are promised."""

    first_seconds: float
    """95 of 100 requests are heard after so long, in the worst hour, too."""
    behind: float = 0.05
    """Most of the streams that may be made slower than they are heard."""
    refused: float = 0.001
    """Most of the requests that may be answered 429."""

    def met(self, outcome: Outcome, margin: float = 1.0) -> bool:
        """Whether it is kept; margin: so much of what is allowed."""
        in_time = outcome.worst_hour(95) <= self.first_seconds
        return in_time and outcome.behind <= margin * self.behind and outcome.refused_share <= margin * self.refused


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked."""

    setup: Setup
    """Of one replica and without an autoscaler."""
    day: Day
    """Its `peak` is set by what the fleet carries."""
    goal: Goal
    requests: int
    """Simulated in one run at most; what that means for a row is told in it."""
    seed: int

    @property
    def capacity(self) -> float:
        """Requests a second that one replica can speak, all places taken."""
        places = self.setup.places
        return places * self.setup.service.speeds(places)[places] / self.day.mean_seconds

    # -- what a fleet carries

    def carried(self, replicas: int) -> float:
        """The most requests a second, all the time, with which the goal is met; 0 where one at a time is too many."""
        capacity = replicas * self.capacity
        return _most(lambda load: self._holds(replicas, load * capacity)) * capacity

    def needed(self, peak: float) -> int:
        """The fewest replicas that carry so many requests a second. Raises ValueError where no number does."""
        most = max(1, math.ceil(peak / self.capacity))
        while not self._holds(most, peak):
            most *= 2
            if most > 100_000:
                raise ValueError("no number of replicas keeps the promise: a single request is too slow already")
        least = most // 2
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if self._holds(middle, peak) else (middle, most)
        return most

    def _holds(self, replicas: int, peak: float) -> bool:
        """Whether the goal is met in a rush hour that does not end."""
        (fewest, most), (enough, many) = SEARCHED_REPLICAS, SEARCHED_REQUESTS
        least, usual, longest = SEARCHED_SECONDS
        few = min(replicas, most, max(fewest, int(many * replicas / (usual * peak))))
        peak = peak * few / replicas
        seconds = max(min(max(enough / peak, usual), longest, many / peak), least)
        day = msgspec.structs.replace(self.day, peak=peak, night=1.0)
        return self.goal.met(self._run(day, seconds, few, None, 0))

    # -- days

    def fixed(self, replicas: int, peak: float) -> "Row":
        """A day with always so many replicas."""
        day = msgspec.structs.replace(self.day, peak=peak)
        expected = day.mean_rate * DAY_SECONDS
        seconds = max(min(1.0, self.requests / expected) * DAY_SECONDS, SHORTEST_DAY_SECONDS)
        simulated = self._slice(replicas, day, seconds)
        return self._row(replicas, simulated, day, seconds, None, 1)

    def scaled(self, replicas: int, peak: float, settings: Autoscaling, run: int = 1, requests: int = 0) -> "Row":
        """A day of the traffic that so many replicas carry, with as many as the autoscaler wants.

        run: another one has other requests; requests: simulated at most, 0 for those of the study.
        """
        day, requests = msgspec.structs.replace(self.day, peak=peak), requests or self.requests
        each = day.mean_rate * DAY_SECONDS / replicas
        few = min(replicas, LEAST_SLICE) * each
        seconds = min(max(requests / few * DAY_SECONDS, SHORTEST_SCALED_SECONDS), DAY_SECONDS)
        simulated = min(replicas, max(LEAST_SCALED, int(requests / (each * seconds / DAY_SECONDS))))
        return self._row(replicas, simulated, day, seconds, settings, run)

    def _slice(self, replicas: int, day: Day, seconds: float) -> int:
        return max(1, min(replicas, round(replicas * self.requests / (day.mean_rate * seconds))))

    def _row(
        self, replicas: int, simulated: int, day: Day, seconds: float, settings: Autoscaling | None, run: int
    ) -> "Row":
        part = msgspec.structs.replace(day, peak=day.peak * simulated / replicas)
        outcome = self._run(part, seconds, simulated, settings and self.bounded(settings, simulated), run)
        return Row(replicas=replicas, simulated=simulated, day=day, seconds=seconds, outcome=outcome)

    def _run(self, day: Day, seconds: float, replicas: int, settings: Autoscaling | None, run: int) -> Outcome:
        seed = 1000 * self.seed + run
        times, lengths = day.arrivals(np.random.default_rng(seed), seconds)
        begin = settings.min_replicas if settings else replicas
        setup = msgspec.structs.replace(self.setup, replicas=begin, autoscaling=settings)
        return simulate(setup, times, lengths, seed, until=seconds)

    # -- the autoscaler

    def bounded(self, settings: Autoscaling, replicas: int) -> Autoscaling:
        """At least what the night needs of the replicas for the peak, at most ROOM times as many."""
        least = max(1, math.ceil(self.day.night * replicas))
        return msgspec.structs.replace(settings, min_replicas=least, max_replicas=math.ceil(ROOM * replicas))

    def recommended(self, replicas: int, peak: float) -> tuple[Autoscaling, bool]:
        """The cheapest settings that meet the goal; else, and False, those with the soonest first audio.

        First the target and the factor are chosen, then the delays; all of them over one and the same day.
        """
        usual = Autoscaling(upscale_delay_s=UPSCALE_SECONDS[0])
        first = [
            msgspec.structs.replace(
                usual, target_ongoing_requests=round(share * self.setup.places, 2), downscaling_factor=factor
            )
            for share, factor in itertools.product(TARGETS, FACTORS)
        ]
        best, _ = self._cheapest(replicas, peak, first)
        return self._cheapest(
            replicas,
            peak,
            [
                msgspec.structs.replace(best, upscale_delay_s=up, downscale_delay_s=down)
                for up, down in itertools.product(UPSCALE_SECONDS, DOWNSCALE_SECONDS)
            ],
        )

    def _cheapest(self, replicas: int, peak: float, choice: list[Autoscaling]) -> tuple[Autoscaling, bool]:
        days = [self.scaled(replicas, peak, settings, 2, TUNED_REQUESTS).outcome for settings in choice]
        good = [(day.replica_seconds, place) for place, day in enumerate(days) if self.goal.met(day, MARGIN)]
        if good:
            return choice[min(good)[1]], True
        waits = [day.worst_hour(95) for day in days]
        return choice[waits.index(min(waits))], False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A day of a fleet."""

    replicas: int
    simulated: int
    """So many of them, with their share of the requests."""
    day: Day
    """Of the whole fleet."""
    seconds: float
    """In which the day went by."""
    outcome: Outcome

    @property
    def mean_replicas(self) -> float:
        """Paid for, of the whole fleet."""
        return self.outcome.replica_seconds / self.seconds * self.replicas / self.simulated

    @property
    def starts(self) -> float:
        """Replicas that were started in the day, of the whole fleet, but for those of its begin."""
        started = sum(life.ordered > 0 for life in self.outcome.lives)
        return started * self.replicas / self.simulated

    @property
    def replica_hours_per_hour_of_speech(self) -> float:
        return self.outcome.replica_seconds / max(self.outcome.audio_seconds, 1e-9)


def _most(holds: Callable[[float], bool]) -> float:
    """The largest load, 0 to 1, that holds."""
    least, most = 0.0, 1.0
    for _ in range(STEPS):
        middle = (least + most) / 2
        least, most = (middle, most) if holds(middle) else (least, middle)
    return least
