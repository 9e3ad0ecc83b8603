"""What the engine keeps while it speaks: a Stream per utterance, a Sequence per segment."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from more_server.speech import Samples, Segment, Utterance


class Listener(Protocol):
    """Where a stream's audio goes; called on the engine's thread, must not block."""

    def audio(self, samples: Samples) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


class Sequence:
    """One segment being spoken."""

    def __init__(self, segment: Segment, random: np.random.Generator, code_limit: int) -> None:
        self.segment = segment
        self.random = random
        """This utterance's own random stream: no neighbour can move it."""
        self.code_limit = code_limit
        """Codes after which the segment ends although no stop was drawn."""
        self.length = 0
        """Positions that the slot holds; 0: not prefilled yet."""
        self.codes: list[int] = []
        self.latents: list[Any] = []
        """Device tensors of shape (width,), one per drawn code, the stop's included."""
        self.frames_out = 0
        """Decoder frames whose audio has been handed out."""
        self.windows_out = 0
        self.ended = False
        """The stop code was drawn, or a limit reached: no further latent will come."""


class Stream:
    """One utterance in the engine, from admission until its listener has been told the end."""

    def __init__(self, utterance: Utterance, listener: Listener, code_limit: Callable[[Segment], int]) -> None:
        self.utterance = utterance
        self.listener = listener
        # Philox: counter-based and the same on every platform, so a seed means the same audio everywhere.
        self._random = np.random.Generator(np.random.Philox(utterance.seed))
        self._code_limit = code_limit
        self._segments: Iterator[Segment] = iter(utterance.segments)
        self.slot: int | None = None
        self.admitted_at = 0.0
        """Scheduler's clock, seconds."""
        self.voice_state: Any = None
        """Device tensors of the voice, put here by the runner."""
        self.sequence: Sequence | None = None
        self.samples_made = 0
        self.samples_heard = 0
        """Samples the listener has taken; the scheduler lets a stream run only so far ahead of it."""
        self.ahead_since: float | None = None
        """Scheduler's clock, since when it waits for its listener."""
        self.aborted = False
        self.next_segment()

    def next_segment(self) -> bool:
        """Begin the next segment; False when there is none."""
        segment = next(self._segments, None)
        if segment is None:
            self.sequence = None
            return False
        self.sequence = Sequence(segment, self._random, self._code_limit(segment))
        return True
