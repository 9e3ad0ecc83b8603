"""`POST /v1/audio/speech` through the real OpenAI client, over a real socket."""

import asyncio
import base64
import http.client
import io
import json
import time
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing

import httpx
import numpy as np
import openai
import pytest

from more_server.audio.encode import FORMATS
from more_server.engine import guards
from more_server.engine.runner import Runner
from tests.web.audio import decoded
from tests.web.conftest import Server

TEXT = "The kitchen window is open, and it is raining outside."
EXACT = {"pcm", "wav", "flac"}
"""Formats whose decoded samples are the very ones that were spoken."""

Start = Callable[..., AbstractContextManager[Server]]


def pcm(server: Server, **body: object) -> bytes:
    response = server.http().post("/v1/audio/speech", json={"input": TEXT, "response_format": "pcm", "seed": 3} | body)
    assert response.status_code == 200, response.text
    return response.content


@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_openai_client_hears_speech_in_every_format(server: Server, response_format: str, streamed: bool) -> None:
    """Both ways of the SDK give the same speech, in a body that FFmpeg decodes."""
    speech = server.client().audio.speech
    wanted = {
        "model": "tts-1",
        "voice": "alloy",
        "input": TEXT,
        "response_format": response_format,
        "extra_body": {"seed": 3, "quality": "balanced"},
    }
    if streamed:
        with speech.with_streaming_response.create(**wanted) as response:
            content_type = response.headers["content-type"]
            data = b"".join(response.iter_bytes())
    else:
        answer = speech.create(**wanted)
        content_type, data = answer.response.headers["content-type"], answer.content
    assert content_type == FORMATS[response_format].content_type
    samples, rate = decoded(data, response_format)
    reference, _ = decoded(pcm(server), "pcm")
    # Lossy codecs pad by their delay and the rest of a frame: 1105 + 1151 samples for mp3, 1024 + 1023 for aac.
    assert 0 <= len(samples) - len(reference) <= (0 if response_format in EXACT | {"opus"} else 2256)
    assert 2 < len(samples) / rate < 6
    assert 0.02 < float(np.sqrt(np.mean(samples**2))) < 0.5
    if response_format in EXACT:
        np.testing.assert_allclose(samples, reference, atol=2 / 32768)


def test_mp3_is_the_default_and_everything_but_the_text_may_be_absent(server: Server) -> None:
    response = server.http().post("/v1/audio/speech", json={"input": TEXT})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/mpeg"
    assert len(decoded(response.content, "mp3")[0]) > 24_000
    assert int(response.headers["x-seed"]) < 2**53


def test_a_seed_says_it_the_same_way_again(server: Server) -> None:
    first = server.http().post("/v1/audio/speech", json={"input": TEXT, "response_format": "pcm"})
    again = pcm(server, seed=int(first.headers["x-seed"]))
    assert first.content == again
    assert pcm(server, seed=4) != again


def test_chunks_arrive_while_speech_is_being_made(server: Server) -> None:
    """The first bytes of a long text are here long before the last."""
    text = " ".join([TEXT] * 12)
    with server.http().stream("POST", "/v1/audio/speech", json={"input": text, "response_format": "pcm"}) as response:
        arrivals = [(time.monotonic(), len(chunk)) for chunk in response.iter_raw()]
    assert len(arrivals) > 10
    first, last = arrivals[0][0], arrivals[-1][0]
    # No clock is asserted but their order: by the middle of the wait, part of the audio is there and part is not.
    early = sum(size for at, size in arrivals if at < (first + last) / 2)
    assert 0 < early < sum(size for _, size in arrivals)


def test_wav_begins_with_a_plain_header_that_wave_reads(server: Server) -> None:
    data = (
        server.client().audio.speech.create(model="tts-1", voice="nova", input="Hello.", response_format="wav").content
    )
    with wave.open(io.BytesIO(data[:2048])) as parsed:
        assert (parsed.getframerate(), parsed.getsampwidth(), parsed.getnchannels()) == (24_000, 2, 1)
    assert data[36:40] == b"data"


def test_speed_shortens_without_changing_the_words(server: Server) -> None:
    whole = len(pcm(server))
    for speed in (0.5, 1.5, 2.0):
        assert abs(len(pcm(server, speed=speed)) * speed / whole - 1) < 0.03


def test_qualities_and_the_models_that_mean_them(server: Server) -> None:
    fast, best = pcm(server, quality="fast"), pcm(server, quality="high_quality")
    assert pcm(server, model="tts-1") == fast
    assert pcm(server, model="tts-1-hd") == best
    assert pcm(server, model="gpt-4o-mini-tts") == pcm(server, quality="balanced") == pcm(server, model="nano")
    assert len(fast) < len(best)
    assert pcm(server, model="tts-1-hd", quality="fast") == fast


def test_voices_by_id_alias_name_and_object(server: Server) -> None:
    linden = pcm(server, voice="linden")
    for voice in ("alloy", "Linden", "LINDEN", {"id": "linden"}, None, ""):
        assert pcm(server, voice=voice) == linden
    assert pcm(server, voice="rowan") == pcm(server, voice="nova") != linden
    # LibreChat's LocalAI mode: the voice comes as the model.
    assert pcm(server, model="rowan") == pcm(server, voice="rowan")


def test_extras_of_many_clients_are_ignored(server: Server) -> None:
    extras = {
        "backend": "x",
        "stream": True,
        "params": {"a": 1},
        "lang_code": "a",
        "volume_multiplier": 1.0,
        "normalization_options": {"normalize": True},
        "return_download_link": False,
        "sample_rate": 24000,
        "instructions": "Speak like a pirate.",
        "speed": 1,
        "stream_format": None,
        "language": None,
    }
    assert pcm(server, **extras) == pcm(server)


@pytest.mark.parametrize("value", ["Bearer ", "Bearer undefined", "undefined", "Basic eDp5"])
def test_odd_authorization_is_ignored_without_keys(server: Server, value: str) -> None:
    """As SillyTavern without a key and older LibreChats send it; httpx itself would refuse to."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    with closing(connection):
        headers = {"authorization": value, "content-type": "application/json"}
        connection.request("POST", "/v1/audio/speech", b'{"input": "Hi there."}', headers)
        assert connection.getresponse().status == 200


def test_language_of_the_request(server: Server) -> None:
    assert pcm(server, language="en-GB") == pcm(server, language="English") == pcm(server)
    response = server.http().post("/v1/audio/speech", json={"input": TEXT, "language": "pt-BR"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "language"
    assert "nano" in response.json()["error"]["message"]


def test_events_carry_the_same_bytes_and_a_usage(server: Server) -> None:
    body = {"input": TEXT, "response_format": "pcm", "seed": 3, "stream_format": "sse"}
    with server.http().stream("POST", "/v1/audio/speech", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = response.read().decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks)
    *deltas, done = [json.loads(block.removeprefix("data: ")) for block in blocks]
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == pcm(server)
    usage = done["usage"]
    assert done["type"] == "speech.audio.done"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert len(TEXT) * 0.8 < usage["input_tokens"] < len(TEXT) * 1.2
    assert usage["output_tokens"] == pytest.approx(len(pcm(server)) / 2 / 24_000 / 0.04644, rel=0.05)


def test_the_sdk_reads_the_events(server: Server) -> None:
    stream = server.client().post(
        "/audio/speech",
        body={"input": "Hello there.", "stream_format": "sse"},
        cast_to=object,
        stream=True,
        stream_cls=openai.Stream[object],
    )
    kinds = [event["type"] for event in stream]  # type: ignore[index]
    assert kinds[-1] == "speech.audio.done"
    assert set(kinds[:-1]) == {"speech.audio.delta"}


def test_many_at_once_hear_what_they_would_have_heard_alone(server: Server) -> None:
    seeds = range(8)
    alone = [pcm(server, seed=seed) for seed in seeds]

    async def together() -> list[bytes]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = [{"input": TEXT, "response_format": "pcm", "seed": seed} for seed in seeds]
            answers = await asyncio.gather(*(client.post("/v1/audio/speech", json=body) for body in bodies))
            return [answer.content for answer in answers]

    assert asyncio.run(together()) == alone


def test_long_text_is_spoken_whole(server: Server) -> None:
    sentence, many = len(pcm(server)), len(pcm(server, input=" ".join([TEXT] * 10)))
    assert 8 < many / sentence < 12


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes engines take ten milliseconds a code, so that a long text lasts as long as the test needs it."""
    original = Runner.step

    def run(self: Runner, sequences: object) -> object:
        time.sleep(0.01)
        return original(self, sequences)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "step", run)


LONG = {"input": " ".join([TEXT] * 60), "response_format": "pcm"}
"""Forty seconds of work at ten milliseconds a code."""


@pytest.mark.usefixtures("slowly")
def test_a_full_queue_answers_429(start: Start) -> None:
    with start(slots=1, queue=0) as server:
        with server.fresh() as holder, holder.stream("POST", "/v1/audio/speech", json=LONG) as held:
            chunks = held.iter_raw()
            next(chunks)
            with pytest.raises(openai.RateLimitError) as refused:
                server.client().audio.speech.create(model="tts-1", voice="alloy", input="Me too.")
            assert server.http().get("/health").text == "OK"
        headers = refused.value.response.headers
        assert 1 <= int(headers["retry-after"]) <= 60
        assert 1000 <= int(headers["retry-after-ms"]) <= 60_000
        assert refused.value.code == "rate_limit_exceeded"


@pytest.mark.usefixtures("slowly")
def test_a_saturated_server_still_answers(start: Start) -> None:
    """Every slot speaks, more wait, and whoever asks for anything else is answered while none of them has ended."""
    with start(slots=2, queue=9) as server, ThreadPoolExecutor(6) as pool:
        clients = [server.fresh() for _ in range(6)]
        asked = [pool.submit(client.post, "/v1/audio/speech", json=LONG) for client in clients]
        while server.http().get("/metrics").text.find("xtts_queue_depth 4.0") < 0:
            assert not any(one.done() for one in asked)
        for path in ("/health", "/health/ready", "/v1/models", "/v1/audio/voices"):
            assert server.http().get(path).status_code == 200
        assert not any(one.done() for one in asked)
        for client in clients:
            client.close()


def test_what_guards_did_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a header as far as it is known when the answer starts, and in the metrics."""
    monkeypatch.setattr(guards, "LIMIT_SHARE", 0.0)
    monkeypatch.setattr(guards, "LIMIT_MORE", 4)
    with start() as server:
        answer = server.http().post("/v1/audio/speech", json={"input": "No.", "seed": 1})
        metrics = server.http().get("/metrics")
        assert "x-guards" not in server.http().get("/health").headers
    assert answer.headers["x-guards"] == "limit=3, retry=2"
    assert metrics.headers["content-type"].startswith("text/plain")
    # The warm-up's two words were cut as well.
    values = dict(line.split(" ") for line in metrics.text.splitlines() if not line.startswith("#"))
    assert float(values['xtts_guard_actions_total{action="limit"}']) >= 3
    assert float(values['xtts_guard_actions_total{action="retry"}']) >= 2
    assert float(values['xtts_engine_steps_total{rows="1"}']) > 3
    assert (values["xtts_ready"], values["xtts_breaker_open"], values["xtts_slots_in_use"]) == ("1.0", "0.0", "0.0")


def test_a_good_answer_names_no_guards(server: Server) -> None:
    assert "x-guards" not in server.http().post("/v1/audio/speech", json={"input": TEXT, "seed": 1}).headers


def test_a_failure_in_the_middle_cuts_the_connection(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as server:
        original, calls = Runner.step, []

        def fail_late(self: Runner, sequences: object) -> object:
            calls.append(None)
            if len(calls) > 60:
                raise RuntimeError("the device is gone")
            return original(self, sequences)  # type: ignore[arg-type]

        monkeypatch.setattr(Runner, "step", fail_late)
        body = {"input": " ".join([TEXT] * 5), "response_format": "pcm"}
        with server.fresh() as client, client.stream("POST", "/v1/audio/speech", json=body) as response:
            assert response.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                response.read()
        # Before the first byte the same failure is a proper answer.
        answer = server.http().post("/v1/audio/speech", json=body)
        assert answer.status_code == 500
        assert answer.headers["x-should-retry"] == "false"
        assert "the device is gone" in answer.json()["error"]["message"]
        # In an event stream it is an event, which the SDK raises.
        calls.clear()
        events = server.client().post(
            "/audio/speech",
            body=body | {"stream_format": "sse"},
            cast_to=object,
            stream=True,
            stream_cls=openai.Stream[object],
        )
        with pytest.raises(openai.APIError, match="the device is gone"):
            list(events)
