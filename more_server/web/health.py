"""Health: alive, ready, the plain OK that some clients look for, and for administrators what is the matter."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency

from more_server.administration import Administration
from more_server.engine.engine import LOADING_RETRY_SECONDS, RESTING_RETRY_SECONDS
from more_server.engine.state import EngineState
from more_server.engine.watch import HUNG
from more_server.files import set_aside_in
from more_server.measures import gpu_memory
from more_server.settings import Settings
from more_server.siblings import Name, Siblings, in_order
from more_server.speak import Speaker
from more_server.web import wire
from more_server.web.described import described

PUBLIC = {"scope": "public"}
GIGABYTE = 10**9
JobCounts = Callable[[], Awaitable[Mapping[tuple[str, str], int]]]
Status = Literal["ok", "loading", "draining", "paused", "failing"]
"""`paused`: a model is trained in the memory that speech needs; `failing`: the breaker is open, or the engine ended."""


class Condition(msgspec.Struct, frozen=True):
    """Whether requests are taken."""

    status: Status
    reason: str = ""

    @property
    def ready(self) -> bool:
        """They are."""
        return self.status == "ok"


class XttsHealth(msgspec.Struct, frozen=True):
    """The model that serves."""

    loaded: bool
    model: str
    device: str
    precision: str


class GpuHealth(msgspec.Struct, frozen=True):
    """Memory of its GPU, whoever takes it; null where it runs on a CPU."""

    vram_free_gb: float | None = None
    vram_total_gb: float | None = None


class BreakerHealth(msgspec.Struct, frozen=True):
    """What refuses requests while speaking fails again and again."""

    open: bool


class QueueHealth(msgspec.Struct, frozen=True):
    """Requests for the model that serves."""

    waiting: int
    speaking: int
    slots: int
    slots_in_use: int


class ProcessHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One process with its engine."""

    status: Status
    reason: str
    uptime_seconds: int
    xtts: XttsHealth
    gpu: GpuHealth
    breaker: BreakerHealth
    queue: QueueHealth


class WorkerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One of several workers (`server.workers`), or of the replicas of a cluster that share a database."""

    worker: int | str
    """Its number, from 0 on; a replica's name."""
    answers: bool
    """False: it is starting, has died and is started anew, or hangs."""
    health: ProcessHealth | None


class SharedHealth(msgspec.Struct, frozen=True):
    """What servers on several machines share (`database`)."""

    seconds_behind: float | None
    """Since keys and settings were last seen to be as the database has them, 0 to 1 where all is well; null: never."""


class Detail(ProcessHealth, frozen=True, kw_only=True):
    """`GET /health/detail`; with several workers, of the one that answers, and `workers` tells of all."""

    version: str
    worker: int | str
    """Which one answers; 0 where there are none."""
    workers: list[WorkerHealth]
    """Empty where the server is one process; of other replicas, as they were some seconds ago."""
    jobs: dict[str, dict[str, int]]
    """By kind, then by status."""
    shared: SharedHealth | None
    """Null where there is no database."""
    set_aside: list[str]
    """Damaged files that a start put out of the way and that still lie there; what was in them is not in force."""


def condition(speaker: Speaker) -> Condition:
    """Whether requests are taken now, and what is in the way."""
    return _condition(speaker, speaker.engine.state())


def _condition(speaker: Speaker, state: EngineState) -> Condition:
    if speaker.draining:
        return Condition("draining", "the server is shutting down")
    if state.resting:
        return Condition("paused", state.failure)
    if state.failure:
        return Condition("failing", state.failure)
    if not (speaker.ready and state.loaded):
        return Condition("loading", "the model is loading")
    return Condition("ok")


@get(
    ["/health", "/health/live"],
    opt=described(PUBLIC, answer="text/plain", also={503: "text/plain"}),
    sync_to_thread=False,
)
def live(speaker: NamedDependency[Speaker]) -> Response[str]:
    """`OK` as soon as the process answers, 503 once only a new start helps: a step of the engine hangs.

    wyoming_openai takes this very body for a server with voice lists.
    """
    if any(model.engine.hung for model in speaker.fleet.present()):
        return Response(HUNG, status_code=503, media_type=MediaType.TEXT)
    return Response("OK", media_type=MediaType.TEXT)


@get(
    "/health/ready",
    opt=described(PUBLIC, answer=wire.Readiness, also={503: wire.Readiness}),
    sync_to_thread=False,
)
def ready(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """200 when requests can be spoken; 503 with the reason while it loads, ends, rests for a training, or fails."""
    state = speaker.engine.state()
    now = _condition(speaker, state)
    wait = RESTING_RETRY_SECONDS if now.status == "paused" else LOADING_RETRY_SECONDS
    return Response(
        wire.encode(wire.Readiness(now.ready, state.model, now.reason)),
        status_code=200 if now.ready else 503,
        headers={} if now.ready else {"retry-after": str(round(wait))},
        media_type="application/json",
    )


# Versions, models and how busy a server is are what an attacker asks first, and nobody else needs but who runs it.
@get("/health/detail", opt=described({"scope": "admin"}, answer=Detail))
async def detail(
    speaker: NamedDependency[Speaker],
    administration: NamedDependency[Administration],
    siblings: NamedDependency[Siblings],
    job_counts: NamedDependency[JobCounts],
) -> Response[bytes]:
    """For administrators, always 200: `status`, what keeps it from `ok`; model, memory, queue, jobs, damaged files."""
    own, others = await asyncio.gather(own_health(speaker), siblings.ask("health"))
    jobs: dict[str, dict[str, int]] = {}
    for (kind, status), count in (await job_counts()).items():
        jobs.setdefault(kind, {})[status] = count
    found = Detail(
        **{name: getattr(own, name) for name in own.__struct_fields__},
        version=speaker.reports.measures.version,
        worker=siblings.name,
        workers=[] if siblings.is_alone else _workers({siblings.name: own}, others),
        jobs=jobs,
        shared=_shared(speaker.settings, administration.copies.renewed),
        set_aside=await asyncio.to_thread(_set_aside, speaker.settings),
    )
    return Response(wire.encode(found), media_type="application/json", headers={"cache-control": "no-store"})


async def own_health(speaker: Speaker) -> ProcessHealth:
    """Of this process."""
    state = speaker.engine.state()
    now = _condition(speaker, state)
    memory = await asyncio.to_thread(gpu_memory, state.device)
    free, total = (None, None) if memory is None else (round(one / GIGABYTE, 2) for one in memory)
    return ProcessHealth(
        status=now.status,
        reason=now.reason,
        uptime_seconds=round(speaker.reports.measures.uptime),
        xtts=XttsHealth(state.loaded, state.model, state.device, state.precision),
        gpu=GpuHealth(free, total),
        breaker=BreakerHealth(state.breaker_open),
        queue=QueueHealth(state.waiting, state.speaking, state.slots, state.slots_in_use),
    )


def _decoded(content: bytes | None) -> ProcessHealth | None:
    try:
        return None if content is None else msgspec.json.decode(content, type=ProcessHealth)
    except msgspec.ValidationError:  # of another version, while one takes the other's place
        return None


def _workers(own: Mapping[Name, ProcessHealth], others: Mapping[Name, bytes | None]) -> list[WorkerHealth]:
    found: dict[Name, ProcessHealth | None] = {**own, **{name: _decoded(one) for name, one in others.items()}}
    return [WorkerHealth(worker=name, answers=found[name] is not None, health=found[name]) for name in in_order(found)]


def _shared(settings: Settings, renewed: float) -> SharedHealth | None:
    if not settings.database:
        return None
    return SharedHealth(round(time.monotonic() - renewed, 1) if renewed else None)


def _set_aside(settings: Settings) -> list[str]:
    folders = (settings.admin_dir, settings.model_dirs[0], settings.jobs_dir)
    return [path for folder in folders for path in set_aside_in(folder)]
