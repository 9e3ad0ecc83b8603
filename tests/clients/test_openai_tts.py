"""sfortis/openai_tts, the component for Home Assistant, request by request: its code runs only inside Home Assistant.

Read in its sources from 3.6 to 3.10b1 and in the README of 3.10; what came with one of them is said where it is. The
whole address of `/v1/audio/speech` is typed in. Without streaming it is urllib with 30 seconds for the headers, with it
aiohttp with 60 seconds for all of it, passed on from the first KiB. An answer in JSON is taken for audio in base64, so
the type of the answer counts.
"""

import io
import json
import urllib.error
import urllib.request
import wave
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.clients.situations import LONG, SPEECH, TEXT, keyed, paused
from tests.web.audio import decoded
from tests.web.conftest import Server

PROFILE = {"model": "tts-1", "input": TEXT, "voice": "shimmer", "response_format": "mp3"}
FIRST_BYTES = 1024
Post = Callable[..., tuple[int, str, bytes]]


def headers(key: str = "") -> dict[str, str]:
    """A key is shown only where one was typed in."""
    shown = {"Content-Type": "application/json", "User-Agent": "HomeAssistant-OpenAI-TTS"}
    return shown | ({"Authorization": f"Bearer {key}"} if key else {})


@pytest.fixture
def post(server: Server) -> Post:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def posted(payload: dict[str, Any], key: str = "") -> tuple[int, str, bytes]:
        """Status, content type and body of what is sent without streaming."""
        data = json.dumps(payload).encode()
        request = urllib.request.Request(f"{server.url}{SPEECH}", data=data, headers=headers(key), method="POST")
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.headers["content-type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["content-type"], error.read()

    return posted


def streamed(server: Server, payload: dict[str, Any]) -> httpx.Response:
    request = server.http().build_request("POST", SPEECH, json=payload, headers=headers(), timeout=60)
    return server.http().send(request, stream=True)


def seconds(body: bytes, response_format: str = "mp3") -> float:
    """Of audio that is not silent."""
    samples, rate = decoded(body, response_format)
    assert np.abs(samples).max() > 0.01
    return len(samples) / rate


def test_a_whole_answer(post: Post) -> None:
    status, kind, body = post(PROFILE | {"speed": 1.0})
    assert (status, kind) == (200, "audio/mpeg")
    assert 0.5 < seconds(body) < 10


def test_what_else_a_profile_may_send(post: Post) -> None:
    """Its extra payload is merged over all the rest; 3.9 may be told to send no voice."""
    extra = json.loads(
        '{"voice": "rowan", "temperature": 0.7, "chunk_size": 200, "exaggeration": null, "lang": ["en"]}'
    )
    status, kind, _ = post(PROFILE | {"speed": 1.25, "instructions": "Say it warmly"} | extra)
    assert (status, kind) == (200, "audio/mpeg")
    del (without := dict(PROFILE))["voice"]
    assert post(without)[0] == 200


@pytest.mark.parametrize("response_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_a_stream_in_every_format(server: Server, response_format: str) -> None:
    """3.8 lets a profile choose, and sends no speed that is 1."""
    answer = streamed(server, PROFILE | {"response_format": response_format})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("audio/")
    body = b"".join(answer.iter_bytes(4096 if response_format == "opus" else 8192))
    assert 0.5 < seconds(body, response_format) < 10


def test_it_passes_on_the_beginning_of_a_stream_before_its_end(server: Server) -> None:
    with paused() as heard:
        answer = streamed(server, PROFILE | {"input": LONG})
        chunks, beginning = answer.iter_raw(), b""
        while len(beginning) < FIRST_BYTES:
            beginning += next(chunks)
        heard.set()
        assert seconds(beginning + b"".join(chunks)) > 4


@pytest.mark.parametrize("response_format", ["mp3", "pcm"])
def test_answers_to_sentences_are_one_audio_when_joined(server: Server, response_format: str) -> None:
    """3.9 cuts off what it takes for tags around MP3; frames are joined as they are."""
    bodies = [streamed(server, PROFILE | {"response_format": response_format}).read() for _ in range(2)]
    apart = sum(seconds(body, response_format) for body in bodies)
    assert seconds(b"".join(bodies), response_format) == pytest.approx(apart, abs=0.15)
    if response_format == "mp3":
        assert all(body[0] == 0xFF and b"Xing" not in body and b"Info" not in body for body in bodies)


def test_the_samples_of_a_wav_are_found_by_its_header(server: Server) -> None:
    """3.9 reads it with Python's wave, to the end that it says it has."""
    body = streamed(server, PROFILE | {"response_format": "wav"}).read()
    with wave.open(io.BytesIO(body)) as reader:
        assert (reader.getframerate(), reader.getsampwidth(), reader.getnchannels()) == (24_000, 2, 1)
        assert len(reader.readframes(reader.getnframes())) == len(body) - 44


def test_the_voices_to_choose_from(server: Server) -> None:
    """3.9 asks beside the address of speech; it takes `items`, `data` or `voices`, and of each the id and the name."""
    address = f"{SPEECH.rsplit('/', 1)[0]}/voices"
    answer = server.http().get(address, params={"limit": 100}, headers={"User-Agent": "HomeAssistant-OpenAI-TTS"})
    assert answer.status_code == 200
    assert "items" not in answer.json()
    assert [(one["id"], one["name"]) for one in answer.json()["data"]] == [("linden", "Linden"), ("rowan", "Rowan")]


def test_a_voice_that_is_gone_is_told_by_its_code(post: Post) -> None:
    """3.9 looks for it in `error.code`, and has Home Assistant ask for another one."""
    status, _, body = post(PROFILE | {"voice": "nobody"})
    assert (status, json.loads(body)["error"]["code"]) == (404, "voice_not_found")


def test_a_key_is_asked_for_where_there_are_keys(server: Server, post: Post) -> None:
    with keyed(server) as secret:
        assert post(PROFILE, secret)[:2] == (200, "audio/mpeg")
        assert post(PROFILE)[0] == 401
        # 3.10 tries a key with a text that nobody speaks: 401 and 403 are a bad one, and any other refusal a good one.
        assert [post(PROFILE | {"input": ""}, key)[0] for key in ("wrong", secret)] == [401, 400]
    assert post(PROFILE, "a key that nobody asks for")[0] == 200
