"""One line a speech request, whatever becomes of it, and never a word of its text."""

import asyncio
import io
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, redirect_stderr

import httpx
import numpy as np
import pytest
import structlog

from more_server import logs
from more_server.engine.runner import Runner
from more_server.report import Reports
from more_server.speech import Audio, Profile, Utterance, Voice, VoiceLatents
from tests.web.conftest import Server

SECRET = "Crocodile"
TEXT = f"The {SECRET} is asleep, and nobody is going to wake it up."
SPEECH = "/v1/audio/speech"
FIELDS = {
    *("request_id", "user_agent", "duration_ms", "text_length", "voice_id", "quality_profile", "first_audio_ms"),
    *("real_time_factor", "outcome", "door", "model", "language", "seed", "audio_seconds", "guards"),
}

Start = Callable[..., AbstractContextManager[Server]]


class Log:
    """What the server wrote to standard error."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, style: str) -> None:
        """Send the log here; pytest puts a standard error of its own in place for each phase of a test."""
        with redirect_stderr(self.stream):
            logs.configure("info", style)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def speech(self, count: int = 1) -> list[dict[str, object]]:
        """The lines of speech requests, once there are so many."""
        end = time.monotonic() + 10
        while len(found := [line for line in self.lines() if line["event"] == "speech"]) < count:
            assert time.monotonic() < end, self.stream.getvalue()
            time.sleep(0.02)
        return found


@pytest.fixture(params=["json", "text"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    made.configure("json")
    yield made
    structlog.reset_defaults()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the runner fail after so many codes."""
    original = Runner.step

    def arrange(codes: int) -> None:
        left = [codes]

        def run(self: Runner, sequences: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the device is gone")
            return original(self, sequences)  # type: ignore[arg-type]

        monkeypatch.setattr(Runner, "step", run)

    return arrange


def test_a_good_request(start: Start, log: Log) -> None:
    with start() as server:
        server.http().post(SPEECH, json={"input": TEXT, "seed": 5}, headers={"x-request-id": "mine"})
        (line,) = log.speech()
    assert (line["request_id"], line["outcome"], line["voice_id"]) == ("mine", "ok", "linden")
    assert (line["quality_profile"], line["seed"], line["text_length"]) == ("balanced", 5, len(TEXT))
    assert str(line["user_agent"]).startswith("python-httpx")
    assert 0 < float(str(line["first_audio_ms"])) <= float(str(line["duration_ms"]))
    assert float(str(line["audio_seconds"])) > 1
    assert float(str(line["real_time_factor"])) > 0
    assert SECRET not in log.stream.getvalue()


def test_refused_requests(start: Start, log: Log) -> None:
    with start() as server:
        for body in ({"input": TEXT, "voice": "nobody"}, {"input": TEXT, "speed": 9}, {"text": TEXT}):
            server.http().post(SPEECH, json=body)
        server.http().post(SPEECH, content=b"x" * 70_000)
        outcomes = [line["outcome"] for line in log.speech(4)]
    assert outcomes == ["voice_not_found", "invalid_value", "invalid_value", "413"]
    assert all(line["level"] == "info" for line in log.lines())
    assert all(line["first_audio_ms"] is None for line in log.speech(4))
    assert all(line.keys() >= FIELDS for line in log.speech(4))  # whatever became of it, for whoever reads by column


@pytest.mark.parametrize("after", [0, 60], ids=["before the first byte", "in the middle"])
def test_failures_are_told_once_without_the_text(
    start: Start, log: Log, failing: Callable[[int], None], after: int, style: str
) -> None:
    with start() as server:
        log.configure(style)
        failing(after)
        with server.fresh() as client:
            try:
                client.post(SPEECH, json={"input": " ".join([TEXT] * 5), "response_format": "pcm"})
            except httpx.RemoteProtocolError:
                assert after
        if style == "json":
            (line,) = log.speech()
            assert line["outcome"] == "server_error"
            assert [entry["event"] for entry in log.lines()].count("speaking failed") == 1
        else:
            time.sleep(0.5)
    written = log.stream.getvalue()
    assert SECRET not in written
    assert "the device is gone" in written
    assert "Exception in ASGI application" not in written
    assert len(written) < 8000


def test_clients_that_leave_are_no_errors(start: Start, log: Log) -> None:
    with start() as server:
        address = server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as half_sent:
            half_sent.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            time.sleep(0.1)
        log.speech(1)
        with server.fresh() as client:
            body = {"input": " ".join([TEXT] * 30), "response_format": "pcm"}
            with client.stream("POST", SPEECH, json=body) as response:
                chunks = response.iter_raw()
                next(chunks)
        outcomes = [line["outcome"] for line in log.speech(2)]
    assert outcomes == ["unfinished", "unfinished"]
    assert {line["level"] for line in log.lines()} == {"info"}
    assert "Traceback" not in log.stream.getvalue()


def test_http_1_0_is_answered_whole_or_not_at_all(start: Start, log: Log, failing: Callable[[int], None]) -> None:
    """Without chunks a cut connection looks like the end, so the answer waits until all of it is there."""

    def ask(server: Server) -> bytes:
        host, port = server.url.removeprefix("http://").split(":")
        body = json.dumps({"input": " ".join([TEXT] * 5), "response_format": "pcm", "seed": 1}).encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/audio/speech HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            received = b""
            while part := connection.recv(65_536):
                received += part
        return received

    with start() as server:
        head, _, content = ask(server).partition(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"content-length: %d" % len(content) in head.lower()
        assert len(content) > 100_000
        failing(60)
        head, _, content = ask(server).partition(b"\r\n\r\n")
        assert b" 500 " in head
        assert json.loads(content)["error"]["code"] == "server_error"
        assert [line["outcome"] for line in log.speech(2)] == ["ok", "server_error"]


async def test_lines_of_a_request_carry_its_id_and_those_of_others_do_not(log: Log) -> None:
    """What registry, voices and plugins log while they work for a request, on threads and in tasks of its own, too."""
    logger = structlog.get_logger("somebody")

    async def resolved(utterance: Utterance) -> Utterance:
        logger.info("resolving")
        await asyncio.to_thread(logger.info, "on a thread")
        await asyncio.create_task(asyncio.to_thread(logger.info, "in a task"))
        return utterance

    async def spoken() -> AsyncGenerator[Audio, None]:
        logger.info("speaking")
        yield Audio(np.ones(100, np.float32), 100)

    with Reports().begin("mine", "http") as report:
        latents = VoiceLatents(np.zeros(0, np.float32), np.zeros(0, np.float32))
        profile = Profile(name="fast", temperature=1, top_p=1)
        voice = Voice(id="ann", name="Ann")
        asked = Utterance(
            id="mine", segments=(), voice=voice, latents=latents, language="en", profile=profile, speed=1, seed=0
        )
        utterance = await report.resolving(resolved(asked))
        assert utterance is asked
        async for _ in report.watched(spoken()):
            logger.info("between")
    logger.info("after")
    ids = {str(line["event"]): line.get("request_id") for line in log.lines()}
    assert ids.pop("speech") == "mine"
    inside = ("resolving", "on a thread", "in a task", "speaking")
    assert ids == dict.fromkeys(inside, "mine") | {"between": None, "after": None}


def test_addresses_of_webhooks_are_not_told(log: Log) -> None:
    log.configure("json")
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(204))) as client:
        client.post("https://hooks.example/T0/secret")
    assert log.stream.getvalue() == ""


def test_requests_for_jobs_are_told_apart_from_the_jobs(start: Start, log: Log) -> None:
    """One connection; the first request opens all that works on jobs, which goes on for as long as the server does."""
    with start() as server:
        log.configure("json")
        http, mine, yours = server.http(), {"x-request-id": "mine"}, {"x-request-id": "yours"}
        asked = {"kind": "speech", "input": "Hello."}
        first = http.post("/v1/jobs", json=asked, headers=mine).raise_for_status().json()["id"]
        with http.stream("GET", f"/v1/jobs/{first}/events") as events:
            events.read()
        second = http.post("/v1/jobs", json=asked | {"input": f"{TEXT} " * 50}, headers=yours).json()["id"]
        http.post(f"/v1/jobs/{second}/cancel", headers=mine).raise_for_status()
        http.post(f"/v1/jobs/{second}/resume", headers=yours).raise_for_status()
        http.post(f"/v1/jobs/{second}/cancel").raise_for_status()
        http.delete(f"/v1/jobs/{first}", headers=yours).raise_for_status()
        http.post("/v1/admin/profiles", json={"name": "calm", "base": "fast"}, headers=mine).raise_for_status()
        record = http.get("/v1/admin/audit").json()["data"][-1]
    assert (record["action"], record["request_id"]) == ("profiles.create", "mine")
    told = [(line["event"], line["job"], line.get("request_id")) for line in log.lines() if "job" in line]
    assert [one for one in told if one[0] in ("job_created", "job_resumed", "job_deleted")] == [
        ("job_created", first, "mine"),
        ("job_created", second, "yours"),
        ("job_resumed", second, "yours"),
        ("job_deleted", first, "yours"),
    ]
    (cancelled, again) = (one[2] for one in told if one[0] == "job_cancelled")
    assert cancelled == "mine"
    assert str(again).startswith("req_")
    theirs = [one for one in told if one[0] in ("job_begins", "job_ended")]
    assert ("job_begins", first, None) in theirs
    assert {one[2] for one in theirs} == {None}
