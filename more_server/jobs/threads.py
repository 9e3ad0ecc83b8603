"""Blocking work in a thread, which ends before its caller goes on, whatever happens to the caller."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


async def to_its_end(do: Callable[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
    """asyncio.to_thread, but a cancelled caller still waits for the thread: what it does must not go on unseen."""
    work = asyncio.ensure_future(asyncio.to_thread(do, *given, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise
