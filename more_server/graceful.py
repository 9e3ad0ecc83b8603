"""How the server ends and reloads: what is being spoken comes to its end first, and no signal is lost."""

import asyncio
import gc
import math
import signal
import threading
import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import uvicorn


class Served(Protocol):
    """The application, as its server sees it."""

    async def leave(self) -> None:
        """Take nothing new from now on, and let jobs keep what they have; does not wait for speech."""

    def is_at_work(self) -> bool:
        """Somebody is still being spoken to."""

    async def reload(self) -> None:
        """Take up the settings that are on disk now; what does not fit is told in the log."""


class GracefulServer(uvicorn.Server):
    """uvicorn's server, which after SIGTERM goes on listening while it speaks: readiness is false, speech is refused.

    uvicorn by itself closes its sockets at once, so that a balancer sees errors where it should see that others are to
    be asked. SIGHUP reloads.
    """

    def __init__(self, config: uvicorn.Config, application: Served, seconds: float) -> None:
        """seconds: that running streams may take to end."""
        super().__init__(config)
        self._application = application
        self._seconds = seconds
        self._leaving_since: float | None = None
        self._hung_up = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end now."""
        if self._hung_up and not self.should_exit:
            self._hung_up = False
            self._begin(self._application.reload())
        if not await super().on_tick(counter) or self.force_exit:
            return self.force_exit
        if self._leaving_since is None:
            self._leaving_since = time.monotonic()
            # Awaited in a task: ending jobs takes seconds, in which speech goes on and its end is looked for.
            self._begin(self._application.leave())
        left = self._leaving_since + self._seconds - time.monotonic()
        if left > 0 and self._application.is_at_work():
            return False
        # For what is made and not yet taken; a whole number is asked for, and one second is little enough.
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left))
        return True

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with super().capture_signals():
            if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
                yield
                return
            before = signal.signal(signal.SIGHUP, self._hang_up)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._hung_up = True


def settle() -> None:
    """Leave what a server is made of out of all further collections of garbage."""
    # Half a million objects, through which a collection goes for half a second, in which nothing else runs; and Python
    # looks for cycles of old objects only once a quarter as many are new, so that those of requests stayed for long.
    gc.collect()
    gc.freeze()
