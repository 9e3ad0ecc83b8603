"""MaryTTS's clients against the whole server: speak2mary as Home Assistant uses it, and older ones."""

import http.client
import io
import socket
import time
import wave
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote, urlencode

import httpx
import msgspec
import pytest
from litestar.testing import create_test_client
from more_marytts import Settings
from more_marytts.handlers import handlers

from more_server import Server, SpeechRequest, Voice, errors
from more_server.keys import KeyRing, new_key
from tests.web.conftest import Server as Running
from tests.web.conftest import nano_settings, running

# As Home Assistant sends it with everything left as it is.
ASKED = {
    "INPUT_TEXT": "The door is open.",
    "OUTPUT_TYPE": "AUDIO",
    "INPUT_TYPE": "TEXT",
    "LOCALE": "en_US",
    "AUDIO": "WAVE_FILE",
    "VOICE": "cmu-slt-hsmm",
}


def made(data_dir: Path, **own: Any) -> Any:
    settings = nano_settings(data_dir, threads=1)
    return msgspec.structs.replace(settings, plugins={"more_marytts": {"enabled": True, **own}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(made(tmp_path_factory.mktemp("data"))) as server:
        yield server


def speak2mary(server: Running, fields: dict[str, str]) -> tuple[int, str, bytes]:
    """Status, content type and body. http.client, as speak2mary uses it, adds no content type."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("POST", "/process", urlencode(fields))
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read()
    finally:
        connection.close()


def seconds(content: bytes) -> float:
    """Of a WAV whose header tells its exact length, in every place where it does."""
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert 44 + 2 * file.getnframes() == len(content)
        samples = file.readframes(file.getnframes())
    assert len(set(samples)) > 100
    return file.getnframes() / 24_000


def test_home_assistant_as_it_is_set_up_by_itself(server: Running) -> None:
    status, kind, content = speak2mary(server, ASKED)
    assert (status, kind) == (200, "audio/x-wav")
    assert 0.5 < seconds(content) < 3


def test_effects_and_styles_are_left_out(server: Running) -> None:
    effects = {"effect_Whisper_selected": "on", "effect_Whisper_parameters": "amount:100.0;", "STYLE": "sad"}
    status, _, content = speak2mary(server, ASKED | effects | {"VOICE": "rowan"})
    assert status == 200
    assert seconds(content) > 0.5


def test_the_old_form_in_the_address(server: Running) -> None:
    answer = server.http().get("/process", params=ASKED | {"AUDIO": "WAVE", "VOICE": "linden"})
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert seconds(answer.content) > 0.5


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"LOCALE": "te"}, 400, "it speaks: en"),
        ({"LOCALE": "../en"}, 400, "it speaks: en"),
        ({"INPUT_TEXT": " \n"}, 400, "INPUT_TEXT is empty"),
        ({"INPUT_TEXT": "!?"}, 400, "nothing that can be spoken"),
        ({"INPUT_TEXT": "a" * 5001}, 400, "at most 5000"),
        ({"INPUT_TEXT": "a" * 70_000}, 413, "Too Large"),
        ({"VOICE": "dfki-poker"}, 404, "there are: linden, rowan"),
        ({"INPUT_TYPE": "RAWMARYXML"}, 400, "INPUT_TYPE 'RAWMARYXML' is not known here; it must be TEXT"),
        ({"OUTPUT_TYPE": "PHONEMES"}, 400, "it must be AUDIO"),
        ({"AUDIO": "AIFF_FILE"}, 400, "it must be WAVE_FILE"),
        ({f"effect_{number}": "on" for number in range(200)}, 400, "at most 100 fields"),
    ],
)
def test_what_cannot_be_is_told_as_text(server: Running, changes: dict[str, str], status: int, says: str) -> None:
    found, kind, content = speak2mary(server, ASKED | changes)
    assert (found, kind) == (status, "text/plain; charset=utf-8")
    assert says in content.decode()
    assert len(content) < 300


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"INPUT_TEXT=%FF", b"{}", b"&&&=", b"--x\r\nINPUT_TEXT"])
def test_what_is_no_form_is_400(server: Running, body: bytes) -> None:
    answer = server.http().post("/process", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")


def test_lists(server: Running) -> None:
    http = server.http()
    assert http.get("/version").text.startswith("Mary TTS server")
    assert http.get("/voices").text == "linden en u xtts\nrowan en u xtts\n"
    assert http.get("/locales").text == "en\n"
    assert http.get("/locales").headers["content-type"].startswith("text/plain")
    assert http.delete("/process").status_code == 405


def test_nothing_is_spoken_for_who_has_left(server: Running) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    text = quote("The weather is so nice today that we are going for a long walk in the park. " * 40)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET /process?INPUT_TEXT={text} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
        wait_until_speaking(server, True)
    wait_until_speaking(server, False)


def wait_until_speaking(server: Running, speaking: bool) -> None:
    """For two seconds at most; what the text above says takes ten."""
    last = time.monotonic() + 2
    while ("xtts_slots_in_use 0.0" in server.http().get("/metrics").text.splitlines()) is speaking:
        assert time.monotonic() < last
        time.sleep(0.02)


def test_it_is_off_unless_somebody_wants_it(tmp_path: Path) -> None:
    with running(nano_settings(tmp_path, threads=1)) as server:
        assert server.http().get("/version").status_code == 404
        assert server.http().post("/v1/admin/plugins/more_marytts/enable").json()["state"] == "active"
        assert server.http().get("/version").status_code == 200


@pytest.mark.parametrize(("needs_key", "status"), [(True, 401), (False, 200)])
def test_keys(tmp_path: Path, needs_key: bool, status: int) -> None:
    settings = made(tmp_path, needs_key=needs_key)
    KeyRing(settings).add(new_key("admin", ("admin",))[0])
    with running(settings) as server:
        assert speak2mary(server, ASKED)[0] == status
        assert server.http().get("/voices").status_code == 200
        assert server.http().get("/v1/admin/plugins").status_code == 401


def test_a_model_that_is_loading_is_told(tmp_path: Path) -> None:
    with running(made(tmp_path), wait=False) as server:
        answer = server.http().get("/process", params=ASKED)
        assert answer.status_code in (200, 503)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"].startswith("text/plain")


# -- what is asked of the server, told by one that only listens


class Listening:
    """Notes what it is asked to speak."""

    def __init__(self) -> None:
        self.settings = SimpleNamespace(default_language="en")
        self.asked: list[SpeechRequest] = []

    async def spoken(self, request: SpeechRequest, request_id: str, format_name: str) -> AsyncGenerator[bytes, None]:
        assert (len(request_id), format_name) == (40, "wav")
        self.asked.append(request)
        if request.text == "busy":
            raise errors.Busy("all are busy", retry_after=2.5)
        yield b"RIFF" + bytes(40)
        yield b"four"

    def all_voices(self) -> list[Voice]:
        languages = {"ann": ("pt-br", "de"), "bob": ("zh-CN",), "eve": (), "joe": ("de",)}
        return [Voice(id=name, name=name, languages=spoken) for name, spoken in languages.items()]


def asked(settings: Settings, **fields: str) -> tuple[SpeechRequest, httpx.Response]:
    server = Listening()
    with create_test_client(handlers(cast(Server, server), settings)) as client:
        answer = client.post("/process", content=urlencode(fields).encode())
    (found,) = server.asked
    return found, cast(httpx.Response, answer)


def test_fields_become_a_request() -> None:
    chosen = Settings(voices={"bits1-hsmm": "ann"})
    found, answer = asked(chosen, INPUT_TEXT="Grüße & 1+1", LOCALE="pt_BR", VOICE="bits1-hsmm")
    told = {"whole": True, "door": "marytts", "user_agent": "testclient"}
    assert found == SpeechRequest(text="Grüße & 1+1", language="pt_BR", voice="ann", **told)
    assert answer.content == b"RIFF" + bytes(40) + b"four"
    assert asked(chosen, INPUT_TEXT="x", VOICE="linden")[0].voice == "linden"
    assert asked(chosen, INPUT_TEXT="x", VOICE="", LOCALE="")[0] == SpeechRequest(text="x", **told)
    assert asked(Settings(), INPUT_TEXT="x", VOICE="cmu-slt-hsmm")[0].voice is None


def test_who_is_busy_says_for_how_long() -> None:
    _, answer = asked(Settings(), INPUT_TEXT="busy")
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (429, "3", "all are busy\n")


def test_locales_are_written_as_java_does() -> None:
    with create_test_client(handlers(cast(Server, Listening()), Settings())) as client:
        assert client.get("/voices").text == "ann pt_BR u xtts\nbob zh_CN u xtts\neve en u xtts\njoe de u xtts\n"
        assert client.get("/locales").text == "de\nen\npt_BR\nzh_CN\n"
