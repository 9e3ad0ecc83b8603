"""Work for a client over HTTP, which is left undone when the client leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from more_server.errors import MoreError

Result = TypeVar("Result")
CLIENT_LEFT = 499
"""Nginx's status for an answer that nobody is there to read."""


async def unless_gone(receive: Callable[[], Awaitable[Mapping[str, Any]]], work: Awaitable[Result]) -> Result | None:
    """The result of work, or None when the client leaves first; nobody else is told of that before an answer starts.

    receive: ASGI's, once the body of the request has been read.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for one in (working, leaving):
            one.cancel()
            with suppress(asyncio.CancelledError, MoreError):
                await one


async def _gone(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
