"""How the application is spread over a cluster: a config of Serve, for `deploy`, `serve deploy` and KubeRay."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from more_server.errors import SettingsError
from more_server.settings import Settings

APPLICATION, DEPLOYMENT = "more", "Speech"
IMPORT_PATH = "more_server.cluster.deployment:application"
# So many more than an engine speaks and lets wait: the engine is who refuses, with 429 and the time after which it
# makes sense to come back, and lists, health and open WebSockets have room beside those who wait for speech.
BESIDE_SPEECH = 64
"""Requests of a replica beside those that are spoken or wait for it."""
BUSY_SHARE = 0.75
"""Of its slots, that requests take on average before there is another replica: it comes later than they do."""
# Serve's own are 30, 600 and 30: a minute until a replica is asked for, which then takes 10 s to start with nano. Its
# counts come every 10 s, over more than which it has to average.
UP_SECONDS, DOWN_SECONDS, LOOK_BACK_SECONDS = 10.0, 600.0, 20.0
"""That the load lasts before a replica is added or ends, and over how many it is averaged."""
DOWN_SHARE = 0.25
"""Of the replicas that are too many, that end at once: with Serve's own 1, one quiet minute sends them all away."""
HEALTH_SECONDS, HEALTH_TIMEOUT_SECONDS = 10.0, 30.0
"""Between two looks at a replica; three that fail end it, and an answer that stays away for so long fails."""
DRAIN_STEP_SECONDS = 2.0
"""Between two looks of a replica that leaves whether its requests have ended; the first is the least it waits."""
AFTER_DRAIN_SECONDS = 15.0
"""Beyond that, for jobs to be left in order: jobs.jobs.LEAVE_SECONDS, and the engine's thread."""
KEEP_ALIVE_SECONDS = 75


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a deployment; the rest is worked out of it and of the settings."""

    host: str = "127.0.0.1"
    """Address that Serve's proxy binds on every node."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    """TCP port of those proxies."""
    least: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Replicas that are always there."""
    most: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Replicas under load."""
    cpus: Annotated[float, Meta(ge=0, le=1024)] = 0.0
    """Cores of a replica, which Ray counts; 0: engine.threads, else one beside a GPU, else all of this machine's."""
    gpus: Annotated[float, Meta(ge=0, le=64)] = 0.0
    """GPUs of a replica: 1, or a share of one; 0: it speaks on the CPU."""
    slots: Annotated[int, Meta(ge=0, le=256)] = 0
    """Requests that a replica speaks at a time; 0: as the settings say, else the most there are by itself."""
    drain_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """Seconds that streams may take to end before a replica leaves."""


def config(plan: Plan, settings: Settings) -> dict[str, Any]:
    """The plan as Serve's config file has it. Raises SettingsError."""
    if plan.least > plan.most:
        raise SettingsError(f"there are to be at least {plan.least} replicas and at most {plan.most} (--least, --most)")
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": plan.host, "port": plan.port, "keep_alive_timeout_s": KEEP_ALIVE_SECONDS},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                # What proxies bind is theirs alone to know; a replica must, so that nobody is let in without a key.
                "args": {"host": plan.host},
                "deployments": [{"name": DEPLOYMENT, **options(plan, settings)}],
            }
        ],
    }


def options(plan: Plan, settings: Settings) -> dict[str, Any]:
    """What the deployment is given, by Serve's names. Raises SettingsError."""
    slots = _slots(plan, settings)
    resources: dict[str, float] = {"num_cpus": _cpus(plan, settings)}
    if plan.gpus:
        if ":" in settings.engine.device or settings.engine.device == "cpu":
            raise SettingsError(
                f"engine.device is {settings.engine.device!r}, and each replica is to have {plan.gpus:g} GPU, which "
                "Ray chooses: set engine.device to auto or cuda on every node, or deploy with --gpus 0"
            )
        resources["num_gpus"] = plan.gpus
    return {
        "autoscaling_config": {
            "min_replicas": plan.least,
            "max_replicas": plan.most,
            "target_ongoing_requests": round(max(1.0, BUSY_SHARE * slots), 2),
            "upscale_delay_s": UP_SECONDS,
            "downscale_delay_s": DOWN_SECONDS,
            "downscaling_factor": DOWN_SHARE,
            "look_back_period_s": LOOK_BACK_SECONDS,
        },
        "max_ongoing_requests": slots + settings.engine.queue + BESIDE_SPEECH,
        "max_queued_requests": slots + settings.engine.queue + BESIDE_SPEECH,
        "health_check_period_s": HEALTH_SECONDS,
        "health_check_timeout_s": HEALTH_TIMEOUT_SECONDS,
        "graceful_shutdown_wait_loop_s": DRAIN_STEP_SECONDS,
        "graceful_shutdown_timeout_s": plan.drain_seconds + AFTER_DRAIN_SECONDS,
        "ray_actor_options": resources,
        # Each request has a line of our own, with what it was about.
        "logging_config": {"enable_access_log": False},
    }


def _slots(plan: Plan, settings: Settings) -> int:
    from more_server.engine.memory import CPU_SLOTS, GPU_SLOTS

    return (
        plan.slots
        or settings.engine.max_concurrency
        or settings.engine.slots
        or (GPU_SLOTS if plan.gpus else CPU_SLOTS)
    )


def _cpus(plan: Plan, settings: Settings) -> float:
    from more_server.engine.engine import usable_cores

    return plan.cpus or settings.engine.threads or (1.0 if plan.gpus else float(usable_cores()))
