"""Clients of the Wyoming port that keep it waiting."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from more_wyoming import Settings
from more_wyoming.listener import Listener
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize

from more_server import Audio


class Talkative:
    """A server whose every talk goes on for ever once it has a text."""

    def __init__(self) -> None:
        self.settings = SimpleNamespace(default_language="en", default_voice="")
        self.speaking = 0
        self.begun, self.texted = asyncio.Event(), asyncio.Event()

    def all_voices(self) -> list[Any]:
        return []

    def talk(self, *_: Any) -> "Talkative":
        return self

    def add(self, text: str) -> None:
        self.texted.set()

    def end(self) -> None:
        pass

    async def speak(self) -> AsyncGenerator[Audio, None]:
        await self.texted.wait()
        self.speaking += 1
        self.begun.set()
        try:
            while True:
                yield Audio(np.zeros(24_000, np.float32), 24_000)
                await asyncio.sleep(0.001)
        finally:
            self.speaking -= 1


async def listening(**settings: Any) -> Listener:
    listener = Listener(Settings(port=0, **settings), Talkative())  # type: ignore[arg-type]
    await listener.start()
    return listener


async def until_free(listener: Listener) -> None:
    if running := set(listener._connections):
        done, _ = await asyncio.wait(running, timeout=10)
        assert done == running
    assert not listener._connections


@pytest.mark.parametrize(
    ("sent", "limit"),
    [
        (b"", {"idle_seconds": 0.3}),
        (b'{"type": "ping"}\n', {"idle_seconds": 0.3}),
        (b'{"type": "synthesize-start"}\n', {"idle_seconds": 0.3}),  # and no text
        (b'{"type": "pi', {"message_seconds": 0.3}),
        (b'{"type": "ping", "data_length": 100}\n{', {"message_seconds": 0.3}),
    ],
)
async def test_a_silent_client_is_closed(sent: bytes, limit: dict[str, float]) -> None:
    listener = await listening(**limit)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        while await reader.read(1000):
            pass
    writer.close()
    await until_free(listener)
    await listener.stop()


async def test_a_client_that_is_spoken_to_may_be_silent() -> None:
    listener = await listening(idle_seconds=0.3)
    async with AsyncTcpClient("127.0.0.1", listener.port, 5, 10) as client:
        await client.write_event(Synthesize("Hello.").event())
        began = time.monotonic()
        while time.monotonic() - began < 1:
            assert await client.read_event() is not None
    await listener.stop()


async def test_a_client_that_does_not_read_is_cut() -> None:
    listener = await listening(reader_seconds=0.5)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(deaf.connect, ("127.0.0.1", listener.port))
        deaf.sendall(b'{"type": "synthesize", "data": {"text": "Hello."}}\n')
        async with asyncio.timeout(10):
            await listener._server.begun.wait()  # type: ignore[attr-defined]
        await until_free(listener)
        assert listener._server.speaking == 0  # type: ignore[attr-defined]
    await listener.stop()
