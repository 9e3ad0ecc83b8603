"""Jobs that fine-tune a model on a dataset, and bring what came of it among the server's models.

The job's folder:
recipe.json     settings of the recipe, as they were asked for
run/            the training: samples/step-00000120/1.wav, curves.csv, curves.svg, evaluation/; checkpoints to its end
*.log           what the processes said
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from more_server.errors import DiskFull
from more_server.files import keep_file
from more_server.jobs.kinds import Kind, Work
from more_server.lessons.child import Told, attend, check_installed
from more_server.lessons.datasets import Datasets
from more_server.lessons.outcome import Outcome
from more_server.lessons.recipe import TrainJob
from more_server.lessons.registering import check_new, free_id, load_beside, made_by
from more_server.lessons.room import Room, check_allowed, device_named, on_one_device
from more_server.models import find_model
from more_server.settings import Settings
from more_server.speak import Speaker

RECIPE, RUN, CHECKPOINTS = "recipe.json", "run", "checkpoints"
RESERVE_BYTES = 100_000_000
"""A disk filled to its last byte stops everything else on the machine."""
TRAINING = {True: (0.0, 85.0), False: (0.0, 97.0)}
"""Percent of the job, with an evaluation and without."""
EVALUATING, EXPORTING = (85.0, 97.0), (97.0, 100.0)


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
        check_installed()
        settings = self._settings
        asked = await asyncio.to_thread(self._settled, asked)
        if settings.jobs.work:
            device = device_named(asked.device)
            check_allowed(settings, shared=on_one_device(settings, device))
        await asyncio.to_thread(keep_file, folder / RECIPE, msgspec.json.encode(asked.recipe))
        given = await attend(folder, [*self._finetune(asked, folder), "--check"], _nobody)
        checked = msgspec.convert(given, Checked)
        free = shutil.disk_usage(folder).free
        if free < checked.disk_bytes + RESERVE_BYTES:
            raise DiskFull(
                f"{folder.parent} has {free / 1e9:.1f} GB free; this training may take "
                f"{(checked.disk_bytes + RESERVE_BYTES) / 1e9:.1f} GB for checkpoints and the model"
            )
        return asked

    def _settled(self, asked: TrainJob) -> TrainJob:
        settings = self._settings
        self._datasets().folder(asked.dataset)
        model = asked.model or self._speaker.fleet.serving.id
        find_model(settings, model)
        name = check_new(settings, asked.name) if asked.name else free_id(settings, asked.dataset)
        return msgspec.structs.replace(asked, model=model, name=name)

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
        async with Room(self._speaker.fleet, device_named(asked.device)) as room:
            trained = await work.step("training", partial(self._train, asked, work, room, outcome), Trained)
            if asked.evaluate:
                await work.step("evaluating", partial(self._evaluate, work, room, outcome), list[str])
        await outcome.look(now=True)
        model = await work.step("exporting", partial(self._export, asked, work), str)
        about = {**msgspec.to_builtins(trained), "model": model}
        if asked.load:
            refused = await load_beside(self._speaker.fleet, model)
            about |= {"loaded": not refused, **({"note": f"not loaded: {refused}"} if refused else {})}
        await work.tell("done", 100, 100, about)
        # Of XTTS-v2 gigabytes each, which nobody goes on from any more.
        await asyncio.to_thread(shutil.rmtree, work.folder / RUN / CHECKPOINTS, ignore_errors=True)

    async def _train(self, asked: TrainJob, work: Work, room: Room, outcome: Outcome) -> Trained:
        if not await asyncio.to_thread((work.folder / RUN).exists):
            await work.tell("waiting", 0, 100, {"for": "what is being spoken"})
        await room.make()
        share = TRAINING[asked.evaluate]

        async def tell(told: Told) -> None:
            about = told.about or {}
            steps = about.get("steps", 0)
            await work.tell(told.stage, _percent(about.get("step", 0), steps, share), 100, about)
            await outcome.look()

        command = [*self._finetune(asked, work.folder), f"--device={asked.device}", f"--threads={room.threads}"]
        return msgspec.convert(await attend(work.folder, command, tell), Trained)

    async def _evaluate(self, work: Work, room: Room, outcome: Outcome) -> list[str]:
        await room.make()
        command: list[str | Path] = ["evaluate", work.folder / RUN, f"--threads={room.threads}"]
        verdicts = (await attend(work.folder, command, _teller(work, "evaluating", EVALUATING)))["verdicts"]
        await outcome.look(now=True)
        return [str(verdict) for verdict in verdicts]

    async def _export(self, asked: TrainJob, work: Work) -> str:
        """The id of the model: the one asked for, unless somebody has taken it since."""
        settings = self._settings
        model = await asyncio.to_thread(made_by, settings, work.id)
        if model is None:
            model = await asyncio.to_thread(free_id, settings, asked.name)
            options = [f"--data-dir={settings.data_dir}", f"--dtype={asked.precision}", f"--job={work.id}"]
            await attend(
                work.folder, ["export", work.folder / RUN, model, *options], _teller(work, "exporting", EXPORTING)
            )
        return model


def _teller(work: Work, stage: str, share: tuple[float, float]) -> Callable[[Told], Awaitable[None]]:
    async def tell(told: Told) -> None:
        await work.tell(stage, _percent(told.done, told.total, share), 100, {"doing": told.stage})

    return tell


def _percent(done: float, total: float, share: tuple[float, float]) -> float:
    """Of the whole job."""
    begin, end = share
    return begin + (end - begin) * (done / total if total else 0.0)


async def _nobody(told: Told) -> None:
    """Nobody is told."""
