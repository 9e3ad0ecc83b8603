"""Wyoming's own client against the whole server, in the order of events that Home Assistant sends."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from more_wyoming import Settings
from more_wyoming.announcer import Announcer
from more_wyoming.catalogue import Catalogue
from more_wyoming.listener import Listener
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from more_server import Voice, errors
from tests.web.conftest import Server, nano_settings, running
from tests.wyoming_events import kinds, seconds

FIRST = "The weather is so nice today."
REST = " We are going for a long walk in the park. And then we will all come home for dinner."
LONG = FIRST + REST * 30
BOUNDS = {"header_bytes": 2048, "data_bytes": 8192, "payload_bytes": 100}
Connect = Callable[[], Any]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def made(data_dir: Path, port: int, **own: Any) -> Any:
    settings = nano_settings(data_dir, threads=1)
    return msgspec.structs.replace(settings, plugins={"more_wyoming": {"enabled": True, "port": port, **own}})


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    with running(made(tmp_path_factory.mktemp("data"), port, **BOUNDS)) as server:
        yield server


@pytest.fixture
def connect(server: Server, port: int) -> Connect:
    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncTcpClient]:
        async with AsyncTcpClient("127.0.0.1", port, 5, 20) as client:
            yield client

    return connected


async def until(client: AsyncTcpClient, *last: str) -> list[Event]:
    """Events up to the first of these types, or to the end of the connection."""
    events: list[Event] = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type in last:
            break
    return events


async def stream(client: AsyncTcpClient, text: str, voice: SynthesizeVoice | None = None) -> None:
    """What Home Assistant sends, to the word: the whole text comes once more before the stop."""
    await client.write_event(SynthesizeStart(voice=voice).event())
    for at in range(0, len(text), 5):
        await client.write_event(SynthesizeChunk(text[at : at + 5]).event())
    await client.write_event(Synthesize(text, voice).event())
    await client.write_event(SynthesizeStop().event())


def in_use(server: Server) -> bool:
    return "xtts_slots_in_use 0.0" not in server.http().get("/metrics").text.splitlines()


async def wait_until_speaking(server: Server, speaking: bool) -> None:
    """For two seconds at most; what LONG says takes many."""
    last = time.monotonic() + 2
    while await asyncio.to_thread(in_use, server) is not speaking:
        assert time.monotonic() < last
        await asyncio.sleep(0.02)


async def test_describe_tells_the_voices_of_the_http_api(server: Server, connect: Connect) -> None:
    async with connect() as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
    (program,) = info.tts
    assert (program.name, program.installed, program.supports_synthesize_streaming) == ("MORE", True, True)
    assert program.version
    listed = server.http().get("/v1/audio/voices").json()["voices"]
    assert [voice.name for voice in program.voices] == [voice["id"] for voice in listed]
    assert [voice.description for voice in program.voices] == [voice["name"] for voice in listed]
    assert all(voice.languages and voice.installed and not voice.speakers for voice in program.voices)
    assert not info.asr


async def test_one_text_gives_one_stop(connect: Connect) -> None:
    async with connect() as client:
        await client.write_event(Synthesize(FIRST + REST, SynthesizeVoice(name="rowan")).event())
        events = await until(client, "audio-stop")
        assert kinds(events) == ["audio-start", "audio-chunk", "audio-stop"]
        assert 3 < seconds(events) < 15
        # The connection serves on, and nothing was sent behind the stop.
        await client.write_event(Synthesize("And now for this.").event())
        assert kinds(await until(client, "audio-stop")) == ["audio-start", "audio-chunk", "audio-stop"]
        await client.write_event(Ping("still there").event())
        assert await client.read_event() == Event("pong", {"text": "still there"})


async def test_a_stream_as_home_assistant_sends_it(connect: Connect) -> None:
    async with connect() as client:
        await stream(client, FIRST + REST)
        events = await until(client, "synthesize-stopped")
        assert kinds(events) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
        streamed = seconds(events)
        await client.write_event(Synthesize(FIRST + REST).event())
        # Were the whole text spoken once more, it would be twice as long.
        assert streamed < 1.6 * seconds(await until(client, "audio-stop"))


async def test_audio_comes_before_the_text_is_complete(connect: Connect) -> None:
    async with connect() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(FIRST + REST[:4]).event())
        first = await until(client, "audio-chunk")
        assert kinds(first) == ["audio-start", "audio-chunk"]
        await client.write_event(SynthesizeChunk(REST[4:]).event())
        await client.write_event(Synthesize(FIRST + REST).event())
        await client.write_event(SynthesizeStop().event())
        events = first + await until(client, "synthesize-stopped")
        assert kinds(events) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
        assert seconds(events) > 4


async def test_two_streams_on_one_connection(connect: Connect) -> None:
    async with connect() as client:
        for _ in range(2):
            await stream(client, FIRST, SynthesizeVoice(language="en"))
        for _ in range(2):
            events = await until(client, "synthesize-stopped")
            assert kinds(events) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]


@pytest.mark.parametrize(
    ("text", "voice", "code"),
    [
        ("", None, "invalid_value"),
        (" \n", None, "invalid_value"),
        ("👍!?", None, "invalid_value"),
        ("Hello there, my friend.", SynthesizeVoice(name="nobody"), "voice_not_found"),
        ("Hello there, my friend.", SynthesizeVoice(language="tlh"), "invalid_value"),
        ("word " * 1100, None, "invalid_value"),
    ],
)
async def test_what_cannot_be_spoken_is_told_and_ended(
    connect: Connect, text: str, voice: SynthesizeVoice | None, code: str
) -> None:
    async with connect() as client:
        await stream(client, text, voice)
        events = await until(client, "synthesize-stopped")
        (told,) = [event.data for event in events if event.type == "error"]
        assert told["code"] == code
        assert told["text"]
        assert events[-1].type == "synthesize-stopped"
        # The next one on the same connection is none the worse.
        await stream(client, FIRST)
        assert "error" not in kinds(await until(client, "synthesize-stopped"))
    async with connect() as client:
        await client.write_event(Synthesize(text, voice).event())
        events = await until(client, "audio-stop")
        assert [event.type for event in events] == ["error"]  # and then it was closed


async def test_unknown_events_are_left_alone(connect: Connect) -> None:
    async with connect() as client:
        for kind in ("select-program", "transcribe", "synthesize-chunk", "synthesize-stop", "audio-chunk"):
            await client.write_event(Event(kind, {"name": "x", "text": "y"}, b"payload"))
        await client.write_event(Ping("a").event())
        assert (await client.read_event()).data == {"text": "a"}


async def test_describe_is_answered_while_the_model_speaks(server: Server, connect: Connect) -> None:
    async with connect() as busy, connect() as client:
        await busy.write_event(Synthesize(LONG).event())
        reading = asyncio.create_task(until(busy, "audio-stop"))
        await wait_until_speaking(server, True)
        for _ in range(3):
            began = time.monotonic()
            await client.write_event(Describe().event())
            assert (await client.read_event()).type == "info"
            assert time.monotonic() - began < 1
        # The one that is spoken to is answered, too.
        await busy.write_event(Ping("a").event())
        assert not reading.done()
        reading.cancel()
    await wait_until_speaking(server, False)


@pytest.mark.parametrize("streaming", [False, True])
async def test_nothing_is_spoken_for_who_has_left(server: Server, connect: Connect, streaming: bool) -> None:
    async with connect() as client:
        if streaming:
            await client.write_event(SynthesizeStart().event())
            for at in range(0, 3000, 50):
                await client.write_event(SynthesizeChunk(LONG[at : at + 50]).event())
        else:
            await client.write_event(Synthesize(LONG).event())
        await until(client, "audio-chunk")
        await wait_until_speaking(server, True)
    await wait_until_speaking(server, False)


@pytest.mark.parametrize(
    "sent",
    [
        b'{"type": "' + b"x" * 3000 + b'"}\n',
        b"x" * 5000,
        b'{"type": "describe", "data_length": 8193}\n',
        b'{"type": "describe", "payload_length": 99999999999}\n',
        b'{"type": "describe", "payload_length": -1}\n',
        b'{"type": "describe", "data_length": 2}\n[]',
        b'{"type": "describe", "data_length": 1}\n{',
        b'{"type": 3}\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\n",
        b"[" * 2000 + b"\n",
        b'{"type": "synthesize"}\n',
        b'{"type": "synthesize-start", "data": {"voice": "rowan"}}\n',
        b'{"type": "ping"}\n' + b'{"type": "synthesize-start"}\n' * 40,
    ],
)
async def test_what_is_no_message_closes_the_connection(connect: Connect, port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        with suppress(ConnectionError):  # reset, where it had not read all that was sent
            while await reader.read(10_000):
                pass
    writer.close()
    async with connect() as client:
        await client.write_event(Ping("a").event())
        assert (await client.read_event()).data == {"text": "a"}


# -- what is told on the plugin's row, and what is not


def row(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/v1/admin/plugins/more_wyoming").json()
    return found


def test_a_port_that_is_taken_stops_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(made(tmp_path, port)) as server:
            assert f"127.0.0.1:{port} cannot be bound" in row(server.http())["error"]
            speech = server.http().post("/v1/audio/speech", json={"input": "It speaks all the same."})
            assert speech.status_code == 200


def test_the_port_is_changed_and_freed_while_it_runs(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    with running(made(tmp_path, first)) as server:
        http = server.http()
        socket.create_connection(("127.0.0.1", first)).close()
        http.patch("/v1/admin/plugins/more_wyoming", json={"settings": {"port": second}}).raise_for_status()
        socket.create_connection(("127.0.0.1", second)).close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", first))
        held = socket.create_connection(("127.0.0.1", second))
        http.post("/v1/admin/plugins/more_wyoming/disable").raise_for_status()
        held.settimeout(5)
        assert held.recv(1) == b""
        held.close()


class Silent:
    """A server that only lists."""

    def __init__(self, *voices: Voice, default: str = "", seconds: float = 0.0) -> None:
        self.settings = msgspec.defstruct("Settings", [("default_language", str), ("default_voice", str)])(
            "en", default
        )
        self.voices, self.seconds = list(voices), seconds

    def all_voices(self) -> list[Voice]:
        time.sleep(self.seconds)
        return self.voices


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
async def test_only_loopback_is_bound_without_a_word(host: str) -> None:
    with pytest.raises(errors.SettingsError, match="allow_open = true"):
        await Listener(Settings(host=host, port=0), Silent()).start()  # type: ignore[arg-type]


async def test_an_open_address_is_bound_when_it_is_said() -> None:
    listener = Listener(Settings(host="0.0.0.0", port=0, allow_open=True), Silent())  # type: ignore[arg-type]
    await listener.start()
    async with AsyncTcpClient("127.0.0.1", listener.port, 5, 5) as client:
        await client.write_event(Describe().event())
        assert (await client.read_event()).type == "info"
    await listener.stop()


async def test_no_more_connections_than_are_allowed() -> None:
    listener = Listener(Settings(port=0, connections=2), Silent())  # type: ignore[arg-type]
    await listener.start()

    async def asked(client: AsyncTcpClient) -> str:
        await client.write_event(Ping("a").event())
        return str((await client.read_event()).type)

    async with AsyncExitStack() as held:
        clients = [AsyncTcpClient("127.0.0.1", listener.port, 5, 5) for _ in range(3)]
        for client in clients[:2]:
            await held.enter_async_context(client)
            assert await asked(client) == "pong"
        await clients[2].connect()
        event = await clients[2].read_event()
        assert (event.type, event.data["code"]) == ("error", "server_busy")
        assert await clients[2].read_event() is None
        await clients[2].disconnect()
    await asyncio.sleep(0.1)
    async with AsyncTcpClient("127.0.0.1", listener.port, 5, 5) as client:
        assert await asked(client) == "pong"
    await listener.stop()


async def test_what_only_this_machine_reaches_is_not_announced() -> None:
    settings = Settings(port=0, zeroconf=True)
    listener = Listener(settings, Silent())  # type: ignore[arg-type]
    await Announcer(settings, listener).start()  # nothing is bound: nothing to announce
    await listener.start()
    with pytest.raises(errors.SettingsError, match="nobody else reaches"):
        await Announcer(settings, listener).start()
    await listener.stop()


def voice(name: str, *languages: str, **more: Any) -> Voice:
    return Voice(id=name, name=name.title(), languages=languages, **more)


async def test_voices_are_told_from_memory_where_looking_takes_long() -> None:
    server = Silent(voice("ann", "pt-br"), voice("bob"))
    catalogue = Catalogue(server)  # type: ignore[arg-type]
    await catalogue.look()
    server.seconds, server.voices = 1.0, []
    began = time.monotonic()
    await catalogue.look()
    assert time.monotonic() - began < 0.9
    told = catalogue.info().data["tts"][0]["voices"]
    assert [(one["name"], one["languages"]) for one in told] == [("ann", ["pt-BR"]), ("bob", ["en"])]
    await catalogue.close()


async def test_a_language_without_a_name_finds_a_voice() -> None:
    voices = (voice("ann", "de"), voice("bob", "de", "en"), voice("eve", "pt-br", aliases=("nova",)))
    catalogue = Catalogue(Silent(*voices, default="bob"))  # type: ignore[arg-type]
    await catalogue.look()
    assert [catalogue.voice_for(tag) for tag in ("de-DE", "pt", "en_GB", "fr")] == [None, "eve", None, None]
