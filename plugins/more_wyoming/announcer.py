"""Tells the network of the port by mDNS, so that Home Assistant finds it. Apart from the port, which works without."""

import asyncio
import socket
from typing import Any

import structlog

from more_server import Service, errors
from more_wyoming import Settings
from more_wyoming.listener import Listener, is_loopback

SERVICE = "_wyoming._tcp.local."
MDNS = ("224.0.0.251", 5353)
log = structlog.get_logger("more_wyoming")


class Announcer(Service):
    """Announces the port of a listener while it is bound."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings, self._listener = settings, listener
        self._zeroconf: Any = None

    async def start(self) -> None:
        """Announce. Raises SettingsError where nobody could come, or the extra is not installed."""
        if not self._listener.port:
            return  # why is on the plugin's row already
        if await asyncio.to_thread(is_loopback, self._settings.host):
            raise errors.SettingsError(
                f"zeroconf: nobody else reaches {self._settings.host}; set host to the machine's address, or 0.0.0.0"
            )
        try:
            from zeroconf import IPVersion
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError as error:
            raise errors.SettingsError("zeroconf: `pip install 'more-server[zeroconf]'` is missing") from error
        port = self._listener.port
        # Home Assistant knows the server by this name again, so it must stay, and be another one for another server.
        name = f"more-{socket.gethostname().partition('.')[0]}-{port}"[:60]
        info = AsyncServiceInfo(
            SERVICE, f"{name}.{SERVICE}", addresses=[socket.inet_aton(_address(self._settings.host))], port=port
        )
        self._zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
        try:
            await self._zeroconf.async_register_service(info)
        except BaseException:
            await self.stop()
            raise
        log.info("wyoming is announced", name=name, port=port)

    async def stop(self) -> None:
        """Take the announcement back."""
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def _address(host: str) -> str:
    """The IPv4 address under which others come: of the wildcard, the one that speaks to the local network."""
    try:
        found = str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
        if found != "0.0.0.0":  # noqa: S104 - compared, not bound
            return found
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(MDNS)
            return str(asking.getsockname()[0])
    except OSError as error:
        raise errors.SettingsError(f"zeroconf: {host} has no IPv4 address that could be announced: {error}") from error
