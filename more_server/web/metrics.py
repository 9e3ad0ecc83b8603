"""`/metrics` for Prometheus: what was counted, and what the engines do, read from their state when asked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.types import Message, Scope
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from more_server.engine.state import EngineState
from more_server.measures import Measures, gpu_memory
from more_server.siblings import Name, Siblings, in_order
from more_server.speak import Speaker
from more_server.web.described import described
from more_server.web.health import JobCounts, condition

SWITCHING_PROTOCOLS = 101
"""RFC 6455: the answer to a handshake that is accepted."""


def counting(measures: Measures) -> Callable[[Message, Scope], Awaitable[None]]:
    """A hook before answers that counts them, by the route as it was declared."""

    async def count(message: Message, scope: Scope) -> None:
        code: int
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                code = message["status"]
            case "websocket.accept":
                code = SWITCHING_PROTOCOLS
            case _:
                return
        measures.answered(str(scope.get("method", "GET")), str(scope.get("path_template", "")), code)

    return count


class EngineCollector(Collector):
    """The state of the engines as metrics: all models that speak, the one that serves first."""

    def __init__(self, ready: bool, states: Sequence[EngineState], steps: Mapping[int, int]) -> None:
        self._ready = ready
        self._states = states
        self._steps = steps

    def collect(self) -> Iterable[Metric]:
        """Gauges of now, and steps since the start."""
        states = self._states
        gauges = {
            "xtts_ready": ("Whether requests are taken", self._ready),
            "xtts_breaker_open": ("Whether speaking failed again and again", any(one.breaker_open for one in states)),
            "xtts_slots": ("Segments that can be spoken at a time", sum(one.slots for one in states)),
            "xtts_slots_in_use": ("Segments that are being spoken", sum(one.slots_in_use for one in states)),
            "xtts_speaking": ("Requests that are being spoken", sum(one.speaking for one in states)),
            "xtts_queue_depth": ("Requests that wait for a slot", sum(one.waiting for one in states)),
        }
        yield from (GaugeMetricFamily(name, text, value) for name, (text, value) in gauges.items())
        named = ["model", "device", "precision"]
        models = GaugeMetricFamily("xtts_model_info", "Models that are loaded", labels=named)
        # While one is unloaded it may be loaded anew, and no series may be told twice.
        for labels in dict.fromkeys((one.model, one.device, one.precision) for one in states):
            models.add_metric(labels, 1)
        yield models
        steps = CounterMetricFamily("xtts_engine_steps", "Steps by the segments they moved on", labels=["rows"])
        for rows, count in self._steps.items():
            steps.add_metric([str(rows)], count)
        yield steps
        moved = sum(rows * count for rows, count in self._steps.items())
        yield CounterMetricFamily("xtts_engine_rows", "Segments moved on, over all steps", moved)


class GpuCollector(Collector):
    """Memory of GPUs that models are on; without one there is no value."""

    def __init__(self, memory: Mapping[str, tuple[int, int]]) -> None:
        """memory: bytes that are free and that there are, by device."""
        self._memory = memory

    def collect(self) -> Iterable[Metric]:
        """One gauge."""
        told = GaugeMetricFamily("xtts_gpu_memory_bytes", "Memory of the GPU", labels=["device", "kind"])
        for device, (free, total) in self._memory.items():
            told.add_metric([device, "used"], total - free)
            told.add_metric([device, "total"], total)
        yield told


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


class Given(Collector):
    """A metric that is known already."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """It."""
        yield self._metric


@get("/metrics", opt=described({"scope": "admin"}, answer="text/plain"))
async def metrics(
    speaker: NamedDependency[Speaker],
    siblings: NamedDependency[Siblings],
    job_counts: NamedDependency[JobCounts],
) -> Response[bytes]:
    """Prometheus metrics: requests, first audio, real-time factor, queue, slots, batches, guards, memory, jobs."""
    own, others = await asyncio.gather(own_metrics(speaker), siblings.ask("metrics"))
    content = own if siblings.is_alone else of_workers({siblings.name: own, **others})
    # Jobs are of all workers, and of other servers that share them: told once, of whoever is asked.
    content += told(JobsCollector(await job_counts()))
    # As a header: to a media type the framework adds the character set once more.
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})


async def own_metrics(speaker: Speaker) -> bytes:
    """What this process counted, and what its engines do."""
    models = [(model.lease, model.engine.state()) for model in speaker.fleet.present()]
    measures = speaker.reports.measures
    steps = measures.steps({lease: state.steps_by_rows for lease, state in models})
    return measures.text() + told(
        EngineCollector(condition(speaker).ready, [state for _, state in models], steps),
        GpuCollector(await _gpus(state.device for _, state in models)),
    )


def of_workers(texts: Mapping[Name, bytes | None]) -> bytes:
    """The metrics of several workers as one text, a label `worker` in each sample; None: one that does not answer."""
    families: dict[str, list[str]] = {}
    names = in_order(texts)
    for name in names:
        family: list[str] = []
        for line in (texts[name] or b"").decode().splitlines():
            if line.startswith("# HELP "):
                # A family's lines stand together; its head, which is the same in all workers, once before them.
                family = families.setdefault(line.split(" ", 3)[2], [line])
            elif line.startswith("#"):
                if line not in family:
                    family.append(line)
            elif line:
                family.append(_labelled(line, name))
    up = GaugeMetricFamily("more_worker_up", "Whether a worker answers", labels=["worker"])
    for name in names:
        up.add_metric([str(name)], texts[name] is not None)
    lines = [line for family in families.values() for line in family]
    return "".join(f"{line}\n" for line in lines).encode() + told(Given(up))


def _labelled(sample: str, worker: Name) -> str:
    """`name 1` or `name{label="…"} 1` with one label more; a name has neither spaces nor braces."""
    named, brace, labels = sample.partition("{")
    if brace and " " not in named:
        return f'{named}{{worker="{worker}",{labels}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{worker}"}} {value}'


def told(*collectors: Collector) -> bytes:
    """What collectors collect, as Prometheus reads it."""
    registry = CollectorRegistry()
    for one in collectors:
        registry.register(one)
    return generate_latest(registry)


async def _gpus(devices: Iterable[str]) -> dict[str, tuple[int, int]]:
    found = {device: await asyncio.to_thread(gpu_memory, device) for device in dict.fromkeys(devices)}
    return {device: memory for device, memory in found.items() if memory is not None}
