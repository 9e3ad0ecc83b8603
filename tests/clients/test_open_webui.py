"""Open WebUI's server, request by request as its code makes them: what it lists, says, and makes of the answers.

It is too large to be installed for tests. Read in backend/open_webui/routers/audio.py of open-webui/open-webui: commit
6adde203, which lists with `requests` and knows one path for models, and 39861074, which asks with aiohttp and falls
back to `/models`. That whatever is no MP3 by its type is encoded anew stands in neither: both keep any answer as .mp3.
It was read in a later text (`transcode_audio_to_mp3`), whose commit the archive did not tell.

Beyond CLIENTS.md: OPENAI_PARAMS may replace `input`, `voice` and `model` as well; a key that was left out is sent as
`Bearer `; with ENABLE_FORWARD_USER_INFO_HEADERS come `X-OpenWebUI-User-*`; the address is joined as it was typed, so
that a slash at its end becomes two; lists are waited for 10 s in 39861074 and for ever in 6adde203.
"""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from more_server.audio.encode import FORMATS
from more_server.tables import ServerSettings
from tests.clients.situations import keyed
from tests.web.audio import decoded
from tests.web.conftest import Server, nano_settings, running

TEXT = "The door is open."
SEEDED = {"seed": 3}
"""Typed as additional parameters, it makes answers comparable."""
OWN_MODELS = ["tts-1", "tts-1-hd"]
OWN_VOICES = {name: name for name in ("alloy", "echo", "fable", "onyx", "nova", "shimmer")}
"""What it shows, without a word to its users, where a list cannot be had."""
PASSED_THROUGH = ("audio/mpeg", "audio/mp3")


class RefusedError(Exception):
    """What its user sees instead of hearing something."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class OpenWebUI:
    """With what its administrator typed: API Base URL, API Key, TTS Model and Additional Parameters."""

    def __init__(
        self,
        base_url: str,
        key: str = "",
        model: str = "tts-1",
        params: dict[str, Any] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base_url, self._key, self._model, self._params = base_url, key, model, params or {}
        self.asked: list[httpx.Request] = []
        self.http = httpx.Client(event_hooks={"request": [self.asked.append]}, timeout=30, transport=transport)

    def models(self) -> list[str]:
        """Ids for the field TTS Model."""
        for path, keys in (("/audio/models", ("models",)), ("/models", ("data", "models"))):
            try:
                body = self._listed(path)
                return [model["id"] for model in next((body[key] for key in keys if key in body), [])]
            except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
                continue
        return OWN_MODELS

    def voices(self) -> dict[str, str]:
        """Names by id for the field TTS Voice."""
        try:
            return {voice["id"]: voice["name"] for voice in self._listed("/audio/voices").get("voices", [])}
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            return OWN_VOICES

    def speak(self, text: str, voice: str, headers: dict[str, str] | None = None) -> bytes:
        """What is kept as .mp3 and played. Raises RefusedError."""
        body = {"input": text, "voice": voice, "model": self._model} | self._params
        answer = self._post(json.dumps(body).encode(), headers or {})
        if answer.is_error:
            told = answer.json()
            detail = f"External: {told['error']}" if "error" in told else f"External: {answer.reason_phrase}"
            raise RefusedError(answer.status_code, detail)
        return _kept(answer.content, answer.headers.get("content-type", "audio/mpeg"))

    def _listed(self, path: str) -> Any:
        return self.http.get(self._base_url + path).raise_for_status().json()

    def _post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Past httpx, which would not send `Bearer ` as it is."""
        place = urlsplit(self._base_url + "/audio/speech")
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}", "Accept": "*/*"} | headers
        with closing(http.client.HTTPConnection(place.netloc, timeout=30)) as connection:
            connection.request("POST", place.path, body, sent)
            answer = connection.getresponse()
            return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def _kept(content: bytes, content_type: str) -> bytes:
    """As it was sent where its type says MP3, else as samples, which is what is encoded anew."""
    kind, *parameters = (part.strip() for part in content_type.lower().split(";"))
    if kind in PASSED_THROUGH:
        return content
    if kind == "audio/pcm":
        told = dict(parameter.split("=", 1) for parameter in parameters)
        assert (int(told.get("rate", 24_000)), int(told.get("channels", 1))) == (24_000, 1)
        return content
    found = next(one.name for one in FORMATS.values() if one.content_type == kind)
    return bytes(memoryview(decoded(content, found)[0]))


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., OpenWebUI]]:
    """Makes an Open WebUI that was pointed at the server."""
    made: list[OpenWebUI] = []

    def to(url: str = server.url, **typed: Any) -> OpenWebUI:
        made.append(OpenWebUI(f"{url}/v1", **typed))
        return made[-1]

    yield to
    for one in made:
        one.http.close()


def straight(server: Server, **body: Any) -> bytes:
    """What the server says to somebody who asks for the same."""
    return server.http().post("/v1/audio/speech", json={"input": TEXT, "model": "tts-1"} | SEEDED | body).content


# -- lists


def test_models_are_listed_by_the_first_path_without_a_key(connect: Callable[..., OpenWebUI]) -> None:
    webui = connect(key="typed for speech")
    assert webui.models() == ["nano", "tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"]
    assert [request.url.path for request in webui.asked] == ["/v1/audio/models"]
    assert "authorization" not in webui.asked[0].headers


def test_the_path_that_it_falls_back_to_lists_the_same(
    connect: Callable[..., OpenWebUI], monkeypatch: pytest.MonkeyPatch
) -> None:
    webui = connect()
    models, original = webui.models(), OpenWebUI._listed

    def without_the_first(self: OpenWebUI, path: str) -> Any:
        return original(self, "/audio/nothing" if path == "/audio/models" else path)

    monkeypatch.setattr(OpenWebUI, "_listed", without_the_first)
    assert webui.models() == models
    assert [request.url.path for request in webui.asked[1:]] == ["/v1/audio/nothing", "/v1/models"]


def test_voices_are_listed_by_id_and_name(connect: Callable[..., OpenWebUI]) -> None:
    webui = connect(key="typed for speech")
    assert webui.voices() == {"linden": "Linden", "rowan": "Rowan"}
    assert "authorization" not in webui.asked[0].headers


@pytest.mark.parametrize("bad", [{"id": "b"}, {"name": "B"}, "b", None])
def test_one_voice_without_id_or_name_would_hide_all_of_them(connect: Callable[..., OpenWebUI], bad: object) -> None:
    """Why every voice of the server has both."""
    body = {"voices": [{"id": "a", "name": "A"}, bad]}
    webui = connect("http://elsewhere", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)))
    assert webui.voices() == OWN_VOICES


def test_voices_that_somebody_spoilt_hide_no_others(tmp_path: Path, connect: Callable[..., OpenWebUI]) -> None:
    spoilt = {"plain": "", "blank": 'name = ""\n', "torn": 'name = "To', "strange": "name = 5\n"}
    for name, told in spoilt.items():
        folder = tmp_path / "voices" / name
        folder.mkdir(parents=True)
        (folder / "clip.wav").write_bytes(Path("voices/rowan/reference.wav").read_bytes())
        (folder / "voice.toml").write_text(told)
    with running(nano_settings(tmp_path, threads=1)) as server:
        voices = connect(server.url).voices()
    assert {"linden", "rowan", "plain"} <= set(voices)
    assert all(isinstance(name, str) and name for name in voices.values())


def test_everything_that_is_listed_is_spoken(connect: Callable[..., OpenWebUI]) -> None:
    webui = connect()
    for voice in webui.voices() | OWN_VOICES:
        assert webui.speak("Hi.", voice)
    for model in {*webui.models(), *OWN_MODELS}:
        assert connect(model=model).speak("Hi.", "alloy")


# -- keys


def test_with_a_key_on_the_server_lists_stay_open_and_speech_needs_it(
    server: Server, connect: Callable[..., OpenWebUI]
) -> None:
    with keyed(server) as secret:
        webui = connect(key=secret)
        assert webui.models()[0] == "nano"
        assert "linden" in webui.voices()
        assert {"authorization" in request.headers for request in webui.asked} == {False}
        assert webui.speak("Hi.", "alloy")
        for typed in ("", "sk-unused"):
            with pytest.raises(RefusedError, match="invalid_api_key") as refused:
                connect(key=typed).speak("Hi.", "alloy")
            assert refused.value.status == 401


def test_without_keys_on_the_server_any_key_will_do(connect: Callable[..., OpenWebUI]) -> None:
    for typed in ("", "sk-unused", "undefined"):
        assert connect(key=typed).speak("Hi.", "alloy")


def test_where_lists_are_closed_its_own_voices_are_spoken(tmp_path: Path, connect: Callable[..., OpenWebUI]) -> None:
    """Without `server.open_discovery` it shows OpenAI's names, as it has no key to show there."""
    closed = ServerSettings(open_discovery=False, shutdown_seconds=1)
    settings = msgspec.structs.replace(nano_settings(tmp_path, threads=1), server=closed)
    with running(settings) as server, keyed(server) as secret:
        webui = connect(server.url, key=secret)
        assert (webui.models(), webui.voices()) == (OWN_MODELS, OWN_VOICES)
        assert webui.speak("Hi.", "onyx")


# -- speech


def test_mp3_is_kept_as_it_was_sent(server: Server, connect: Callable[..., OpenWebUI]) -> None:
    """It names no format, and passes on what is MP3 by its type."""
    kept = connect(params=SEEDED).speak(TEXT, "nova")
    assert kept == straight(server, voice="nova")
    assert len(decoded(kept, "mp3")[0]) > 12_000


@pytest.mark.parametrize("response_format", sorted(set(FORMATS) - {"mp3"}))
def test_other_formats_are_known_by_their_type(
    connect: Callable[..., OpenWebUI], server: Server, response_format: str
) -> None:
    """The type is all it goes by, and raw samples are taken for 24 kHz, 16 bit, mono where it tells nothing else."""
    kept = connect(params=SEEDED | {"response_format": response_format}).speak(TEXT, "alloy")
    samples = len(straight(server, voice="alloy", response_format="pcm")) // 2
    spoken = len(kept) // (2 if response_format == "pcm" else 4)
    assert 0 <= spoken - samples <= 2256  # what AAC pads with


def test_additional_parameters_replace_what_was_asked(server: Server, connect: Callable[..., OpenWebUI]) -> None:
    mine = SEEDED | {"speed": 1.25, "voice": "rowan", "model": "tts-1-hd"}
    assert connect(params=mine).speak(TEXT, "alloy") == straight(server, **mine)


def test_additional_parameters_of_other_servers_change_nothing(
    server: Server, connect: Callable[..., OpenWebUI]
) -> None:
    others: dict[str, Any] = {
        "lang_code": "a",
        "volume_multiplier": 1.5,
        "normalization_options": {"normalize": False},
        "return_download_link": True,
        "sample_rate": 44_100,
        "backend": "kokoro",
        "params": {"chunked": True},
        "stream": True,
        "speed": None,
        "response_format": None,
    }
    assert connect(params=SEEDED | others).speak(TEXT, "alloy") == straight(server, voice="alloy")


def test_headers_about_its_user_and_a_slash_too_many_change_nothing(
    server: Server, connect: Callable[..., OpenWebUI]
) -> None:
    told = {
        "X-OpenWebUI-User-Name": "J%C3%B6rg",
        "X-OpenWebUI-User-Id": "8d0c",
        "X-OpenWebUI-User-Email": "joerg@example.test",
        "X-OpenWebUI-User-Role": "admin",
    }
    webui = OpenWebUI(f"{server.url}/v1/", params=SEEDED)
    assert webui.speak(TEXT, "alloy", told) == straight(server, voice="alloy")
    assert webui.voices() == connect().voices()
    webui.http.close()


def test_its_user_reads_why_nothing_is_heard(connect: Callable[..., OpenWebUI]) -> None:
    refusals: list[tuple[OpenWebUI, str, str, int, str]] = [
        (connect(), TEXT, "nobody", 404, "there is no voice 'nobody'; there are: linden, rowan"),
        (connect(model="kokoro"), TEXT, "alloy", 404, "there is no model 'kokoro'"),
        (connect(), "a" * 5001, "alloy", 400, "at most 5000 are allowed"),
        (connect(params={"response_format": "ogg"}), TEXT, "alloy", 400, "unknown format 'ogg'"),
    ]
    for webui, text, voice, status, says in refusals:
        with pytest.raises(RefusedError, match="External: ") as refused:
            webui.speak(text, voice)
        assert refused.value.status == status
        assert says in str(refused.value)
