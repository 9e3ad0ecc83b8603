"""Clients that leave, take too little, or would have to wait too long: nothing goes on for them."""

import gc
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from more_server.engine.runner import Runner
from tests.web.conftest import Server, nano_settings, running
from tests.web.test_bounds import is_reset
from tests.web.test_speech import LONG
from tests.web.voicedesk import TONE

SOON = 20.0
NEXT = {"input": "Next.", "voice": "linden"}
Slow = Callable[[Callable[[int], float]], None]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Makes each step take so much longer, in seconds; it is told how many there were before."""
    original = Runner.step

    def arrange(longer: Callable[[int], float]) -> None:
        steps = iter(range(1_000_000))

        def run(self: Runner, sequences: object) -> object:
            time.sleep(longer(next(steps)))
            return original(self, sequences)  # type: ignore[arg-type]

        monkeypatch.setattr(Runner, "step", run)

    return arrange


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one slot."""
    with running(nano_settings(tmp_path_factory.mktemp("data"), slots=1)) as made:
        yield made


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one slot, and little time for everything."""
    settings = nano_settings(tmp_path_factory.mktemp("data"), slots=1)
    few = {"reader_seconds": 2.0, "slow_bytes": 50, "first_audio_seconds": 3.0, "total_seconds": 6.0}
    with running(msgspec.structs.replace(settings, limits=msgspec.structs.replace(settings.limits, **few))) as made:
        yield made


def connected(server: Server, held: ExitStack, room: int = 0) -> socket.socket:
    """room: bytes that the system takes for a client that reads nothing."""
    host, port = server.url.removeprefix("http://").split(":")
    made = held.enter_context(closing(socket.socket()))
    if room:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.settimeout(SOON)
    made.connect((host, int(port)))
    return made


def ask(connection: socket.socket, **body: Any) -> None:
    content = json.dumps(LONG | body).encode()
    head = b"POST /v1/audio/speech HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    connection.sendall(head % len(content) + content)


def queue(server: Server) -> dict[str, int]:
    found: dict[str, int] = server.http().get("/health/detail").raise_for_status().json()["queue"]
    return found


def until(true: Callable[[], bool]) -> None:
    last = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < last
        time.sleep(0.02)


def is_idle(server: Server) -> bool:
    found = queue(server)
    return found["slots_in_use"] == found["speaking"] == found["waiting"] == 0


def outcomes(logs: list[Any], count: int) -> list[str]:
    """Of as many requests, of which no more are to come."""
    until(lambda: len([line for line in logs if line["event"] == "speech"]) >= count)
    return [line["outcome"] for line in logs if line["event"] == "speech"]


@pytest.mark.parametrize("phase", ["in the queue", "a new voice", "a whole answer", "in the middle"])
def test_a_client_that_leaves_frees_its_slot(
    server: Server, slow: Slow, held: ExitStack, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """With one slot, the next request is answered although those before it would have taken forty seconds each."""
    slow(lambda _: 0.01)
    with capture_logs() as logs:
        one, other = connected(server, held), connected(server, held)
        at_work, go_on, left = threading.Event(), threading.Event(), 1
        original = Runner.condition

        def condition(self: Runner, clips: Any) -> Any:
            at_work.set()
            assert go_on.wait(SOON)
            return original(self, clips)

        if phase == "a new voice":
            monkeypatch.setattr(Runner, "condition", condition)
            ask(one, voice="rowan")
            assert at_work.wait(SOON)
        else:
            ask(one, **({"stream": False} if phase == "a whole answer" else {}))
            until(lambda: queue(server)["speaking"] == 1)
        if phase == "in the middle":
            assert one.recv(100).startswith(b"HTTP/1.1 200")
        if phase == "in the queue":
            ask(other)
            until(lambda: queue(server)["waiting"] == 1)
            other.close()
            until(lambda: queue(server)["waiting"] == 0)
            left = 2
        one.close()
        # Told while the voice is still being made, too: nobody waits for that.
        assert outcomes(logs, left) == ["unfinished"] * left
        go_on.set()
        until(lambda: is_idle(server))
        assert server.http().post("/v1/audio/speech", json=NEXT).status_code == 200
        assert is_idle(server)


# What Litestar has of a form is closed as it is collected, which Python warns of.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning")
def test_a_client_that_leaves_within_its_voice(server: Server, held: ExitStack) -> None:
    """Nothing is kept of it, in no place, and its name is free."""
    fields = {"name": "gone", "consent": "she said yes"}
    request = httpx.Request(
        "POST", f"{server.url}/v1/audio/voices", data=fields, files={"audio_sample": ("clip.wav", TONE, "audio/wav")}
    )
    content = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    before = everything(server)
    for sent in (60, len(content) // 2, len(content) - 1):
        one = connected(server, held)
        one.sendall(f"POST /v1/audio/voices HTTP/1.1\r\n{head}\r\n".encode() + content[:sent])
        time.sleep(0.2)  # it has come, and is being read
        one.close()
    # Whoever comes next is served after them.
    assert [one["id"] for one in server.http().get("/v1/audio/voices").json()["data"]] == ["linden", "rowan"]
    assert everything(server) == before
    made = server.http().post("/v1/audio/voices", data=fields, files={"audio_sample": ("clip.wav", TONE, "audio/wav")})
    assert made.raise_for_status().json()["id"] == "gone"
    assert everything(server) > before
    assert server.http().delete("/v1/audio/voices/gone").is_success
    gc.collect()


def everything(server: Server) -> set[Path]:
    return set((server.settings.data_dir / "voices").rglob("*"))


def test_a_client_that_reads_a_byte_a_second(strict: Server, held: ExitStack) -> None:
    """It is cut off in the middle, although it takes something again and again."""
    with capture_logs() as logs:
        one = connected(strict, held, room=4096)
        # Many bytes a second of speech: the system takes more than two million, whoever reads them or not.
        ask(one, speed=0.25, stream_format="sse")
        last = time.monotonic() + 60
        while not [line for line in logs if line["event"] == "a connection is cut"]:
            assert time.monotonic() < last
            assert one.recv(1)
            time.sleep(1)
        assert is_reset(one)
        until(lambda: is_idle(strict))
        assert outcomes(logs, 1) == ["unfinished"]


def test_no_audio_in_time(strict: Server, slow: Slow) -> None:
    slow(lambda _: 0.5)
    with capture_logs() as logs:
        answer = strict.http().post("/v1/audio/speech", json=LONG)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_time")
        assert "limits.first_audio_seconds" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) > 0
        until(lambda: is_idle(strict))
        assert outcomes(logs, 1) == ["out_of_time"]


def test_not_all_of_it_in_time(strict: Server, slow: Slow) -> None:
    """What was made is heard, and then the connection is cut, for an end would look like all of it."""
    slow(lambda step: 0 if step < 30 else 0.5)
    with capture_logs() as logs, strict.fresh() as client:
        with client.stream("POST", "/v1/audio/speech", json=LONG) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw()
            assert next(pieces)
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
        until(lambda: is_idle(strict))
        assert outcomes(logs, 1) == ["out_of_time"]
