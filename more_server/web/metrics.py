"""`/metrics` for Prometheus: what the engine does, read from its state when asked."""

from collections.abc import Callable, Iterable, Mapping

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from more_server.engine.engine import EngineState
from more_server.speak import Speaker

JobCounts = Callable[[], Mapping[tuple[str, str], int]]


class EngineCollector(Collector):
    """The engine's state as metrics."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Gauges of now and counters since the start."""
        state = self._state
        gauges = {
            "xtts_ready": ("Whether requests are taken", state.loaded),
            "xtts_breaker_open": ("Whether speaking failed again and again", state.breaker_open),
            "xtts_slots": ("Segments that can be spoken at a time", state.slots),
            "xtts_slots_in_use": ("Segments that are being spoken", state.slots_in_use),
            "xtts_speaking": ("Requests that are being spoken", state.speaking),
            "xtts_queue_depth": ("Requests that wait for a slot", state.waiting),
        }
        yield from (GaugeMetricFamily(name, text, value) for name, (text, value) in gauges.items())
        guards = CounterMetricFamily("xtts_guard_actions", "What guards on speech did", labels=["action"])
        for action, count in state.guards.items():
            guards.add_metric([action], count)
        yield guards
        steps = CounterMetricFamily("xtts_engine_steps", "Steps by the segments they moved on", labels=["rows"])
        for rows, count in state.steps_by_rows.items():
            steps.add_metric([str(rows)], count)
        yield steps


class JobsCollector(Collector):
    """Jobs by kind and status."""

    def __init__(self, counts: Mapping[tuple[str, str], int]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """One gauge; ended jobs count until they are deleted."""
        jobs = GaugeMetricFamily("more_jobs", "Jobs that are kept", labels=["kind", "status"])
        for labels, count in self._counts.items():
            jobs.add_metric(labels, count)
        yield jobs


@get("/metrics", opt={"scope": "admin"}, sync_to_thread=False)
def metrics(speaker: NamedDependency[Speaker], job_counts: NamedDependency[JobCounts]) -> Response[bytes]:
    """Prometheus metrics: slots, queue, batch sizes, what guards on speech did, jobs by kind and status."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(speaker.engine.state()))
    registry.register(JobsCollector(job_counts()))
    # As a header: to a media type the framework adds the character set once more.
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
