"""Clients that keep a connection waiting, over raw sockets: each is told, or cut, and leaves nothing behind."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.exceptions import HTTPException
from litestar.response import Stream

from more_server.errors import MoreError
from more_server.keys import KeyRing
from more_server.settings import Settings
from more_server.tables import LimitSettings
from more_server.web.access import Access
from more_server.web.bounds import NEVER, Bodies, Doors
from more_server.web.errors import add_request_id, handle_http_error, handle_more_error

SOON = 10.0
"""Seconds after which a limit of one second must have taken hold."""
LIMITS = LimitSettings(
    connections=6,
    requests=4,
    address_requests=3,
    head_seconds=1,
    body_seconds=1,
    reader_seconds=1,
    keep_alive_seconds=1,
)


class Served:
    """Routes that say how much of them is at work, behind the server's own doors."""

    def __init__(self, folder: Path) -> None:
        self.at_work = 0
        self.doors = Doors(lambda: LIMITS)
        self.settings = Settings(data_dir=folder, limits=LIMITS)
        self.url = ""

        @get("/health", opt={"scope": "public"}, sync_to_thread=False)
        def health() -> str:
            return "OK"

        @get("/large", sync_to_thread=False)
        def large() -> bytes:
            return bytes(300_000)

        @post("/take", status_code=200)
        async def take(request: Request[Any, Any, Any]) -> str:
            self.at_work += 1
            try:
                await (request.form() if request.content_type[0] == "multipart/form-data" else request.body())
            finally:
                self.at_work -= 1
            return "taken"

        @get("/stream")
        async def stream() -> Stream:
            return Stream(self._pieces())

        @websocket("/socket")
        async def talk(socket: WebSocket[Any, Any, Any]) -> None:
            await socket.accept()
            async for piece in self._pieces():
                await socket.send_data(piece, mode="binary")

        self.app = Litestar(
            route_handlers=[health, large, take, stream, talk],
            middleware=[Access(self.settings, KeyRing(self.settings))],
            exception_handlers={MoreError: handle_more_error, HTTPException: handle_http_error},
            before_send=[add_request_id],
            request_max_body_size=1_000_000,
            openapi_config=None,
            logging_config=None,
        )

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        self.at_work += 1
        try:
            while True:
                yield bytes(10_000)
                await asyncio.sleep(0)
        finally:
            self.at_work -= 1

    def run(self, listening: socket.socket) -> uvicorn.Server:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        return uvicorn.Server(
            uvicorn.Config(
                Bodies(self.app, self.doors.limits),
                http=self.doors.http,
                ws=self.doors.ws,
                timeout_keep_alive=NEVER,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("data"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        runner = made.run(listening)
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not runner.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield made
        runner.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def leaves_nothing(server: Served) -> Iterator[None]:
    """When a test is over, nothing is at work, no connection is left, and all of them can be had again."""
    yield
    until(lambda: server.at_work == 0)
    until(lambda: not (server.doors._open or server.doors._refused))
    with ExitStack() as held:
        for one in [opened(server, held) for _ in range(LIMITS.connections)]:
            one.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert answer(one)[0] == 200


def opened(server: Served, held: ExitStack, *, small: bool = False) -> socket.socket:
    """A connection; small: it has little room for what comes."""
    host, port = server.url.removeprefix("http://").split(":")
    made = held.enter_context(closing(socket.socket()))
    if small:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(SOON)
    made.connect((host, int(port)))
    return made


def answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of one answer whose length is told."""
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        lines = iter(file.readline, b"\r\n")
        headers = dict(re.split(": ?", line.decode().strip().lower(), maxsplit=1) for line in lines)
        body = file.read(int(headers["content-length"]))
    return status, headers, json.loads(body) if headers["content-type"] == "application/json" else body


def ended(connection: socket.socket) -> bool:
    """Whether the server closes it, and says nothing more."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def is_reset(connection: socket.socket) -> bool:
    """Whether it ends in the middle of what was being sent."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    return False


def can_send(connection: socket.socket, content: bytes) -> bool:
    try:
        connection.sendall(content)
    except ConnectionError:
        return False
    return True


def refused(connection: socket.socket, status: int, code: str, setting: str) -> dict[str, str]:
    """Headers of a refusal that names its setting, after which the connection is closed."""
    found, headers, body = answer(connection)
    assert (found, body["error"]["code"], headers["connection"]) == (status, code, "close")
    assert setting in body["error"]["message"]
    assert headers["x-request-id"]
    assert ended(connection)
    return headers


def ask(server: Served, path: str, **options: Any) -> httpx.Response:
    """On a connection of its own."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        return client.get(path, **options)


def until(true: Callable[[], bool]) -> None:
    last = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < last
        time.sleep(0.05)


def sent(content: bytes, length: int) -> bytes:
    return b"POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (length, content)


def drip(connection: socket.socket, content: bytes) -> None:
    """A byte in a tenth of a second, until it is over."""
    for at in range(len(content)):
        try:
            connection.sendall(content[at : at + 1])
        except ConnectionError:
            return
        time.sleep(0.1)


# -- what is to come from the client


@pytest.mark.parametrize("head", [b"GET /health HTTP/1.1\r\nhost:", b"G"])
def test_a_head_that_does_not_end(server: Served, head: bytes) -> None:
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(head)
        refused(one, 408, "request_timeout", "limits.head_seconds")


def test_a_head_byte_by_byte(server: Served) -> None:
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(one)[0] == 200
        drip(one, b"GET /health")  # it is no better as a second request
        refused(one, 408, "request_timeout", "limits.head_seconds")


def test_nothing_at_all(server: Served) -> None:
    with ExitStack() as held:
        silent, kept = opened(server, held), opened(server, held)
        kept.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(kept)[0] == 200
        assert ended(silent)
        assert ended(kept)


@pytest.mark.parametrize("content", [b"", b'{"input": "H'])
def test_a_body_that_does_not_come(server: Served, content: bytes) -> None:
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(sent(content, 100))
        refused(one, 408, "request_timeout", "limits.body_seconds")


def test_a_body_byte_by_byte(server: Served) -> None:
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(sent(b"", 100))
        drip(one, b'{"input": "Hello."}')
        refused(one, 408, "request_timeout", "limits.slow_bytes")


def test_a_form_that_does_not_come(server: Served) -> None:
    head = (
        b"POST /take HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5000\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(head)
        refused(one, 408, "request_timeout", "limits.body_seconds")


def test_a_body_that_nobody_wants_any_more(server: Served) -> None:
    """It was answered before it had come, and goes on and on."""
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(sent(b"", 3_000_000))
        assert answer(one)[0] == 413
        drip(one, b"x" * 15)
        assert ended(one)


def test_what_is_no_http(server: Served) -> None:
    with ExitStack() as held:
        one = opened(server, held)
        one.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        status, _, body = answer(one)
        assert (status, body["error"]["code"]) == (400, "invalid_value")
        assert ended(one)


# -- what the client is to take


@pytest.mark.parametrize("bytes_a_read", [0, 1])
def test_an_answer_that_is_not_taken(server: Served, bytes_a_read: int) -> None:
    """It is cut in the middle, and nothing goes on for it."""
    with ExitStack() as held:
        one = opened(server, held, small=True)
        one.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: server.at_work == 1)
        until(lambda: server.at_work == 0 or (one.recv(bytes_a_read) == b"x"))
        assert is_reset(one)


def test_an_answer_that_is_taken_slowly_enough(server: Served) -> None:
    """For longer than reader_seconds, with a full buffer all the time."""
    with ExitStack() as held:
        one = opened(server, held, small=True)
        one.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        last = time.monotonic() + 4 * LIMITS.reader_seconds
        while time.monotonic() < last:
            assert one.recv(2000)
            time.sleep(0.1)
        assert server.at_work == 1


def test_answers_that_are_not_taken(server: Served) -> None:
    """The application is done with them, and the connection ends none the less."""
    with ExitStack() as held:
        one = opened(server, held, small=True)
        until(lambda: not can_send(one, b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n" * 20))


def test_a_socket_that_is_not_read(server: Served) -> None:
    with ExitStack() as held:
        one = opened(server, held, small=True)
        one.sendall(
            b"GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        until(lambda: server.at_work == 1)
        until(lambda: server.at_work == 0)
        assert is_reset(one)


# -- how many there may be


def test_more_connections_than_there_may_be(server: Served) -> None:
    """Those without a request give way; beside six that are at work there is no room."""
    with ExitStack() as held:
        idle = [opened(server, held) for _ in range(6)]
        assert ask(server, "/health").status_code == 200
        assert ended(idle[0])
        busy = [opened(server, held) for _ in range(6)]
        for one in busy:
            one.sendall(b"GET /health HTTP/1.1\r\n")
        until(lambda: [one.is_idle for one in list(server.doors._open.values())] == [False] * 6)  # type: ignore[union-attr]
        refusal = opened(server, held)
        refusal.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert "retry-after" in refused(refusal, 503, "server_busy", "limits.connections")


def test_more_requests_than_an_address_may_have(server: Served) -> None:
    with ExitStack() as held:
        for _ in range(3):
            opened(server, held).sendall(sent(b"", 100))
        until(lambda: server.at_work == 3)
        one = opened(server, held)
        one.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        status, headers, body = answer(one)
        assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert "limits.address_requests" in body["error"]["message"]
        assert 1 <= int(headers["retry-after"]) <= 60
        assert ask(server, "/health").status_code == 200
