"""A small application behind the real gate, under uvicorn on loopback: one route for each scope, and streams."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Stream

from more_server.audit import AuditLog
from more_server.errors import EngineFailure, MoreError, NotAuthenticated
from more_server.keys import KeyRing, new_key
from more_server.settings import Settings
from more_server.tables import ServerSettings
from more_server.web import keys as key_routes
from more_server.web.access import Access, chosen_subprotocol, handle_not_authenticated
from more_server.web.errors import add_request_id, handle_bug, handle_http_error, handle_more_error


def _who(request: Request[Any, Any, Any]) -> str:
    return str(request.scope["state"]["caller"])


@get("/public", opt={"scope": "public"}, sync_to_thread=False)
def public(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/discovery", opt={"scope": "discovery"}, sync_to_thread=False)
def discovery(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/unnamed", sync_to_thread=False)
def unnamed(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/speech", opt={"scope": "speech"}, sync_to_thread=False)
def speech(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/voices", opt={"scope": "voices"}, sync_to_thread=False)
def voices(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/admin", opt={"scope": "admin"}, sync_to_thread=False)
def admin(request: Request[Any, Any, Any]) -> str:
    return _who(request)


@get("/misspelt", opt={"scope": "spech"}, sync_to_thread=False)
def misspelt() -> str:
    return "open"


@get("/failing", sync_to_thread=False)
def failing() -> str:
    raise EngineFailure("the device is gone")


@websocket("/socket")
async def talk(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(chosen_subprotocol(socket.scope))
    await socket.send_text(str(socket.scope["state"]["caller"]))
    await socket.receive_text()
    await socket.close()


class Guarded:
    """The application, its keys, and a client."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.settings = Settings(data_dir=folder, server=ServerSettings(**server))
        self.keys = KeyRing(self.settings)
        self.gate = threading.Event()
        """Set: streams end."""
        self.url = ""
        self.http = httpx.Client()
        self.app = self._app()

    def key(self, *scopes: str, **limits: int) -> str:
        """The secret of a new key, made as another process would make it."""
        made, secret = new_key("-".join(scopes), scopes, **limits)
        KeyRing(self.settings).add(made)
        return secret

    def get(self, path: str, secret: str | None = None, **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {secret}"} if secret is not None else {}
        return self.http.get(f"{self.url}{path}", headers=sent | {k.replace("_", "-"): v for k, v in headers.items()})

    def status(self, path: str, secret: str | None = None, **headers: str) -> int:
        return self.get(path, secret, **headers).status_code

    def raw(self, request: bytes) -> bytes:
        """What the server says to these very bytes."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while data := connection.recv(65_536):
                answer += data
        return answer

    def _app(self) -> Litestar:
        @get("/stream")
        async def stream() -> Stream:
            return Stream(self._chunks(), media_type="text/plain")

        @get("/breaking")
        async def breaking() -> Stream:
            async def chunks() -> AsyncGenerator[bytes, None]:
                yield b"first"
                raise EngineFailure("the device is gone")

            return Stream(chunks(), media_type="text/plain")

        routes = (public, discovery, unnamed, speech, voices, admin, misspelt, failing, talk, stream, breaking)
        admins = (
            key_routes.read_own_key,
            key_routes.list_keys,
            key_routes.create_key,
            key_routes.delete_key,
            key_routes.read_audit,
        )
        audit = AuditLog(self.settings.admin_dir)
        return Litestar(
            route_handlers=[*routes, *admins],
            middleware=[Access(self.settings, self.keys)],
            dependencies={
                "keys": Provide(lambda: self.keys, sync_to_thread=False),
                "audit": Provide(lambda: audit, sync_to_thread=False),
            },
            exception_handlers={
                NotAuthenticated: handle_not_authenticated,
                MoreError: handle_more_error,
                HTTPException: handle_http_error,
                Exception: handle_bug,
            },
            before_send=[add_request_id],
            cors_config=CORSConfig(allow_origins=["*"]),
            openapi_config=None,
            logging_config=None,
        )

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while not self.gate.is_set():
            yield b"."
            await asyncio.sleep(0.02)


class streaming:  # noqa: N801 - reads as the context manager that it is
    """An answer that has begun, on a connection of its own, which the end of the block closes."""

    def __init__(self, app: Guarded, secret: str) -> None:
        self._client = httpx.Client()
        self._request = self._client.build_request(
            "GET", f"{app.url}/stream", headers={"authorization": f"Bearer {secret}"}
        )

    def __enter__(self) -> httpx.Response:
        self._response = self._client.send(self._request, stream=True)
        assert self._response.status_code == 200
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._client.close()


def refused(response: httpx.Response, status: int, code: str) -> str:
    """The message of a refusal, whose shape is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return str(error["message"])


@contextmanager
def guarded(folder: Path, **server: Any) -> Iterator[Guarded]:
    """Run it until the block ends."""
    made = Guarded(folder, **server)
    listening = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    # As app.web_server: by itself uvicorn takes what another package has brought.
    config = uvicorn.Config(
        made.app, http="h11", loop="asyncio", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not runner.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield made
    finally:
        made.gate.set()
        made.http.close()
        runner.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive()
