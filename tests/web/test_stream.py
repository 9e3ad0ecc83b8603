"""`WS /v1/audio/speech/stream` over a real socket, with the `websockets` library's own client."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from more_server.audio.encode import FORMATS
from more_server.engine.runner import Runner
from tests.web.audio import decoded
from tests.web.conftest import Server, nano_settings, running

FIRST = "The weather is so nice today."
REST = "We are going for a long walk in the park. And then we will all come home for dinner."
LONG = f"{FIRST} {REST} " * 30
START = ["audio.start", "audio.text", "audio"]
END = ["audio.done", "session.done"]
Start = Callable[..., AbstractContextManager[Server]]


class Client:
    """A connection, with what it was sent in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, kind: str, **fields: object) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def say(self, text: str) -> None:
        for at in range(0, len(text), 7):
            self.send("input.text", text=text[at : at + 7])
        self.send("input.done")

    def receive(self) -> Any:
        message = self.connection.recv(timeout=30)
        return message if isinstance(message, bytes) else json.loads(message)

    def until(self, *last: str) -> list[Any]:
        """Events and audio up to the first event of these types."""
        found: list[Any] = []
        while not found or kind(found[-1]) not in last:
            found.append(self.receive())
        return found


def kind(message: Any) -> str:
    return "audio" if isinstance(message, bytes) else str(message["type"])


def kinds(messages: list[Any]) -> list[str]:
    """Types in order, several pieces of audio as one."""
    found = [kind(one) for one in messages]
    return [one for at, one in enumerate(found) if not at or one != "audio" or found[at - 1] != one]


def audio(messages: list[Any]) -> bytes:
    return b"".join(one for one in messages if isinstance(one, bytes))


def of(messages: list[Any], wanted: str) -> list[dict[str, Any]]:
    return [one for one in messages if kind(one) == wanted]


@contextmanager
def talking(server: Server, **options: Any) -> Iterator[Client]:
    with connect(f"ws{server.url.removeprefix('http')}/v1/audio/speech/stream", **options) as connection:
        yield Client(connection)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with talking(server) as made:
        yield made


def wait_until_free(server: Server) -> None:
    last = time.monotonic() + 5
    while "xtts_slots_in_use 0.0" not in server.http().get("/metrics").text.splitlines():
        assert time.monotonic() < last
        time.sleep(0.02)


def test_a_connection_is_closed_after_a_silence(tmp_path: Path) -> None:
    """But not while it waits for what the server makes."""
    settings = nano_settings(tmp_path)
    limits = msgspec.structs.replace(settings.limits, socket_seconds=1)
    with running(msgspec.structs.replace(settings, limits=limits)) as server:
        for begun in (False, True):
            with talking(server) as client:
                client.say(f"{FIRST} {REST}")
                assert kinds(client.until("session.done"))[-2:] == END
                if begun:
                    client.send("input.text", text="And")
                (told,) = client.until("error")
                assert told["error"]["code"] == "request_timeout"
                assert "limits.socket_seconds" in told["message"]
                with pytest.raises(ConnectionClosed) as closed:
                    client.receive()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
        wait_until_free(server)


def test_text_in_pieces_is_spoken(client: Client) -> None:
    client.say(f"{FIRST} {REST}")
    messages = client.until("session.done")
    assert kinds(messages)[:3] == START
    assert kinds(messages)[-2:] == END
    (start,), (done,), (end,) = (of(messages, one) for one in ("audio.start", "audio.done", "session.done"))
    assert (start["format"], start["sample_rate"], start["content_type"]) == ("pcm", 24_000, "audio/pcm")
    assert (done["total_bytes"], done["error"], done["cancelled"]) == (len(audio(messages)), False, False)
    told = of(messages, "audio.text")
    assert end["total_sentences"] == len(told)
    assert " ".join(one["sentence_text"] for one in told).split() == f"{FIRST} {REST}".split()
    assert [one["sentence_index"] for one in told] == list(range(len(told)))
    seconds = len(audio(messages)) / 48_000
    assert 4 < seconds < 16
    starts = [one["start_seconds"] for one in told]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert starts[-1] < seconds


def test_audio_comes_before_the_text_is_complete(client: Client) -> None:
    client.send("input.text", text=f"{FIRST} We are")
    first = client.until("audio")
    assert kinds(first) == START
    assert first[1]["sentence_text"] == FIRST
    client.say(" going home.")
    rest = client.until("session.done")
    assert of(rest, "audio.text")[-1]["sentence_text"] == "We are going home."
    assert of(rest, "session.done")[0]["total_sentences"] == 2


def test_one_sentence_is_the_very_audio_of_the_http_api(server: Server, client: Client) -> None:
    client.send("session.config", voice="rowan", seed=7, speed=1.2, quality="fast")
    client.say(FIRST)
    asked = {"input": FIRST, "voice": "rowan", "seed": 7, "speed": 1.2, "quality": "fast", "response_format": "pcm"}
    assert audio(client.until("session.done")) == server.http().post("/v1/audio/speech", json=asked).content


@pytest.mark.parametrize("name", FORMATS)
def test_the_frames_of_a_text_are_one_file(client: Client, name: str) -> None:
    client.send("session.config", response_format=name.upper(), model="tts-1", instructions="Whisper.", stream=True)
    client.say(f"{FIRST} {REST}")
    messages = client.until("session.done")
    assert of(messages, "audio.start")[0]["content_type"] == FORMATS[name].content_type
    samples, rate = decoded(audio(messages), name)
    assert 4 < len(samples) / rate < 16
    assert np.abs(samples).max() > 0.05


def test_texts_follow_each_other_on_one_connection(client: Client) -> None:
    client.say(FIRST)
    client.send("input.done")
    client.send("session.config", voice="rowan")
    client.say("And this is what we hear next.")
    messages = [one for _ in range(3) for one in client.until("session.done")]
    assert [one["utterance_index"] for one in of(messages, "session.done")] == [0, 1, 2]
    assert [one["total_sentences"] for one in of(messages, "session.done")] == [1, 0, 1]
    assert [one["utterance_index"] for one in of(messages, "audio.start")] == [0, 2]
    assert not of(messages, "error")


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        ("no JSON", "type", "session.config, input.text, input.done, input.cancel, session.close"),
        (b"\x00\x01", None, "binary"),
        ("[]", "type", "session.config"),
        ('{"type": "response.create"}', "type", "session.config"),
        ('{"text": "Hello"}', "type", "session.config"),
        ('{"type": "input.text"}', "text", "text is required"),
        ('{"type": "input.text", "text": 3}', "text", "str"),
        ('{"type": "session.config", "voice": "nobody"}', "voice", "linden, rowan"),
        ('{"type": "session.config", "quality": "best"}', "quality", "balanced"),
        ('{"type": "session.config", "response_format": "wma"}', "response_format", "mp3"),
        ('{"type": "session.config", "speed": 9}', "speed", "between 0.25 and 4"),
        ('{"type": "session.config", "language": "de"}', "language", "it speaks: en"),
        ('{"type": "session.config", "model": "eleven"}', "model", "nano"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(client: Client, sent: str | bytes, param: str, says: str) -> None:
    client.send("session.config", response_format="wav")
    client.connection.send(sent)
    told = client.receive()
    assert told["type"] == "error"
    assert says in told["message"]
    assert (told["error"]["message"], told["error"]["param"]) == (told["message"], param)
    client.say(FIRST)
    assert audio(client.until("session.done"))[:4] == b"RIFF"


def test_how_it_is_spoken_does_not_change_within_a_text(client: Client) -> None:
    client.send("input.text", text=FIRST)
    client.send("session.config", voice="rowan")
    assert "input.done" in of(client.until("error"), "error")[0]["message"]
    client.send("input.done")
    assert kinds(client.until("session.done"))[-2:] == END


@pytest.mark.parametrize("text", ["…!?", "👍 👍"])
def test_a_text_without_letters_is_told(client: Client, text: str) -> None:
    client.say(text)
    messages = client.until("session.done")
    assert kinds(messages) == ["error", "session.done"]
    assert "no letter and no digit" in messages[0]["message"]


def test_too_much_text_is_told_where_it_is_too_much(server: Server, client: Client) -> None:
    for _ in range(8):
        client.send("input.text", text=LONG[:1000])
    messages = client.until("error")
    assert str(server.settings.limits.text_characters) in messages[-1]["message"]
    messages += client.until("session.done")
    assert all(one["error"] for one in of(messages, "audio.done"))
    client.send("input.text", text="The rest of it is not spoken.")
    client.send("input.done")
    client.say(FIRST)
    assert kinds(client.until("session.done")) == [*START, *END]
    wait_until_free(server)


def test_it_is_silent_when_it_is_told(server: Server, client: Client) -> None:
    client.say(LONG[:3000])
    client.say(FIRST)
    client.send("input.text", text=FIRST)
    client.until("audio")
    client.send("input.cancel")
    rest = [one for _ in range(3) for one in client.until("session.done")]
    (done,) = of(rest, "audio.done")
    assert (done["cancelled"], done["error"]) == (True, False)
    assert [one["total_sentences"] for one in of(rest, "session.done")] == [1, 0, 0]
    wait_until_free(server)
    client.say(FIRST)
    messages = client.until("session.done")
    assert kinds(messages) == [*START, *END]
    assert messages[-1]["utterance_index"] == 3


def test_who_leaves_frees_the_slots(server: Server) -> None:
    with talking(server) as client:
        client.say(LONG[:3000])
        client.until("audio")
    wait_until_free(server)


def test_a_close_comes_after_what_was_sent(client: Client) -> None:
    client.send("input.text", text=FIRST)
    client.send("session.close")
    client.say("Nobody hears this.")
    assert kinds(client.until("session.done")) == [*START, *END]
    with pytest.raises(ConnectionClosed) as closed:
        client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_no_more_texts_wait_than_may(client: Client) -> None:
    client.say(LONG[:2000])
    client.until("audio")
    for _ in range(17):
        client.say("Hello.")
    assert of(client.until("error"), "error")[0]["error"]["code"] == "rate_limit_exceeded"


def test_a_message_that_is_too_large_closes_the_connection(server: Server, client: Client) -> None:
    client.send("input.text", text="x" * server.settings.limits.body_bytes)
    with pytest.raises(ConnectionClosed) as closed:
        client.until("session.done")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_failure_in_the_middle_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    original, left = Runner.step, [60]

    def step(self: Runner, sequences: object) -> object:
        left[0] -= 1
        if left[0] <= 0:  # from there on: one step alone may be of two rows, which are tried again one by one
            raise RuntimeError("the device is gone")
        return original(self, sequences)  # type: ignore[arg-type]

    with start() as server, talking(server) as client:
        monkeypatch.setattr(Runner, "step", step)
        client.say(LONG[:1000])
        messages = client.until("session.done")
        assert kinds(messages)[-3:] == ["error", *END]
        assert "the device is gone" in of(messages, "error")[0]["message"]
        assert of(messages, "audio.done")[0]["error"] is True
        left[0] = 10**9
        client.say(FIRST)
        assert kinds(client.until("session.done")) == [*START, *END]


def test_it_is_refused_while_the_model_loads(tmp_path: Path) -> None:
    with running(nano_settings(tmp_path), wait=False) as server:
        with pytest.raises(InvalidStatus) as refused, talking(server):
            pass
        response = refused.value.response
        assert response.status_code == 503
        assert json.loads(response.body)["error"]["code"] == "model_loading"
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert response.headers["x-request-id"]


def test_every_connection_has_a_request_id(server: Server) -> None:
    with talking(server, additional_headers={"x-request-id": "mine-1"}) as client:
        assert client.connection.response is not None
        assert client.connection.response.headers["x-request-id"] == "mine-1"
