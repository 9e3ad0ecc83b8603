"""Blocking work in a thread, which ends before its caller goes on, whatever happens to the caller."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
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


@asynccontextmanager
async def in_threads(context: AbstractContextManager[Answer]) -> AsyncIterator[Answer]:
    """A context that blocks as it begins and ends, which it does in threads; what was begun is ended in any case."""
    begun: list[Answer] = []
    try:
        await to_its_end(lambda: begun.append(context.__enter__()))
        yield begun[0]
    except BaseException as error:
        if not begun or not await to_its_end(context.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await to_its_end(context.__exit__, None, None, None)
