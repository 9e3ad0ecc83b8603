"""Serve as it is asked over its REST interface on the first node: deploy, status, remove."""

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from more_server.cluster.plan import APPLICATION
from more_server.errors import MoreError, Unavailable

if TYPE_CHECKING:
    import httpx

PATH = "/api/serve/applications/"
ANSWER_SECONDS = 120.0
"""For one answer: the first one starts Serve's controller."""
LOOK_SECONDS = 0.5
ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Unreadable|NotFound): (.+)")
"""The end of a traceback, of Python's errors and of ours."""
RUNNING, FAILED = "RUNNING", "DEPLOY_FAILED"


class ReplicaRow(msgspec.Struct, frozen=True):
    """A replica, as Serve shows it."""

    replica_id: str
    state: str
    node_ip: str | None = None
    node_id: str | None = None
    pid: int | None = None
    start_time_s: float = 0.0
    """Unix seconds."""


class DeploymentRow(msgspec.Struct, frozen=True):
    """A deployment."""

    status: str
    message: str
    target_num_replicas: int
    replicas: list[ReplicaRow]


class ApplicationRow(msgspec.Struct, frozen=True):
    """An application."""

    status: str
    message: str
    deployments: dict[str, DeploymentRow]


class ProxyRow(msgspec.Struct, frozen=True):
    """A proxy, one on each node that has replicas."""

    status: str
    node_ip: str | None = None


class Address(msgspec.Struct, frozen=True):
    """What proxies bind."""

    host: str
    port: int


class Status(msgspec.Struct, frozen=True):
    """Of the whole cluster; what Serve tells beyond is left out."""

    proxies: dict[str, ProxyRow]
    applications: dict[str, ApplicationRow]
    http_options: Address | None = None

    @property
    def application(self) -> ApplicationRow | None:
        """Ours."""
        return self.applications.get(APPLICATION)

    @property
    def replicas(self) -> list[ReplicaRow]:
        """Ours, of all deployments."""
        deployments = self.application.deployments.values() if self.application else ()
        return [one for deployment in deployments for one in deployment.replicas]


class Front:
    """The first node. Every method raises Unavailable where it does not answer, MoreError with what Serve says."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address.rstrip("/"), token

    def status(self) -> Status:
        """As it is now."""
        answer = self._asked("GET")
        try:
            return msgspec.json.decode(answer.content, type=Status)
        except msgspec.DecodeError as error:
            raise MoreError(f"what answers at {self._address} is not Ray Serve: {error}") from error

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Ask for the applications of a config; it returns before they are there."""
        self._asked("PUT", config)

    def down(self, seconds: float) -> None:
        """End Serve, once what is spoken has come to its end; nodes stay. Raises MoreError where that takes longer."""
        if self.status().applications:
            # Serve's own end would cut them off: its proxies do not wait.
            self.deploy({"applications": []})
            self.until(lambda found: not found.applications, seconds, "the application has not left")
        self._asked("DELETE")

    def until(self, reached: Callable[[Status], bool], seconds: float, what: str) -> Status:
        """Look again and again. Raises MoreError where it takes longer than that."""
        last = time.monotonic() + seconds
        while not reached(found := self.status()):
            ours = found.application
            if time.monotonic() > last:
                said = f"; it is {ours.status}: {_reason(ours)}" if ours else ""
                raise MoreError(f"{what} after {seconds:g} s{said}")
            time.sleep(LOOK_SECONDS)
        return found

    def _asked(self, method: str, body: Mapping[str, Any] | None = None) -> "httpx.Response":
        import httpx

        headers = {"authorization": f"Bearer {self._token}"}
        try:
            # Ray's port is one of a trusted network; what the environment says of proxies is not for it.
            with httpx.Client(headers=headers, timeout=ANSWER_SECONDS, trust_env=False) as client:
                answer = client.request(method, self._address + PATH, json=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(
                f"no node answers at {self._address} ({reason}); start one with `more-server cluster up`, or say where "
                "the first one is with --at"
            ) from error
        if answer.status_code in (401, 403):
            raise MoreError(
                f"{self._address} does not know our token; copy cluster/token from the first node's data_dir"
            )
        if answer.is_error:
            raise MoreError(f"{self._address}: {answer.text.strip() or answer.status_code}")
        return answer


def is_running(status: Status) -> bool:
    """The application takes requests, and every replica that is to be there is. Raises MoreError where it failed."""
    if status.application is None:
        return False
    if status.application.status == FAILED:
        raise MoreError(f"the application cannot be deployed: {_reason(status.application)}")
    return status.application.status == RUNNING


def _reason(application: ApplicationRow) -> str:
    """The last error of the tracebacks that Serve tells, else its first words."""
    told = [*(one.message for one in application.deployments.values()), application.message]
    lines = [line.strip() for message in told for line in message.splitlines() if line.strip()]
    errors = [found[1] for line in lines if (found := ERROR.fullmatch(line))]
    return errors[-1] if errors else lines[0] if lines else "Serve tells no reason"
