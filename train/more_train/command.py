"""`finetune` and `resume`: a training with its progress on the terminal."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from more_server.cli.output import console, quiet
from more_server.errors import BadInput
from more_server.models import find_model
from more_server.settings import load
from more_train.attended import Teller
from more_train.attended import attended as attending
from more_train.inputs import check_inputs
from more_train.recipe import FineTune, make_recipe, read_recipe

if TYPE_CHECKING:
    from more_train import run
    from more_train.finetune import Begun
    from more_train.trainer import Outcome


def finetune(
    model: str,
    dataset: Path,
    out: Path,
    /,
    *,
    recipe: Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int = 0,
    check: bool = False,
    attended: bool = False,
) -> None:
    """Teach a dataset's speakers to a model. Ended by Ctrl-C or a crash, the same command goes on.

    Several GPUs: torchrun --nproc-per-node 2 -m more_train finetune MODEL DATASET OUT

    Parameters
    ----------
    model
        An id of `more-server models list`, or a folder; it must have dvae.safetensors.
    dataset
        Folder made by `python -m more_train dataset`.
    out
        Folder of the run: checkpoints, samples, progress.jsonl, TensorBoard's events.
    recipe
        TOML or JSON with settings of FineTune (train/more_train/recipe.py), each with its default and its reason.
    epochs
        Instead of the recipe's.
    batch_size
        Instead of the recipe's.
    learning_rate
        Instead of the recipe's.
    seed
        Instead of the recipe's.
    device
        auto, cpu, cuda, cuda:1 …
    threads
        CPU threads; 0: as many as there are cores.
    check
        Look at the model, the dataset and the recipe, and end.
    attended
        For programs: JSON lines instead of bars, and the end of it when standard input closes.
    """
    with attending(attended) as teller:
        base = read_recipe(recipe, FineTune) if recipe else FineTune()
        asked = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        changes = {name: value for name, value in asked.items() if value is not None}
        made = make_recipe(msgspec.to_builtins(base) | changes, FineTune, "the options")
        folder = _model_folder(model)
        if check:
            _check(folder, dataset, made, teller)
        else:
            _train(folder, dataset, out, made, device, threads, teller)


def resume(out: Path, /, *, device: str = "auto") -> None:
    """Go on with a training that was ended, with its own recipe, model and dataset.

    Parameters
    ----------
    out
        Folder of the run.
    device
        auto, cpu, cuda, cuda:1 …
    """
    from more_train.finetune import KIND
    from more_train.run import read_run

    there = read_run(out)
    if there.kind != KIND:
        raise BadInput(f"{out} is a run of the recipe {there.kind}: go on with python -m more_train {there.kind}")
    model, dataset = (Path(there.inputs[name].path) for name in ("model", "dataset"))
    _train(model, dataset, out, there.as_recipe(FineTune), device, 0, Teller(None))


def _model_folder(model: str) -> Path:
    return Path(model) if (Path(model) / "config.json").is_file() else find_model(load(), model)


def _check(model: Path, dataset: Path, recipe: FineTune, teller: Teller) -> None:
    checked = check_inputs(model, dataset, recipe)
    teller.result(msgspec.to_builtins(checked))
    if not teller.is_heard:
        console(stderr=True).print(
            f"{checked.clips} clips, {checked.seconds / 60:.1f} minutes, {checked.held_out} held out; "
            f"{checked.disk_bytes / 1e9:.1f} GB of disk at most"
        )


def _train(model: Path, dataset: Path, out: Path, recipe: FineTune, device: str, threads: int, teller: Teller) -> None:
    import torch

    from more_train.finetune import finetune as tune
    from more_train.telling import Telling

    quiet(load())
    if threads:
        torch.set_num_threads(threads)
    told = console(stderr=True)
    with Telling(teller, out) if teller.is_heard else _Screen(told) as shown:
        outcome = tune(
            model, dataset, out, recipe, device=device, report=shown.report, began=shown.began, listen=shown.listen
        )
    if isinstance(shown, _Screen) and shown.first:
        _summary(told, out, outcome)
    if outcome.end not in ("finished", "early"):
        # All is on disk. Python takes one to four seconds to let go of coqui's three thousand modules, and whoever sent
        # the signal may not wait so long.
        sys.stderr.flush()
        os._exit(130 if outcome.end == "SIGINT" else 143)
    teller.result(msgspec.to_builtins(outcome))


def _summary(told: Console, out: Path, outcome: "Outcome") -> None:
    ends = {
        "finished": f"All {outcome.total_steps} steps are done.",
        "early": f"Ended after {outcome.step} of {outcome.total_steps} steps: it learnt nothing more.",
    }
    told.print(ends.get(outcome.end, f"Stopped by {outcome.end} after step {outcome.step} of {outcome.total_steps}."))
    if outcome.best is not None:
        told.print(f"Least held-out loss: {outcome.best:.4f}, at step {outcome.best_step}")
    told.print(f"Samples: {out / 'samples'}; curves: tensorboard --logdir {out / 'events'}")
    if outcome.end in ends:
        told.print(f"Judge it: python -m more_train evaluate {out}; use it: python -m more_train export {out} ID")
    else:
        told.print(f"Go on with: python -m more_train resume {out}")


class _Screen:
    """Bars on a terminal, lines elsewhere; nothing in the processes that have nothing to tell."""

    def __init__(self, told: Console) -> None:
        self._told = told
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=told,
            disable=not told.is_terminal,
        )
        self._preparing: TaskID | None = None
        self._training: TaskID | None = None
        self.first = False
        """This process is the one that tells."""

    def __enter__(self) -> "_Screen":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def report(self, what: str, done: int, total: int) -> None:
        """Of the preparation."""
        if self._preparing is None:
            self._preparing = self._bars.add_task(what, total=total)
        self._bars.update(self._preparing, completed=done, total=total)

    def began(self, begun: "Begun") -> None:
        """What will be done, and what was left out."""
        self.first = True
        self._told.print(
            f"{begun.clips} clips, {begun.seconds / 60:.1f} minutes, {begun.held_out} held out; {begun.epochs} epochs, "
            f"{begun.effective_batch} clips a step, {begun.total_steps} steps on {begun.device}"
            + (f" in {begun.processes} processes" if begun.processes > 1 else "")
        )
        for reason, count in sorted(begun.left_out.items()):
            self._told.print(f"left out: {count} clips, {reason}")
        self._training = self._bars.add_task("training", total=begun.total_steps)

    def listen(self, line: "run.Progress") -> None:
        """A line of progress.jsonl."""
        values = line.values
        if line.kind == "held_out":
            self._told.print(
                f"step {line.step}: held-out loss {values['loss']:.4f}, of codes {values['code_loss']:.4f}"
            )
        elif line.kind == "note" and not line.text.startswith("ended"):
            self._told.print(line.text)
        elif line.kind == "train" and self._training is not None:
            self._bars.update(
                self._training, completed=line.step, description=f"training, loss {values['loss'] or float('nan'):.3f}"
            )
