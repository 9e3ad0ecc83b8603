"""First audio by front door, in turns, and how soon Wyoming tells of itself while all slots speak."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe
from wyoming.tts import Synthesize

from tests.bench.workload import milliseconds, percentile

TEXT = "The train to the city leaves at seven every morning."
ROUNDS, DESCRIBES = 20, 30
LONG = " ".join([TEXT] * 60)
Door = Callable[[int], Awaitable[float]]


def measure(url: str, wyoming_port: int) -> dict[str, Any]:
    """Milliseconds to the first audio through each door, and what it takes more than the binary HTTP answer."""
    return asyncio.run(_measure(url, wyoming_port))


async def _measure(url: str, port: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=600))
        socket = await stack.enter_async_context(connect(f"ws{url.removeprefix('http')}/v1/audio/speech/stream"))
        wyoming = await stack.enter_async_context(AsyncTcpClient("127.0.0.1", port, 10, 600))
        doors: dict[str, Door] = {
            "http": lambda seed: first_audio(http, seed),
            "sse": lambda seed: first_audio(http, seed, "sse"),
            "websocket": lambda seed: _socket(socket, seed),
            "wyoming": lambda _: _wyoming(wyoming),
        }
        times: dict[str, list[float]] = {name: [] for name in doors}
        for seed in range(ROUNDS):
            for name, door in doors.items():
                times[name].append(await door(seed))
        described = await _describes(http, port)
    medians = {name: statistics.median(some) for name, some in times.items()}
    return {
        "first_audio_ms_p50": {name: milliseconds(median) for name, median in medians.items()},
        # In pairs, one after the other: what the machine does besides is the same for both.
        "more_than_http_ms_p50": {
            name: milliseconds(statistics.median(one - two for one, two in zip(some, times["http"], strict=True)))
            for name, some in times.items()
            if name != "http"
        },
        "describe_ms_p50": milliseconds(statistics.median(described)),
        "describe_ms_p95": milliseconds(percentile(described, 0.95)),
    }


async def first_audio(client: httpx.AsyncClient, seed: int, stream_format: str = "audio") -> float:
    """Seconds to the first audio of ten words over HTTP, all of which are listened to."""
    asked = {"input": TEXT, "response_format": "pcm", "seed": seed, "stream_format": stream_format}
    began, first = time.perf_counter(), 0.0
    async with client.stream("POST", "/v1/audio/speech", json=asked) as response:
        async for _ in response.aiter_raw():
            first = first or time.perf_counter() - began
    return first


async def _socket(connection: ClientConnection, seed: int) -> float:
    await connection.send(json.dumps({"type": "session.config", "seed": seed}))
    began, first = time.perf_counter(), 0.0
    await connection.send(json.dumps({"type": "input.text", "text": TEXT}))
    await connection.send(json.dumps({"type": "input.done"}))
    async for message in connection:
        if isinstance(message, bytes):
            first = first or time.perf_counter() - began
        elif json.loads(message)["type"] == "session.done":
            break
    return first


async def _wyoming(client: AsyncTcpClient) -> float:
    began, first = time.perf_counter(), 0.0
    await client.write_event(Synthesize(TEXT).event())
    while (event := await client.read_event()) is not None and event.type != "audio-stop":
        if event.type == "audio-chunk":
            first = first or time.perf_counter() - began
    return first


async def _describes(http: httpx.AsyncClient, port: int) -> list[float]:
    """Seconds from the connection to the answer, as Home Assistant asks, while every slot speaks and others wait."""
    times = []
    async with _saturated(http):
        for _ in range(DESCRIBES):
            began = time.perf_counter()
            async with AsyncTcpClient("127.0.0.1", port, 10, 600) as client:
                await client.write_event(Describe().event())
                assert (await client.read_event() or Describe().event()).type == "info"
            times.append(time.perf_counter() - began)
    return times


@asynccontextmanager
async def _saturated(http: httpx.AsyncClient) -> AsyncIterator[None]:
    slots = (await gauges(http))["xtts_slots"]

    async def listen() -> None:
        async with http.stream("POST", "/v1/audio/speech", json={"input": LONG, "response_format": "pcm"}) as response:
            async for _ in response.aiter_raw():
                pass

    listeners = [asyncio.create_task(listen()) for _ in range(round(slots) + 4)]
    try:
        while (await gauges(http))["xtts_slots_in_use"] < slots:
            pass  # the question itself takes its time
        yield
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


async def gauges(http: httpx.AsyncClient) -> dict[str, float]:
    """What the server's metrics say."""
    lines = (await http.get("/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (line.partition(" ") for line in lines if line[0] != "#")}
