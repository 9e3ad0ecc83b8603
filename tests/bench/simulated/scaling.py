"""Ray Serve's autoscaler: how many replicas it wants, by how many requests are under way."""

import math
from collections import deque

import msgspec

TICK_SECONDS = 10.0
"""Serve's handles and replicas tell their numbers so often."""


class Autoscaling(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under `autoscaling_config` of a Serve deployment, by Serve's names and with Serve's defaults."""

    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing_requests: float = 2.0
    """Requests that are spoken or wait, for each replica."""
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0
    look_back_period_s: float = 30.0
    """Requests under way are averaged over so long."""
    upscaling_factor: float = 1.0
    """Share of the wanted change that is made."""
    downscaling_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError(f"min_replicas is {self.min_replicas}; allowed are 1 to max_replicas, {self.max_replicas}")
        if self.target_ongoing_requests <= 0:
            raise ValueError(f"target_ongoing_requests is {self.target_ongoing_requests}; it must be more than 0")


class Autoscaler:
    """Decides at each tick, from what it was told at the ones before."""

    def __init__(self, settings: Autoscaling) -> None:
        self.settings = settings
        self._told: deque[tuple[float, float]] = deque()
        """Time, and requests under way added up over all time until then."""
        self._wanted_since: float | None = None
        self._direction = 0

    def decide(self, now: float, under_way_seconds: float, running: int, target: int) -> int:
        """The new target.

        under_way_seconds: requests under way, added up over all time until now; running: replicas that take requests;
        target: what was decided last.
        """
        mean = self._look_back(now, under_way_seconds)
        wanted = self._scaled(running * mean / (self.settings.target_ongoing_requests * running), running)
        return self.delayed(now, wanted, target)

    def delayed(self, now: float, wanted: int, target: int) -> int:
        """`wanted` once all decisions went its way for long enough, else `target`; within the bounds."""
        settings = self.settings
        direction = (wanted > target) - (wanted < target)
        if direction != self._direction or self._wanted_since is None:
            self._direction, self._wanted_since = direction, now
        delay = settings.upscale_delay_s if direction > 0 else settings.downscale_delay_s
        decided = target
        if direction and now - self._wanted_since >= delay - 1e-6:
            decided, self._wanted_since, self._direction = wanted, None, 0
        return min(max(decided, settings.min_replicas), settings.max_replicas)

    def _look_back(self, now: float, under_way_seconds: float) -> float:
        self._told.append((now, under_way_seconds))
        while len(self._told) > 2 and now - self._told[1][0] >= self.settings.look_back_period_s:
            self._told.popleft()
        since, before = self._told[0]
        return (under_way_seconds - before) / (now - since) if now > since else 0.0

    def _scaled(self, wanted: float, running: int) -> int:
        more = wanted - running
        factor = self.settings.upscaling_factor if more > 0 else self.settings.downscaling_factor
        scaled = math.ceil(running + factor * more)
        # A factor below one would never take the last one away.
        return scaled - 1 if math.ceil(wanted) < running == scaled else scaled
