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
NAME_BYTES = 63
"""Longest name that DNS allows."""
log = structlog.get_logger("more_wyoming")


class Announcer(Service):
    """Announces the port of a listener while it is bound."""

    alone = True

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings, self._listener = settings, listener
        self._zeroconf: Any = None

    async def start(self) -> None:
        """Announce. Raises SettingsError where nobody could come, it is not allowed to, or the extra is missing."""
        host, port = self._settings.host, self._listener.port
        if not port:
            return  # why is on the plugin's row already
        if await asyncio.to_thread(is_loopback, host):
            raise errors.SettingsError(
                f"zeroconf: nobody else reaches {host}; set host to the machine's address, or 0.0.0.0"
            )
        try:
            import zeroconf
        except ImportError as error:
            raise errors.SettingsError("zeroconf: `pip install 'more-server[zeroconf]'` is missing") from error
        name, address = instance(socket.gethostname(), port), await asyncio.to_thread(_address, host)
        try:
            await self._announce(name, address, port)
        except zeroconf.NonUniqueNameException as error:
            raise errors.SettingsError(
                f"zeroconf: another machine is announced as {name}; give this one another hostname, or another port"
            ) from error
        except (OSError, zeroconf.Error) as error:
            raise errors.SettingsError(f"zeroconf: {address} cannot be announced: {error!r}") from error
        log.info("wyoming is announced", name=name, address=address, port=port)

    async def _announce(self, name: str, address: str, port: int) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        addresses = [socket.inet_aton(address)]
        info = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", addresses=addresses, port=port)
        self._zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
        try:
            # It asks whether the name is free; that it is told goes on behind.
            await self._zeroconf.async_register_service(info)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take the announcement back."""
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def instance(hostname: str, port: int) -> str:
    """What Home Assistant knows the server by again: it stays, and is another one for another server."""
    before, behind = "more-", f"-{port}"
    # DNS counts bytes, and would take a dot for the end of it.
    host = hostname.partition(".")[0].encode("ascii", "ignore").decode()
    return f"{before}{host[: NAME_BYTES - len(before) - len(behind)]}{behind}"


def _address(host: str) -> str:
    """The IPv4 address under which others come: of the wildcard, the one that speaks to the local network."""
    try:
        found = str(socket.getaddrinfo(host or "0.0.0.0", None, socket.AF_INET)[0][4][0])  # noqa: S104 - not bound
        if found != "0.0.0.0":  # noqa: S104 - compared, not bound
            return found
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(MDNS)
            return str(asking.getsockname()[0])
    except OSError as error:
        raise errors.SettingsError(f"zeroconf: {host} has no IPv4 address that could be announced: {error}") from error
