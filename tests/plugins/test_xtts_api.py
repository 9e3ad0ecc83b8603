"""xtts-api-server's routes against the whole server; what SillyTavern sends there is in tests/clients."""

import io
import socket
import time
import wave
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from litestar.testing import create_test_client
from more_xtts_api import Settings
from more_xtts_api.handlers import LANGUAGES, handlers

from more_server import Server, SpeechRequest, Voice, errors
from more_server.engine.runner import Runner
from more_server.keys import KeyRing, new_key
from more_server.text import LANGUAGES as SPOKEN
from more_server.text import resolve_language
from tests.web.conftest import Server as Running
from tests.web.conftest import nano_settings, running

ASKED = {"text": "The door is open.", "speaker_wav": "linden", "language": "en"}
LONG = ASKED | {"text": "The weather is so nice today that we are going for a long walk in the park. " * 40}
WAYS = [("POST", "/tts_to_audio/"), ("POST", "/tts_stream/"), ("GET", "/tts_stream/")]


def made(data_dir: Path, **own: Any) -> Any:
    settings = nano_settings(data_dir, threads=1)
    plugins = settings.plugins | {"more_xtts_api": {"enabled": True, **own}}
    return msgspec.structs.replace(settings, plugins=plugins)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(made(tmp_path_factory.mktemp("data"))) as server:
        yield server


def sent(http: httpx.Client, method: str, path: str, fields: dict[str, Any]) -> httpx.Response:
    return http.get(path, params=fields) if method == "GET" else http.post(path, json=fields)


def seconds(content: bytes) -> float:
    """Of a WAV whose header tells its exact length, in every place where it does."""
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert 44 + 2 * file.getnframes() == len(content)
        return file.getnframes() / 24_000


# -- speech


@pytest.mark.parametrize("path", ["/tts_to_audio/", "/tts_to_audio"])
def test_a_whole_file(server: Running, path: str) -> None:
    answer = server.http().post(path, json=ASKED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert 0.5 < seconds(answer.content) < 3


@pytest.mark.parametrize("path", ["/tts_stream/", "/tts_stream"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stream(server: Running, method: str, path: str) -> None:
    answer = sent(server.http(), method, path, ASKED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.headers["transfer-encoding"] == "chunked"
    with wave.open(io.BytesIO(answer.content[:2048])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
    assert answer.content[36:40] == b"data"
    assert 0.5 < len(answer.content[44:]) / 48_000 < 3


def test_a_stream_is_heard_while_it_is_made(server: Running) -> None:
    with server.fresh() as client, client.stream("GET", "/tts_stream/", params=LONG) as answer:
        pieces = answer.iter_raw()  # kept: one that is collected closes the connection
        first = next(pieces)
        assert first[:4] == b"RIFF"
        assert len(first) > 44
        wait_until_speaking(server, True)
    wait_until_speaking(server, False)


def test_old_http_gets_a_whole_file(server: Running) -> None:
    """It has no chunks: a connection that was cut would look like the end."""
    with connected(server) as connection:
        connection.sendall(f"GET /tts_stream/?{urlencode(ASKED)} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            head, _, content = answer.read().partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert f"content-length: {len(content)}".encode() in head.lower()
    assert seconds(content) > 0.5


def test_the_body_counts_where_the_address_says_something_else(server: Running) -> None:
    answer = server.http().post("/tts_stream", params=ASKED, json={"speaker_wav": "nobody"})
    assert (answer.status_code, "nobody" in answer.text) == (404, True)


@pytest.mark.parametrize("name", ["linden.wav", "Rowan.WAV", "alloy.wav", "", None])
def test_voices_that_were_files(server: Running, name: str | None) -> None:
    assert server.http().post("/tts_to_audio/", json=ASKED | {"speaker_wav": name}).status_code == 200


@pytest.mark.parametrize(("method", "path"), WAYS)
@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"text": ""}, 400, "text is empty"),
        ({"text": "!?"}, 400, "nothing that can be spoken"),
        ({"text": "a" * 5001}, 400, "at most 5000"),
        ({"language": "hi"}, 400, "language 'hi' is not spoken by the model nano; it speaks: en"),
        ({"speaker_wav": "nobody"}, 404, "there is no voice 'nobody'; there are: linden, rowan"),
        ({"speaker_wav": "female.wav"}, 404, "there are: linden, rowan"),
        ({"speaker_wav": ".wav"}, 404, "there are: linden, rowan"),
        ({"speaker_wav": "../../linden"}, 404, "there are: linden, rowan"),
    ],
)
def test_what_cannot_be(
    server: Running, method: str, path: str, changes: dict[str, str], status: int, says: str
) -> None:
    answer = sent(server.http(), method, path, ASKED | changes)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert list(answer.json()) == ["detail"]
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 400, "text is empty"),
        (b"{", 400, "the request cannot be read"),
        (b"[]", 400, "expected `object`"),
        (b'{"text": 5}', 400, "text cannot be read: expected `str`"),
        (b'{"text": "a", "speaker_wav": ["linden"]}', 400, "speaker_wav cannot be read"),
        (b'{"text": "\xff"}', 400, "the request cannot be read"),
        (b'{"text": ' + b"[" * 30_000, 400, "the request cannot be read"),
        (b'{"text": "' + b"a" * 70_000, 413, "too large"),
    ],
)
def test_what_cannot_be_read(server: Running, content: bytes, status: int, says: str) -> None:
    for path in ("/tts_to_audio/", "/tts_stream/"):
        answer = server.http().post(path, content=content)
        assert answer.status_code == status
        assert says in answer.json()["detail"].lower()


@pytest.mark.parametrize("query", ["text=%FF", "text=a&" * 101, "text"])
def test_addresses_that_cannot_be_read(server: Running, query: str) -> None:
    answer = server.http().get(f"/tts_stream/?{query}")
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])


def test_only_what_is_there(server: Running) -> None:
    http = server.http()
    assert http.get("/tts_to_audio/").status_code == http.get("/set_tts_settings").status_code == 405
    for path in (
        "/set_output",
        "/set_speaker_folder",
        "/switch_model",
        "/tts_to_file",
        "/get_folders",
        "/sample/linden",
    ):
        assert http.post(path, json={}).status_code == 404


# -- who leaves, and what fails


def connected(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)))


def wait_until_speaking(server: Running, speaking: bool) -> None:
    """For two seconds at most; what LONG says takes ten."""
    last = time.monotonic() + 2
    while ("xtts_slots_in_use 0.0" in server.http().get("/metrics").text.splitlines()) is speaking:
        assert time.monotonic() < last
        time.sleep(0.02)


def test_nothing_is_spoken_for_who_has_left(server: Running) -> None:
    body = msgspec.json.encode(LONG)
    with connected(server) as connection:
        head = f"POST /tts_to_audio/ HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until_speaking(server, True)
    wait_until_speaking(server, False)


def test_a_failure_in_the_middle_cuts_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(made(tmp_path)) as server:
        original, calls = Runner.step, []

        def fail_late(self: Runner, sequences: object) -> object:
            calls.append(None)
            if len(calls) > 60:
                raise RuntimeError("the device is gone")
            return original(self, sequences)  # type: ignore[arg-type]

        monkeypatch.setattr(Runner, "step", fail_late)
        with server.fresh() as client, client.stream("GET", "/tts_stream/", params=LONG) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        # Before the first byte the same failure is a proper answer.
        for method, path in WAYS:
            failed = sent(server.http(), method, path, ASKED)
            assert failed.status_code == 500
            assert "the device is gone" in failed.json()["detail"]


def test_a_model_that_is_loading_is_told(tmp_path: Path) -> None:
    with running(made(tmp_path), wait=False) as server:
        for method, path in WAYS:
            answer = sent(server.http(), method, path, ASKED)
            assert answer.status_code in (200, 503)
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
                assert list(answer.json()) == ["detail"]


# -- settings


def set_to(http: httpx.Client, **settings: Any) -> httpx.Response:
    return http.post(
        "/set_tts_settings", json={"temperature": "0.75", "top_k": 50, "stream_chunk_size": "x"} | settings
    )


def speed(http: httpx.Client) -> float:
    (found,) = http.get("/get_tts_settings").json().items()
    assert found[0] == "speed"
    return float(found[1])


def test_a_speed_is_kept_for_everybody(server: Running) -> None:
    http = server.http()
    for value, kept in ((1.5, 1.5), ("1.2", 1.2), (None, 1.2), ("0.25", 0.25), (4, 4), (1, 1)):
        answer = set_to(http, speed=value)
        assert (answer.status_code, list(answer.json())) == (200, ["message"])
        assert speed(http) == kept
    assert http.post("/set_tts_settings/", json={}).status_code == 200
    assert speed(http) == 1


@pytest.mark.parametrize("value", ["fast", "", "nan", "inf", 0.2, "4.1", -1, 0, 10**400, True, [1], {}])
def test_a_speed_that_cannot_be_changes_nothing(server: Running, value: Any) -> None:
    http = server.http()
    set_to(http, speed=2)
    answer = set_to(http, speed=value)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("speed ")
    for content in (b"{", b"[]"):
        assert http.post("/set_tts_settings", content=content).status_code == 400
    assert speed(http) == 2
    set_to(http, speed=1)


def test_a_speed_lasts_until_the_plugin_begins_anew(tmp_path: Path) -> None:
    with running(made(tmp_path)) as server:
        http = server.http()
        set_to(http, speed=2)
        # All routes are built anew for the sake of another plugin's.
        assert http.post("/v1/admin/plugins/more_marytts/enable").json()["state"] == "active"
        assert (http.get("/version").status_code, speed(http)) == (200, 2)
        assert http.patch("/v1/admin/plugins/more_xtts_api", json={"settings": {"needs_key": False}}).status_code == 200
        assert speed(http) == 1


# -- lists and who may ask


def test_lists(server: Running) -> None:
    http = server.http()
    speakers = [{"name": name, "voice_id": name.lower(), "preview_url": ""} for name in ("Linden", "Rowan")]
    assert http.get("/speakers").json() == http.get("/speakers/").json() == speakers
    assert http.get("/speakers_list").json() == ["linden", "rowan"]
    assert http.get("/languages").json() == {"languages": {"English": "en"}}


def test_every_language_of_xtts_has_its_name() -> None:
    assert sorted(code for code, _ in LANGUAGES) == sorted(SPOKEN)
    assert all(resolve_language(code) == code for code, _ in LANGUAGES)


def test_it_is_off_unless_somebody_wants_it(tmp_path: Path) -> None:
    with running(nano_settings(tmp_path, threads=1)) as server:
        assert server.http().get("/speakers").status_code == 404
        assert server.http().post("/v1/admin/plugins/more_xtts_api/enable").json()["state"] == "active"
        assert server.http().get("/speakers").status_code == 200


@pytest.mark.parametrize(("needs_key", "status"), [(True, 401), (False, 200)])
def test_keys(tmp_path: Path, needs_key: bool, status: int) -> None:
    settings = made(tmp_path, needs_key=needs_key)
    key, secret = new_key("page", ("speech",))
    KeyRing(settings).add(new_key("admin", ("admin",))[0])
    KeyRing(settings).add(key)
    with running(settings) as server:
        http, shown = server.http(), {"authorization": f"Bearer {secret}"}
        for method, path in WAYS:
            assert sent(http, method, path, ASKED).status_code == status
        assert set_to(http, speed=1).status_code == status
        assert http.post("/set_tts_settings", json={}, headers=shown).status_code == 200
        assert http.post("/tts_to_audio/", json=ASKED, headers=shown).status_code == 200
        for path in ("/speakers", "/speakers_list", "/languages", "/get_tts_settings"):
            assert http.get(path).status_code == 200
        assert http.get("/v1/admin/plugins").status_code == 401


# -- what is asked of the server, told by one that only listens


class Listening:
    """Notes what it is asked to speak."""

    def __init__(self) -> None:
        self.asked: list[SpeechRequest] = []

    async def spoken(self, request: SpeechRequest, request_id: str, format_name: str) -> AsyncGenerator[bytes, None]:
        assert (len(request_id), format_name) == (41, "wav")
        self.asked.append(request)
        if request.text == "busy":
            raise errors.Busy("all are busy", retry_after=2.5)
        yield b"RIFF" + bytes(40)
        yield b"four"

    def languages(self) -> tuple[str, ...]:
        return "de", "zh-cn"

    def all_voices(self) -> list[Voice]:
        names = {"anna": "Anna", "anna-2": "Anna", "bob.wav": "Bob", "eve": "Eve.wav"}
        return [Voice(id=one, name=name, aliases=("nova.wav",) if one == "eve" else ()) for one, name in names.items()]


def heard(method: str, path: str, fields: dict[str, Any], **settings: Any) -> tuple[SpeechRequest, httpx.Response]:
    listening = Listening()
    with create_test_client(handlers(cast(Server, listening), Settings())) as client:
        assert client.post("/set_tts_settings", json=settings).status_code == 200
        answer = sent(cast(httpx.Client, client), method, path, fields)
    (found,) = listening.asked
    return found, answer


@pytest.mark.parametrize(("method", "path"), WAYS)
def test_fields_become_a_request(method: str, path: str) -> None:
    fields = {"text": "Grüße & 1+1", "speaker_wav": " eve ", "language": "zh-cn"}
    found, answer = heard(method, path, fields, speed="1.2")
    assert answer.content == b"RIFF" + bytes(40) + b"four"
    least = SpeechRequest(text="x", whole=path == "/tts_to_audio/", door="xtts_api", user_agent="testclient")
    assert found == msgspec.structs.replace(least, text="Grüße & 1+1", voice="eve", language="zh-cn", speed=1.2)
    found, _ = heard(method, path, {"text": "x", "speaker_wav": "", "language": "", "save_path": "/etc/passwd"})
    assert found == least


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("anna.wav", "anna"),
        ("Anna.WAV", "Anna"),
        ("bob.wav", "bob.wav"),
        ("EVE.wav", "EVE.wav"),
        ("nova.wav", "nova.wav"),
        (".wav", ".wav"),
        ("anna.mp3", "anna.mp3"),
        ("C:\\speakers\\anna.wav", "C:\\speakers\\anna"),
    ],
)
def test_an_ending_goes_where_no_voice_has_it(name: str, meant: str) -> None:
    assert heard("POST", "/tts_to_audio/", {"text": "x", "speaker_wav": name})[0].voice == meant


def test_who_is_busy_says_for_how_long() -> None:
    for method, path in WAYS:
        _, answer = heard(method, path, {"text": "busy"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.json() == {"detail": "all are busy"}


def test_names_are_told_apart_and_languages_are_those_of_the_model() -> None:
    with create_test_client(handlers(cast(Server, Listening()), Settings())) as client:
        names = [one["name"] for one in client.get("/speakers").json()]
        assert names == ["Anna (anna)", "Anna (anna-2)", "Bob", "Eve.wav"]
        assert client.get("/languages").json() == {"languages": {"Chinese": "zh-cn", "German": "de"}}
