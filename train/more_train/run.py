"""A run: one folder that holds all of a training, and goes on from wherever it was ended.

    inputs = {"model": Input(path=str(model), sha256=...), "dataset": Input(...)}
    with open_run(folder, "finetune", recipe, inputs) as run, stop_signals() as stop:
        checkpoint = run.newest()              # None: nothing was done yet
        step = restore(checkpoint) if checkpoint else 0
        run.begin(step)                        # progress beyond that step was never kept, and goes
        while step < last and not stop.asked:
            loss = train(step)
            step += 1
            run.log("train", step, {"loss": loss})  # progress.jsonl, TensorBoard, and whoever listens
            if step % 100 == 0:
                run.save(Checkpoint(step, optimiser.parts(), state={}, score=held_out_loss()))

The folder, of which every file appears whole or not at all:

    recipe.json      kind of training, recipe, and checksums of what it began with
    progress.jsonl   one line for each thing that happened: kind, step, time, numbers
    checkpoints/     step-00000120/, the last two and the best (checkpoint.py)
    samples/         what the model said at each evaluation
    events/          TensorBoard's

Only one process writes a folder: of several that train together, the first.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import msgspec
import structlog

from more_server.errors import BadInput, StorageError
from more_server.files import NO_ROOM, keep_file, locked, remove_folder, staged_folder, sweep, write_file
from more_train.checkpoint import Checkpoint, Damaged, Summary, read, read_summary, write

RECIPE, PROGRESS, CHECKPOINTS, SAMPLES, EVENTS = "recipe.json", "progress.jsonl", "checkpoints", "samples", "events"
KEPT_CHECKPOINTS = 2
"""The newest, and one more should the disk spoil it."""

Recipe = TypeVar("Recipe", bound=msgspec.Struct)
log = structlog.get_logger("more_train.run")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a run begins with."""

    path: str
    sha256: str


class RunFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """recipe.json: what makes a run this run and no other."""

    kind: str
    recipe: dict[str, Any]
    inputs: dict[str, Input]

    def as_recipe(self, kind: type[Recipe]) -> Recipe:
        """Raises BadInput where another version wrote it."""
        try:
            return msgspec.convert(self.recipe, kind)
        except msgspec.ValidationError as error:
            raise BadInput(f"the run's recipe does not fit this version: {error}") from error


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of progress.jsonl."""

    kind: str
    """`train`, `held_out`, `note` …"""
    step: int
    time: float
    """Seconds since 1970."""
    text: str = ""
    values: dict[str, float | None] = {}
    """None where a number was not finite."""


class StopSignal:
    """Whether somebody asked the process to end."""

    def __init__(self) -> None:
        self.asked = ""
        """Name of the signal, or empty."""


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """SIGTERM and SIGINT become a wish to end at the next good moment; a second SIGINT ends at once."""
    stop = StopSignal()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield stop  # whoever runs a training in a thread has signals of its own
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_run(folder: Path) -> RunFile:
    """What a folder is a run of. Raises BadInput."""
    path = folder / RECIPE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunFile)
    except FileNotFoundError as error:
        raise BadInput(f"{folder} is not the folder of a training: it has no {RECIPE}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def read_progress(folder: Path) -> list[Progress]:
    """What happened in a run so far; a line that a killed process left unfinished is passed over."""
    try:
        lines = (folder / PROGRESS).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(line, type=Progress))
    return found


def checkpoints(folder: Path) -> list[tuple[Path, Summary]]:
    """The checkpoints of a run that can be read, oldest first."""
    found = []
    for path in sorted((folder / CHECKPOINTS).glob("step-*")):
        if path.suffix != ".damaged":
            with suppress(Damaged):
                found.append((path, read_summary(path)))
    return found


def best_checkpoint(folder: Path) -> Path | None:
    """The one with the least held-out loss, or the newest where none was evaluated."""
    found = checkpoints(folder)
    scored = [(summary.score, path) for path, summary in found if summary.score is not None]
    if scored:
        return min(scored)[1]
    return found[-1][0] if found else None


@contextmanager
def open_run(folder: Path, kind: str, recipe: msgspec.Struct, inputs: Mapping[str, Input]) -> Iterator["Run"]:
    """A new run, or one that is gone on with; nobody else can open it meanwhile.

    Raises BadInput for a folder of something else, StorageError where it cannot be written or is in use.
    """
    own = RunFile(kind=kind, recipe=msgspec.json.decode(msgspec.json.encode(recipe)), inputs=dict(inputs))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from error
    with locked(folder):
        if (folder / RECIPE).exists():
            _refuse_another(folder, read_run(folder), own)
        elif any(folder.iterdir()):
            raise BadInput(f"{folder} holds other things already; name a new folder for the run")
        else:
            keep_file(folder / RECIPE, msgspec.json.format(msgspec.json.encode(own)) + b"\n")
        run = Run(folder, own)
        try:
            yield run
        finally:
            run.close()


def _refuse_another(folder: Path, there: RunFile, own: RunFile) -> None:
    differences = [f"its kind is {there.kind}, not {own.kind}"] if there.kind != own.kind else []
    differences += [
        f"{name} is {there.recipe.get(name)!r} there and {own.recipe.get(name)!r} here"
        for name in {**there.recipe, **own.recipe}
        if there.recipe.get(name) != own.recipe.get(name)
    ]
    differences += [
        f"its {name} was {there.inputs[name].path if name in there.inputs else 'none'}, with another content"
        for name, value in own.inputs.items()
        if name not in there.inputs or there.inputs[name].sha256 != value.sha256
    ]
    if differences:
        raise BadInput(
            f"{folder} holds another run: {'; '.join(differences)}. Name a new folder, "
            "or go on with that run as it was: python -m more_train resume FOLDER"
        )


class Run:
    """An open run; made by `open_run`."""

    def __init__(self, folder: Path, file: RunFile) -> None:
        self.folder, self.file = folder, file
        self.listeners: list[Callable[[Progress], None]] = []
        """Told of every line of progress."""
        self._events: Any = None
        sweep(folder / CHECKPOINTS / "*")
        sweep(folder / SAMPLES / "*")

    # -- checkpoints

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones are set aside, so that the one before is used."""
        for path in sorted((self.folder / CHECKPOINTS).glob("step-*"), reverse=True):
            if path.suffix == ".damaged":
                continue
            try:
                return read(path)
            except Damaged as error:
                aside = path.with_suffix(".damaged")
                log.warning("a checkpoint is damaged and set aside", reason=error.message, aside=str(aside))
                remove_folder(aside) if aside.exists() else None
                path.rename(aside)
        return None

    def save(self, checkpoint: Checkpoint) -> Path:
        """Keep a checkpoint, then let those go that are neither of the last two nor the best.

        Raises StorageError, of a full disk in words that help; what was kept before is still there.
        """
        folder = self.folder / CHECKPOINTS
        path = folder / f"step-{checkpoint.step:08d}"
        if path.exists():
            remove_folder(path)  # the same step, evaluated since
        self._told_when_full(lambda: write(path, checkpoint))
        keep = {found for found, _ in checkpoints(self.folder)[-KEPT_CHECKPOINTS:]} | {best_checkpoint(self.folder)}
        for found, _ in checkpoints(self.folder):
            if found not in keep:
                remove_folder(found)
        return path

    def _told_when_full(self, write_it: Callable[[], None]) -> None:
        try:
            write_it()
        except (StorageError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in NO_ROOM:
                raise
            found = checkpoints(self.folder)
            kept = f"the checkpoint of step {found[-1][1].step} is whole" if found else "there is no checkpoint yet"
            raise StorageError(
                f"the disk of {self.folder} is full; {kept}. Make room and go on with: "
                f"python -m more_train resume {self.folder}"
            ) from error

    # -- progress

    def begin(self, step: int) -> None:
        """Training goes on behind this step: lines of later ones, whose weights nobody kept, are dropped."""
        if (self.folder / PROGRESS).exists():
            kept = [msgspec.json.encode(line) + b"\n" for line in read_progress(self.folder) if line.step <= step]
            self._told_when_full(lambda: write_file(self.folder / PROGRESS, b"".join(kept)))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.note(step, "no events are written: pip install 'more-server[train]' brings TensorBoard")
        else:
            self._events = SummaryWriter(str(self.folder / EVENTS), purge_step=step + 1)

    def note(self, step: int, text: str) -> None:
        """Tell in words what happened. Raises StorageError of a full disk."""
        self.log("note", step, {}, text)

    def log(self, kind: str, step: int, values: Mapping[str, float], text: str = "") -> None:
        """Tell what happened, in numbers. Raises StorageError of a full disk."""
        line = Progress(kind=kind, step=step, time=round(time.time(), 3), text=text, values=dict(values))
        self._told_when_full(lambda: self._write(line))
        for listener in self.listeners:
            listener(line)

    def _write(self, line: Progress) -> None:
        with (self.folder / PROGRESS).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        if self._events is not None:
            for name, value in line.values.items():
                self._events.add_scalar(f"{line.kind}/{name}", value, line.step)
            if line.text:
                self._events.add_text(line.kind, line.text, line.step)

    # -- samples

    @contextmanager
    def samples(self, step: int) -> Iterator[Path]:
        """A folder for what the model says at this step, there when the block ends."""
        target = self.folder / SAMPLES / f"step-{step:08d}"
        if target.exists():
            remove_folder(target)
        with staged_folder(target) as stage:
            yield stage

    def add_audio(self, name: str, step: int, samples: Any, sample_rate: int) -> None:
        """Let TensorBoard play samples, shape (n,), full scale ±1."""
        if self._events is not None:
            self._events.add_audio(name, samples[None], step, sample_rate)

    def close(self) -> None:
        """Let TensorBoard's file go."""
        if self._events is not None:
            with suppress(OSError):
                self._events.close()
            self._events = None
