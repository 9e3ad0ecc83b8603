"""SillyTavern's three ways here, request by request, as its code makes them; where it stands is said with each.

Its pages come from another origin than this server, so that what they fetch obeys CORS: `Page` is such a page. The
provider "OpenAI Compatible" alone is asked through SillyTavern's own server.
"""

import http.client
import json
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from more_server.keys import KeyRing, new_key
from more_server.settings import Settings
from more_server.text import resolve_language
from tests.web.audio import decoded
from tests.web.conftest import Server, nano_settings, running

TEXT = "The door is open. Please come in, it is raining."
ORIGIN = "http://127.0.0.1:8000"
"""Where SillyTavern's page comes from unless somebody set another port."""
SIMPLE = {"accept", "accept-language", "content-language", "content-type"}
SIMPLE_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


class Page:
    """`fetch` of a page of another origin: it asks first where it must, and reads only what it may."""

    def __init__(self, server: Server) -> None:
        self._http = server.http()

    def fetch(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> httpx.Response:
        headers = headers or {}
        unsafe = sorted(name.lower() for name, value in headers.items() if not _is_simple(name, value))
        if unsafe or method not in ("GET", "HEAD", "POST"):
            self._preflight(method, path, unsafe)
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {"origin": ORIGIN, "sec-fetch-mode": "cors", "sec-fetch-site": "same-site"} | headers
        answer = self._http.request(method, path, headers=sent, content=content)
        assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
        return answer

    def play(self, path: str) -> httpx.Response:
        """An `<audio>` with this address: no CORS, no headers of the page's, and a range from the beginning."""
        sent = {"range": "bytes=0-", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "audio", "accept": "*/*"}
        return self._http.get(path, headers=sent)

    def _preflight(self, method: str, path: str, unsafe: list[str]) -> None:
        """It never shows a key."""
        asked = {"origin": ORIGIN, "sec-fetch-mode": "cors", "access-control-request-method": method}
        if unsafe:
            asked["access-control-request-headers"] = ",".join(unsafe)
        answer = self._http.options(path, headers=asked)
        assert answer.is_success, answer.text
        assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
        assert method in answer.headers["access-control-allow-methods"].replace(" ", "").split(",")
        granted = answer.headers.get("access-control-allow-headers", "").lower().replace(" ", "").split(",")
        # "*" would not be enough: it leaves out Authorization.
        assert set(unsafe) <= set(granted)


def _is_simple(name: str, value: str) -> bool:
    """Whether a page may send a header without having asked."""
    if name.lower() == "content-type":
        return value.lower().partition(";")[0].strip() in SIMPLE_TYPES
    return name.lower() in SIMPLE


# -- "OpenAI Compatible": public/scripts/extensions/tts/openai-compatible.js (at commit 11386ca) in the page, and
# src/endpoints/openai.js (00a72b5) in its server


OPENAI_VOICES = ("alloy", "echo", "fable", "onyx", "nova", "shimmer")


def generate_voice(server: Server, key: str = "", **changes: Any) -> tuple[int, str, bytes]:
    """What src/endpoints/openai.js, `/custom/generate-voice`, sends from SillyTavern's server, with node-fetch."""
    body = {"input": TEXT, "response_format": "mp3", "voice": "alloy", "speed": 1, "model": "tts-1"} | changes
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {key}",
        "User-Agent": "node-fetch",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate, br",
    }
    # httpx refuses to send a header that ends in a blank, which Node does not.
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("POST", "/v1/audio/speech", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read()


@pytest.mark.parametrize("voice", OPENAI_VOICES)
def test_openai_compatible_without_a_key(server: Server, voice: str) -> None:
    """The voices that openai-compatible.js begins with; SillyTavern calls whatever comes audio/mpeg."""
    status, kind, content = generate_voice(server, voice=voice)
    assert (status, kind) == (200, "audio/mpeg")
    samples, rate = decoded(content, "mp3")
    assert 1 < len(samples) / rate < 8


def test_openai_compatible_speed(server: Server) -> None:
    """The slider of openai-compatible.js goes from 0.25 to 4, in numbers."""
    for speed in (0.25, 4):
        assert generate_voice(server, input="Hello.", speed=speed)[0] == 200


def test_openai_compatible_reads_the_error_as_text(server: Server) -> None:
    """It goes on to the page behind a 500 of SillyTavern's own."""
    status, _, content = generate_voice(server, voice="nobody")
    assert status == 404
    assert "there is no voice 'nobody'; there are: linden, rowan" in content.decode()


# -- "TTS WebUI": public/scripts/extensions/tts/tts-webui.js (2a184b2)


TTS_WEBUI_PARAMS = {
    "desired_length": 80,
    "max_length": 200,
    "halve_first_chunk": True,
    "exaggeration": 0.5,
    "cfg_weight": 0.5,
    "temperature": 0.8,
    "device": "auto",
    "dtype": "float32",
    "cpu_offload": False,
    "chunked": True,
    "cache_voice": False,
    "tokens_per_slice": 1000,
    "remove_milliseconds": 45,
    "remove_milliseconds_start": 25,
    "chunk_overlap_method": "zero",
    "seed": -1,
}


def tts_webui_request(voice: str, *, stream: bool, model: str = "tts-1") -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of `fetchTtsGeneration`."""
    body = {"model": model, "voice": voice, "input": TEXT, "response_format": "wav", "speed": 1, "stream": stream}
    # Without streaming the header's value is JavaScript's undefined, which `fetch` writes out.
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache" if stream else "undefined"}
    return headers, body | {"params": TTS_WEBUI_PARAMS}


def test_tts_webui_lists_voices(server: Server) -> None:
    """`fetchTtsVoiceObjects`: the endpoint with /speech replaced, and the model that is set, at first `chatterbox`."""
    for model in ("chatterbox", "tts-1", "nano"):
        answer = Page(server).fetch("GET", f"/v1/audio/voices/{model}")
        assert answer.status_code == 200
        voices = [(one["label"], one["value"]) for one in answer.json()["voices"]]
        assert voices == [("Linden", "linden"), ("Rowan", "rowan")]


@pytest.mark.parametrize("voice", ["linden", ""])
def test_tts_webui_whole(server: Server, voice: str) -> None:
    """`generateTts` without streaming; empty is what `available_voices` begins with. A blob's type must be audio/*."""
    headers, body = tts_webui_request(voice, stream=False)
    answer = Page(server).fetch("POST", "/v1/audio/speech", headers, body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("audio/")
    assert int(answer.headers["content-length"]) == len(answer.content)
    samples, rate = decoded(answer.content, "wav")
    assert 1 < len(samples) / rate < 8


def test_tts_webui_streamed(server: Server) -> None:
    """`processStreamingAudio`: a rate at byte 24 of the first piece, and samples of 16 bits from its byte 44 on."""
    headers, body = tts_webui_request("rowan", stream=True)
    sent = headers | {"origin": ORIGIN}
    with server.fresh() as client, client.stream("POST", "/v1/audio/speech", headers=sent, json=body) as answer:
        assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
        first, *rest = answer.iter_raw()
    assert len(first) > 44
    assert struct.unpack_from("<H", first, 22) + struct.unpack_from("<I", first, 24) == (1, 24_000)
    assert struct.unpack_from("<H", first, 34) == (16,)
    samples, _ = decoded(first[44:] + b"".join(rest), "pcm")
    assert 1 < len(samples) / 24_000 < 8
    # A header that was played, or lay elsewhere, would be heard as a click before the voice.
    assert abs(samples[:20]).max() < 0.1


def test_tts_webui_wants_a_model_that_is_here(server: Server) -> None:
    """It begins with `chatterbox`, and shows the text of the refusal."""
    headers, body = tts_webui_request("linden", stream=False, model="chatterbox")
    answer = Page(server).fetch("POST", "/v1/audio/speech", headers, body)
    assert answer.status_code == 404
    assert "there is no model 'chatterbox'" in answer.text
    assert "nano" in answer.text


# -- "XTTSv2": public/scripts/extensions/tts/xtts.js (d72b512 and 11386ca), which asks through `doExtrasFetch` of
# public/scripts/extensions.js, and index.js beside it (00e4809), which plays


XTTS_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
XTTS_SETTINGS = {
    "temperature": 0.75,
    "speed": 1,
    "length_penalty": 1.0,
    "repetition_penalty": 5.0,
    "top_p": 0.85,
    "top_k": 50,
    "enable_text_splitting": True,
    "stream_chunk_size": 100,
}
"""`defaultSettings` as `changeTTSSettings` sends them."""
MOVED = {
    "temperature": "0.65",
    "speed": "1.25",
    "length_penalty": "1.1",
    "repetition_penalty": "7.5",
    "top_p": "0.9",
    "top_k": "0",
    "enable_text_splitting": False,
    "stream_chunk_size": "400",
}
"""The same once a slider was moved: `onSettingsChange` takes every value from the page, as text."""
XTTS_LANGUAGES = "ar pt zh-cn cs nl en fr de it pl ru es tr ja ko hu hi"
"""`languageLabels`."""
EXTRAS = {"Authorization": "Bearer a-key-of-extras"}
OLD_EXTRAS = {"Authorization": "Bearer undefined", "Bypass-Tunnel-Reminder": "bypass"}
"""As older ones sent them always."""


def with_pages(settings: Settings) -> Settings:
    """The plugin, for pages of SillyTavern's."""
    return msgspec.structs.replace(
        settings,
        plugins=settings.plugins | {"more_xtts_api": {"enabled": True}},
        server=msgspec.structs.replace(settings.server, cors_origins=(ORIGIN,)),
    )


@pytest.fixture(scope="module")
def xtts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = nano_settings(tmp_path_factory.mktemp("xtts"), threads=1)
    with running(with_pages(settings)) as server:
        yield server


@pytest.mark.parametrize("extras", [{}, EXTRAS, OLD_EXTRAS], ids=["plain", "extras", "old"])
def test_xtts_is_loaded_spoken_with_and_changed(xtts: Server, extras: dict[str, str]) -> None:
    """`loadSettings` with `checkReady`, `getVoice`, `fetchTtsGeneration`, `addAudioJob` of index.js, and a slider."""
    page = Page(xtts)
    speakers = page.fetch("GET", "/speakers", extras)
    assert page.fetch("POST", "/set_tts_settings", XTTS_HEADERS | extras, XTTS_SETTINGS).status_code == 200
    chosen = next(one for one in speakers.json() if one["name"] == "Rowan")
    asked = {"text": TEXT, "speaker_wav": chosen["voice_id"], "language": "en"}
    answer = page.fetch("POST", "/tts_to_audio/", XTTS_HEADERS | extras, asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("audio/")
    samples, rate = decoded(answer.content, "wav")
    assert 1 < len(samples) / rate < 8
    assert page.fetch("POST", "/set_tts_settings", XTTS_HEADERS | extras, MOVED).status_code == 200
    assert page.fetch("GET", "/get_tts_settings").json() == {"speed": 1.25}


def test_xtts_streamed(xtts: Server) -> None:
    """With streaming on, `fetchTtsGeneration` gives an address, which index.js hands to its `<audio>`."""
    query = urlencode({"text": TEXT + " Ünïcode & more?", "speaker_wav": "linden", "language": "en"})
    answer = Page(xtts).play(f"/tts_stream/?{query}")
    assert answer.status_code == 200  # not 206: nobody knows yet how long it will be
    assert answer.headers["content-type"] == "audio/wav"
    assert "accept-ranges" not in answer.headers
    assert answer.content[36:40] == b"data"
    samples, rate = decoded(answer.content, "wav")
    assert 1 < len(samples) / rate < 10


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"language": "hi"}, 400, "it speaks: en"),
        ({"speaker_wav": "nobody"}, 404, "there are: linden, rowan"),
        ({"text": "..."}, 400, "nothing that can be spoken"),
    ],
)
def test_xtts_shows_why_not(xtts: Server, changes: dict[str, str], status: int, says: str) -> None:
    """`fetchTtsGeneration` puts status and text of the answer into what it throws."""
    asked = {"text": TEXT, "speaker_wav": "linden", "language": "en"} | changes
    answer = Page(xtts).fetch("POST", "/tts_to_audio/", XTTS_HEADERS, asked)
    assert (answer.status_code, says in answer.text) == (status, True)
    assert answer.reason_phrase


def test_xtts_languages_are_all_known() -> None:
    """Those of `languageLabels`, of which nano speaks one."""
    codes = XTTS_LANGUAGES.split()
    assert [resolve_language(code) for code in codes] == codes


def test_xtts_with_a_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One goes into the field for that of Extras; an `<audio>` shows none, so streaming needs `needs_key = false`."""
    settings = nano_settings(tmp_path_factory.mktemp("keys"), threads=1)
    settings = with_pages(settings)
    key, secret = new_key("tavern", ("speech",))
    KeyRing(settings).add(new_key("admin", ("admin",))[0])
    KeyRing(settings).add(key)
    with running(settings) as server:
        page, shown = Page(server), XTTS_HEADERS | {"Authorization": f"Bearer {secret}"}
        asked = {"text": "Hello.", "speaker_wav": "linden", "language": "en"}
        assert page.fetch("POST", "/set_tts_settings", shown, XTTS_SETTINGS).status_code == 200
        assert page.fetch("POST", "/tts_to_audio/", shown, asked).status_code == 200
        assert page.fetch("POST", "/tts_to_audio/", XTTS_HEADERS, asked).status_code == 401
        assert page.play(f"/tts_stream/?{urlencode(asked)}").status_code == 401
