"""A client: what it asks is understood while it is being spoken to, and when it leaves nothing goes on for it."""

import asyncio
import socket
from contextlib import suppress

import structlog
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from more_server import Server
from more_wyoming import Settings
from more_wyoming.catalogue import Catalogue
from more_wyoming.frames import BadFrame, read
from more_wyoming.talk import WyomingTalk

MOST_WAITING = 16
"""Requests that a connection may have waiting; they are spoken one after the other."""
CLOSING_SECONDS = 2.0
"""A client may still take what it was sent last; a plugin has 10 s to end (plugin_seconds)."""
QUIET_SECONDS = 60
"""A client that was not heard for this long is asked by the system whether it is still there."""
log = structlog.get_logger("more_wyoming")


class NotTaken(ConnectionError):
    """A client that is there, and does not read."""


class Connection:
    """One client from its coming to its leaving."""

    def __init__(
        self,
        settings: Settings,
        server: Server,
        catalogue: Catalogue,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._settings, self._server, self._catalogue = settings, server, catalogue
        self._reader, self._writer = reader, writer
        self._talks: asyncio.Queue[WyomingTalk] = asyncio.Queue(MOST_WAITING)
        self._streamed: WyomingTalk | None = None
        """What is being written, from its start to its stop."""
        self._talking = 0
        """Talks that are not said to their end yet."""
        self._active_at = 0.0
        """When something was last sent, by either side; the event loop's time."""

    async def run(self) -> None:
        """Answer until the client leaves, or asks for what closes the connection."""
        _keep_alive(self._writer)
        reading, speaking = asyncio.create_task(self._read()), asyncio.create_task(self._speak())
        try:
            done, _ = await asyncio.wait({reading, speaking}, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                self._note(one.exception())
        finally:
            for one in (reading, speaking):
                one.cancel()
            await asyncio.gather(reading, speaking, return_exceptions=True)
            await _close(self._writer)

    def _note(self, error: BaseException | None) -> None:
        match error:
            case BadFrame() | NotTaken():
                log.warning("a connection is closed", client=self._client(), reason=str(error))
            case OSError() | asyncio.IncompleteReadError() | None:
                pass  # it left
            case _:
                log.error("a connection failed", client=self._client(), exc_info=error)

    def _client(self) -> str:
        return str((self._writer.get_extra_info("peername") or ("unknown",))[0])

    async def _speak(self) -> None:
        while True:
            talk = await self._talks.get()
            if not await talk.say(self._write):
                return
            self._talking -= 1

    async def _read(self) -> None:
        while (event := await self._next()) is not None:
            await self._understand(event)

    async def _next(self) -> Event | None:
        """The next message. Raises BadFrame after a silence that is not ours to end."""
        reading, loop = asyncio.create_task(read(self._reader, self._settings)), asyncio.get_running_loop()
        self._active_at = loop.time()
        try:
            while True:
                if self._talking and self._streamed is None:
                    self._active_at = loop.time()  # it waits for us
                left = self._active_at + self._settings.idle_seconds - loop.time()
                if left <= 0:
                    raise BadFrame(f"nothing was sent for {self._settings.idle_seconds:g} s (idle_seconds)")
                if (await asyncio.wait({reading}, timeout=left))[0]:
                    return reading.result()
        finally:
            reading.cancel()

    async def _understand(self, event: Event) -> None:
        """Unknown events are left alone, as the protocol grows by them."""
        if Describe.is_type(event.type):
            await self._catalogue.look()
            await self._write(self._catalogue.info())
        elif Ping.is_type(event.type):
            await self._write(Pong(event.data.get("text")).event())
        elif SynthesizeStart.is_type(event.type):
            self._stop()
            self._streamed = self._begin(event, streaming=True)
        elif SynthesizeChunk.is_type(event.type) and self._streamed is not None:
            self._streamed.add(_text(event))
        elif SynthesizeStop.is_type(event.type):
            self._stop()
        # Within a stream it is the whole text once more, for servers that know no streams.
        elif Synthesize.is_type(event.type) and self._streamed is None:
            text = _text(event)
            talk = self._begin(event, streaming=False)
            talk.add(text)
            talk.end()

    def _begin(self, event: Event, *, streaming: bool) -> WyomingTalk:
        talk = WyomingTalk(self._server, self._catalogue, _voice(event), streaming=streaming)
        try:
            self._talks.put_nowait(talk)
        except asyncio.QueueFull:
            raise BadFrame(f"more than {MOST_WAITING} requests wait on this connection") from None
        self._talking += 1
        return talk

    def _stop(self) -> None:
        if self._streamed is not None:
            self._streamed.end()
            self._streamed = None

    async def _write(self, event: Event) -> None:
        try:
            async with asyncio.timeout(self._settings.reader_seconds):
                await async_write_event(event, self._writer)
        except TimeoutError as error:
            raise NotTaken(f"nothing was taken for {self._settings.reader_seconds:g} s (reader_seconds)") from error
        self._active_at = asyncio.get_running_loop().time()


async def refuse(writer: asyncio.StreamWriter, message: str) -> None:
    """Tell a client why it is not let in."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await async_write_event(Error(message, "server_busy").event(), writer)
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """What was sent may arrive; a client that does not take it holds nothing open."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass


def _text(event: Event) -> str:
    text = event.data.get("text")
    if not isinstance(text, str):
        raise BadFrame(f"a {event.type} without a text")
    return text


def _voice(event: Event) -> SynthesizeVoice | None:
    voice = event.data.get("voice")
    if voice is None:
        return None
    if not isinstance(voice, dict) or not all(isinstance(voice.get(key) or "", str) for key in ("name", "language")):
        raise BadFrame(f"a {event.type} whose voice is none")
    return SynthesizeVoice(name=voice.get("name"), language=None if voice.get("name") else voice.get("language"))


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Notice clients that vanished without a word, or they would use up the connections."""
    connection = writer.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", QUIET_SECONDS), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
