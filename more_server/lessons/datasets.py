"""Datasets that trainings may name: `<datasets>/<name>/`, in the format of more_train/dataset/format.py."""

import errno
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from more_server.errors import BadInput, Conflict, DatasetNotFound, MoreError, StorageError, allowed, shown
from more_server.files import LOCK_SECONDS, locked, remove_folder, staged_folder, sweep, sync_entry, write_file
from more_server.lessons.uploads import FOLDER as UPLOADS
from more_server.settings import Settings
from more_server.speech import NAME_RULE, VOICE_ID

ABOUT, REPORT, PAGE = "dataset.json", "report.json", "report.html"
MAKER = ".job"
"""In a dataset: the job that made it, which may be taken up again after it was done."""


Read = TypeVar("Read", bound=msgspec.Struct)


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder holds; more_train writes more of it."""

    name: str
    """What a training calls it."""
    language: str
    """One of XTTS's languages."""
    speakers: tuple[str, ...]
    clips: int
    seconds: float
    """Of all clips."""
    held_out: int
    """Clips that no training may see."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset was made of, in figures."""

    recordings: int
    """Files that were read."""
    recorded_seconds: float
    """Of all recordings."""
    speech_seconds: float
    """Of it, speech."""
    refused_clips: int
    """Clips that are not in the dataset."""
    refused_seconds: float
    """Of these clips."""
    refused: dict[str, int]
    """Clips, recordings and lines that are not in it, by reason; each may have several."""
    advice: tuple[str, ...]
    """What would make the dataset better; empty: nothing was found."""


class Datasets:
    """All datasets of a data directory."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.datasets_dir

    def list_all(self) -> tuple[list[Dataset], list[str]]:
        """All in order, and a sentence for each folder that cannot be read."""
        found, problems = [], []
        for name in self._names():
            try:
                found.append(self.find(name))
            except MoreError as error:
                problems.append(error.message)
        return found, problems

    def find(self, name: str) -> Dataset:
        """Raises DatasetNotFound listing what exists, StorageError for a damaged one."""
        return msgspec.structs.replace(_read(self.folder(name) / ABOUT, Dataset), name=name)

    def report(self, name: str) -> Report:
        """Raises DatasetNotFound, StorageError."""
        return _read(self.folder(name) / REPORT, Report)

    def folder(self, name: str) -> Path:
        """Where it lies. Raises DatasetNotFound listing what exists."""
        if name not in (names := self._names()):
            raise DatasetNotFound(f"there is no dataset {shown(name)}; there are: {allowed(names)}", param="dataset")
        return self._folder / name

    def check_free(self, name: str, job: str = "") -> None:
        """That a new dataset can have this name, or has it as this job's. Raises BadInput, Conflict."""
        if not VOICE_ID.fullmatch(name) or name == UPLOADS:
            raise BadInput(f"name: {shown(name)} cannot be a dataset's; it is {NAME_RULE}", param="name")
        folder = self._folder / name
        if folder.exists() and not (job and _maker(folder) == job):
            raise Conflict(f"there is a dataset {name} already; delete it, or choose another name", param="name")

    def add(self, made: Path, name: str, job: str) -> None:
        """Move a finished dataset to where trainings look for it; for the same job again it does nothing.

        Raises Conflict where another one has the name, StorageError; then it stays where it was made.
        """
        target = self._folder / name
        with locked(target, seconds=LOCK_SECONDS):
            self.check_free(name, job)
            if target.exists():
                return
            try:
                write_file(made / MAKER, job.encode())
                _move(made, target)
            except OSError as error:
                raise StorageError(f"the dataset {name} cannot be kept: {error.strerror or error}") from error

    def remove(self, name: str) -> None:
        """Raises DatasetNotFound, StorageError."""
        folder = self.folder(name)
        with locked(folder, seconds=LOCK_SECONDS):
            remove_folder(self.folder(name))

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        paths = sorted(self._folder.iterdir())
        return [path.name for path in paths if VOICE_ID.fullmatch(path.name) and (path / ABOUT).is_file()]


def _read(path: Path, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path.parent.name}/{path.name} cannot be read: {error}") from error


def _maker(folder: Path) -> str:
    try:
        return (folder / MAKER).read_text("utf-8")
    except FileNotFoundError:
        return ""


def _move(made: Path, target: Path) -> None:
    sweep(target)
    try:
        made.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staged_folder(target) as stage:  # jobs and datasets may lie on two disks
            shutil.copytree(made, stage, dirs_exist_ok=True)
        shutil.rmtree(made)
    else:
        for folder in (target.parent, made.parent):
            sync_entry(folder)
