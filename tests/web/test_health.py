"""Health: ready turns false with the reason, and the detail tells an administrator what is the matter."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import httpx
import pytest

from more_server.app import App, create_app
from more_server.engine import breaker
from more_server.engine.runner import Runner
from more_server.engine.sequence import Sequence
from more_server.engine.watch import HUNG
from tests.web import conftest
from tests.web.conftest import Server

Start = Callable[..., AbstractContextManager[Server]]


def ready(server: Server) -> tuple[int, bool, str]:
    answer = server.http().get("/health/ready")
    told = answer.json()
    assert ("retry-after" in answer.headers) is (answer.status_code == 503)
    return answer.status_code, told["ready"], told["reason"]


def test_detail_tells_what_runs(server: Server) -> None:
    answer = server.http().get("/health/detail")
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["status"], told["reason"], told["jobs"]) == ("ok", "", {})
    assert told["xtts"] == {"loaded": True, "model": "nano", "device": "cpu", "precision": "fp32"}
    assert told["breaker"] == {"open": False}
    assert told["queue"] == {"waiting": 0, "speaking": 0, "slots": 8, "slots_in_use": 0}
    assert told["version"]
    assert 0 <= told["uptime_seconds"] < 3600


def test_a_server_that_ends_is_not_ready(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[App] = []
    monkeypatch.setattr(conftest, "create_app", lambda *given: made.append(create_app(*given)) or made[0])
    with start() as server:
        made[0].speaker.draining = True
        assert ready(server) == (503, False, "the server is shutting down")
        assert server.http().get("/health/detail").json()["status"] == "draining"
        assert "xtts_ready 0.0" in server.http().get("/metrics").text
        assert server.http().get("/health").text == "OK"


def test_an_open_breaker_is_told_everywhere_and_closes_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "OPEN_SECONDS", (1.0, 1.0))
    broken = [True]
    for name in ("step", "probe"):
        original = getattr(Runner, name)

        def run(self: Runner, *given: object, original: Callable[..., object] = original) -> object:
            if broken[0]:
                raise RuntimeError("the device is gone")
            return original(self, *given)

        monkeypatch.setattr(Runner, name, run)
    broken[0] = False
    with start() as server:
        broken[0] = True
        for _ in range(breaker.FAILURES):
            assert server.http().post("/v1/audio/speech", json={"input": "Hello."}).status_code in (500, 503)
        status, is_ready, reason = ready(server)
        assert (status, is_ready) == (503, False)
        assert "again and again" in reason
        told = server.http().get("/health/detail").json()
        assert (told["status"], told["reason"], told["breaker"]) == ("failing", reason, {"open": True})
        assert (told["xtts"]["loaded"], told["xtts"]["model"]) == (False, "nano")
        assert {"xtts_breaker_open 1.0", "xtts_ready 0.0"} <= set(server.http().get("/metrics").text.splitlines())
        broken[0] = False
        last = time.monotonic() + 30
        while not ready(server)[1]:
            assert time.monotonic() < last
            time.sleep(0.1)
        assert server.http().get("/health/detail").json()["status"] == "ok"


def test_a_step_that_hangs_is_told_everywhere_until_it_is_back(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, original = threading.Event(), Runner.step
    goes_on.set()

    def step(self: Runner, sequences: list[Sequence]) -> list[int]:
        goes_on.wait(100)
        return original(self, sequences)

    monkeypatch.setattr(Runner, "step", step)

    def speech(server: Server) -> httpx.Response:
        return server.fresh().post("/v1/audio/speech", json={"input": "Hello."})

    def statuses(server: Server) -> list[int]:
        return [server.http().get(path).status_code for path in ("/health", "/health/live", "/health/ready")]

    try:
        with start(hung_seconds=3) as server, ThreadPoolExecutor() as pool:
            assert statuses(server) == [200, 200, 200]
            goes_on.clear()
            for answer in pool.map(speech, [server] * 2):  # the one that hangs, and one beside it
                assert answer.status_code == 503
                assert HUNG in answer.text
                assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert speech(server).status_code == 503  # at once
            assert statuses(server) == [503, 503, 503]
            assert server.http().get("/health/live").text == HUNG
            assert ready(server) == (503, False, HUNG)
            told = server.http().get("/health/detail").json()
            assert (told["status"], told["reason"], told["breaker"]) == ("failing", HUNG, {"open": False})
            goes_on.set()
            last = time.monotonic() + 30
            while statuses(server) != [200, 200, 200]:
                assert time.monotonic() < last
                time.sleep(0.1)
            assert server.http().get("/health/detail").json()["status"] == "ok"
            assert speech(server).status_code == 200
            goes_on.clear()
            assert speech(server).status_code == 503
            left = time.monotonic()
        # The server's end does not wait for it.
        assert time.monotonic() - left < 15
    finally:
        goes_on.set()
