"""How every stage is trained: step by step, kept as it goes, once.

A stage is a run (run.py) of its own in `<out>/<stage>`; its result is `result.safetensors` there. What is drawn at a
step depends on the seed and the step alone, so a run that was killed goes on to the very same result.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from more_server.errors import MoreError
from more_server.files import write_file
from more_train.checkpoint import Checkpoint
from more_train.nano.config import Nano
from more_train.run import Input, Progress, Run, open_run

RESULT = "result.safetensors"
Made = TypeVar("Made")
LOG_SECONDS = 5.0
"""Between two lines of progress."""


class Stopped(MoreError):
    """Somebody asked the training to end; it goes on where it was."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage's result depends on, beside its inputs."""

    settings: dict[str, Any]


class Ahead(Generic[Made]):
    """Batches by their step, made by some threads before they are asked for; none: when they are."""

    def __init__(self, make: Callable[[int], Made], threads: int) -> None:
        self._make, self._threads = make, threads
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._waiting: dict[int, Future[Made]] = {}

    def __call__(self, number: int) -> Made:
        """That of a step."""
        if self._pool is None:
            return self._make(number)
        for step in range(number, number + 1 + 2 * self._threads):
            if step not in self._waiting:
                self._waiting[step] = self._pool.submit(self._make, step)
        return self._waiting.pop(number).result()

    def close(self) -> None:
        """Make no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class Trainer(Protocol):
    """What a stage does."""

    total: int
    """Steps."""

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """Train once; numbers to watch."""

    def measure(self, number: int) -> Mapping[str, float]:
        """Numbers of held-out speech after so many steps; empty where none are due."""

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """All that going on needs."""

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from there."""

    def result(self) -> dict[str, Tensor]:
        """What later stages use."""

    def close(self) -> None:
        """Let threads go."""


@dataclass
class Workshop:
    """Where a model is made."""

    nano: Nano
    out: Path
    device: torch.device
    stopped: Callable[[], bool] = lambda: False
    listeners: list[Callable[[str, int, Progress], None]] = field(default_factory=list)
    """Told the stage, its steps in all, and each line of progress."""

    def random(self, *what: object) -> Random:
        """A stream of random numbers that depends on the seed and `what` alone."""
        return Random("/".join(map(str, (self.nano.seed, *what))))  # noqa: S311 - no secret

    def generator(self, *what: object) -> torch.Generator:
        """The same for tensors, on the CPU."""
        return torch.Generator().manual_seed(self.random(*what).getrandbits(63))

    def recipe(self, *parts: str) -> Recipe:
        """The settings of these names; the ones that speech depends on are always there."""
        names = ("languages", "language_weights", "seed", "corpus", "voices", "speech", *parts)
        settings = {name: getattr(self.nano, name) for name in names}
        # Through JSON, as a run's file has it: a tuple and a list would differ.
        return Recipe(settings=msgspec.json.decode(msgspec.json.encode(settings)))

    def check(self) -> None:
        """Raise Stopped where that was asked for."""
        if self.stopped():
            raise Stopped(f"stopped; the same command goes on: {self.out} keeps what was done")

    def autocast(self) -> Any:
        """bf16 on CUDA: there it is twice as fast; on a CPU without instructions for it, eight times as slow."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def digest(path: Path) -> Input:
    """A file as a stage's input."""
    with path.open("rb") as file:
        return Input(path=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def train(
    workshop: Workshop, stage: str, make: Callable[[], Trainer], recipe: Recipe, *inputs: Path
) -> dict[str, Tensor]:
    """The result of a stage, trained where that was not done yet. Raises Stopped, and what runs raise."""
    folder = workshop.out / stage
    given = {f"{path.parent.name}/{path.name}": digest(path) for path in inputs}
    with open_run(folder, f"nano/{stage}", recipe, given) as run:
        if not (folder / RESULT).exists():
            trainer = make()
            try:
                _go_through(workshop, stage, trainer, run)
            finally:
                trainer.close()
            write_file(folder / RESULT, save({name: value.contiguous() for name, value in trainer.result().items()}))
    return load_file(folder / RESULT)


def _go_through(workshop: Workshop, stage: str, trainer: Trainer, run: Run) -> None:
    for told in workshop.listeners:
        run.listeners.append(partial(told, stage, trainer.total))
    step, seconds = 0, 0.0
    if checkpoint := run.newest():
        trainer.load(checkpoint.parts)
        step, seconds = checkpoint.step, checkpoint.state["seconds"]
    run.begin(step)
    began = saved = logged = time.monotonic()

    def save_now() -> None:
        run.save(Checkpoint(step, trainer.parts(), {"seconds": seconds + time.monotonic() - began}))

    while step < trainer.total:
        values = trainer.step(step)
        step += 1
        now = time.monotonic()
        if now - logged > LOG_SECONDS or step == trainer.total:
            run.log("train", step, {name: float(value) for name, value in values.items()})
            logged = now
        if measured := trainer.measure(step):
            run.log("held_out", step, measured)
        if step == trainer.total or workshop.stopped() or now - saved > workshop.nano.save_seconds:
            save_now()
            saved = now
        if step < trainer.total:
            workshop.check()
