"""Who speaks next: admission, slots, and how far a stream may run ahead. Knows no tensors."""

import time
from collections import deque
from collections.abc import Callable

from more_server.engine.sequence import Stream
from more_server.engine.slots import Slots
from more_server.errors import Busy

FIRST_GUESS_SECONDS = 3.0
"""Time that a stream holds a slot, until it has been measured: a sentence at real time."""
RETRY_SECONDS = (1.0, 60.0)
"""OpenAI's SDKs honour at most 60 seconds (JavaScript) and use their own backoff beyond."""


class Scheduler:
    """A bounded queue in front of a fixed number of slots.

    Not thread-safe: the engine calls it under its lock.
    """

    def __init__(self, slots: int, queue: int, ahead_samples: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = Slots(slots)
        self.queue = queue
        self.ahead_samples = ahead_samples
        self.waiting: deque[Stream] = deque()
        self.running: list[Stream] = []
        self._clock = clock
        self._service_seconds = FIRST_GUESS_SECONDS

    def add(self, stream: Stream) -> None:
        """Queue a stream. Raises Busy, saying when to come back, when the queue is full."""
        if len(self.waiting) >= self.queue + self.slots.free:
            retry_after = self.retry_after()
            raise Busy(
                f"all {self.slots.count} slots are speaking and {len(self.waiting)} requests wait, which is the "
                f"limit (engine.slots, engine.queue); try again in {retry_after:.0f} s",
                retry_after=retry_after,
            )
        self.waiting.append(stream)

    def schedule(self) -> list[Stream]:
        """Streams to move on by one step: aborted ones leave, waiting ones take free slots."""
        self._drop_aborted()
        while self.waiting and (slot := self.slots.acquire()) is not None:
            stream = self.waiting.popleft()
            stream.slot = slot
            stream.admitted_at = self._clock()
            self.running.append(stream)
        for stream in self.running:
            if not self._is_ahead(stream):
                stream.ahead_since = None
            elif stream.ahead_since is None:
                stream.ahead_since = self._clock()
        return [stream for stream in self.running if stream.ahead_since is None]

    def stalled(self, seconds: float) -> list[Stream]:
        """Streams that have been ahead of their listeners for so long while others wait for a slot."""
        if not self.waiting:
            return []
        since = self._clock() - seconds
        return [stream for stream in self.running if stream.ahead_since is not None and stream.ahead_since < since]

    def finish(self, stream: Stream) -> None:
        """Take a stream out and free its slot; a stream that has left already is left alone."""
        if stream in self.running:
            self.running.remove(stream)
            self._service_seconds += 0.2 * (self._clock() - stream.admitted_at - self._service_seconds)
        elif stream in self.waiting:
            self.waiting.remove(stream)
        if stream.slot is not None:
            self.slots.release(stream.slot)
            stream.slot = None

    def retry_after(self) -> float:
        """Seconds until a newcomer would find a place: the queue ahead of it at the measured service time."""
        wait = self._service_seconds * (len(self.waiting) + 1) / self.slots.count
        return min(max(wait, RETRY_SECONDS[0]), RETRY_SECONDS[1])

    def all_streams(self) -> list[Stream]:
        return [*self.running, *self.waiting]

    def _drop_aborted(self) -> None:
        for stream in self.all_streams():
            if stream.aborted:
                self.finish(stream)

    def _is_ahead(self, stream: Stream) -> bool:
        return stream.samples_made - stream.samples_heard > self.ahead_samples
