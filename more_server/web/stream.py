"""`WS /v1/audio/speech/stream`: text in as it is being written, audio and events out as they are made."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
import structlog
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from more_server.audio.encode import Format, find_format
from more_server.audio.encoded import encoded
from more_server.errors import BadInput, Busy, MoreError, RequestTimeout
from more_server.speak import Speaker
from more_server.speech import Audio
from more_server.talk import Talk
from more_server.web import wire
from more_server.web.access import chosen_subprotocol
from more_server.web.described import Messages, described
from more_server.web.errors import deny, request_id

DOOR = "websocket"
DEFAULT_FORMAT = "pcm"
"""What can be played from the first byte on; a voice agent has no use for files."""
MOST_WAITING = 16
"""Texts that a connection may have waiting; they are spoken one after the other."""
RETRY_SECONDS = 5.0
LEFT = (OSError, WebSocketDisconnect)
"""What sending raises once the client has left: uvicorn's own, and Litestar's."""
NORMAL, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1008, 1011
"""RFC 6455, section 7.4.1."""
MESSAGES = (
    "messages are JSON objects whose `type` is one of: session.config, input.text, input.done, input.cancel, "
    "session.close"
)
log = structlog.get_logger("more_server.web")


SENT = Messages(
    from_client=get_args(wire.StreamMessage),
    from_server=(wire.AudioStart, wire.AudioText, wire.AudioDone, wire.SessionDone, wire.StreamError),
)


@websocket("/v1/audio/speech/stream", opt=described({"scope": "speech"}, messages=SENT))
async def speech_stream(socket: WebSocket[Any, Any, Any], speaker: NamedDependency[Speaker]) -> None:
    """Text in pieces as it is being written, spoken sentence by sentence: JSON in, JSON and audio out."""
    try:
        speaker.check_ready()
    except MoreError as error:
        await deny(socket.scope, socket.send, error)
        return
    await socket.accept(chosen_subprotocol(socket.scope))
    await Session(socket, speaker).run()


@dataclass(eq=False)
class Turn:
    """One text and its audio."""

    number: int
    talk: Talk
    format: Format
    mute: bool
    """Nothing (more) of it is spoken."""
    sentences: int = 0
    """Told so far."""
    bytes_sent: int = 0
    begun: bool = False
    """`audio.start` was sent."""


class Session:
    """One connection, from its acceptance to its end."""

    def __init__(self, socket: WebSocket[Any, Any, Any], speaker: Speaker) -> None:
        self._socket, self._speaker = socket, speaker
        self._id = request_id(socket.scope)
        self._user_agent = socket.headers.get("user-agent", "")
        self._traceparent = socket.headers.get("traceparent", "")
        self._config = wire.SessionConfig()
        self._turns: asyncio.Queue[Turn | None] = asyncio.Queue(MOST_WAITING)
        """None: the client wants it to end here."""
        self._writing: Turn | None = None
        """Whose text is not complete."""
        self._speaking: asyncio.Task[None] | None = None
        self._count = 0
        self._heard_at = 0.0
        """When something was last sent, by either side; the event loop's time."""
        self._closing = False
        """Nothing that comes is looked at any more."""

    async def run(self) -> None:
        """Until the client leaves, or has been spoken to and wanted it to end."""
        reading, speaking = asyncio.create_task(self._read()), asyncio.create_task(self._speak_all())
        try:
            await asyncio.wait({reading, speaking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [one for one in (reading, speaking, self._speaking) if one is not None]
            for one in tasks:
                one.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        code = NORMAL
        with suppress(*LEFT, RuntimeError):  # it is closed already
            for error in ended:
                if isinstance(error, RequestTimeout):
                    code = POLICY_VIOLATION
                    await self._send(wire.stream_error(error))
                # The client may have left while something was being sent.
                elif isinstance(error, Exception):
                    code = INTERNAL_ERROR
                    if not isinstance(error, LEFT):
                        log.error("a connection failed", request_id=self._id, exc_info=error)
            await self._socket.close(code)

    # -- what the client sends

    async def _read(self) -> None:
        while (event := await self._receive())["type"] != "websocket.disconnect":
            if self._closing:
                continue
            try:
                await self._understand(_message(event))
            except MoreError as error:
                await self._send(wire.stream_error(error))

    async def _receive(self) -> Any:
        """ASGI's next event. Raises RequestTimeout after a silence in both directions."""
        receiving, loop = asyncio.ensure_future(self._socket.receive()), asyncio.get_running_loop()
        self._heard_at = loop.time()
        try:
            while True:
                most = self._speaker.settings.limits.socket_seconds
                if self._writing is None and self._speaking is not None:
                    self._heard_at = loop.time()  # it waits for us
                left = self._heard_at + most - loop.time()
                if left <= 0:
                    raise RequestTimeout(f"nothing was sent here for {most:g} s (limits.socket_seconds)")
                if (await asyncio.wait({receiving}, timeout=left))[0]:
                    return receiving.result()
        finally:
            receiving.cancel()

    async def _understand(self, message: wire.StreamMessage) -> None:
        match message:
            case wire.SessionConfig():
                await self._configure(message)
            case wire.InputText(text):
                self._writing = self._writing or self._begin()
                self._writing.talk.add(text)
            case wire.InputDone():
                turn, self._writing = self._writing or self._begin(mute=True), None
                turn.talk.end()
            case wire.InputCancel():
                self._cancel()
            case wire.SessionClose():
                if self._writing is not None:
                    self._writing.talk.end()
                self._closing = True
                await self._turns.put(None)

    async def _configure(self, config: wire.SessionConfig) -> None:
        if self._writing is not None:
            raise BadInput("a text is being sent; send input.done before another session.config", param="type")
        find_format((config.response_format or DEFAULT_FORMAT).lower())
        await self._speaker.splitter(wire.speech_request(config))
        self._config = config

    def _begin(self, *, mute: bool = False) -> Turn:
        if self._turns.full():
            raise Busy(f"{MOST_WAITING} texts wait on this connection already", retry_after=RETRY_SECONDS)
        sender = {"user_agent": self._user_agent, "traceparent": self._traceparent}
        asked = wire.speech_request(self._config, door=DOOR, **sender)
        audio_format = find_format((self._config.response_format or DEFAULT_FORMAT).lower())
        turn = Turn(self._count, self._speaker.talk(asked, f"{self._id}-{self._count}"), audio_format, mute)
        self._turns.put_nowait(turn)
        self._count += 1
        return turn

    def _cancel(self) -> None:
        waiting = [self._turns.get_nowait() for _ in range(self._turns.qsize())]
        for turn in waiting:
            if turn is not None:
                turn.mute = True
            self._turns.put_nowait(turn)
        self._writing = None
        if self._speaking is not None:
            self._speaking.cancel()

    # -- what it is sent

    async def _speak_all(self) -> None:
        while (turn := await self._turns.get()) is not None:
            if not turn.mute:
                self._speaking = asyncio.create_task(self._speak(turn))
                await asyncio.wait({self._speaking})
                speaking, self._speaking = self._speaking, None
                turn.mute = speaking.cancelled()
                await self._conclude(turn, None if turn.mute else speaking.exception())
            await self._send(wire.SessionDone(turn.number, turn.sentences))

    async def _speak(self, turn: Turn) -> None:
        async with aclosing(turn.talk.report.encoding(encoded(self._told(turn), turn.format.name))) as chunks:
            async for chunk in chunks:
                await self._socket.send_data(chunk, mode="binary")
                self._heard_at = asyncio.get_running_loop().time()
                turn.bytes_sent += len(chunk)

    async def _told(self, turn: Turn) -> AsyncGenerator[Audio, None]:
        """The audio of a text; what it says is told before it is sent."""
        number, seconds, utterance = turn.number, 0.0, None
        async with aclosing(turn.talk.speak()) as chunks:
            async for audio in chunks:
                if not turn.begun:
                    turn.begun, kind = True, turn.format
                    await self._send(wire.AudioStart(number, kind.name, audio.sample_rate, kind.content_type))
                if turn.talk.utterance is not utterance:
                    utterance = turn.talk.utterance
                    await self._send(wire.AudioText(number, turn.sentences, turn.talk.text, round(seconds, 3)))
                    turn.sentences += 1
                seconds += audio.seconds
                yield audio

    async def _conclude(self, turn: Turn, error: BaseException | None) -> None:
        match error:
            case None:
                pass
            case MoreError():
                # A text of no letters is told; that there was none at all is not an error.
                error = error if turn.talk.characters else None
            case OSError() | WebSocketDisconnect():
                raise error
            case _:
                log.error("a request failed", request_id=f"{self._id}-{turn.number}", exc_info=error)
                error = MoreError("the server met an error it did not foresee; its log has the details")
        if error is not None:
            await self._send(wire.stream_error(error))
        if turn.begun:
            await self._send(wire.AudioDone(turn.number, turn.bytes_sent, error is not None, turn.mute))

    async def _send(self, event: msgspec.Struct) -> None:
        await self._socket.send_data(wire.encode(event), mode="text")


def _message(event: Any) -> wire.StreamMessage:
    """A message of the client. Raises BadInput where it is none."""
    text = event.get("text")
    if text is None:
        raise BadInput(f"a binary message is not understood; {MESSAGES}")
    try:
        return wire.decode(text.encode(), wire.StreamMessage)  # type: ignore[arg-type]
    except BadInput as error:
        if error.param in (None, "type"):
            raise BadInput(f"the message is not understood; {MESSAGES}", param="type") from error
        raise
