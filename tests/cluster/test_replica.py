"""A replica as Serve sees it, without Serve: when it is ready, what makes it ill, and how it leaves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import create_server
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from more_server.cluster.replica import Replica, settings_of_replica
from more_server.engine.state import EngineState
from more_server.errors import Unavailable
from more_server.settings import Settings
from more_server.tables import EngineSettings

SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


class Alone:
    """tests/cluster/alone.py."""

    def __init__(self, folder: Path, *host: str, **settings: str) -> None:
        with create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.mark = folder / "leave"
        environment = os.environ | {
            "MORE_DATA_DIR": str(folder / "data"),
            "MORE_ENGINE__DEVICE": "cpu",
            "MORE_PREPARE_VOICES": "false",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.alone", str(self.port), str(self.mark), *host],
            cwd=ROOT,
            env=environment | {f"MORE_{name}": value for name, value in settings.items()},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=SECONDS)

    def answers(self) -> None:
        last = time.monotonic() + SECONDS
        while time.monotonic() < last:
            with suppress(httpx.TransportError):
                self.http.get("/health")
                return
            time.sleep(0.1)
        raise AssertionError(self.stop())

    def stop(self) -> str:
        """What it has written."""
        self.http.close()
        self.process.terminate()
        return self.process.communicate(timeout=SECONDS)[1]


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    made = Alone(tmp_path_factory.mktemp("alone"))
    yield made
    made.stop()


def test_the_first_answer_is_that_of_a_model_that_speaks(replica: Alone):
    replica.answers()
    assert replica.http.get("/health/ready").status_code == 200
    assert replica.http.get("/health", headers={"x-request-id": "mine"}).headers["x-replica"] == "here"


def test_a_message_that_is_too_large_ends_its_connection(replica: Alone):
    with connect(f"ws://127.0.0.1:{replica.port}/v1/audio/speech/stream") as socket:
        socket.send(json.dumps({"type": "input.text", "text": "a" * 2_000_000}))  # limits.body_bytes is 1 MB
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(SECONDS)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1009


def test_it_leaves_when_it_is_told(replica: Alone):
    asked = {"input": "The bread is still warm. " * 20, "voice": "linden", "response_format": "pcm", "seed": 2}
    whole = len(replica.http.post("/v1/audio/speech", json=asked).content)
    with ExitStack() as stack:
        silent = stack.enter_context(connect(f"ws://127.0.0.1:{replica.port}/v1/audio/speech/stream"))
        silent.send(json.dumps({"type": "session.config", "voice": "linden"}))
        stream = stack.enter_context(replica.http.stream("POST", "/v1/audio/speech", json=asked))
        pieces = stream.iter_raw()
        heard = len(next(pieces))
        replica.mark.touch()
        refused = replica.http.post("/v1/audio/speech", json={"input": "Hi."})
        assert refused.status_code == 200  # what proxies had sent by then
        assert heard + sum(map(len, pieces)) == whole
        with pytest.raises(ConnectionClosed) as closed:
            silent.recv(SECONDS)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
    refused = replica.http.post("/v1/audio/speech", json={"input": "Hi."})
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    assert replica.http.get("/health/ready").status_code == 503


def test_without_a_key_other_machines_are_not_let_in(tmp_path: Path):
    made = Alone(tmp_path, "0.0.0.0")
    assert made.process.wait(SECONDS) != 0
    assert "there is no key" in made.stop()


def test_a_model_that_cannot_speak_stops_the_start(tmp_path: Path):
    made = Alone(tmp_path, ENGINE__SLOTS="2", ENGINE__MAX_CONCURRENCY="5")
    assert made.process.wait(SECONDS) != 0
    assert "engine.max_concurrency 5 is more than there are slots (2)" in made.stop()


def ill(*, hung: bool = False, **state: Any) -> Replica:
    """A replica whose engine is in this state."""
    found = Replica.__new__(Replica)
    now = EngineState(model="nano", hung=hung, **state)
    engine = SimpleNamespace(hung=hung, state=lambda: now)
    fleet = SimpleNamespace(present=lambda: [SimpleNamespace(engine=engine)])
    found._application = SimpleNamespace(  # type: ignore[assignment]
        speaker=SimpleNamespace(fleet=fleet, engine=engine, draining=False, ready=True)
    )
    return found


@pytest.mark.parametrize(
    "state",
    [
        {"hung": True},
        {"failure": "the device failed again and again", "breaker_open": True},
        {"failure": "the engine has ended"},
    ],
)
def test_what_a_new_process_helps_against_is_an_illness(state: dict[str, Any]):
    with pytest.raises(Unavailable):
        ill(**state).check_health()


@pytest.mark.parametrize("state", [{"loaded": True}, {"loaded": False}, {"resting": True, "failure": "a training"}])
def test_what_passes_is_none(state: dict[str, Any]):
    ill(**state).check_health()


def test_a_replica_has_its_share_of_the_cores_and_serves_where_serve_does():
    made = settings_of_replica(Settings(), "10.0.0.1", 2)
    assert (made.server.host, made.engine.threads) == ("10.0.0.1", 2)
    said = settings_of_replica(Settings(engine=EngineSettings(threads=5)), "10.0.0.1", 2)
    assert said.engine.threads == 5
