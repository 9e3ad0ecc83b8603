"""A fine-tuning that a job attends: its progress in the job's words, its curves in files beside the run."""

import time
from pathlib import Path
from typing import Any

import msgspec

from more_server.lessons.lines import PREPARING, TRAINING
from more_train.attended import Teller
from more_train.curves import Curves
from more_train.finetune import BEGAN, Begun
from more_train.run import Progress, read_progress

CURVE_SECONDS = 2.0
"""Between two tellings of the curves: a picture of them changes no faster."""


class Telling:
    """What `finetune` reports to, as _Screen in command.py."""

    def __init__(self, teller: Teller, run: Path) -> None:
        self._teller, self._curves, self._total = teller, Curves(run), 0
        self._about: dict[str, Any] = _so_far(read_progress(run))
        self._curves_told = 0.0

    def __enter__(self) -> "Telling":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def report(self, what: str, done: int, total: int) -> None:
        """Of the preparation."""
        self._teller.tell(PREPARING, done, total, {**self._about, "doing": what})

    def began(self, begun: Begun) -> None:
        """What will be done, and what was left out."""
        self._total = begun.total_steps
        self._about = {
            "step": self._about.get("step", 0),
            "steps": begun.total_steps,
            "epochs": begun.epochs,
            "clips": begun.clips,
            "held_out_clips": begun.held_out,
            "left_out": begun.left_out,
            "device": begun.device,
        }

    def listen(self, line: Progress) -> None:
        """A line of progress.jsonl."""
        self._curves.take(line)
        values = line.values
        if line.kind == "held_out":
            self._about |= {"held_out": values["loss"], "best_step": self._curves.best_step()}
        elif line.kind == "train":
            self._about |= {"loss": values["loss"], "learning_rate": values["rate"], "epoch": values["epoch"]}
        elif line.text.startswith("ended"):
            self._curves.write()
        else:
            self._about["note"] = line.text
        self._about["step"] = line.step
        if line.kind == "held_out" or time.monotonic() - self._curves_told > CURVE_SECONDS:
            self._about["curves"], self._curves_told = self._curves.told(), time.monotonic()
        self._teller.tell(TRAINING, line.step, self._total, self._about)


def _so_far(lines: list[Progress]) -> dict[str, Any]:
    """How far a run is that is gone on with: its steps, and those of all."""
    began = [line.text.removeprefix(BEGAN) for line in lines if line.text.startswith(BEGAN)]
    if not began:
        return {}
    steps = msgspec.json.decode(began[-1], type=dict[str, Any])["total_steps"]
    return {"step": max(line.step for line in lines), "steps": steps}
