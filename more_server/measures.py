"""What a server counts of its own work, as metrics of Prometheus; everything here belongs to one application."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import Counter as CounterMetric

FIRST_AUDIO = (0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
"""Seconds: a GPU takes 25 ms and two cores 45 to 200; beyond half a second people notice, beyond three they ask again,
and after 30 the queue has refused them (engine.deadline_seconds)."""
REAL_TIME_FACTOR = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1, 1.25, 1.5, 2, 3, 5, 10)
"""Dense below 1, where a listener runs dry; nano is at 0.1 on two cores, XTTS-v2 at 0.4 to 0.5."""
DURATION = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)
"""Seconds, from a word to the longest text that is spoken in one request, at the pace of whoever takes it."""
MOST_DOORS, MOST_PROFILES = 16, 64
"""Different values of a label; further ones are counted together, as `other`. There are seven doors."""
OTHER = "other"
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Measures:
    """Counters and histograms of one application; what is read elsewhere is added when it is asked for."""

    def __init__(self) -> None:
        # A second time series beside each counter, of when it began, which `rate` has no use for. The library has one
        # switch for all of a process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.version = version("more-server")
        Gauge("more_build_info", "The server's version", ["version"], registry=registry).labels(self.version).set(1)
        begun = Gauge("more_start_time_seconds", "When the server started, Unix seconds", registry=registry)
        begun.set_to_current_time()
        self._began = time.monotonic()
        by = ["door", "quality_profile"]
        self._requests = CounterMetric(
            "xtts_synthesis", "Requests for speech", ["status", "quality_profile", "door"], registry=registry
        )
        self._durations = Histogram(
            "xtts_synthesis_duration_seconds",
            "From a request to its end, listening included, of those that were spoken",
            by,
            registry=registry,
            buckets=DURATION,
        )
        self._first_audio = Histogram(
            "xtts_first_audio_seconds",
            "From a request to its first audio, of those that are heard as they are made",
            by,
            registry=registry,
            buckets=FIRST_AUDIO,
        )
        self._factors = Histogram(
            "xtts_real_time_factor",
            "Seconds of making per second of audio, of requests that were spoken",
            by,
            registry=registry,
            buckets=REAL_TIME_FACTOR,
        )
        self._audio = CounterMetric("xtts_audio_seconds", "Audio that was made", ["door"], registry=registry)
        self._guards = CounterMetric("xtts_guard_actions", "What guards did", ["action"], registry=registry)
        self._answers = CounterMetric(
            "more_http_requests", "Answers by HTTP", ["method", "route", "status"], registry=registry
        )
        self._doors, self._profiles = Bounded(MOST_DOORS), Bounded(MOST_PROFILES)
        self._steps = Growing()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def first_audio(self, door: str, profile: str, seconds: float) -> None:
        """The first audio of a request is there."""
        self._first_audio.labels(self._doors[door], self._profiles[profile]).observe(seconds)

    def guarded(self, actions: Iterable[str]) -> None:
        """What guards on speech did."""
        for action in actions:
            self._guards.labels(action).inc()

    def ended(self, door: str, profile: str, status: str, seconds: float, audio: float, factor: float | None) -> None:
        """A request for speech is over.

        profile: empty where none was resolved. audio: seconds that were made. factor: None where there was none.
        """
        door, profile = self._doors[door], self._profiles[profile]
        self._requests.labels(status, profile, door).inc()
        self._audio.labels(door).inc(audio)
        if status == "ok":
            self._durations.labels(door, profile).observe(seconds)
            if factor is not None:
                self._factors.labels(door, profile).observe(factor)

    def answered(self, method: str, route: str, code: int) -> None:
        """An answer begins; to HEAD it is one to GET.

        route: as it was declared, not as it was asked for; empty: there is none.
        """
        self._answers.labels(method if method in METHODS else OTHER, route, str(code)).inc()

    def steps(self, now: Mapping[str, Mapping[int, int]]) -> Mapping[int, int]:
        """Steps by rows of all models since the start, but for what an ended one did since it was looked at last.

        now: those of each that is loaded, since it was.
        """
        return self._steps.grown(now)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class Bounded:
    """Values of a label: what would be one too many becomes `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __getitem__(self, value: str) -> str:
        if value not in self._known and len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Growing:
    """A sum of counters that come and go and begin anew: models that are unloaded, or have rested."""

    def __init__(self) -> None:
        self._total: Counter[int] = Counter()
        self._seen: Mapping[str, Mapping[int, int]] = {}

    def grown(self, now: Mapping[str, Mapping[int, int]]) -> Mapping[int, int]:
        """The sum, with what each has counted since it was looked at last."""
        for name, counts in now.items():
            before = self._seen.get(name, {})
            begun_anew = any(counts.get(key, 0) < value for key, value in before.items())
            for key, value in counts.items():
                self._total[key] += value - (0 if begun_anew else before.get(key, 0))
        self._seen = {name: dict(counts) for name, counts in now.items()}
        return self._total


def gpu_memory(device: str) -> tuple[int, int] | None:
    """Bytes that are free and that there are on a GPU, by whomever the others are taken; None for no GPU. Blocks."""
    if not device.startswith("cuda"):
        return None
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:  # the GPU is lost, which the breaker tells; what else there is to see must be seen
        return None
    return free, total
