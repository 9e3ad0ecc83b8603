"""`cluster`: the same server on several machines."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from more_server.cli.output import console, quiet, settings, table
from more_server.errors import MoreError, SettingsError

if TYPE_CHECKING:
    from more_server.cluster.front import Front
    from more_server.settings import Settings

app = App(name="cluster", help="Run on several machines: nodes, and the application on them.", help_format="plaintext")

AT = "http://127.0.0.1:8265"
DEPLOY_SECONDS = 600.0
"""For all replicas to be ready; a model of 2 GB is read from a cold disk in minutes."""
LEAVE_SECONDS = 90_000.0
"""For all replicas to leave: each at the latest after its own --drain, of a day at most."""
At = Annotated[str, Parameter(name="--at")]


@Parameter(name="*", group="The application")
@dataclass(frozen=True)
class Options:
    """How the application is spread."""

    host: str = "127.0.0.1"
    """Address that Serve binds on every node."""
    port: int = 8000
    """TCP port there."""
    least: int = 1
    """Replicas that are always there."""
    most: int | None = None
    """Replicas under load; left out: as many as at least."""
    cpus: float = 0.0
    """Cores of a replica; 0: engine.threads, else one beside a GPU, else all of this machine's."""
    gpus: float | None = None
    """GPUs of a replica, 1 or a share of one; left out: 1 where this machine would speak on one."""
    slots: int = 0
    """Requests that a replica speaks at a time; 0: as the settings say, else 8 on a CPU and 64 on a GPU."""
    drain: float = 300.0
    """Seconds that streams may take to end before a replica leaves."""


@app.command
def up(
    *,
    host: str = "127.0.0.1",
    join: str = "",
    port: int = 6379,
    dashboard_port: int = 8265,
    cpus: int = 0,
    gpus: int = -1,
    temp_dir: str = "",
    drain: float = 120.0,
) -> None:
    """Make this machine a node of the cluster, until Ctrl-C or SIGTERM.

    It brings its own settings: more.toml here and MORE_* variables, as `serve` reads them.

    Parameters
    ----------
    host
        Address of this machine that the other nodes reach; Ray binds its ports there.
    join
        host:port of the first node; left out, this is the first one.
    port
        TCP port of the first node, which the others join.
    dashboard_port
        TCP port on the first node, which deploy, status and down ask.
    cpus
        Cores that replicas may have here; 0: all.
    gpus
        GPUs that replicas may have here; -1: all.
    temp_dir
        Folder of Ray's logs and sockets; left out: /tmp/ray.
    drain
        Seconds at the end for replicas to come up elsewhere and for streams here to end.
    """
    from more_server.cluster import node as nodes
    from more_server.decisions import take_up_decisions
    from more_server.models import fetch_chosen

    loaded = _prepared()
    given = {"host": host, "join": join, "port": port, "dashboard_port": dashboard_port}
    given |= {"cpus": cpus, "gpus": gpus, "temp_dir": temp_dir, "drain_seconds": drain}
    node = _fitting(given, nodes.Node)
    # Before it belongs to the cluster: a replica that waits for gigabytes would hold up a deployment.
    take_up_decisions(loaded)
    fetch_chosen(loaded)

    def told() -> None:
        if join:
            console().print(f"{host} has joined {join}")
            return
        console().print(
            f"The first node is up. Other machines: more-server cluster up --host ADDRESS --join {host}:{port}"
        )
        console().print(f"Then: more-server cluster deploy --at http://{host}:{dashboard_port}")

    sys.exit(nodes.run(node, loaded, told))


@app.command
def config(*, options: Options | None = None) -> None:
    """Print a config file of Ray Serve, for `serve deploy`, for KubeRay, or to change and deploy."""
    sys.stdout.write(msgspec.yaml.encode(_config(_prepared(), options or Options())).decode())


@app.command
def deploy(file: Path | None = None, /, *, at: At = AT, options: Options | None = None) -> None:
    """Put the application onto the cluster, or a changed one in place of it, and wait until it speaks.

    Parameters
    ----------
    file
        A config of `more-server cluster config`; left out: what that prints for the same options.
    at
        The first node's dashboard.
    options
        How it is spread.
    """
    from more_server.cluster.front import is_running

    loaded = _prepared()
    if file is not None and options is not None:
        raise SettingsError(f"{file} says all of it; change it there, or leave it out and give options")
    made = _config(loaded, options or Options()) if file is None else _read(file)
    front = _front(loaded, at)
    began = time.monotonic()
    front.deploy(made)
    status = front.until(is_running, DEPLOY_SECONDS, "the application does not take requests yet")
    seconds = time.monotonic() - began
    address = status.http_options
    where = f"http://{address.host}:{address.port}/ of every node" if address else "every node"
    console().print(f"{len(status.replicas)} replicas speak at {where}, after {seconds:.0f} s")


@app.command
def status(*, at: At = AT) -> None:
    """Show the application, its replicas and Serve's proxies.

    Parameters
    ----------
    at
        The first node's dashboard.
    """
    found = _front(_prepared(), at).status()
    out = console()
    if found.application is None:
        out.print("The cluster is up, without the application: more-server cluster deploy")
        return
    out.print(f"{found.application.status} {found.application.message}".strip())
    for deployment in found.application.deployments.values():
        out.print(
            f"{deployment.target_num_replicas} replicas are wanted: {deployment.status} {deployment.message}".strip()
        )
    made = table("replica", "state", "node", "process", "for")
    for replica in found.replicas:
        seconds = f"{max(0.0, time.time() - replica.start_time_s):.0f} s"
        made.add_row(replica.replica_id, replica.state, replica.node_ip or "", str(replica.pid or ""), seconds)
    out.print(made)
    made = table("proxy", "state")
    for proxy in found.proxies.values():
        made.add_row(proxy.node_ip or "", proxy.status)
    out.print(made)


@app.command
def down(*, at: At = AT) -> None:
    """Take the application off the cluster: what is being spoken comes to its end first. Nodes stay.

    Parameters
    ----------
    at
        The first node's dashboard.
    """
    _front(_prepared(), at).down(LEAVE_SECONDS)
    console().print("The application is off the cluster; end its nodes with Ctrl-C or SIGTERM, the first one last")


def _prepared() -> "Settings":
    """Settings of this command, where the extra is there. Raises SettingsError."""
    from more_server.cluster.node import check_installed

    check_installed()
    loaded = settings()
    quiet(loaded)
    return loaded


def _front(loaded: "Settings", at: str) -> "Front":
    from more_server.cluster.front import Front
    from more_server.cluster.node import read_token

    return Front(at, read_token(loaded))


def _config(loaded: "Settings", options: Options) -> dict[str, Any]:
    from more_server.cluster.plan import Plan
    from more_server.cluster.plan import config as planned

    given = asdict(options)
    given["drain_seconds"] = given.pop("drain")
    if given["most"] is None:
        given["most"] = given["least"]
    if given["gpus"] is None:
        from more_server.engine.runner import pick_device

        given["gpus"] = 1.0 if pick_device(loaded.engine.device).type == "cuda" else 0.0
    return planned(_fitting(given, Plan), loaded)


def _fitting(given: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        option = path.rstrip("`").removesuffix("_seconds").replace("_", "-")
        raise SettingsError(f"--{option}: {what[0].lower()}{what[1:]}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise MoreError(f"{file} is no config of Serve: {error}") from error
