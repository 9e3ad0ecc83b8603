"""Fine-tuning wired: a model and a dataset in, a run out."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from more_server.engine.recovery import is_out_of_memory
from more_server.engine.runner import pick_device
from more_server.xtts.config import XttsConfig
from more_server.xtts.tokenizer import Tokenizer
from more_server.xtts.weights import Weights
from more_train.dataset.format import CLIPS, WORK, read_dataset
from more_train.dvae import CodeCache, Dvae, load_dvae, stamp
from more_train.examples import Examples, Preparer, Report
from more_train.inputs import DVAE_FILE, check_enough, limits_of, trainable
from more_train.processes import Processes, joined
from more_train.recipe import FineTune
from more_train.run import Input, Progress, Run, open_run, stop_signals
from more_train.trainer import Outcome, OutOfMemory, train
from more_train.tuning import FineTuning

KIND = "finetune"
BEGAN = "began: "
"""How the note of a run begins that says what is to be done, in JSON."""
CODES = "codes.sqlite"
MODEL_FILES = ("config.json", "vocab.json", "model.safetensors", DVAE_FILE)


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a training is about to do."""

    clips: int
    held_out: int
    seconds: float
    """Of speech to train on."""
    left_out: dict[str, int]
    """Clips by the reason."""
    epochs: int
    effective_batch: int
    total_steps: int
    device: str
    processes: int


def finetune(
    model: Path,
    dataset: Path,
    out: Path,
    recipe: FineTune,
    *,
    device: str = "auto",
    report: Report = lambda _what, _done, _total: None,
    began: Callable[[Begun], None] = lambda _begun: None,
    listen: Callable[[Progress], None] = lambda _line: None,
) -> Outcome:
    """Teach a dataset's speakers to a model folder; `out` is the run's folder, new or to be gone on with.

    report, began and listen are told what happens, in the first process alone. Raises what keeps it from training:
    ModelError, BadInput, StorageError, OutOfMemory, Diverged.
    """
    config = trainable(model)
    _, clips = read_dataset(dataset)
    with joined(pick_device(device)) as group:
        stats = Weights(model).read(["mel_stats"])["mel_stats"]
        dvae = load_dvae(model, config, stats, group.device)
        with _opened(out, recipe, model, dataset, group) as run:
            group.wait()
            preparer = _preparer(model, dataset, out, config, dvae, recipe)
            examples = preparer.prepare(clips, group, report if group.first else lambda *_: None)
            check_enough(len(examples.train), len(examples.held_out), examples.left_out, recipe, dataset)
            task = _task(model, config, recipe, examples, group)
            if run:
                begun = _begun(task, examples, group)
                run.note(0, BEGAN + msgspec.json.encode(begun).decode())
                run.listeners.append(listen)
                began(begun)
            with stop_signals() as stop:
                return train(task, run, task.pace, stop, group)


@contextmanager
def _opened(out: Path, recipe: FineTune, model: Path, dataset: Path, group: Processes) -> Iterator[Run | None]:
    """The run in the first process, None in the others."""
    if not group.first:
        yield None
        return
    inputs = {
        "model": Input(path=str(model.absolute()), sha256=content_digest(model, MODEL_FILES)),
        "dataset": Input(path=str(dataset.absolute()), sha256=content_digest(dataset, (CLIPS,))),
    }
    with open_run(out, KIND, recipe, inputs) as run:
        yield run


def content_digest(folder: Path, names: tuple[str, ...]) -> str:
    """SHA-256 over those of these files, in their order, as hexadecimal digits."""
    state = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as file:
            state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()


def _preparer(model: Path, dataset: Path, out: Path, config: XttsConfig, dvae: Dvae, recipe: FineTune) -> Preparer:
    # Beside the dataset, for the next run over it; in the run where the dataset is not ours to write to.
    work = dataset / WORK
    shared = os.access(work if work.exists() else dataset, os.W_OK)
    if shared:
        work.mkdir(exist_ok=True)
    cache = CodeCache((work if shared else out) / CODES, stamp(model))
    return Preparer(dataset, config, Tokenizer(model / "vocab.json"), dvae, cache, limits_of(recipe, config))


def _task(model: Path, config: XttsConfig, recipe: FineTune, examples: Examples, group: Processes) -> FineTuning:
    try:
        return FineTuning(model, config, recipe, examples, group)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{model.name} with what AdamW and the running average keep does not fit into {group.device}: 20 bytes for "
            "each of its values, 9 GB for XTTS-v2. Set average = 0 to save a fifth, or take a larger device"
        ) from error


def _begun(task: FineTuning, examples: Examples, group: Processes) -> Begun:
    return Begun(
        clips=len(examples.train),
        held_out=len(examples.held_out),
        seconds=round(examples.seconds, 1),
        left_out=examples.left_out,
        epochs=task.sizes.epochs,
        effective_batch=min(task.sizes.rows * task.sizes.per_step, len(examples.train)),
        total_steps=task.pace.total_steps,
        device=str(group.device),
        processes=group.size,
    )
