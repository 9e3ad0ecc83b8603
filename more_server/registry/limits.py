"""Strangers' code with a time limit: it runs on a thread of its own, which is left behind where it never ends."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Hung(Exception):
    """The work was not done within its time; its thread goes on, and ends with the process at the latest."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s (plugin_seconds)")


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of `work`, or what it raised, or Hung. Blocks the calling thread."""
    future = _begin(work)
    done, _ = concurrent.futures.wait([future], seconds)
    if not done:
        raise Hung(seconds)
    return future.result()


class Escaped(Exception):
    """The work raised what is no Exception, such as SystemExit or the panic of a library in Rust."""


def described(error: BaseException) -> str:
    """What a stranger's code failed with, in a line."""
    return str(error) if isinstance(error, Hung | Escaped) else f"{type(error).__name__}: {error}"


async def awaited_within(seconds: float, work: Callable[[], Result]) -> Result:
    """The same for an event loop, which goes on meanwhile."""
    waiting = asyncio.wrap_future(_begin(work))
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    if not done:
        raise Hung(seconds)
    return waiting.result()


def _begin(work: Callable[[], Result]) -> "concurrent.futures.Future[Result]":
    future: concurrent.futures.Future[Result] = concurrent.futures.Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - would end whoever awaits it, who has nothing to do with it
            escaped = Escaped(f"{type(error).__name__}: {error}")
            escaped.__cause__ = error
            future.set_exception(escaped)
        else:
            future.set_result(result)

    # A thread each, 0.05 ms: a pool would be joined when the process ends, and hang there with its work.
    threading.Thread(target=run, name="plugin", daemon=True).start()
    return future
