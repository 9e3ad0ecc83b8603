"""How a served process ends and reloads: signals to `more-server serve` itself."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving import Server

SENTENCE = "The bread is still warm, and the kitchen smells of coffee. "
LONG = SENTENCE * 4
LIMIT = "[limits]\ntext_characters = {}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "more.toml"
    path.write_text(LIMIT.format(5000), "utf-8")
    return path


@pytest.fixture
def serve(tmp_path: Path, config: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def started(**settings: str) -> Server:
        made.append(Server(tmp_path / "data", CONFIG=str(config), LOG_FORMAT="json", **settings))
        return made[-1]

    yield started
    for server in made:
        server.stop()


def until(holds: Callable[[], bool]) -> None:
    last = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.02)


def test_what_is_spoken_ends_before_the_server(serve: Callable[..., Server]) -> None:
    server = serve(SERVER__SHUTDOWN_SECONDS="60")
    undisturbed = server.speak(input=LONG, response_format="pcm").content
    beside = httpx.Client(base_url=server.http.base_url)
    asked = {"input": LONG, "voice": "linden", "response_format": "pcm", "seed": 5}
    with beside, beside.stream("POST", "/v1/audio/speech", json=asked) as answer:
        pieces = answer.iter_raw()
        heard = next(pieces)
        server.signal(signal.SIGTERM)
        until(lambda: server.http.get("/health/ready").status_code == 503)
        assert server.http.get("/health/ready").json()["reason"] == "the server is shutting down"
        refused = server.speak()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "shutting down" in refused.json()["error"]["message"]
        assert server.http.get("/health/live").text == "OK"
        heard += b"".join(pieces)
    assert heard == undisturbed
    assert server.ended() in (0, -signal.SIGTERM)
    assert '"level": "error"' not in server.log()


def test_who_takes_too_long_is_cut_off(serve: Callable[..., Server]) -> None:
    """Nobody may keep a server from its end: whoever listens is told so by a cut connection."""
    server = serve(SERVER__SHUTDOWN_SECONDS="0", ENGINE__AHEAD_SECONDS="1")
    asked = {"input": LONG * 20, "voice": "linden", "response_format": "pcm"}  # more than sockets hold unread
    with server.http.stream("POST", "/v1/audio/speech", json=asked) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        server.signal(signal.SIGTERM)
        assert server.ended() in (0, -signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass


def test_a_hang_up_reloads(serve: Callable[..., Server], config: Path) -> None:
    server = serve()
    assert server.speak(input=SENTENCE).status_code == 200
    config.write_text(LIMIT.format(10), "utf-8")
    server.signal(signal.SIGHUP)
    until(lambda: server.speak(input=SENTENCE).status_code == 400)
    config.write_text(LIMIT.format("'many'"), "utf-8")
    server.signal(signal.SIGHUP)
    until(lambda: "settings not reloaded" in server.log())
    assert "limits.text_characters" in server.log()
    assert server.speak(input="Hello.").status_code == 200
    assert "at most 10" in server.speak(input=SENTENCE).text


def test_two_servers_share_a_data_directory(serve: Callable[..., Server]) -> None:
    one, other = serve(), serve()
    clip = one.speak(input=LONG).content
    form = {"name": "Ann", "consent": "Ann agreed"}
    made = one.http.post("/v1/audio/voices", data=form, files={"audio_sample": ("ann.wav", clip, "audio/wav")})
    assert made.is_success, made.text
    until(lambda: other.speak(voice=made.json()["id"]).is_success)
    for server, name in ((one, "slow"), (other, "slower"), (one, "slowest")):
        answer = server.http.post("/v1/admin/profiles", json={"name": name, "base": "fast", "speed": 0.5})
        assert answer.is_success, answer.text
    names = {item["name"] for item in one.http.get("/v1/admin/profiles").json()["data"]}
    assert {"slow", "slower", "slowest"} <= names
    one.kill()
    assert other.speak(voice="ann").is_success
