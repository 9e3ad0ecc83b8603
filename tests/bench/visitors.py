"""Visits of a soak over HTTP: OpenAI's client, plain requests, slow readers and leavers, bad ones, voices, jobs."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

import httpx
import openai

from tests.bench.doors import gauges
from tests.bench.jobs import PARAGRAPHS
from tests.bench.served import TEN_WORDS
from tests.bench.visits import FORMATS, SILENCE_SECONDS, Lost, Outcome, Place, heard, long_text, refused, sentence

Visit = Callable[[Place, random.Random], Awaitable[Outcome]]
SPEECH = "/v1/audio/speech"
LOOK_SECONDS = 0.25
FEW_PAUSES = 20
ENDED = ("succeeded", "failed", "cancelled")
JOB_AT_WORK_SECONDS = 20.0
"""Longest wait for a job to speak before it is cancelled; it waits behind another one, and behind people."""
BAD: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (400, "POST", SPEECH, {"content": b"{"}),
    (400, "POST", SPEECH, {"content": b"\xff\xfe"}),
    (400, "POST", SPEECH, {"content": b"[" * 100_000}),
    (400, "POST", SPEECH, {"json": {}}),
    (400, "POST", SPEECH, {"json": {"input": " "}}),
    (400, "POST", SPEECH, {"json": {"input": "…?!"}}),
    (400, "POST", SPEECH, {"json": {"input": ["a list"]}}),
    (400, "POST", SPEECH, {"json": {"input": "a" * 16_385}}),
    (413, "POST", SPEECH, {"content": b"a" * 1_048_577}),
    (404, "POST", SPEECH, {"json": {"input": "Hello.", "voice": "nobody"}}),
    (404, "POST", SPEECH, {"json": {"input": "Hello.", "model": "nothing"}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "response_format": "midi"}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "stream_format": "carrier pigeon"}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "quality": "best"}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "language": "tlh"}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "speed": 9}}),
    (400, "POST", SPEECH, {"json": {"input": "Hello.", "seed": -1}}),
    (405, "DELETE", SPEECH, {}),
    (404, "GET", "/v1/audio/nothing", {}),
    (404, "GET", "/v1/models/nothing", {}),
    (404, "GET", "/v1/jobs/job_nothing", {}),
    (400, "POST", "/v1/jobs", {"json": {"kind": "dance"}}),
    (400, "POST", "/v1/jobs", {"json": {"kind": "speech", "input": ""}}),
    (404, "DELETE", "/v1/audio/voices/nobody", {}),
    (400, "POST", "/v1/audio/voices", {"data": {"name": "soak"}, "files": {"audio_sample": ("a.wav", b"RIFF")}}),
    (400, "POST", "/v1/audio/voices", {"data": {"name": "soak", "consent": "yes"}, "files": {"audio_sample": b"RIFF"}}),
)
"""Status that is due, and the request."""
SEEDED: tuple[dict[str, str], ...] = (
    {"input": TEN_WORDS, "response_format": "pcm", "voice": "linden"},
    {"input": TEN_WORDS, "response_format": "wav", "voice": "linden+rowan", "quality": "high_quality"},
    {"input": " ".join(PARAGRAPHS[2:5]), "response_format": "mp3", "voice": "rowan", "quality": "fast"},
    {"input": PARAGRAPHS[1], "response_format": "flac", "voice": "rowan"},
)
"""What is asked again and again, with its place here as the seed. Opus is not among them: Ogg gives every stream a
random number, so that its bytes differ where its audio does not."""


def sdk(place: Place) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="unused", max_retries=0, timeout=SILENCE_SECONDS)


async def sdk_streams(place: Place, chance: random.Random) -> Outcome:
    text, kind = sentence(chance), chance.choice(FORMATS)
    asked: Any = {"model": "tts-1", "voice": "alloy", "input": text, "response_format": kind}
    async with sdk(place) as client:
        try:
            async with client.audio.speech.with_streaming_response.create(**asked) as response:
                body = b"".join([chunk async for chunk in response.iter_bytes()])
        except openai.APIStatusError as error:
            return refused(error.status_code, error.response.headers)
    return await asyncio.to_thread(heard, body, kind, text)


async def sdk_whole(place: Place, chance: random.Random) -> Outcome:
    text = sentence(chance)
    async with sdk(place) as client:
        try:
            spoken = await client.audio.speech.create(model="tts-1-hd", voice="nova", input=text)
        except openai.APIStatusError as error:
            return refused(error.status_code, error.response.headers)
    return await asyncio.to_thread(heard, spoken.content, "mp3", text)


async def speaks(place: Place, chance: random.Random) -> Outcome:
    """A plain request, streamed, whole or as events."""
    text, kind = sentence(chance), chance.choice(FORMATS)
    events, stream = chance.random() < 0.3, chance.random() < 0.7
    asked = {"input": text, "response_format": kind, "stream": stream, "stream_format": "sse" if events else "audio"}
    async with place.http() as http:
        answer = await http.post(SPEECH, json=asked)
    if answer.status_code != httpx.codes.OK:
        return refused(answer.status_code, answer.headers)
    return await asyncio.to_thread(heard, _of_events(answer.text) if events else answer.content, kind, text)


def _of_events(lines: str) -> bytes:
    events = [json.loads(line.removeprefix("data: ")) for line in lines.splitlines() if line]
    if not events or events[-1].get("type") != "speech.audio.done":
        raise Lost(f"events that end with {events[-1:]}")
    return b"".join(base64.b64decode(event["audio"]) for event in events[:-1])


async def burst(place: Place, chance: random.Random) -> Outcome:
    """One of many that ask at once; short, so that as many are spoken as may be."""
    text = "Nobody was there."
    async with place.http() as http:
        answer = await http.post(SPEECH, json={"input": text, "response_format": "pcm", "voice": "rowan"})
    if answer.status_code != httpx.codes.OK:
        return refused(answer.status_code, answer.headers)
    return heard(answer.content, "pcm", text)


async def reads_slowly(place: Place, chance: random.Random) -> Outcome:
    """Everything, with pauses on the way; the server makes no more ahead than it may."""
    text, body, pauses = long_text(chance), bytearray(), 0
    asked = {"input": text, "response_format": "pcm"}
    async with place.http(narrow=True) as http, http.stream("POST", SPEECH, json=asked) as response:
        if response.status_code != httpx.codes.OK:
            return refused(response.status_code, response.headers)
        async for chunk in response.aiter_raw():
            body += chunk
            if pauses < FEW_PAUSES and len(body) > 50_000 * pauses:
                pauses += 1
                await asyncio.sleep(chance.uniform(0.1, 0.5))
    return await asyncio.to_thread(heard, bytes(body), "pcm", text)


# -- those who leave


async def reads_nothing_more(place: Place, chance: random.Random) -> Outcome:
    """Its connection stays, and takes nothing."""
    asked = {"input": long_text(chance), "response_format": "wav"}
    async with place.http(narrow=True) as http, http.stream("POST", SPEECH, json=asked) as response:
        if response.status_code != httpx.codes.OK:
            return refused(response.status_code, response.headers)
        await anext(response.aiter_raw())
        await asyncio.sleep(chance.uniform(3, 8))
    return "left"


async def leaves_within_its_body(place: Place, chance: random.Random) -> Outcome:
    body = json.dumps({"input": long_text(chance)}).encode()

    async def half() -> AsyncIterator[bytes]:
        yield body[: chance.randrange(len(body))]
        await asyncio.sleep(chance.uniform(0, 2))
        raise ConnectionAbortedError("on purpose")

    async with place.http() as http:
        with suppress(ConnectionAbortedError):
            await http.post(SPEECH, content=half(), headers={"content-length": str(len(body))})
    return "left"


async def says_nothing(place: Place, chance: random.Random) -> Outcome:
    """A connection with no request, or with half of one's head."""
    host, port = httpx.URL(place.url).host, httpx.URL(place.url).port
    _, writer = await asyncio.open_connection(host, port)
    if chance.random() < 0.5:
        writer.write(b"POST /v1/audio/speech HTTP/1.1\r\nhost: a\r\ncontent-le")
    await asyncio.sleep(chance.uniform(0, 3))
    writer.transport.abort()
    return "left"


async def leaves_before_audio(place: Place, chance: random.Random) -> Outcome:
    async with place.http() as http:
        # The whole of it takes seconds to make, so that nothing has come when the client leaves.
        asked = {"input": long_text(chance), "stream": False}
        asking = asyncio.create_task(http.post(SPEECH, json=asked))
        await asyncio.wait({asking}, timeout=chance.choice((0.0, 0.01, 0.05, 0.5, 2.0)))
        if asking.done():
            answer = asking.result()
            return "left" if answer.is_success else refused(answer.status_code, answer.headers)
        asking.cancel()
        await asyncio.wait({asking})
    return "left"


async def leaves_within_its_stream(place: Place, chance: random.Random) -> Outcome:
    asked = {"input": long_text(chance), "response_format": chance.choice(FORMATS)}
    async with place.http() as http, http.stream("POST", SPEECH, json=asked) as response:
        if response.status_code != httpx.codes.OK:
            return refused(response.status_code, response.headers)
        chunks = response.aiter_raw()
        for _ in range(chance.randint(1, 5)):
            await anext(chunks, b"")
    return "left"


# -- those who ask for something else


async def asks_badly(place: Place, chance: random.Random) -> Outcome:
    due, method, path, more = chance.choice(BAD)
    async with place.http() as http:
        answer = await http.request(method, path, **more)
    if answer.status_code != due or not answer.json()["error"]["message"]:
        raise Lost(f"{method} {path} {str(more)[:60]}: status {answer.status_code}, {due} is due")
    return "told"


async def looks_around(place: Place, chance: random.Random) -> Outcome:
    """Metrics and lists, as monitors and pages ask for them."""
    async with place.http() as http:
        numbers = await gauges(http)
        answers = [await http.get(path) for path in ("/health", "/health/ready", "/v1/models", "/v1/audio/voices")]
    if not numbers["xtts_slots"] or any(answer.status_code != httpx.codes.OK for answer in answers):
        raise Lost(f"{numbers['xtts_slots']} slots; {[answer.status_code for answer in answers]}")
    return "whole"


async def brings_a_voice(place: Place, chance: random.Random) -> Outcome:
    """It is made, speaks, and is removed."""
    text = sentence(chance)
    async with sdk(place) as client:
        name = f"soak-{chance.randrange(10**9)}"
        made = await client.audio.voices.create(name=name, audio_sample=("a.wav", place.clip), consent="of itself")
        try:
            spoken = await client.audio.speech.create(model="tts-1", voice=made.id, input=text, response_format="flac")
        except openai.APIStatusError as error:
            outcome = refused(error.status_code, error.response.headers)
        else:
            outcome = await asyncio.to_thread(heard, spoken.content, "flac", text)
        finally:
            await client.audio.voices.delete(made.id)
    return outcome


async def has_a_job(place: Place, chance: random.Random) -> Outcome:
    text = f"{sentence(chance)}\n\n{sentence(chance)}"
    asked = {"kind": "speech", "input": text, "response_format": "mp3", "seed": 1}
    async with place.http() as http:
        job = (await http.post("/v1/jobs", json=asked)).raise_for_status().json()
        path = f"/v1/jobs/{job['id']}"
        while job["status"] not in ENDED:
            await asyncio.sleep(LOOK_SECONDS)
            job = (await http.get(path)).raise_for_status().json()
        if job["status"] != "succeeded":
            raise Lost(f"a job {job['status']}: {job['error']}")
        results = [(await http.get(one["url"])).raise_for_status().content for one in job["results"]]
        (await http.delete(path)).raise_for_status()
    return await asyncio.to_thread(heard, results[0], "mp3", text)


async def cancels_a_job(place: Place, chance: random.Random) -> Outcome:
    """While it waits, or while it speaks."""
    patience = chance.choice((0.0, JOB_AT_WORK_SECONDS))
    asked = {"kind": "speech", "input": "\n\n".join(long_text(chance) for _ in range(20))}
    async with place.http() as http:
        path = f"/v1/jobs/{(await http.post('/v1/jobs', json=asked)).raise_for_status().json()['id']}"
        for _ in range(round(patience / LOOK_SECONDS)):
            if (await http.get(path)).raise_for_status().json()["status"] == "running":
                break
            await asyncio.sleep(LOOK_SECONDS)
        job = (await http.post(f"{path}/cancel")).raise_for_status().json()
        if job["status"] != "cancelled":
            raise Lost(f"a job that was cancelled is {job['status']}")
        (await http.delete(path)).raise_for_status()
    return "left"


class Repeats:
    """Requests with seeds, each of which is answered with the bytes that it was answered with before."""

    def __init__(self) -> None:
        self._sums: dict[int, str] = {}
        self.asked = 0
        """How often bytes were compared with earlier ones."""

    async def visit(self, place: Place, chance: random.Random) -> Outcome:
        return await self.ask(place, chance.randrange(len(SEEDED)))

    async def ask(self, place: Place, number: int) -> Outcome:
        asked = SEEDED[number]
        async with place.http() as http:
            answer = await http.post(SPEECH, json=asked | {"seed": number})
        if answer.status_code != httpx.codes.OK:
            return refused(answer.status_code, answer.headers)
        heard(answer.content, asked["response_format"], asked["input"])
        found = sha256(answer.content).hexdigest()
        if self._sums.setdefault(number, found) != found:
            raise Lost(f"the same seed and other bytes: {asked}")
        self.asked += 1
        return "whole"
