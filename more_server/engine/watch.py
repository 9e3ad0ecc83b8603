"""Sees that a step does not come back: a driver can hang where no error ever comes out."""

import sys
import threading
import time
import traceback

import structlog

from more_server.engine.loop import Loop
from more_server.errors import Unavailable

LOOK_SECONDS = 0.5
HUNG = "a step of the engine does not come back (engine.hung_seconds); the server has to be started anew"
HUNG_RETRY_SECONDS = 30.0
"""For whoever runs the server to start it anew, which /health/live asks for."""

log = structlog.get_logger("more_server.engine")


class Watch(threading.Thread):
    """A thread beside an engine's own, which it cannot end; it tells those who wait, and the log where it hangs."""

    def __init__(self, loop: Loop, engine: threading.Thread, seconds: float) -> None:
        super().__init__(name="engine watch", daemon=True)
        self.hung = False
        """Now; a step that comes back after all ends it."""
        self._loop = loop
        self._engine = engine
        self._seconds = seconds
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(min(LOOK_SECONDS, self._seconds / 2)):
            since = self._loop.busy_since
            hung = since is not None and time.monotonic() - since > self._seconds
            if hung and not self.hung:
                self.hung = True
                self._tell()
            elif self.hung and not hung:
                self.hung = False
                log.warning("the step of the engine came back")

    def end(self) -> None:
        """The engine's thread is about to end. Returns when this one has ended, which holds the model until then."""
        self._ended.set()
        self.join()

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._engine.ident or 0)
        where = traceback.format_stack(frame) if frame else []
        with self._loop.wake:
            streams = self._loop.scheduler.all_streams()
        log.error(
            "a step of the engine does not come back",
            seconds=self._seconds,
            requests=[stream.utterance.id for stream in streams],
            where="".join(where[-8:]),
        )
        # They leave by themselves then, as when a client goes, and their slots are free once the step is back.
        for stream in streams:
            stream.listener.end(unavailable())


def unavailable() -> Unavailable:
    """What those are told who would have to wait for it."""
    return Unavailable(HUNG, retry_after=HUNG_RETRY_SECONDS)
