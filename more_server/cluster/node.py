"""A node of the cluster on this machine: Ray's processes, as long as `more-server cluster up` runs."""

import importlib.util
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server.errors import SettingsError
from more_server.files import keep_file
from more_server.settings import Settings, child_environment

START_SECONDS = 120.0
"""For Ray's processes to come up; 7 to 10 s on two cores."""
END_SECONDS = 30.0
"""For them to end, once the replicas have left."""
LOOK_SECONDS = 0.2
STARTED = "Ray runtime started."
"""What Ray's command says then."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a node."""

    host: str = "127.0.0.1"
    """Address of this machine that the other nodes reach, and that Ray's own ports are bound to."""
    join: str = ""
    """`host:port` of the first node; empty: this is the first one."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 6379
    """Port of the first node, which the others join."""
    dashboard_port: Annotated[int, Meta(ge=1, le=65535)] = 8265
    """Port on the first node, which deploy, status and down ask."""
    cpus: Annotated[int, Meta(ge=0)] = 0
    """Cores that replicas may have here; 0: all."""
    gpus: Annotated[int, Meta(ge=-1)] = -1
    """GPUs that replicas may have here; -1: all."""
    temp_dir: str = ""
    """Folder of Ray's logs and sockets; empty: its own, /tmp/ray."""
    drain_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    """Seconds, after SIGTERM or Ctrl-C, for replicas to come up elsewhere and for streams here to end."""


def check_installed() -> None:
    """Raises SettingsError with what to install, where the extra is not there."""
    if importlib.util.find_spec("ray") is None:
        raise SettingsError("more than one machine needs Ray: pip install 'more-server[cluster]'")


def token_file(settings: Settings) -> Path:
    """What every node and whoever deploys must show: who has it runs code on all nodes."""
    return settings.data_dir / "cluster" / "token"


def read_token(settings: Settings) -> str:
    """The token. Raises SettingsError where there is none, or others can read it."""
    path = token_file(settings)
    try:
        mode = path.stat().st_mode
        token = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise SettingsError(
            f"there is no {path}: start the first node with `more-server cluster up`, which makes it, and copy it from "
            "there; nodes that share a data_dir share it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise SettingsError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 {path}")
    if not token:
        raise SettingsError(f"{path} is empty: copy it from the first node, or delete it there for a new one")
    return token


def _prepared_token(settings: Settings, *, first: bool) -> Path:
    path = token_file(settings)
    if first and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        keep_file(path, secrets.token_hex(32).encode(), private=True)
    read_token(settings)
    return path


def run(node: Node, settings: Settings, on_up: Callable[[], None]) -> int:
    """Run Ray's processes until SIGTERM or Ctrl-C, then let what speaks here end; the status to end with.

    on_up: told once the node belongs to the cluster. Raises SettingsError where it cannot.
    """
    token = _prepared_token(settings, first=not node.join)
    log = settings.data_dir / "cluster" / f"node-{node.host}.log"
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C is for this process, which then ends that one in order.
        process = subprocess.Popen(  # noqa: S603 - Ray's command and our own numbers
            _command(node), env=_environment(node, token), stdout=output, stderr=output, start_new_session=True
        )
    with _Ending() as ending:
        try:
            _wait_until_up(process, log, ending)
            if not ending.asked:
                on_up()
            while process.poll() is None and not ending.asked:
                time.sleep(LOOK_SECONDS)
            died = not ending.asked
        finally:
            _end(process, node.drain_seconds)
    if died:
        raise SettingsError(f"Ray's processes have ended by themselves; {log} tells why: {_last_line(log)}")
    return 0


def _command(node: Node) -> list[str]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += [f"--node-ip-address={node.host}"]
    if node.join:
        command += [f"--address={node.join}"]
    else:
        command += ["--head", f"--port={node.port}", "--include-dashboard=true"]
        command += [f"--dashboard-host={node.host}", f"--dashboard-port={node.dashboard_port}"]
    if node.cpus:
        command += [f"--num-cpus={node.cpus}"]
    if node.gpus >= 0:
        command += [f"--num-gpus={node.gpus}"]
    if node.temp_dir:
        command += [f"--temp-dir={node.temp_dir}"]
    return command


def _environment(node: Node, token: Path) -> dict[str, str]:
    return child_environment(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=f"{node.drain_seconds:g}",
    )


def _wait_until_up(process: "subprocess.Popen[bytes]", log: Path, ending: "_Ending") -> None:
    last = time.monotonic() + START_SECONDS
    while STARTED not in log.read_text("utf-8", "replace"):
        if ending.asked:
            return
        if process.poll() is not None:
            raise SettingsError(f"Ray does not start; {log} tells why: {_last_line(log)}")
        if time.monotonic() > last:
            raise SettingsError(f"Ray has not started within {START_SECONDS:g} s; {log} tells where it is")
        time.sleep(LOOK_SECONDS)


def _end(process: "subprocess.Popen[bytes]", drain_seconds: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(drain_seconds + END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # Ray's reaper ends what it has started
            process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing is in it"


class _Ending:
    """Hears SIGTERM and Ctrl-C while it is entered."""

    asked = False

    def __enter__(self) -> "_Ending":
        self._before = {one: signal.signal(one, self._hear) for one in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            with suppress(ValueError):
                signal.signal(number, handler)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
