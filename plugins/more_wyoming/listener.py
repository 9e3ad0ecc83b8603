"""The port: bound when the server can speak, let go when the plugin or the server ends."""

import asyncio
import errno
import ipaddress
import socket

import structlog

from more_server import Server, Service, errors
from more_wyoming import Settings
from more_wyoming.catalogue import Catalogue
from more_wyoming.connection import Connection, refuse

FIRST_LOOK_SECONDS = 5.0
"""Longest wait for the voices before anybody may ask for them."""
log = structlog.get_logger("more_wyoming")


class Listener(Service):
    """Listens, and keeps the connections."""

    alone = True

    def __init__(self, settings: Settings, server: Server) -> None:
        self._settings, self._server = settings, server
        self._catalogue = Catalogue(server)
        self._listening: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        """The one that is bound; 0: none."""

    async def start(self) -> None:
        """Bind the port. Raises SettingsError saying why it cannot be had, and what would help."""
        host, port = self._settings.host, self._settings.port
        if not self._settings.allow_open and not await asyncio.to_thread(is_loopback, host):
            raise errors.SettingsError(
                f"host {host} can be reached by other machines, and Wyoming cannot send a key, so everyone there could "
                "speak; where that is meant, set allow_open = true"
            )
        await self._catalogue.look(FIRST_LOOK_SECONDS)
        try:
            self._listening = await asyncio.start_server(self._accept, host, port, limit=self._settings.header_bytes)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "it is taken by another program" if taken else error.strerror or str(error)
            raise errors.SettingsError(
                f"{host}:{port} cannot be bound: {reason}; set plugins.more_wyoming.port, or use "
                "`more-server plugins set more_wyoming port=…`"
            ) from error
        self.port = int(self._listening.sockets[0].getsockname()[1])
        log.info("wyoming listens", host=host, port=self.port)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._listening is not None:
            self._listening.close()
        self.port = 0
        if running := set(self._connections):
            for one in running:
                one.cancel()
            await asyncio.wait(running)
        await self._catalogue.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        most = self._settings.connections
        if len(self._connections) >= most:
            log.warning("a connection is refused", reason=f"there are {most} connections already (connections)")
            task = asyncio.create_task(refuse(writer, "the server has as many connections as it may; try again later"))
        else:
            task = asyncio.create_task(Connection(self._settings, self._server, self._catalogue, reader, writer).run())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name; one that cannot be resolved counts as reachable."""
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)
    except (OSError, ValueError):
        return False
