"""The loop of every training: go on from the last checkpoint, then evaluate, step, checkpoint.

    class Mine:                                 # a Task: what is trained, and how
        ...
    with open_run(...) as run, stop_signals() as stop:
        outcome = train(Mine(...), run, Pace(total_steps=2_000, evaluate_steps=100), stop, group)

Run twice over the same folder, the second goes on where the first ended, however it ended: with the same bits on a
CPU, since a task's steps depend on nothing but its tensors and the number of the step.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec
import torch

from more_server.engine.recovery import is_out_of_memory
from more_server.errors import MoreError
from more_train.checkpoint import Checkpoint, Part
from more_train.optimise import Diverged
from more_train.processes import Processes
from more_train.run import Run, StopSignal, checkpoints

Check = Callable[[], None]
"""To be called often: raises Stopped when somebody asked the process to end."""


class Stopped(Exception):
    """Somebody asked the process to end."""


class OutOfMemory(MoreError):
    """What is trained does not fit into the device; the text says what to lower."""


class Task(Protocol):
    """What is trained. Every process of a training has one, and calls its methods at the same time."""

    def parts(self) -> Mapping[str, Part]:
        """All tensors that a later process needs to go on."""

    def load(self, parts: Mapping[str, Part]) -> None:
        """Go on from them."""

    def share(self, group: Processes) -> None:
        """Make the tensors of all processes those of the first."""

    def advice(self) -> str:
        """What to lower when memory runs out, in words."""

    def rehearse(self) -> None:
        """Take the step that needs most memory, and change nothing."""

    def step(self, number: int, check: Check) -> Mapping[str, float]:
        """One step, counted from 0; what is to be told of it. Stopped or Diverged: nothing has changed."""

    def evaluate(self, check: Check) -> Mapping[str, float]:
        """Figures of the state of now; `loss` decides which is best."""

    def show(self, run: Run, step: int, check: Check) -> None:
        """Write samples of the state of now; called in the first process alone."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and how often."""

    total_steps: int
    evaluate_steps: int
    """Steps between evaluations."""
    patience: int = 0
    """Evaluations without a better loss after which training ends; 0: it never ends early."""
    save_seconds: float = 900.0
    """Seconds between checkpoints beside those of evaluations."""


class State(msgspec.Struct, kw_only=True):
    """Where a training stands; kept in its checkpoints."""

    step: int = 0
    """Steps done."""
    evaluated: int = -1
    """Step of the last evaluation."""
    best: float | None = None
    """Least loss found."""
    best_step: int = 0
    stale: int = 0
    """Evaluations since then."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a training ended, or was ended."""

    end: str
    """`finished`, `early` where it stopped learning, the name of the signal that stopped it, or `another process`."""
    step: int
    total_steps: int
    best: float | None
    best_step: int


def train(task: Task, run: Run | None, pace: Pace, stop: StopSignal, group: Processes) -> Outcome:
    """Train until the end; run: in the first process alone.

    Raises Diverged, OutOfMemory, or StorageError; whatever ends it, the run can be gone on with.
    """
    loop = _Loop(task, run, pace, stop, group)
    state = loop.resumed()
    try:
        loop.rehearse()
        while True:
            if loop.is_due():
                loop.evaluate()
            if state.step >= pace.total_steps or 0 < pace.patience <= state.stale:
                return loop.outcome("finished" if state.step >= pace.total_steps else "early")
            loop.step()
    except Stopped:
        loop.save()
        return loop.outcome(stop.asked or "another process")
    except Diverged as error:
        raise Diverged(f"{error.message}; {loop.last_good()}. Try a lower learning_rate in a new run") from error
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"step {state.step + 1} does not fit into memory: {task.advice()}") from error
        raise


class _Loop:
    """What `train` does, piece by piece."""

    def __init__(self, task: Task, run: Run | None, pace: Pace, stop: StopSignal, group: Processes) -> None:
        self.task, self.run, self.pace, self.stop, self.group = task, run, pace, stop, group
        self.state = State()
        self._kept = -1
        """Step of the newest checkpoint."""
        self._saved_at = time.monotonic()

    def resumed(self) -> State:
        """The state to go on from, alike in all processes."""
        checkpoint = self.run.newest() if self.run else None
        if checkpoint is not None:
            self.task.load(checkpoint.parts)
            self.state = msgspec.convert(checkpoint.state, State)
            self._kept = self.state.step
        if self.group.size > 1:
            self.task.share(self.group)
            self._share_state()
        if self.run:
            self.run.begin(self.state.step)
        return self.state

    def _share_state(self) -> None:
        best = float("inf") if self.state.best is None else self.state.best
        numbers = [self.state.step, self.state.evaluated, best, self.state.best_step, self.state.stale]
        told = torch.tensor([float(number) if self.group.first else 0.0 for number in numbers])
        step, evaluated, best, best_step, stale = self.group.sums(told.double()).tolist()
        self.state.step, self.state.evaluated = int(step), int(evaluated)
        self.state.best = None if best == float("inf") else best
        self.state.best_step, self.state.stale = int(best_step), int(stale)

    def check(self) -> None:
        """Raises Stopped in every process when one was asked to end."""
        if self.group.any(bool(self.stop.asked)):
            raise Stopped

    def rehearse(self) -> None:
        """Raises OutOfMemory before anything was spent."""
        try:
            self.task.rehearse()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"the longest batch does not fit into memory: {self.task.advice()}") from error

    def is_due(self) -> bool:
        """Whether this step is to be evaluated, and was not yet."""
        step = self.state.step
        wanted = step % self.pace.evaluate_steps == 0 or step >= self.pace.total_steps
        return wanted and self.state.evaluated != step

    def evaluate(self) -> None:
        """Measure, keep, and speak."""
        state, values = self.state, self.task.evaluate(self.check)
        state.evaluated = state.step
        if state.best is None or values["loss"] < state.best:
            state.best, state.best_step, state.stale = values["loss"], state.step, 0
        else:
            state.stale += 1
        if self.run:
            self.run.log("held_out", state.step, values)
            self.save(values["loss"])
            with suppress(Stopped):  # the others hear of it at the next step
                self.task.show(self.run, state.step, self.check_alone)
        self.group.wait()

    def check_alone(self) -> None:
        """`check` for what only one process does."""
        if self.stop.asked:
            raise Stopped

    def step(self) -> None:
        """Move the weights once."""
        began = time.monotonic()
        values = self.task.step(self.state.step, self.check)
        self.state.step += 1
        if self.run:
            seconds = round(time.monotonic() - began, 4)
            self.run.log("train", self.state.step, {**values, "seconds": seconds})
            if time.monotonic() - self._saved_at > self.pace.save_seconds and not self.is_due():
                self.save()

    def save(self, score: float | None = None) -> None:
        """Keep all of now, unless that step is kept."""
        if self.run and (score is not None or self._kept != self.state.step):
            state = msgspec.to_builtins(self.state)
            self.run.save(Checkpoint(self.state.step, self.task.parts(), state, score))
            self._kept, self._saved_at = self.state.step, time.monotonic()

    def last_good(self) -> str:
        """Where to go back to, in words."""
        found = checkpoints(self.run.folder) if self.run else []
        return f"the last good checkpoint is {found[-1][0]}" if found else "there is no checkpoint yet"

    def outcome(self, end: str) -> Outcome:
        """How it ended."""
        state = self.state
        if self.run:
            self.run.note(state.step, f"ended: {end}")
        return Outcome(
            end=end, step=state.step, total_steps=self.pace.total_steps, best=state.best, best_step=state.best_step
        )
