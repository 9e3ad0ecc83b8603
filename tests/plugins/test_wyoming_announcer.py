"""The announcement by mDNS with the real library, on loopback alone, and how a port that is taken is told."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zeroconf.asyncio
from more_wyoming import Settings, announcer
from more_wyoming.announcer import SERVICE, Announcer, instance
from more_wyoming.listener import Listener
from structlog.testing import capture_logs
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from more_server import errors
from more_server.registry import Registry, Snapshot
from more_server.services import Services
from more_server.settings import Settings as ServerSettings

ON_LOOPBACK = Settings(port=0, zeroconf=True)
Seen = asyncio.Queue[tuple[ServiceStateChange, str]]


class Listing:
    """A server that only lists, and has nothing to list."""

    settings = SimpleNamespace(default_language="en", default_voice="")

    def all_voices(self) -> list[Any]:
        return []


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[Listener]:
    listener = Listener(settings, Listing())  # type: ignore[arg-type]
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is announced is announced to this machine alone, as if that were the network."""

    def on_loopback(**options: Any) -> AsyncZeroconf:
        return AsyncZeroconf(interfaces=["127.0.0.1"], **options)

    monkeypatch.setattr(zeroconf.asyncio, "AsyncZeroconf", on_loopback)
    monkeypatch.setattr(announcer, "is_loopback", lambda host: False)


@pytest.fixture
async def network(loopback: None) -> AsyncIterator[tuple[Zeroconf, Seen]]:
    """Somebody else on it, and what they see come and go."""
    seen: Seen = asyncio.Queue()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        seen.put_nowait((state_change, name))

    other = AsyncZeroconf(interfaces=["127.0.0.1"])
    browser = AsyncServiceBrowser(other.zeroconf, SERVICE, handlers=[changed])
    async with asyncio.timeout(30):
        yield other.zeroconf, seen
    await browser.async_cancel()
    await other.async_close()


async def test_who_browses_finds_the_port_and_who_describes_it_is_told(network: tuple[Zeroconf, Seen]) -> None:
    other, seen = network
    async with listening(ON_LOOPBACK) as listener:
        port, announcing = listener.port, Announcer(ON_LOOPBACK, listener)
        await announcing.start()
        # With the name of the program behind it, this is Home Assistant's id of it.
        name = f"{instance(socket.gethostname(), port)}.{SERVICE}"
        assert await seen.get() == (ServiceStateChange.Added, name)
        found = AsyncServiceInfo(SERVICE, name)
        assert await found.async_request(other, 5000)
        assert (found.parsed_addresses(), found.port) == (["127.0.0.1"], port)
        async with AsyncTcpClient(found.parsed_addresses()[0], found.port) as client:
            await client.write_event(Describe().event())
            assert Info.from_event(await client.read_event()).tts[0].name == "MORE"
        await announcing.stop()
        assert await seen.get() == (ServiceStateChange.Removed, name)
        await announcing.stop()  # as is done with what did not start


async def test_a_name_that_another_machine_has_is_told(network: tuple[Zeroconf, Seen]) -> None:
    other, _ = network
    async with listening(ON_LOOPBACK) as listener:
        name = instance(socket.gethostname(), listener.port)
        addresses = [socket.inet_aton("127.0.0.1")]
        await other.async_register_service(AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", addresses=addresses, port=1))
        with pytest.raises(errors.SettingsError, match=f"another machine is announced as {name}"):
            await Announcer(ON_LOOPBACK, listener).start()


async def test_no_network_is_told(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> AsyncZeroconf:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(zeroconf.asyncio, "AsyncZeroconf", broken)
    async with listening(ON_LOOPBACK) as listener:
        with pytest.raises(errors.SettingsError, match=r"127\.0\.0\.1 cannot be announced: .*Network is unreachable"):
            await Announcer(ON_LOOPBACK, listener).start()


async def test_what_only_this_machine_reaches_is_refused() -> None:
    async with listening(ON_LOOPBACK) as listener:
        with pytest.raises(errors.SettingsError, match=r"nobody else reaches 127\.0\.0\.1"):
            await Announcer(ON_LOOPBACK, listener).start()


async def test_an_address_that_mdns_does_not_know_is_refused(loopback: None) -> None:
    settings = Settings(host="::1", port=0, zeroconf=True)
    async with listening(settings) as listener:
        with pytest.raises(errors.SettingsError, match="::1 has no IPv4 address"):
            await Announcer(settings, listener).start()


async def test_a_missing_extra_is_told(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    async with listening(ON_LOOPBACK) as listener:
        with pytest.raises(errors.SettingsError, match=r"pip install 'more-server\[zeroconf\]'"):
            await Announcer(ON_LOOPBACK, listener).start()


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_of_all_addresses_one_is_announced_that_others_reach(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Routed(socket.socket):
        def connect(self, address: Any) -> None:
            assert address == announcer.MDNS
            super().connect(("127.0.0.1", 9))  # of UDP, so nothing is sent

    monkeypatch.setattr(socket, "socket", Routed)
    assert announcer._address(host) == "127.0.0.1"


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("kitchen", "more-kitchen-10200"),
        ("kitchen.example.org", "more-kitchen-10200"),
        ("k" * 64, f"more-{'k' * 52}-10200"),
        ("küche", "more-kche-10200"),
        ("", "more--10200"),
    ],
)
def test_names_stay_and_are_valid(hostname: str, name: str) -> None:
    assert instance(hostname, 10200) == name
    assert zeroconf.service_type_name(f"{name}.{SERVICE}") == SERVICE


async def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    registry = Registry(ServerSettings(data_dir=tmp_path))
    registry.open(None)
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as lines:
        settings = Settings(port=taken.getsockname()[1], zeroconf=True)
        listener = Listener(settings, Listing())  # type: ignore[arg-type]
        following = Services(registry, 10)
        both = (("more_wyoming", listener), ("more_wyoming", Announcer(settings, listener)))
        await following.follow(Snapshot(services=both))
        await following.stop()
    where = f"127.0.0.1:{settings.port}"
    told = f"{where} cannot be bound: it is taken by another program; set plugins.more_wyoming.port"
    assert str(registry.row("more_wyoming").error).startswith(told)
    (line,) = [line for line in lines if line["event"] == "a plugin failed"]
    assert line["reason"].startswith(told)
    assert (line["log_level"], line["exc_info"]) == ("warning", None)
