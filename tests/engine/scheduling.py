"""What tests of the scheduler share: a clock that stands still, streams that nobody hears, and a segment's end."""

from collections.abc import Callable

from more_server.engine.scheduler import Scheduler
from more_server.engine.sequence import Sequence, Stream
from more_server.speech import Samples

RATE = 100
"""Hertz of these tests' audio."""

MakeStream = Callable[..., Stream]
MakeScheduler = Callable[..., Scheduler]


class Nobody:
    """A listener that hears nothing."""

    def audio(self, samples: Samples, guards: tuple[str, ...], ends_segment: bool) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


class Clock:
    """Time as the test wants it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def streams(turn: list[Sequence]) -> list[Stream]:
    return [sequence.stream for sequence in turn]


def end(scheduler: Scheduler, sequence: Sequence) -> None:
    """As the loop does when a segment has been handed over whole."""
    sequence.whole = True
    scheduler.free(sequence)
    sequence.stream.sequences.remove(sequence)
    if not sequence.stream.sequences and sequence.stream.all_begun:
        scheduler.finish(sequence.stream)
