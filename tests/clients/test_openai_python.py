"""OpenAI's client for Python against the whole server: what it calls, what it raises, and how often it asks."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.clients.front import Front, counted
from tests.clients.situations import LONG, SPEECH, TEXT, busy, failing, keyed, loading, narrow, paused
from tests.clients.versions import about
from tests.web.conftest import Server
from tests.web.voicedesk import TONE

ASKED: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
SEEDED: dict[str, Any] = {**ASKED, "extra_body": {"seed": 3}}
ALL_OF_IT: dict[str, Any] = {**ASKED, "input": LONG}
CLIP = ("clip.wav", TONE, "audio/wav")


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()


@pytest.fixture
async def asynchronous(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client."""
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with narrow(tmp_path_factory.mktemp("narrow")) as made:
        yield made


@contextlib.contextmanager
def persistent(
    server: Server, before: Callable[[int], None] = lambda number: None
) -> Iterator[tuple[openai.OpenAI, Front]]:
    """A client as it is where nothing was set, which asks up to three times, and the door that it goes through."""
    with (
        counted(server.url, before) as front,
        openai.OpenAI(base_url=f"{front.url}/v1", api_key="unused") as client,
    ):
        assert client.max_retries == 2
        yield client, front


def test_the_version_that_is_told_is_the_one_that_asks(server: Server) -> None:
    with persistent(server) as (client, front):
        client.models.list()
    assert front.attempts[0].headers["user-agent"] == f"OpenAI/Python {about('test_openai_python.py').version}"


def test_the_environment_is_enough_to_point_it_here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    with openai.OpenAI() as client:
        assert client.models.retrieve("nano").id == "nano"


# -- speech


async def test_both_clients_hear_the_same(client: openai.OpenAI, asynchronous: openai.AsyncOpenAI) -> None:
    whole = client.audio.speech.create(**SEEDED).content
    assert (await asynchronous.audio.speech.create(**SEEDED)).content == whole
    with client.audio.speech.with_streaming_response.create(**SEEDED) as response:
        assert b"".join(response.iter_bytes()) == whole
    async with asynchronous.audio.speech.with_streaming_response.create(**SEEDED) as answer:
        assert b"".join([chunk async for chunk in answer.iter_bytes()]) == whole
    told = client.audio.speech.create(**SEEDED, instructions="Speak like a pirate.", speed=1.0, stream_format="audio")
    assert told.content == whole
    mine = {"seed": 4, "quality": "fast", "language": "en-GB", "lang_code": "a"}
    assert client.audio.speech.create(**ASKED, extra_body=mine).content != whole


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_the_beginning_is_heard_before_the_end_is_made(client: openai.OpenAI, stream_format: Any) -> None:
    with (
        paused() as heard,
        client.audio.speech.with_streaming_response.create(**ALL_OF_IT, stream_format=stream_format) as response,
    ):
        chunks = response.iter_bytes()
        assert next(chunks)
        heard.set()
        assert sum(1 for _ in chunks) > 3


async def test_the_beginning_is_heard_asynchronously(asynchronous: openai.AsyncOpenAI) -> None:
    with paused() as heard:
        async with asynchronous.audio.speech.with_streaming_response.create(**ALL_OF_IT) as response:
            chunks = response.iter_bytes()
            assert await anext(chunks)
            heard.set()
            assert len([chunk async for chunk in chunks]) > 3


def check_events(events: list[Any], audio: bytes) -> None:
    """The pieces of an event stream are the very bytes of the other answer, and the usage adds up."""
    *deltas, done = events
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"], validate=True) for delta in deltas) == audio
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert set(usage) == {"input_tokens", "output_tokens", "total_tokens"}
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert min(usage.values()) > 0


def test_events_as_lines(client: openai.OpenAI) -> None:
    audio = client.audio.speech.create(**SEEDED).content
    for answer in (
        client.audio.speech.create(**SEEDED, stream_format="sse").iter_lines(),
        client.audio.speech.create(**SEEDED, stream_format="sse").text.splitlines(),
    ):
        lines = list(answer)
        assert lines[1::2] == [""] * (len(lines) // 2)
        assert all(line.startswith("data: {") for line in lines[::2])
        check_events([json.loads(line.removeprefix("data: ")) for line in lines[::2]], audio)


@pytest.mark.parametrize("response_format", ["pcm", "mp3"])
async def test_events_as_objects(client: openai.OpenAI, asynchronous: openai.AsyncOpenAI, response_format: str) -> None:
    body = {**ASKED, "seed": 3, "response_format": response_format}
    audio = client.audio.speech.create(**SEEDED | {"response_format": response_format}).content
    asked: dict[str, Any] = {"body": {**body, "stream_format": "sse"}, "cast_to": object, "stream": True}
    check_events(list(client.post("/audio/speech", **asked, stream_cls=openai.Stream[object])), audio)
    stream = await asynchronous.post("/audio/speech", **asked, stream_cls=openai.AsyncStream[object])
    check_events([event async for event in stream], audio)


# -- models, voices and consents


async def test_models(client: openai.OpenAI, asynchronous: openai.AsyncOpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"nano", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"} <= set(models)
    assert [model.id async for model in asynchronous.models.list()] == list(models)
    nano = client.models.retrieve("nano")
    assert nano == models["nano"] == await asynchronous.models.retrieve("nano")
    assert (nano.object, nano.owned_by) == ("model", "more-server")
    assert nano.created > 1_700_000_000
    assert nano.model_extra is not None
    assert {"linden", "rowan"} <= {voice["name"] for voice in nano.model_extra["voices"]}
    for unknown in ("eleven", "org/name"):
        with pytest.raises(openai.NotFoundError) as error:
            client.models.retrieve(unknown)
        assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_voices_and_their_consents(client: openai.OpenAI) -> None:
    consents = client.audio.voice_consents
    made = [consents.create(name=f"Ann {number}", language="en-US", recording=CLIP) for number in range(3)]
    assert [one.id for one in consents.list(limit=2)] == sorted((one.id for one in made), reverse=True)
    page = consents.list(limit=2)
    assert (len(page.data), page.has_more, len(page.get_next_page().data)) == (2, True, 1)
    assert consents.update(made[0].id, name="Ann").name == consents.retrieve(made[0].id).name == "Ann"

    voice = client.audio.voices.create(name="Ann", audio_sample=CLIP, consent=made[0].id)
    assert (voice.object, voice.type, voice.name) == ("audio.voice", "audio_sample", "Ann")
    by_name, by_object = (
        client.audio.speech.create(**SEEDED | {"voice": name}).content for name in (voice.id, {"id": voice.id})
    )
    assert by_name == by_object
    assert client.audio.voices.delete(voice.id).deleted
    for one in made:
        assert consents.delete(one.id).deleted
    assert consents.list().data == []


async def test_voices_and_their_consents_asynchronously(asynchronous: openai.AsyncOpenAI) -> None:
    consents = asynchronous.audio.voice_consents
    made = [(await consents.create(name="Bea", language="de", recording=CLIP)).id for _ in range(3)]
    assert [one.id async for one in consents.list(limit=1)] == sorted(made, reverse=True)
    assert (await consents.update(made[0], name="B")).name == (await consents.retrieve(made[0])).name == "B"
    voice = await asynchronous.audio.voices.create(name="Bea", audio_sample=CLIP, consent=made[0])
    assert (await asynchronous.audio.voices.delete(voice.id)).deleted
    assert all(one.deleted for one in await asyncio.gather(*(consents.delete(one) for one in made)))


# -- what is told about a request, and what is raised


def test_request_ids(client: openai.OpenAI) -> None:
    assert str(client.models.list()._request_id).startswith("req_")
    mine = {"x-request-id": "mine-1"}
    assert client.models.retrieve("nano", extra_headers=mine)._request_id == "mine-1"
    raw = client.audio.speech.with_raw_response.create(**ASKED, extra_headers=mine)
    assert raw.request_id == "mine-1"
    with client.audio.speech.with_streaming_response.create(**ASKED) as response:
        assert str(response.request_id).startswith("req_")
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.speech.create(**ASKED, speed=9, extra_headers=mine)
    assert error.value.request_id == "mine-1"


@pytest.mark.parametrize(
    ("change", "kind", "code", "param"),
    [
        ({"input": " "}, openai.BadRequestError, "invalid_value", "input"),
        ({"response_format": "wma"}, openai.BadRequestError, "invalid_value", "response_format"),
        ({"voice": "nobody"}, openai.NotFoundError, "voice_not_found", "voice"),
        ({"model": "eleven"}, openai.NotFoundError, "model_not_found", "model"),
        ({"input": "x" * 70_000}, openai.APIStatusError, "payload_too_large", None),
    ],
)
def test_what_cannot_be_is_raised(
    client: openai.OpenAI, change: dict[str, str], kind: type[openai.APIStatusError], code: str, param: str | None
) -> None:
    for create in (client.audio.speech.create, opened(client)):
        with pytest.raises(openai.APIStatusError) as error:
            create(**ASKED | change)
        assert type(error.value) is kind
        assert (error.value.code, error.value.param, error.value.type) == (code, param, "invalid_request_error")
        assert error.value.message.startswith(f"Error code: {error.value.status_code} - ")


def opened(client: openai.OpenAI) -> Callable[..., None]:
    def create(**asked: Any) -> None:
        with client.audio.speech.with_streaming_response.create(**asked):
            pass

    return create


def test_keys(one_at_a_time: Server) -> None:
    with keyed(one_at_a_time) as secret, persistent(one_at_a_time) as (client, front):
        with pytest.raises(openai.AuthenticationError) as error:
            client.audio.speech.create(**ASKED)
        assert (error.value.code, error.value.status_code) == ("invalid_api_key", 401)
        knowing = client.with_options(api_key=secret)
        assert knowing.audio.speech.create(**ASKED).content
        with pytest.raises(openai.PermissionDeniedError):
            knowing.audio.voice_consents.list()
    assert front.statuses == [401, 200, 403]


# -- how often it asks


@pytest.mark.parametrize(("change", "status"), [({"speed": 9}, 400), ({"voice": "nobody"}, 404)])
def test_a_mistake_is_asked_once(server: Server, change: dict[str, Any], status: int) -> None:
    with persistent(server) as (client, front), pytest.raises(openai.APIStatusError):
        client.audio.speech.create(**ASKED | change)
    assert front.statuses == [status]


def test_a_busy_server_is_asked_again_when_it_said(one_at_a_time: Server) -> None:
    with (
        busy(one_at_a_time) as leave,
        persistent(one_at_a_time, lambda number: leave() if number == 3 else None) as (client, front),
    ):
        with pytest.raises(openai.RateLimitError) as error:
            client.with_options(max_retries=0).audio.speech.create(**ASKED)
        assert error.value.code == "rate_limit_exceeded"
        assert client.audio.speech.create(**ASKED).content
    assert front.statuses == [429, 429, 200]
    told = front.attempts[1].answer
    assert 1000 <= int(told["retry-after-ms"]) <= 1000 * int(told["retry-after"])
    assert front.waited(1) >= int(told["retry-after-ms"]) / 1000


def test_a_failure_that_would_come_again_is_asked_once(one_at_a_time: Server) -> None:
    with failing(), persistent(one_at_a_time) as (client, front):
        with pytest.raises(openai.InternalServerError, match="the device is gone") as error:
            client.audio.speech.create(**ASKED)
        assert (error.value.code, error.value.type) == ("server_error", "server_error")
    assert front.statuses == [500]
    assert front.attempts[0].answer["x-should-retry"] == "false"


def test_a_server_that_loads_is_asked_until_it_is_ready(tmp_path: Path) -> None:
    with (
        loading(tmp_path) as (server, finish),
        persistent(server, lambda number: finish() if number == 3 else None) as (client, front),
    ):
        with pytest.raises(openai.InternalServerError) as error:
            client.with_options(max_retries=0).models.list()
        assert (error.value.status_code, error.value.code) == (503, "model_loading")
        assert client.audio.speech.create(**ASKED).content
    assert front.statuses == [503, 503, 200]
    assert front.waited(1) >= int(front.attempts[1].answer["retry-after"])


def test_speech_that_is_cut_is_raised_and_not_asked_again(one_at_a_time: Server) -> None:
    with (
        failing(after=60),
        persistent(one_at_a_time) as (client, front),
        client.audio.speech.with_streaming_response.create(**ALL_OF_IT) as response,
    ):
        chunks = response.iter_bytes()
        assert next(chunks)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(chunks)
    assert [(one.request, one.status) for one in front.attempts] == [(f"POST {SPEECH}", 200)]
