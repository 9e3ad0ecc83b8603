"""What became of every request and every replica of a simulated day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.bench.simulated.traffic import HOURS, Floats

if TYPE_CHECKING:
    from tests.bench.simulated.simulation import Setup

FULL, DEADLINE, LATE = 1, 2, 3
"""Why a request was refused: the queue was full, the wait would have been too long, or it was."""
ENOUGH = 200
"""Requests in an hour, for a percentile that means something."""
PARTS = 96
"""Of a run, a quarter of an hour each of a day."""
JOB_SHARE = 0.92
"""Of a batch's throughput, what a speech job reaches on an idle replica; measured with nano (LOG.md, 2026-11-26)."""


class Life(msgspec.Struct):
    """Of a replica, seconds; inf: not in this run."""

    ordered: float
    ready: float
    drained: float = math.inf
    """From then on it took no more requests."""
    gone: float = math.inf


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row for each request that came; nan where something did not happen to it."""

    setup: Setup
    ended_at: float
    """Seconds from the begin."""
    times: Floats
    lengths: Floats
    """Seconds of speech."""
    admitted: Floats
    """When it got a slot."""
    first: Floats
    """When its first audio came."""
    ended: Floats
    """When all of it was made."""
    refused: NDArray[np.uint8]
    """FULL, DEADLINE or LATE; 0 where it was not."""
    lives: list[Life]
    idle_seconds: Floats
    """Of all replicas, while they were ready and spoke to nobody, by PARTS of the run."""

    @property
    def served(self) -> int:
        return int(np.isfinite(self.ended).sum())

    @property
    def under_way(self) -> int:
        """Waiting or being spoken at the end."""
        return int((~np.isfinite(self.ended) & (self.refused == 0)).sum())

    @property
    def refused_share(self) -> float:
        return float(np.count_nonzero(self.refused) / max(1, len(self.refused)))

    def first_audio(self, percent: float) -> float:
        """Seconds from the request to its first audio: this percentile of those that were heard."""
        return _percentile(_known(self.first - self.times), percent)

    def worst_hour(self, percent: float) -> float:
        """The same of the hour of the day in which it was longest."""
        waits, hours = self.first - self.times, self._hours()
        each = [_known(waits[hours == hour]) for hour in range(HOURS)]
        percentiles = (_percentile(one, percent) for one in each if len(one) >= ENOUGH)
        return max(percentiles, default=self.first_audio(percent))

    @property
    def behind(self) -> float:
        """Share of the streams that were made slower than they are heard, so that their listeners met silence.

        All streams of a replica share it evenly here; the engine helps those first that are about to run out.
        """
        made = np.isfinite(self.ended)
        late = self.ended[made] - self.first[made] > self.lengths[made]
        return float(late.mean()) if len(late) else 0.0

    @property
    def replica_seconds(self) -> float:
        """Paid for, from the order of a replica until it is gone."""
        return sum(min(life.gone, self.ended_at) - life.ordered for life in self.lives)

    @property
    def ready_seconds(self) -> float:
        """Of all replicas, while they could speak."""
        spans = (min(life.gone, self.ended_at) - min(life.ready, self.ended_at) for life in self.lives)
        return sum(spans)

    @property
    def audio_seconds(self) -> float:
        """Of speech that was made whole."""
        return float(self.lengths[np.isfinite(self.ended)].sum())

    @property
    def busy(self) -> float:
        """Share of what the replicas could have spoken that was spoken, jobs left out."""
        return self.audio_seconds / (self.ready_seconds * self._most_speech)

    @property
    def busy_at_peak(self) -> float:
        """The same of the busiest hour; for a fleet that does not change."""
        made = np.isfinite(self.ended)
        spoken = np.bincount(self._hours()[made], self.lengths[made], HOURS).max()
        return float(spoken / (self.ended_at / HOURS * self.setup.replicas * self._most_speech))

    def jobs(self, asked: float) -> tuple[float, float]:
        """How speech jobs fare in the gaps: share of them that was spoken, and the longest wait, in hours of the day.

        asked: seconds of audio that come in a second, evenly over the day. They get what nobody else needs: replicas
        that speak to no person, as a lower bound, for the engine gives jobs a few turns beside people, too.
        """
        if not asked:
            return 1.0, 0.0
        part = self.ended_at / PARTS
        came = np.arange(1, PARTS + 1) * part * asked
        # What could have been made by the end of each part, without what came too late for it.
        room, made = self._room, np.zeros(PARTS)
        done = 0.0
        for place in range(PARTS):
            done = made[place] = min(came[place], done + room[place])
        spoken = enumerate(came[came <= done + 1e-6])
        waits = [(np.searchsorted(made, at - 1e-6) - place) * part for place, at in spoken]
        # Who is not spoken by the end waits on.
        longest = max([*waits, self.ended_at - done / asked])
        return float(done / came[-1]), round(float(longest) * HOURS / self.ended_at, 2)

    @property
    def room_for_jobs(self) -> float:
        """Seconds of audio that speech jobs could make in the gaps of a second."""
        return float(self._room.sum()) / self.ended_at

    @property
    def _room(self) -> Floats:
        return self.idle_seconds * JOB_SHARE * self._most_speech

    def replicas_over(self, parts: int) -> Floats:
        """Replicas that could speak, in so many moments of the day."""
        moments = (np.arange(parts) + 0.5) * self.ended_at / parts
        ready, gone = (np.array([getattr(life, name) for life in self.lives]) for name in ("ready", "gone"))
        return np.array([np.count_nonzero((ready <= moment) & (moment < gone)) for moment in moments], dtype=float)

    def first_audio_over(self, parts: int, percent: float) -> Floats:
        """The percentile of first audio in so many parts of the day, seconds; nan where nobody was heard."""
        part = np.minimum((self.times / self.ended_at * parts).astype(int), parts - 1)
        waits = self.first - self.times
        return np.array([_percentile(_known(waits[part == one]), percent) for one in range(parts)])

    @property
    def _most_speech(self) -> float:
        """Seconds of audio a second, of one replica."""
        places = self.setup.places
        return places * self.setup.service.speeds(places)[places]

    def _hours(self) -> NDArray[np.int64]:
        return np.minimum((self.times / self.ended_at * HOURS).astype(np.int64), HOURS - 1)


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _percentile(values: Floats, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else math.nan
