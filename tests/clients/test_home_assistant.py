"""Home Assistant's integration "Wyoming Protocol", event by event, with the client library that it uses itself.

Read in 2025.8.3 and 2026.11.0 (homeassistant/components/wyoming: config_flow, data, tts). 2025.8.3 has been run as a
whole against this server, too: what is replayed here is what it did. They differ in what they do with an `error`, which
the older one passes over and the newer one raises, and in how long `info` may take: one second, now five.

Of a voice its name alone is sent back, never the language under which it was chosen.
"""

import asyncio
import io
import socket
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

from tests.web.conftest import Server

PLUGIN = "/v1/admin/plugins/more_wyoming"
DELTAS = ("The wea", "ther is so nice", " today. ", "We are going for a walk.", " Then we will all come", " home.")
HEADER_BYTES = 44


class ServiceError(Exception):
    """What Home Assistant of 2026.11 makes of an `error`."""


@pytest.fixture(scope="module")
def port(server: Server) -> Iterator[int]:
    """Of the server that all clients share, which listens for Home Assistant as long as these tests last."""
    http = server.http()
    with socket.create_server(("127.0.0.1", 0)) as free:
        chosen = int(free.getsockname()[1])
    http.patch(PLUGIN, json={"settings": {"port": chosen}}).raise_for_status()
    http.post(f"{PLUGIN}/enable").raise_for_status()
    yield chosen
    http.post(f"{PLUGIN}/disable").raise_for_status()
    http.patch(PLUGIN, json={"settings": {"port": None}}).raise_for_status()


@pytest.fixture(autouse=True)
async def no_hang() -> AsyncIterator[None]:
    """Home Assistant itself would wait for ever."""
    async with asyncio.timeout(60):
        yield


def wav(audio: AudioStart | AudioChunk, frames: bytes = b"") -> bytes:
    """In the format of this audio."""
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((audio.channels, audio.width, audio.rate, 0, "NONE", ""))
        writer.writeframes(frames)
    return content.getvalue()


async def load_info(port: int) -> Info | None:
    """As the config flow asks, in its four attempts; without the two seconds between them."""
    for _ in range(4):
        try:
            async with AsyncTcpClient("127.0.0.1", port) as client, asyncio.timeout(1):
                await client.write_event(Describe().event())
                while (event := await client.read_event()) is not None:
                    if Info.is_type(event.type):
                        return Info.from_event(event)
        except OSError:  # a TimeoutError is one
            continue
    return None


async def plain(port: int, message: str, voice: SynthesizeVoice | None = None) -> bytes | None:
    """A WAV of the format of its first chunk, up to the first audio-stop; None where the connection was lost."""
    chunks: list[AudioChunk] = []
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Synthesize(text=message, voice=voice).event())
        while (event := await client.read_event()) is not None:
            if AudioStop.is_type(event.type):
                return wav(chunks[0], b"".join(chunk.audio for chunk in chunks))
            if AudioChunk.is_type(event.type):
                chunks.append(AudioChunk.from_event(event))
    return None


async def write(client: AsyncTcpClient, deltas: AsyncIterator[str], voice: SynthesizeVoice | None) -> None:
    """As a task of its own, which nobody waits for."""
    await client.write_event(SynthesizeStart(voice=voice).event())
    message = ""
    async for delta in deltas:
        message += delta
        await client.write_event(SynthesizeChunk(text=delta).event())
    await client.write_event(Synthesize(text=message, voice=voice).event())
    await client.write_event(SynthesizeStop().event())


async def read(client: AsyncTcpClient, raises: bool) -> AsyncIterator[bytes]:
    """A header without a length, from the first audio-start, then what is in the chunks behind it."""
    header_sent = False
    while event := await client.read_event():
        if raises and Error.is_type(event.type):
            raise ServiceError(Error.from_event(event).text)
        if header_sent and AudioChunk.is_type(event.type):
            yield AudioChunk.from_event(event).audio
        elif not header_sent and AudioStart.is_type(event.type):
            header_sent = True
            yield wav(AudioStart.from_event(event))
        elif SynthesizeStopped.is_type(event.type):
            break


async def stream(
    port: int, deltas: AsyncIterator[str], voice: SynthesizeVoice | None = None, *, raises: bool = True
) -> AsyncIterator[bytes]:
    client = AsyncTcpClient("127.0.0.1", port)
    await client.connect()
    writing = asyncio.create_task(write(client, deltas, voice))
    try:
        async for chunk in read(client, raises):
            yield chunk
        await writing
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await client.disconnect()


async def said(*deltas: str) -> AsyncIterator[str]:
    for delta in deltas:
        yield delta


async def whole(*arguments: Any, **more: Any) -> bytes:
    return b"".join([chunk async for chunk in stream(*arguments, **more)])


def seconds(content: bytes) -> float:
    """Of what is in a WAV that is not silent; the header of a stream has no length in it."""
    with wave.open(io.BytesIO(content)) as reader:
        assert (reader.getframerate(), reader.getsampwidth(), reader.getnchannels()) == (24_000, 2, 1)
    samples = content[HEADER_BYTES:]
    assert len(set(samples)) > 50
    return len(samples) / 48_000


def listed(http: httpx.Client) -> list[dict[str, str]]:
    voices: list[dict[str, str]] = http.get("/v1/audio/voices").json()["voices"]
    return voices


async def test_it_is_added_and_its_voices_are_those_of_the_http_api(server: Server, port: int) -> None:
    for _ in range(2):  # once to look whether it can be added, and once more as it is
        info = await load_info(port)
        assert info is not None
        # The title is the name of the first program that is installed, and its voices alone are shown.
        program = next(one for one in info.tts if one.installed)
        assert (program.name, program.supports_synthesize_streaming) == ("MORE", True)
        assert not any((info.asr, info.wake, info.intent, info.handle, info.satellite))
    shown: dict[str, list[tuple[str, str]]] = {}
    for voice in program.voices:
        for language in voice.languages if voice.installed else []:
            shown.setdefault(language, []).append((voice.description or voice.name, voice.name))
    assert {language: sorted(voices) for language, voices in shown.items()} == {
        "en": sorted((voice["name"], voice["id"]) for voice in listed(server.http()))
    }


async def test_every_voice_that_is_shown_speaks(server: Server, port: int) -> None:
    for voice in listed(server.http()):
        content = await plain(port, "The door is open.", SynthesizeVoice(name=voice["id"]))
        assert content is not None
        assert 0.5 < seconds(content) < 10


async def test_what_an_assistant_says_is_streamed(port: int) -> None:
    streamed = seconds(await whole(port, said(*DELTAS)))
    spoken = await plain(port, "".join(DELTAS))
    assert spoken is not None
    # The whole text, which comes once more, is not spoken once more.
    assert 3 < streamed < 1.6 * seconds(spoken)


async def test_it_speaks_while_the_assistant_is_still_writing(port: int) -> None:
    heard = asyncio.Event()

    async def slowly() -> AsyncIterator[str]:
        for delta in DELTAS[:4]:
            yield delta
        await heard.wait()  # what is never set where the whole text is waited for
        for delta in DELTAS[4:]:
            yield delta

    content = b""
    async with aclosing(stream(port, slowly(), SynthesizeVoice(name="rowan"))) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > HEADER_BYTES:
                heard.set()
    assert 3 < seconds(content) < 20


async def test_several_rooms_at_once(port: int) -> None:
    for content in await asyncio.gather(*(whole(port, said(*DELTAS)) for _ in range(3))):
        assert 3 < seconds(content) < 20


async def test_the_room_that_was_left_is_not_waited_for(port: int) -> None:
    async with aclosing(stream(port, said(*DELTAS))) as chunks:
        await anext(chunks)
    assert seconds(await whole(port, said("The door is open."))) < 10


@pytest.mark.parametrize(
    ("deltas", "voice", "told"),
    [
        (("Hello ", "there."), "nobody", "nobody"),
        (("",), None, "no text"),
        (("👍",), None, "no text"),
        (("word " * 1100,), None, "characters"),
    ],
)
async def test_what_cannot_be_spoken_is_told_and_ends(
    port: int, deltas: tuple[str, ...], voice: str | None, told: str
) -> None:
    chosen = SynthesizeVoice(name=voice) if voice else None
    with pytest.raises(ServiceError, match=told):
        await whole(port, said(*deltas), chosen)
    assert await whole(port, said(*deltas), chosen, raises=False) == b""
    assert await plain(port, "".join(deltas), chosen) is None
