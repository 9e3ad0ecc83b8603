"""What the admin routes have in common."""

from typing import Any

from litestar import Request, Response

from more_server.audit import Actor
from more_server.web import wire

ADMIN = {"scope": "admin"}
"""For a route's `opt`."""


def caller(request: Request[Any, Any, Any]) -> Actor:
    """Who asks, for the audit log."""
    found = request.scope["state"]["caller"]
    assert isinstance(found, Actor)
    return found


def answer(value: Any) -> Response[bytes]:
    """A shape as JSON."""
    return Response(wire.encode(value), media_type="application/json")
