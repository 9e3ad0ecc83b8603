"""Where a worker's connections come in: accepted by the parent, served as if this process had accepted them."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import structlog
import uvicorn
from litestar.types import ASGIApp, Receive, Scope, Send

FRESH_SECONDS = 1.0
"""A new connection counts as somebody to be spoken to until its first request, so long at most: pages open some ahead.
A new request does so, too, and then only if it is spoken."""
log = structlog.get_logger("more_server.workers")


class Door:
    """One of uvicorn's servers, which it closes at its end, without a port of its own."""

    def __init__(self, door: socket.socket, server: uvicorn.Server, changed: Callable[[], None]) -> None:
        """door: the parent's end sends a byte with each connection. changed: there is news to report."""
        door.setblocking(False)
        self._door, self._server, self._changed = door, server, changed
        self._fresh: dict[tuple[Any, ...], asyncio.TimerHandle] = {}
        """By the client's address."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.taken = 0
        """Connections, since the start."""
        self._requests: dict[object, float] = {}
        """Those at work, WebSockets included, and when they began."""
        server.config.app = self._counted(cast(ASGIApp, server.config.app))

    def open(self) -> None:
        """Begin to take connections; the server has begun."""
        self._server.servers.append(cast(Any, self))
        asyncio.get_running_loop().add_reader(self._door, self._take)

    @property
    def requests(self) -> int:
        """At work, WebSockets included."""
        return len(self._requests)

    def speaking(self, by_engine: int) -> int:
        """Texts at work or about to be; by_engine: those that the engine knows of.

        Any request may ask for speech, which the engine knows only once it is resolved, and connections without a
        request have come for one.
        """
        since = asyncio.get_running_loop().time() - FRESH_SECONDS
        recent = sum(began > since for began in self._requests.values())
        return max(by_engine, recent) + len(self._fresh)

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._server.server_state.connections)

    def close(self) -> None:
        """Take no more; what was sent and not taken, the parent gives to others."""
        if self._door.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._door)
            self._door.close()

    async def wait_closed(self) -> None:
        """There is nothing to be waited for."""

    def _take(self) -> None:
        try:
            sent, descriptors, *_ = socket.recv_fds(self._door, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            sent, descriptors = b"", []
        if not sent:  # the parent is gone
            self.close()
            return
        self.taken += 1
        if descriptors:
            task = asyncio.get_running_loop().create_task(self._serve(socket.socket(fileno=descriptors[0])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:  # the system drops it where a process has as many files as it may
            log.warning("a connection is lost", reason="this process has as many files open as it may (RLIMIT_NOFILE)")
        self._changed()

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        try:
            address = tuple(connection.getpeername()[:2])
            self._fresh[address] = loop.call_later(FRESH_SECONDS, self._known, address)
            await loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has left
            connection.close()

    def _protocol(self) -> asyncio.BaseProtocol:
        server = self._server
        made: asyncio.BaseProtocol = cast(Any, server.config.http_protocol_class)(
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        return made

    def _known(self, address: tuple[Any, ...]) -> None:
        if waiting := self._fresh.pop(address, None):
            waiting.cancel()
            self._changed()

    def _counted(self, application: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if str(scope["type"]) == "lifespan":
                await application(scope, receive, send)
                return
            request = object()
            self._requests[request] = asyncio.get_running_loop().time()
            self._known(tuple(scope["client"] or ()))
            self._changed()
            try:
                await application(scope, receive, send)
            finally:
                del self._requests[request]
                self._changed()

        return counted
