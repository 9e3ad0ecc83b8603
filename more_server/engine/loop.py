"""The engine's loop: schedule → run → postprocess, on the engine's own thread."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog

from more_server.engine.breaker import Breaker
from more_server.engine.listener import Task
from more_server.engine.recovery import Recovery, is_out_of_memory
from more_server.engine.runner import BROKEN, Runner
from more_server.engine.scheduler import Scheduler
from more_server.engine.sequence import Sequence, Stream
from more_server.errors import Busy, EngineFailure, MoreError, Unavailable

Result = TypeVar("Result")
log = structlog.get_logger("more_server.engine")

BREAKER_OPEN = "speaking has failed again and again; it is tried anew before more requests are taken"

WAKE_SECONDS = 0.5
"""How often waiting streams, stalled listeners and an open breaker are looked at while nobody speaks."""


@dataclass
class Turn:
    """What the loop is to do next."""

    sequences: list[Sequence] = field(default_factory=list)
    """To move on by one code."""
    tasks: list[Task[Any]] = field(default_factory=list)
    """Work of others for the device."""
    endings: list[tuple[Stream, MoreError]] = field(default_factory=list)
    """Streams that are to hear why they are not spoken."""
    probe: bool = False
    """Whether it is time to see if the device works again."""


class Loop:
    """Owns the runner while it lives. `wake` guards the scheduler, the tasks and the breaker."""

    def __init__(self, runner: Runner, scheduler: Scheduler, stalled_seconds: float) -> None:
        self.runner = runner
        self.scheduler = scheduler
        self.breaker = Breaker()
        self.wake = threading.Condition()
        self.tasks: deque[Task[Any]] = deque()
        self.stopping = False
        self.rows: Counter[int] = Counter()
        """Steps by the number of sequences they moved on."""
        self.busy_since: float | None = None
        """When the work began that is being done, by time.monotonic; None: there is none."""
        self._stalled_seconds = stalled_seconds
        self._recovery = Recovery(scheduler.limits.slots, runner.free)
        self._stop_code = runner.model.config.gpt.stop_audio_token

    def step(self) -> bool:
        """Schedule, run, postprocess; False when the loop is to end."""
        turn = self._next_turn()
        if turn is None:
            return False
        try:
            self._run(turn)
        finally:
            self.busy_since = None
        return True

    def _run(self, turn: Turn) -> None:
        for task in turn.tasks:
            self.busy_since = time.monotonic()  # each by itself: twenty new voices take a minute, and nothing hangs
            task.run(self._attempt)
        self.busy_since = time.monotonic()
        for stream, error in turn.endings:
            self._end(stream, error)
        if turn.probe:
            self._probe()
        self._speak(turn.sequences)

    def end_all(self, error: MoreError) -> None:
        """Tell everyone who waits or listens that it is over."""
        with self.wake:
            streams, tasks = self.scheduler.all_streams(), list(self.tasks)
            self.tasks.clear()
        for stream in streams:
            self._end(stream, error)
        for task in tasks:
            task.refuse(error)

    # -- schedule

    def _next_turn(self) -> Turn | None:
        """Waits until there is something to do; None when the loop is to end."""
        with self.wake:
            while not self.stopping:
                sequences = [] if self.breaker.open else self.scheduler.schedule(self._recovery.rows)
                turn = Turn(sequences, list(self.tasks), list(self._endings()), self.breaker.probe_due())
                self.tasks.clear()
                if turn != Turn():
                    return turn
                looks = self.scheduler.waiting or self.scheduler.draining or self.breaker.open
                self.wake.wait(WAKE_SECONDS if looks else None)
            return None

    def _endings(self) -> Iterable[tuple[Stream, MoreError]]:
        for stream in self.scheduler.expired():
            seconds, retry_after = self.scheduler.limits.deadline_seconds, self.scheduler.retry_after()
            yield stream, Busy(f"no slot was free for {seconds:g} s (engine.deadline_seconds)", retry_after=retry_after)
        for stream in self.scheduler.stalled(self._stalled_seconds):
            yield stream, Unavailable("the audio was not taken while others waited for it to end")

    # -- run

    def _speak(self, sequences: list[Sequence]) -> None:
        """One code further, and whatever audio that completes."""
        if not sequences:
            return
        self.rows[len(sequences)] += 1
        faults: list[Exception] = []
        # One that a tail of silence has ended draws no more; its last audio is still due. So is that of a job that was
        # put off, and before its next code: a piece is cut by what is known when it is made.
        due = [one for one in sequences if one.ended or (one.stream.utterance.priority and self.runner.has_audio(one))]
        for sequence, code in self._recovery.run(self.runner.step, [one for one in sequences if one not in due]):
            if isinstance(code, Exception) or code == BROKEN:
                faults.append(self._fail(sequence, code if isinstance(code, Exception) else None))
            else:
                sequence.take(code, self._stop_code)
        heard = False
        for group in self.runner.with_audio(_seated(sequences)):
            if self._is_put_off(group) and not any(one in due for one in group):
                continue
            for sequence, samples in self._recovery.run(self.runner.audio, _seated(group)):
                if isinstance(samples, Exception):
                    faults.append(self._fail(sequence, samples))
                elif sequence.slot is None:
                    continue
                elif not np.isfinite(samples).all():
                    faults.append(self._fail(sequence, None))
                else:
                    heard = True
                    sequence.hear(samples, last=sequence.ended)
                    self._hand_over(sequence)
        self._note(faults, heard)

    def _attempt(self, work: Callable[[Runner], Result]) -> Result:
        """Work of others for the device. Raises nothing but errors of the house, and what is not an Exception."""
        try:
            return self._recovery.retried(partial(work, self.runner))
        except MoreError:
            raise
        except Exception as error:
            failure = self._failure(error, "making a voice's latents")
            log.exception("work for the device failed", reason=failure.message)
            raise failure from error

    def _is_put_off(self, group: list[Sequence]) -> bool:
        """A piece of audio takes as long as ten codes, so a job's waits while a person has heard nothing yet."""
        if not all(sequence.stream.utterance.priority for sequence in group):
            return False
        with self.wake:
            return self.scheduler.somebody_unheard()

    # -- postprocess

    def _hand_over(self, sequence: Sequence) -> None:
        """Give the listener what he may have, which are whole segments in order and the beginning of one."""
        stream = sequence.stream
        if sequence.whole:
            with self.wake:
                self.scheduler.free(sequence)
        while stream.sequences:
            head = stream.sequences[0]
            if piece := head.hand_over():
                samples, guards = piece
                stream.handed_over(len(samples), self.scheduler.clock())
                # A segment that was held back comes in one piece; its listener tells what he took by the piece.
                for start in range(0, max(len(samples), 1), stream.sample_rate):
                    end = start + stream.sample_rate
                    ends_segment = head.whole and end >= len(samples)
                    stream.listener.audio(samples[start:end], () if start else guards, ends_segment)
            if not head.whole:
                return
            stream.sequences.popleft()
        if stream.all_begun:
            self._end(stream, None)

    def _fail(self, sequence: Sequence, error: Exception | None) -> MoreError:
        stream = sequence.stream
        failure = self._failure(error, "speaking")
        failure.__cause__ = error
        log.error("speaking failed", request_id=stream.utterance.id, reason=failure.message, exc_info=error)
        self._end(stream, failure)
        return failure

    def _failure(self, error: Exception | None, doing: str) -> MoreError:
        """What those are told whom it concerns. None: what came out is not finite."""
        if error is None:
            return EngineFailure(
                "the model's output is not finite; its weights are damaged or the precision is too low"
            )
        if is_out_of_memory(error):
            with self.wake:
                return Unavailable("the device ran out of memory", retry_after=self.scheduler.retry_after())
        return EngineFailure(f"the model failed while {doing}: {type(error).__name__}: {error}")

    def _end(self, stream: Stream, error: MoreError | None) -> None:
        with self.wake:
            self.scheduler.finish(stream, spoken=error is None)
        stream.listener.end(error)

    # -- the breaker

    def _note(self, faults: list[Exception], heard: bool) -> None:
        """Audio that was made shows that the device works; faults without any, again and again, that it may not."""
        with self.wake:
            if heard:
                self.breaker.succeeded()
            if heard or not faults or not self.breaker.failed():
                return
        # Requests may be at fault, one after the other. Memory that runs out for them need not for a probe.
        if not any(isinstance(fault, Unavailable) for fault in faults) and self._works():
            with self.wake:
                self.breaker.succeeded()
            return
        with self.wake:
            self.breaker.trip()
            retry_after = self.breaker.retry_after
        log.error("the breaker opened: speaking fails again and again", retry_after=retry_after)
        self.end_all(Unavailable(BREAKER_OPEN, retry_after=retry_after))
        self.runner.free()

    def _probe(self) -> None:
        works = self._works()
        with self.wake:
            self.breaker.probed(success=works)

    def _works(self) -> bool:
        try:
            self.runner.probe()
        except Exception as error:  # noqa: BLE001 - logged, and tried again later
            log.warning("the device fails", reason=f"{type(error).__name__}: {error}")
            return False
        log.info("the device works")
        return True


def _seated(sequences: list[Sequence]) -> list[Sequence]:
    """Those that have a slot still: a stream that fails takes all of its own along."""
    return [sequence for sequence in sequences if sequence.slot is not None]
