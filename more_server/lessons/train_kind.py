"""Jobs that fine-tune a model on a dataset, and bring what came of it among the server's models.

The job's folder:
recipe.json     settings of the recipe, as they were asked for
run/            the training: samples/step-00000120/1.wav, curves.csv, curves.svg, evaluation/; checkpoints to its end
samples/        what is offered of the samples: before/1.wav, best/1.wav, latest/1.wav
*.log           what the processes said
"""

import asyncio
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from more_server.errors import DiskFull
from more_server.files import keep_file
from more_server.jobs.kinds import Kind, Work
from more_server.lessons.child import attend, check_installed
from more_server.lessons.datasets import Datasets
from more_server.lessons.lines import FORETELLS, LISTENED, PREPARING, SPEAKS, TRAINING, Told, overall
from more_server.lessons.outcome import Outcome
from more_server.lessons.registering import check_new, free_id, load_beside, made_by
from more_server.lessons.room import Room, check_allowed, device_named, on_one_device
from more_server.models import find_model
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.threads import to_its_end

RECIPE, RUN, CHECKPOINTS = "recipe.json", "run", "checkpoints"
RESERVE_BYTES = 100_000_000
"""A disk filled to its last byte stops everything else on the machine."""
EVALUATING, EXPORTING = "evaluating", "exporting"
PLAIN = {PREPARING: 3, TRAINING: 94, EXPORTING: 3}
"""Percent of the job by stage, in order: nearly all of the time goes into steps …"""
EVALUATED = {PREPARING: 3, TRAINING: 82, SPEAKS: 7, LISTENED: 2, FORETELLS: 3, EXPORTING: 3}
"""… and where the model is judged, some of it into that."""


class TrainJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fine-tuning: a model learns the voices of a dataset."""

    dataset: str
    """Name of a dataset of this server."""
    model: str = ""
    """Id of the model to begin with, which must be trainable; empty: the one that serves."""
    name: str = ""
    """Id of the new model; empty: the dataset's name, or that and a number."""
    recipe: dict[str, Any] = {}
    """Settings of the recipe, such as `epochs` and `learning_rate`; those left out have their own defaults."""
    device: Annotated[str, Meta(max_length=20)] = "auto"
    """`cpu`, `cuda`, `cuda:1` …; `auto` takes a GPU where one answers."""
    precision: Literal["fp16", "fp32"] = "fp16"
    """How the new model is stored; fp16 takes half the room."""
    evaluate: bool = False
    """Judge the new model by what it says of the clips held out, before it is kept; the report is a result."""
    load: bool = True
    """Load the new model beside the one that serves when it is done, where memory allows, so that it can be tried."""


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """How a training ended; more_train/trainer.py tells it."""

    end: str
    """`finished`, or `early` where it learnt nothing more."""
    step: int
    best: float | None
    """Least held-out loss."""
    best_step: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of the inputs tells; more_train/inputs.py."""

    disk_bytes: int
    """That checkpoints and the finished model take at most."""


class TrainKind(Kind[TrainJob]):
    """A dataset in, a model out; it can be listened to all the while."""

    name, scope, request = "train", "admin", TrainJob

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def _settings(self) -> Settings:
        return self._speaker.fleet.settings

    # -- before

    async def accept(self, asked: TrainJob, folder: Path) -> TrainJob:
        """Raises BadInput and its kin naming the field, Conflict where trainings are refused here, DiskFull."""
        asked, command = await to_its_end(self._settled, asked, folder)  # it writes into the folder
        given = await attend(folder, [*command, "--check"])
        await asyncio.to_thread(_check_disk, folder, msgspec.convert(given, Checked))
        return asked

    def _settled(self, asked: TrainJob, folder: Path) -> tuple[TrainJob, list[str | Path]]:
        check_installed()
        settings = self._settings
        self._datasets().folder(asked.dataset)
        model = asked.model or self._speaker.fleet.serving.id
        find_model(settings, model)
        name = check_new(settings, asked.name) if asked.name else free_id(settings, asked.dataset)
        asked = msgspec.structs.replace(asked, model=model, name=name)
        if settings.jobs.work:
            device = device_named(self._device(asked))
            check_allowed(settings, shared=on_one_device(settings, device))
        keep_file(folder / RECIPE, msgspec.json.encode(asked.recipe))
        return asked, self._finetune(asked, folder)

    def _datasets(self) -> Datasets:
        return Datasets(self._settings)

    def _finetune(self, asked: TrainJob, folder: Path) -> list[str | Path]:
        """Raises ModelNotFound or DatasetNotFound, where it is gone meanwhile."""
        base = find_model(self._settings, asked.model)
        dataset = self._datasets().folder(asked.dataset)
        return ["finetune", base, dataset, folder / RUN, f"--recipe={folder / RECIPE}"]

    # -- the job

    async def run(self, asked: TrainJob, work: Work) -> None:
        """Goes on from the last checkpoint, where there is one. Raises what keeps it from training."""
        outcome = Outcome(work, work.folder / RUN)
        async with await asyncio.to_thread(self._room, asked) as room:
            trained = await work.step("training", partial(self._train, asked, work, room, outcome), Trained)
            best_step = None if trained.best is None else trained.best_step
            await outcome.look(best_step, now=True)
            if asked.evaluate:
                await work.step("evaluating", partial(self._evaluate, asked, work, room), list[str])
                await outcome.look(best_step, now=True)
        model = await work.step("exporting", partial(self._export, asked, work), str)
        about = {**msgspec.to_builtins(trained), "model": model}
        if asked.load:
            refused = await load_beside(self._speaker.fleet, model)
            about |= {"loaded": not refused, **({"note": f"not loaded: {refused}"} if refused else {})}
        await work.tell("done", 100, 100, about)
        # Of XTTS-v2 gigabytes each, which nobody goes on from any more.
        await asyncio.to_thread(shutil.rmtree, work.folder / RUN / CHECKPOINTS, ignore_errors=True)

    def _device(self, asked: TrainJob) -> str:
        """One of several workers makes room on its own GPU alone, so that is where it trains."""
        settings = self._settings
        return settings.engine.device if asked.device == "auto" and settings.server.workers > 1 else asked.device

    def _room(self, asked: TrainJob) -> Room:
        return Room(self._speaker.fleet, device_named(self._device(asked)))

    async def _train(self, asked: TrainJob, work: Work, room: Room, outcome: Outcome) -> Trained:
        if not await asyncio.to_thread((work.folder / RUN).exists):
            await work.tell("waiting", 0, 100, {"for": "what is being spoken"})
        await room.make()

        async def tell(told: Told) -> None:
            about = told.about or {}
            stood = _stood(told, about)
            await work.tell(told.stage, overall(stood, stood.stage, _parts(asked)), 100, about)
            await outcome.look(about.get("best_step"))

        command = await asyncio.to_thread(self._finetune, asked, work.folder)
        options = [f"--device={self._device(asked)}", f"--threads={room.threads}"]
        return msgspec.convert(await attend(work.folder, [*command, *options], tell), Trained)

    async def _evaluate(self, asked: TrainJob, work: Work, room: Room) -> list[str]:
        await room.make()

        async def tell(told: Told) -> None:
            # The name of the model stands before what it does.
            part = next(part for part in (SPEAKS, LISTENED, FORETELLS) if told.stage.endswith(part))
            await work.tell(EVALUATING, overall(told, part, _parts(asked)), 100, {"doing": told.stage})

        options = [f"--device={self._device(asked)}", f"--threads={room.threads}"]
        given = await attend(work.folder, ["evaluate", work.folder / RUN, *options], tell)
        return [str(verdict) for verdict in given["verdicts"]]

    async def _export(self, asked: TrainJob, work: Work) -> str:
        """The id of the model: the one asked for, unless somebody has taken it since."""
        settings = self._settings
        model = await asyncio.to_thread(made_by, settings, work.id)
        if model is None:
            model = await asyncio.to_thread(free_id, settings, asked.name)

            async def tell(told: Told) -> None:
                await work.tell(EXPORTING, overall(told, EXPORTING, _parts(asked)), 100, {"doing": told.stage})

            options = [f"--data-dir={settings.data_dir}", f"--dtype={asked.precision}", f"--job={work.id}"]
            await attend(work.folder, ["export", work.folder / RUN, model, *options], tell)
        return model


def _check_disk(folder: Path, checked: Checked) -> None:
    free = shutil.disk_usage(folder).free
    if free < checked.disk_bytes + RESERVE_BYTES:
        raise DiskFull(
            f"{folder.parent} has {free / 1e9:.1f} GB free; this training may take "
            f"{(checked.disk_bytes + RESERVE_BYTES) / 1e9:.1f} GB for checkpoints and the model"
        )


def _parts(asked: TrainJob) -> Mapping[str, int]:
    return EVALUATED if asked.evaluate else PLAIN


def _stood(told: Told, about: Mapping[str, Any]) -> Told:
    """What is prepared to go on stands where it stood, not at the beginning."""
    if told.stage == PREPARING and about.get("step"):
        return Told(TRAINING, about["step"], about["steps"])
    return told
