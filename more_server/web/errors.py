"""Every failure as OpenAI's error object, and a request id on every response."""

import math
import re
import uuid
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import Message, Scope, Send

from more_server.errors import BadInput, MethodNotAllowed, MoreError, RouteNotFound, TooLarge, shown
from more_server.web import wire

log = structlog.get_logger("more_server.web")

WHERE = "the API lives under /v1, such as POST /v1/audio/speech"
CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(scope: Scope) -> str:
    """The request's id: the client's own `x-request-id` where it is harmless, else a new one."""
    state: dict[str, Any] = scope["state"]
    if "request_id" not in state:
        sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        state["request_id"] = sent if CLIENT_ID.fullmatch(sent) else f"req_{uuid.uuid4().hex}"
    return str(state["request_id"])


async def add_request_id(message: Message, scope: Scope) -> None:
    """Hook before every response's start."""
    if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
        message["headers"] = [*message["headers"], (b"x-request-id", request_id(scope).encode())]


def handle_more_error(_request: Request[Any, Any, Any] | None, error: MoreError) -> Response[bytes]:
    """Response for an error of the tree."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if error.status == 500:
        # The same text and seed would fail again; without this both SDKs run the synthesis twice more.
        headers["x-should-retry"] = "false"
    return Response(
        wire.encode(wire.error_body(error)),
        status_code=error.status,
        headers=headers,
        media_type="application/json",
    )


async def deny(scope: Scope, send: Send, error: MoreError) -> None:
    """Answer a WebSocket's handshake with an error, as any other request. ASGI's extension for it is uvicorn's, too."""
    response = handle_more_error(None, error)
    headers = [(name.encode(), str(value).encode()) for name, value in response.headers.items()]
    headers.append((b"content-type", b"application/json"))
    start: Any = {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    body: Any = {"type": "websocket.http.response.body", "body": response.content, "more_body": False}
    await send(start)
    await send(body)


def handle_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Response for the framework's own refusals: unknown path, method, a body too large."""
    response = handle_more_error(request, _translated(request, error))
    if isinstance(error, MethodNotAllowedException) and error.headers:
        response.headers["allow"] = error.headers["allow"]
    return response


def handle_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Response for what nobody foresaw; the details go to the log, not to the caller."""
    log.error("unforeseen error", request_id=request_id(request.scope), path=request.url.path, exc_info=error)
    return handle_more_error(request, MoreError("the server met an error it did not foresee; its log has the details"))


def _translated(request: Request[Any, Any, Any], error: HTTPException) -> MoreError:
    path = request.url.path
    if isinstance(error, NotFoundException):
        return RouteNotFound(f"there is no {shown(path)}; {WHERE}")
    if isinstance(error, MethodNotAllowedException):
        # A client that was given the page's address asks there.
        where = "" if path.startswith("/v1/") else f"; {WHERE}"
        return MethodNotAllowed(f"{shown(path)} does not answer {request.method}{where}")
    if error.status_code == TooLarge.status:
        return TooLarge("the body is larger than the server accepts (limits.body_bytes)")
    if error.status_code < 500:
        return _unreadable(error)
    return MoreError(error.detail)


def _unreadable(error: HTTPException) -> BadInput:
    """A parameter of the address that cannot be read, where the framework tells which one."""
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    if not (isinstance(extra, dict) and extra.get("key")):
        return BadInput(error.detail)
    return BadInput(f"{extra['key']}: {extra.get('message', 'it cannot be read')}", param=str(extra["key"]))
