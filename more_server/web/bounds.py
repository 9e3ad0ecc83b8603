"""How long a client may keep a connection waiting, and how many there may be: uvicorn has no bounds on either.

An answer is made by the application, in its own time. Whatever else a connection waits for is the client's to do, and
has a limit in `limits`: to begin a request (`keep_alive_seconds`), to end its head (`head_seconds`), to send its body
(`body_seconds`), to take the answer (`reader_seconds`). Beyond it the client is told where it can still be, and the
connection ends; what was being made for it ends with that, as for any client that leaves.
"""

import asyncio
import fcntl
import math
import socket
import struct
import sys
import termios
import uuid
from array import array
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import h11
import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from more_server.errors import BadInput, MoreError, RequestTimeout, Unavailable
from more_server.tables import LimitSettings
from more_server.web import wire

LOOK_SECONDS = 0.25
"""How often all connections are looked at; 500 of them take 0.4 ms, 2 ms where none of them reads."""
REFUSED_SECONDS = 2.0
"""A client that is refused may go on sending for so long: closed at once, the reset could overtake the answer."""
MOST_REFUSED = 64
"""Refused connections that are waited for; further ones are closed without a word."""
REFUSED_RETRY_SECONDS = 5.0
NEVER = 86_400
"""uvicorn's own time between requests, in place of which `keep_alive_seconds` holds."""
log = structlog.get_logger("more_server.web")
GetLimits = Callable[[], LimitSettings]


class BodyTimeout(RequestTimeout, TimeoutError):
    """A body stays away; for whoever keeps what has come, it is like any wait that ended."""


class Bodies:
    """An ASGI application whose callers must send their bodies in time: else the application's `receive` raises."""

    def __init__(self, application: ASGIApp, limits: GetLimits) -> None:
        self._application, self._limits = application, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            body = Body(receive, send, self._limits())
            receive, send = body.receive, body.send
        await self._application(scope, receive, send)


class Body:
    """One request's body on its way in. Only the time that somebody waits for it counts."""

    def __init__(self, receive: Receive, send: Send, limits: LimitSettings) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._more, self._late, self._answering = True, False, False
        self._waited, self._bytes = 0.0, 0

    async def receive(self) -> Any:
        """ASGI's next event. Raises BodyTimeout; a client whose answer has begun already has left instead."""
        if not self._more:
            return await self._receive()
        most, rate = self._limits.body_seconds, self._limits.slow_bytes
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = min(most, most + self._bytes / rate - self._waited)
        try:
            event = cast(dict[str, Any], await asyncio.wait_for(self._receive(), left))
        except TimeoutError:
            self._late = True
            if self._answering:
                return {"type": "http.disconnect"}
            raise BodyTimeout(
                f"the body did not come: nothing for {most:g} s (limits.body_seconds), or less than {rate} bytes a "
                "second (limits.slow_bytes)"
            ) from None
        self._waited += loop.time() - began
        self._bytes += len(event.get("body", b""))
        self._more = event["type"] == "http.request" and event.get("more_body", False)
        return event

    async def send(self, message: Message) -> None:
        """ASGI's; nothing more is read of a request whose body came too late."""
        if message["type"] == "http.response.start":
            self._answering = True
            if self._late:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)


class Metered:
    """A transport that knows how much its client has taken."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0
        self._mark: tuple[float, int] | None = None
        """Time, and bytes taken by then, from which on a client with unsent bytes is measured."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    def cut(self) -> None:
        """Close it at once, what the system still holds for its client included."""
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _held_by_system(self) -> int:
        """Bytes that it has not sent, or that were not acknowledged.

        Without them a listener at 64 kbit/s seems to stand still for minutes: room is told of once a third of a buffer
        of up to 4 MB is free.
        """
        if sys.platform != "linux":
            return 0
        held = array("i", [0])
        fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
        return held[0]

    def stands_still(self, now: float, limits: LimitSettings) -> bool:
        """Whether bytes were ready for so long and the client took fewer than the slowest one would."""
        unsent = self._transport.get_write_buffer_size()
        if not unsent:
            self._mark = None
            return False
        taken = self._written - unsent - self._held_by_system()
        self._mark = since, before = self._mark or (now, taken)
        if now - since < limits.reader_seconds:
            return False
        self._mark = (now, taken)
        return taken - before < limits.slow_bytes * limits.reader_seconds


class Doors:
    """Every connection of a server, of one event loop. `http` and `ws` make what uvicorn is to serve them with."""

    def __init__(self, limits: GetLimits) -> None:
        """limits: those of now."""
        self.limits = limits
        self.http: Any = partial(HttpConnection, self)
        self.ws: Any = partial(SocketConnection, self)
        self._open: dict[Metered, HttpConnection | SocketConnection] = {}
        self._refused: dict[Metered, float] = {}
        """Until when each is waited for."""
        self._looking: asyncio.TimerHandle | None = None

    def enter(self, transport: Metered, connection: "HttpConnection | SocketConnection") -> bool:
        """Take a connection, or one that goes on by another protocol; False where there are too many."""
        self._looking = self._looking or self._later()
        if transport not in self._open and len(self._open) >= self.limits().connections and not self._make_room():
            self._refuse(transport)
            return False
        self._open[transport] = connection
        return True

    def leave(self, transport: Metered) -> None:
        """It is closed."""
        self._open.pop(transport, None)
        self._refused.pop(transport, None)

    def _make_room(self) -> bool:
        """Close the connection that has been without a request for the longest time."""
        idle = [one for one in self._open.values() if isinstance(one, HttpConnection) and one.is_idle]
        if idle:
            longest = min(idle, key=lambda one: one.since)
            self._open.pop(longest.metered)
            longest.transport.close()
        return bool(idle)

    def _refuse(self, transport: Metered) -> None:
        most = self.limits().connections
        log.warning("a connection is refused", reason=f"there are {most} already (limits.connections)")
        if len(self._refused) >= MOST_REFUSED:
            transport.cut()
            return
        error = Unavailable(
            f"the server has {most} connections, as many as it may (limits.connections); try again later",
            retry_after=REFUSED_RETRY_SECONDS,
        )
        self._refused[transport] = asyncio.get_running_loop().time() + REFUSED_SECONDS
        transport.write(answer(error))
        transport.write_eof()

    def _later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = self._later() if self._open or self._refused else None
        now, limits = asyncio.get_running_loop().time(), self.limits()
        for transport, connection in list(self._open.items()):
            if transport.stands_still(now, limits):
                log.warning(
                    "a connection is cut",
                    client=str((connection.client or ("unknown",))[0]),
                    reason=f"what is ready for it was not taken for {limits.reader_seconds:g} s "
                    f"(limits.reader_seconds, limits.slow_bytes)",
                )
                transport.cut()
            elif isinstance(connection, HttpConnection):
                connection.check(now, limits)
        for transport, until in list(self._refused.items()):
            if now >= until:
                transport.cut()


class HttpConnection(H11Protocol):
    """uvicorn's, within bounds."""

    def __init__(self, doors: Doors, **given: Any) -> None:
        super().__init__(**given)
        self._doors = doors
        self._let_in = False
        self._begun = False
        """Some of a request has come."""
        self.since = self.loop.time()
        """When it came, or when the last request ended."""

    def connection_made(self, transport: Any) -> None:
        """asyncio's."""
        self.metered = Metered(transport)
        super().connection_made(cast(asyncio.Transport, self.metered))
        self._let_in = self._doors.enter(self.metered, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn does so for some ends alone, and the others would stay for a day
        self._doors.leave(self.metered)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if not self._let_in or self.transport.is_closing():
            return  # it has had its answer
        if not (self._begun or self._is_answering):
            self._begun, self.since = True, self.loop.time()
        super().data_received(data)
        if self._begun and not self._is_answering and self.conn.their_state is h11.IDLE and not self._is_ahead:
            # It was the rest of a body, of a request that had its answer before.
            self._begun, self.since = False, self.loop.time()

    def on_response_complete(self) -> None:
        """uvicorn's."""
        self._begun, self.since = self._is_ahead, self.loop.time()
        super().on_response_complete()

    @property
    def _is_ahead(self) -> bool:
        """Some of the next request has come already."""
        return bool(self.conn.trailing_data[0])

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP."""
        if self._is_answering and self.cycle.response_started:
            self.transport.close()
            return
        self._end(BadInput(f"{msg[0].lower()}{msg[1:].rstrip('.')}: not HTTP/1.1, or a head of more than 16 kB"))

    @property
    def is_idle(self) -> bool:
        """Nothing of a request has come, and nothing of an answer is left."""
        return not (self._begun or self._is_answering or self.transport.get_write_buffer_size())

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def check(self, now: float, limits: LimitSettings) -> None:
        """Close it where its client has kept it waiting for too long."""
        if self._is_answering or self.transport.is_closing():
            return
        if not self._begun:
            if now - self.since > limits.keep_alive_seconds:
                self.transport.close()
        elif now - self.since > limits.head_seconds:
            if self.conn.their_state is h11.SEND_BODY:  # what is left of one that was answered before it had come
                self.transport.close()
            else:
                seconds = f"{limits.head_seconds:g} s (limits.head_seconds)"
                self._end(RequestTimeout(f"the head of the request was not complete within {seconds}"))

    def _end(self, error: MoreError) -> None:
        self.transport.write(answer(error))
        self.transport.close()


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's, within the same bounds; it begins as an HttpConnection."""

    def __init__(self, doors: Doors, **given: Any) -> None:
        given["config"].ws_max_size = doors.limits().body_bytes  # as it is now
        super().__init__(**given)
        self._doors = doors

    def connection_made(self, transport: Any) -> None:
        """asyncio's."""
        self._metered: Metered = transport
        super().connection_made(transport)
        self._doors.enter(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        super().connection_lost(exc)
        self._doors.leave(self._metered)


def answer(error: MoreError) -> bytes:
    """An error as the whole answer of a connection, for what never gets as far as the application."""
    content = wire.encode(wire.error_body(error))
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        f"x-request-id: req_{uuid.uuid4().hex}",
        "connection: close",
        "x-content-type-options: nosniff",
    ]
    if error.retry_after is not None:
        lines.append(f"retry-after: {math.ceil(error.retry_after)}")
    return "\r\n".join([*lines, "", ""]).encode() + content
