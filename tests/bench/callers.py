"""Visits of a soak by the WebSocket of speech and over Wyoming."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from tests.bench.visits import SILENCE_SECONDS, Lost, Outcome, Place, heard, long_text, refused, refused_by, sentence

BAD_MESSAGES: tuple[str | bytes, ...] = (b"\0\1", "{", "[]", '{"type": "input.song"}', '{"type": "input.text"}')
BAD_FRAMES = (
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"{}\n",
    b'{"type": "synthesize", "data_length": 99999999999}\n',
    b'{"type": "synthesize", "data": {"text": 1}}\n',
    b"a" * 70_000,
)

# -- the WebSocket


async def writes(place: Place, chance: random.Random) -> Outcome:
    """Text in pieces, as a language model writes it."""
    text = f"{sentence(chance)} {sentence(chance)}"
    try:
        async with _socket(place) as socket:
            for piece in _pieces(text, chance):
                await _send(socket, type="input.text", text=piece)
                await asyncio.sleep(chance.uniform(0, 0.03))
            await _send(socket, type="input.done")
            body, code, message = await _turn(socket)
    except InvalidStatus as error:
        return refused(error.response.status_code, error.response.headers)
    return refused_by(code, message) if code else await asyncio.to_thread(heard, body, "pcm", text)


async def interrupts(place: Place, chance: random.Random) -> Outcome:
    """A long text is cancelled where it has begun to be heard, and another one spoken to its end."""
    text = sentence(chance)
    try:
        async with _socket(place) as socket:
            await _send(socket, type="input.text", text=long_text(chance))
            await _send(socket, type="input.done")
            while not isinstance(message := await _heard(socket), bytes) and json.loads(message)["type"] != "error":
                pass
            await _send(socket, type="input.cancel")
            await _turn(socket)
            await _send(socket, type="input.text", text=text)
            await _send(socket, type="input.done")
            body, code, told = await _turn(socket)
    except InvalidStatus as error:
        return refused(error.response.status_code, error.response.headers)
    return refused_by(code, told) if code else await asyncio.to_thread(heard, body, "pcm", text)


async def hangs_up(place: Place, chance: random.Random) -> Outcome:
    """Without a word: while it writes, or while it is spoken to."""
    try:
        async with _socket(place) as socket:
            await _send(socket, type="input.text", text=long_text(chance))
            for _ in range(chance.randint(0, 4)):
                message = await _heard(socket)
                if isinstance(message, str) and (event := json.loads(message))["type"] == "error":
                    return refused_by(event["error"]["code"], event["message"])  # nothing comes after it
            socket.transport.abort()
    except InvalidStatus as error:
        return refused(error.response.status_code, error.response.headers)
    return "left"


async def writes_badly(place: Place, chance: random.Random) -> Outcome:
    """Each message that is none is answered with an error, and the connection stays."""
    try:
        async with _socket(place) as socket:
            for bad in BAD_MESSAGES:
                await socket.send(bad)
                if (answer := json.loads(await _heard(socket)))["type"] != "error":
                    raise Lost(f"{bad!r} is answered with {answer}")
    except InvalidStatus as error:
        return refused(error.response.status_code, error.response.headers)
    return "told"


@asynccontextmanager
async def _socket(place: Place) -> AsyncIterator[ClientConnection]:
    address = f"ws{place.url.removeprefix('http')}/v1/audio/speech/stream"
    async with connect(address, open_timeout=SILENCE_SECONDS, proxy=None) as socket:
        yield socket


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def _heard(socket: ClientConnection) -> str | bytes:
    return await asyncio.wait_for(socket.recv(), SILENCE_SECONDS)


async def _turn(socket: ClientConnection) -> tuple[bytes, str, str]:
    """Audio of one text to its end; code and message of an error where there was one."""
    body, code, told = bytearray(), "", ""
    while True:
        message = await _heard(socket)
        if isinstance(message, bytes):
            body += message
            continue
        event = json.loads(message)
        if event["type"] == "error":
            code, told = event["error"]["code"], event["message"]
        elif event["type"] == "session.done":
            return bytes(body), code, told


def _pieces(text: str, chance: random.Random) -> Iterator[str]:
    while text:
        length = chance.randint(1, 12)
        yield text[:length]
        text = text[length:]


# -- Wyoming


async def assists(place: Place, chance: random.Random) -> Outcome:
    """As Home Assistant does: what there is, then a sentence, in pieces where the server can."""
    text, streaming = sentence(chance), chance.random() < 0.5
    async with _wyoming(place) as client:
        await client.write_event(Describe().event())
        if (event := await _event(client)).type != "info":
            raise Lost(f"describe is answered with {event}")
        if streaming:
            await client.write_event(SynthesizeStart().event())
            for piece in _pieces(text, chance):
                await client.write_event(SynthesizeChunk(piece).event())
            await client.write_event(SynthesizeStop().event())
        else:
            await client.write_event(Synthesize(text).event())
        body, error = await _said(client, "synthesize-stopped" if streaming else "audio-stop")
    if error is not None:
        return refused_by(error.code or "", error.text)
    return await asyncio.to_thread(heard, body, "pcm", text)


async def pulls_the_plug(place: Place, chance: random.Random) -> Outcome:
    """It leaves while it is spoken to."""
    async with _wyoming(place) as client:
        await client.write_event(Synthesize(long_text(chance)).event())
        for _ in range(chance.randint(0, 4)):
            if Error.is_type((event := await _event(client)).type):
                error = Error.from_event(event)
                return refused_by(error.code or "", error.text)
    return "left"


async def frames_badly(place: Place, chance: random.Random) -> Outcome:
    """What is no message closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.wyoming_port)
    try:
        writer.write(chance.choice(BAD_FRAMES))
        if found := await reader.read():
            raise Lost(f"a bad frame is answered with {found[:80]!r}")
    except ConnectionResetError:
        pass  # closed with something left unread
    finally:
        writer.transport.abort()
    return "told"


@asynccontextmanager
async def _wyoming(place: Place) -> AsyncIterator[AsyncTcpClient]:
    async with AsyncTcpClient("127.0.0.1", place.wyoming_port, 10, SILENCE_SECONDS) as client:
        yield client


async def _event(client: AsyncTcpClient) -> Event:
    event = await client.read_event()
    if event is None:
        raise Lost("the server closed a Wyoming connection")
    return event


async def _said(client: AsyncTcpClient, end: str) -> tuple[bytes, Error | None]:
    """Audio up to the end, or what was told instead, behind which the connection may be closed."""
    body, error = bytearray(), None
    while (event := await client.read_event()) is not None and event.type != end:
        if AudioChunk.is_type(event.type):
            body += AudioChunk.from_event(event).audio
        elif Error.is_type(event.type):
            error = Error.from_event(event)
    if event is None and error is None:
        raise Lost("the server closed a Wyoming connection")
    return bytes(body), error
