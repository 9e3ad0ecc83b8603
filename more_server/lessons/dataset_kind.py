"""Jobs that make a dataset of uploads.

The job's folder:
uploads/      the recordings, or the archive, as links to the uploads' files; removed with the uploads at the end
made/         the dataset while it is made; whatever ends the work, it goes on from there
report.html   what was found, for people, also where no dataset came of it
"""

import asyncio
import errno
import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from more_server.errors import BadInput, MoreError, StorageError, UploadLocked, UploadNotFound, allowed, shown
from more_server.jobs.kinds import Kind, Work
from more_server.lessons.child import attend, check_installed, nobody
from more_server.lessons.datasets import PAGE, REPORT, Datasets
from more_server.lessons.lines import Told, overall
from more_server.lessons.recordings import is_archive
from more_server.lessons.uploads import Upload, Uploads
from more_server.settings import Settings
from more_server.threads import to_its_end
from more_server.voicebank.details import HIDDEN

UPLOADS, MADE = "uploads", "made"
MOST_SPEAKER = 100
WITH_TEXTS = {"reading": 90, "checking": 5, "writing": 5}
"""Percent of the work by stage, in order: cutting takes nearly all of the time …"""
WITH_WHISPER = {"reading": 20, "transcribing": 70, "checking": 5, "writing": 5}
"""… unless Whisper has to listen."""
OPTIONS = ("shortest_seconds", "preferred_seconds", "longest_seconds", "least_signal_to_noise", "most_clipped")
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)

Seconds = Annotated[float, Meta(gt=0, le=30)]


class DatasetJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a dataset is to be made of, and how."""

    name: str
    """What trainings will call it: 1 to 64 lower-case letters, digits, '-' and '_'."""
    uploads: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10_000)]
    """Ids of finished uploads: one zip archive, or recordings; with a metadata.csv, or whisper. They are used up."""
    language: str
    """What is spoken, such as `en` or `German`."""
    speaker: str = ""
    """Who speaks where metadata.csv names nobody; empty: the dataset's name."""
    whisper: str = ""
    """Folder below <data_dir>/whisper with a Whisper model in CTranslate2's format, for recordings without a text."""
    shortest_seconds: Seconds | None = None
    """Clips below it are refused; absent, as all that follow: as `more-server train dataset` has it."""
    preferred_seconds: Seconds | None = None
    """Recordings without a text are cut into clips of at least so many seconds, where their pauses allow it."""
    longest_seconds: Seconds | None = None
    """No clip is longer."""
    least_signal_to_noise: Annotated[float, Meta(ge=0, le=60)] | None = None
    """Decibels between speech and noise; clips below it are refused."""
    most_clipped: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of clipped samples; clips above it are refused."""


class Made(msgspec.Struct, frozen=True):
    """What came of it."""

    clips: int
    seconds: float
    """Of all clips."""
    held_out: int
    """Clips that no training may see."""


class Checked(msgspec.Struct, frozen=True):
    """What the check of a request tells."""

    language: str
    """By its code."""


class DatasetKind(Kind[DatasetJob]):
    """Recordings in, a dataset for trainings out."""

    name, scope, request = "dataset", "admin", DatasetJob

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._datasets = Datasets(settings)
        self._uploads = Uploads(settings)

    async def accept(self, asked: DatasetJob, folder: Path) -> DatasetJob:
        """Checks all but the recordings' content; raises BadInput and its kin naming the field, StorageError."""
        check_installed()
        await to_its_end(self._take, asked, folder)
        checked = msgspec.convert(await self._process(asked, folder, nobody, "--check"), Checked)
        return msgspec.structs.replace(asked, language=checked.language)

    async def run(self, asked: DatasetJob, work: Work) -> None:
        """Raises what keeps a dataset from being made; the report tells of each recording then, too."""
        try:
            await asyncio.to_thread(self._datasets.check_free, asked.name, work.id)
            made = await work.step("build", partial(self._build, asked, work), Made)
        except MoreError:
            await self._report(work)
            raise
        await work.step("place", partial(to_its_end, self._place, asked, work.folder, work.id), str)
        await self._report(work)
        await work.tell("done", 100, 100, msgspec.to_builtins(made))
        await to_its_end(self._tidy, asked, work.folder)

    # -- before

    def _take(self, asked: DatasetJob, folder: Path) -> None:
        self._datasets.check_free(asked.name)
        if len(asked.speaker) > MOST_SPEAKER or HIDDEN.search(asked.speaker):
            raise BadInput(f"speaker has at most {MOST_SPEAKER} visible characters", param="speaker")
        if asked.whisper:
            self._check_whisper(asked.whisper)
        uploads = [self._finished(upload_id) for upload_id in asked.uploads]
        name, times = Counter(upload.filename for upload in uploads).most_common(1)[0]
        if times > 1:
            raise BadInput(f"uploads: {times} of them are called {shown(name)}; each needs a name", param="uploads")
        archives = [upload.filename for upload in uploads if is_archive(upload.filename)]
        if archives and len(uploads) > 1:
            raise BadInput(
                f"{archives[0]} is an archive, which comes alone; put all recordings into it", param="uploads"
            )
        _link([(upload.filename, self._uploads.path(upload.id)) for upload in uploads], folder / UPLOADS)

    def _finished(self, upload_id: str) -> Upload:
        try:
            upload = self._uploads.find(upload_id)
        except UploadNotFound as error:  # 404 would be about the address
            raise BadInput(error.message, param="uploads") from error
        if not upload.is_finished:
            raise BadInput(
                f"the upload {upload_id} is not finished: {upload.offset} of {upload.length} bytes have come",
                param="uploads",
            )
        return upload

    def _check_whisper(self, name: str) -> None:
        folder = self._settings.data_dir / "whisper"
        names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        if name not in names:
            raise BadInput(
                f"whisper: there is no {shown(name)} in {folder}; there are: {allowed(names)}", param="whisper"
            )
        if importlib.util.find_spec("faster_whisper") is None:
            raise BadInput("faster-whisper is missing: pip install 'more-server[transcribe]'", param="whisper")

    def _whisper(self, name: str) -> Path:
        return self._settings.data_dir / "whisper" / name

    # -- steps

    async def _build(self, asked: DatasetJob, work: Work) -> Made:
        parts = WITH_WHISPER if asked.whisper else WITH_TEXTS

        async def tell(told: Told) -> None:
            await work.tell(told.stage, overall(told, told.stage, parts), 100)

        return msgspec.convert(await self._process(asked, work.folder, tell), Made)

    async def _process(
        self, asked: DatasetJob, folder: Path, tell: Callable[[Told], Awaitable[None]], *more: str
    ) -> Any:
        """What `more_train dataset` gives. Raises what it tells of, naming the request's field."""
        arguments: list[str | Path] = ["dataset", _source(folder), folder / MADE, *self._options(asked), *more]
        try:
            return await attend(folder, arguments, tell)
        except MoreError as error:
            if error.param == "source":  # as the command calls what it reads
                error.param = "uploads"
            raise

    def _options(self, asked: DatasetJob) -> list[str]:
        # In one word each, as a name may begin with a hyphen.
        options = [f"--language={asked.language}", f"--name={asked.name}", f"--speaker={asked.speaker}"]
        if asked.whisper:
            options.append(f"--whisper={self._whisper(asked.whisper)}")
        given = {field: value for field in OPTIONS if (value := getattr(asked, field)) is not None}
        return [*options, *(f"--{field.replace('_', '-')}={value}" for field, value in given.items())]

    def _place(self, asked: DatasetJob, folder: Path, job: str) -> str:
        _copy_report(folder)  # again, it is there already, and the dataset may be gone from here
        self._datasets.add(folder / MADE, asked.name, job)
        return asked.name

    async def _report(self, work: Work) -> None:
        await asyncio.to_thread(_copy_report, work.folder)
        for name, media_type in ((PAGE, "text/html; charset=utf-8"), (REPORT, "application/json")):
            if await asyncio.to_thread((work.folder / name).is_file):
                await work.add(work.folder / name, media_type, "What was found in the recordings")

    def _tidy(self, asked: DatasetJob, folder: Path) -> None:
        shutil.rmtree(folder / UPLOADS, ignore_errors=True)
        for upload_id in asked.uploads:
            with suppress(UploadNotFound, UploadLocked):
                self._uploads.remove(upload_id)


def _link(files: Sequence[tuple[str, Path]], folder: Path) -> None:
    """The files by their names; as links, which stay whatever becomes of the uploads. Raises StorageError."""
    try:
        folder.mkdir(parents=True)
        for name, path in files:
            try:
                os.link(path, folder / name)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                shutil.copyfile(path, folder / name)
    except OSError as error:
        raise StorageError(f"the uploads cannot be taken: {error.strerror or error}") from error


def _source(folder: Path) -> Path:
    """The archive, or the folder of recordings."""
    archives = [path for path in (folder / UPLOADS).iterdir() if is_archive(path.name)]
    return archives[0] if archives else folder / UPLOADS


def _copy_report(folder: Path) -> None:
    for name in (PAGE, REPORT):
        with suppress(FileNotFoundError):
            shutil.copyfile(folder / MADE / name, folder / name)
