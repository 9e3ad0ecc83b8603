"""What Serve imports: the deployment around a replica. The one module that imports Ray."""

from typing import TYPE_CHECKING, Any

import msgspec

from more_server.cluster.plan import DEPLOYMENT, Plan, options
from more_server.errors import SettingsError
from more_server.settings import read

if TYPE_CHECKING:
    from ray.serve import Application

    from more_server.cluster.replica import Replica


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`args` of a config file."""

    # Whoever writes a config by hand and forgets it gets the careful answer: without a key nothing starts.
    host: str = "0.0.0.0"  # noqa: S104 - nothing is bound here
    """What `http_options.host` says: other machines reach it, so that a key is asked for, or not."""


def application(args: dict[str, str]) -> "Application":
    """The application of a config file; what it leaves out is as `more-server cluster config` writes it.

    args: as Arguments has it. Raises SettingsError.
    """
    from ray import serve

    try:
        arguments = msgspec.convert(args, Arguments)
    except msgspec.ValidationError as error:
        raise SettingsError(f"args of the application do not fit: {error}; there is: host") from error

    @serve.ingress()
    class Speech:
        """One process that speaks."""

        def __init__(self, host: str) -> None:
            self._replica = _made(host)

        def __serve_build_asgi_app__(self) -> "Replica":
            return self._replica

        async def check_health(self) -> None:
            self._replica.check_health()

    made = serve.deployment(name=DEPLOYMENT, **options(Plan(), read().settings))(Speech)
    bound: Application = made.bind(arguments.host)
    return bound


def _made(host: str) -> "Replica":
    """The replica of this process."""
    import ray
    from ray import serve

    from more_server.cluster.replica import Replica

    _is_leaving()  # where Ray has moved its mark, that is to be known at once
    context: Any = ray.get_runtime_context()
    resources = context.get_assigned_resources()
    threads = 0 if resources.get("GPU") else int(resources.get("CPU", 0))
    return Replica(serve.get_replica_context().replica_id.unique_id, host, threads, _is_leaving)


def _is_leaving() -> bool:
    """Whether Serve has told this replica to end.

    Serve waits for the requests of a replica before it tells the application, and an open WebSocket or a job's events
    last as long as their clients like. There is no public word for it, so Serve's own mark is looked at.
    """
    import ray

    worker: Any = ray._private.worker.global_worker
    actor = worker.actors[worker.actor_id]
    return bool(actor._replica_impl._shutting_down)
