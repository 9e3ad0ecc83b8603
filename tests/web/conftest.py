"""A real server on loopback: the whole application under uvicorn, in a thread of its own."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from more_server.app import create_app, kinds_of_jobs, web_server
from more_server.jobs.kinds import Kind
from more_server.logs import RecentLines
from more_server.settings import Loaded, Settings
from more_server.speak import Speaker
from more_server.tables import EngineSettings, LimitSettings, ServerSettings


class Server:
    """A running server, its address, and the clients that were made for it."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self._clients: list[httpx.Client | openai.OpenAI] = []
        self._http = self.fresh()

    def client(self) -> openai.OpenAI:
        """The real OpenAI client, pointed here."""
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)
        self._clients.append(client)
        return client

    def http(self) -> httpx.Client:
        """A client that tests share."""
        return self._http

    def fresh(self) -> httpx.Client:
        """A client of one's own, for connections that are held open or broken."""
        client = httpx.Client(base_url=self.url, timeout=30)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def running(
    settings: Settings,
    *,
    wait: bool = True,
    reread: Callable[[], Loaded] | None = None,
    kinds: Callable[[Speaker], Sequence[Kind[Any]]] = kinds_of_jobs,
    recent_lines: RecentLines | None = None,
) -> Iterator[Server]:
    """Run the application until the block ends; `wait` for the model to be ready."""
    ready = threading.Event()
    errors: list[BaseException] = []

    def started(error: BaseException | None) -> None:
        if error is not None:
            errors.append(error)
        ready.set()

    listening = socket.create_server(("127.0.0.1", 0))
    server = web_server(create_app(settings, started, reread, kinds, recent_lines), settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        if wait:
            assert ready.wait(60)
            assert not errors, errors
        made = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", settings)
        try:
            yield made
        finally:
            made.close()
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive()


def nano_settings(data_dir: Path, **engine: object) -> Settings:
    """Settings of a server with the bundled model, writing into a folder of the test."""
    return Settings(
        data_dir=data_dir,
        log_level="error",
        server=ServerSettings(shutdown_seconds=1),
        prepare_voices=False,
        plugins={"more_wyoming": {"enabled": False}},  # its port is one for all servers of a machine
        # One thread: two that share a busy machine's cores wait for each other far longer than they work.
        engine=EngineSettings(**{"device": "cpu", "threads": 1} | engine),  # type: ignore[arg-type]
        limits=LimitSettings(text_characters=5000, body_bytes=65_536),
    )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the bundled nano for all tests that leave it as they found it."""
    with running(nano_settings(tmp_path_factory.mktemp("data"))) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., object]:
    """Starts a server of one's own: `with start(slots=1) as server:`."""
    return lambda **engine: running(nano_settings(tmp_path, **engine))
