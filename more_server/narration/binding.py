"""The audio of passages put together into files, with the pauses between them; hours of it, a block at a time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server.audio.book import BOOK_FORMATS, write_book
from more_server.errors import StorageError
from more_server.files import staged_file, write_file
from more_server.jobs.kinds import Work
from more_server.narration.files import File, Stretch, files
from more_server.narration.plan import Plan
from more_server.narration.request import SpeechJob
from more_server.narration.speaking import passage_file, written
from more_server.narration.subtitles import SUBTITLES

BLOCK_SECONDS = 10.0
"""Encoded in one go: half a megabyte, at most 0.2 s of work, after which a job that is cancelled ends."""
TELL_SECONDS = 0.5
"""How often progress is told while a file is encoded."""


class Made(msgspec.Struct, frozen=True):
    """What a step of encoding gives."""

    bytes: int


class Binding:
    """Makes the files of a job whose passages are all spoken."""

    def __init__(self, plan: Plan, asked: SpeechJob, work: Work, told: Callable[[float], Awaitable[None]]) -> None:
        """told: hears the share that is done."""
        self._plan = plan
        self._asked = asked
        self._work = work
        self._told = told
        self._format = BOOK_FORMATS[asked.response_format]

    async def run(self, samples: Sequence[int]) -> None:
        """Make every file, and offer it. samples: of each passage. Raises StorageError."""
        made = files(self._plan, samples, by_chapter=self._asked.split == "chapters")
        total, done = sum(map(_length, made)), 0
        await self._told(0.0)
        for number, file in enumerate(made, 1):
            await self._work.step(f"file {number}", partial(self._encode, file, done, total), Made)
            done += _length(file)
            await self._told(done / total if total else 1.0)
            await self._work.add(self._path(file, self._format.suffix), self._format.media_type, file.title)
            await self._subtitles(file)

    def _path(self, file: File, suffix: str) -> Path:
        return self._work.folder / (file.stem + suffix)

    async def _subtitles(self, file: File) -> None:
        for kind in dict.fromkeys(self._asked.subtitles):
            write, media_type = SUBTITLES[kind]
            path, text = self._path(file, f".{kind}"), write(file.cues(self._plan.sample_rate))
            with written(path):
                await asyncio.to_thread(write_file, path, text.encode())
            await self._work.add(path, media_type, file.title)

    async def _encode(self, file: File, before: int, total: int) -> Made:
        """On a thread; a job that is cancelled waits until that has seen it."""
        pieces = Pieces(self._work.folder, self._plan.sample_rate, file.stretches)
        thread = asyncio.create_task(asyncio.to_thread(self._write, file, pieces))
        try:
            while not (await asyncio.wait([thread], timeout=TELL_SECONDS))[0]:
                await self._told((before + pieces.given) / total)
        finally:
            pieces.stopped.set()
            await asyncio.wait([thread])
            thread.exception()  # looked at, or asyncio complains of it where the job is cancelled
        return thread.result()

    def _write(self, file: File, pieces: "Pieces") -> Made:
        path = self._path(file, self._format.suffix)
        with written(path), staged_file(path) as stage:
            write_book(stage, self._format, pieces, self._plan.sample_rate, file.tags, file.marks)
            return Made(stage.stat().st_size)


class Stopped(Exception):
    """Nobody wants the file any more."""


class Pieces:
    """The samples of a file, read while they are asked for, on any thread."""

    def __init__(self, folder: Path, sample_rate: int, stretches: Sequence[Stretch]) -> None:
        self._folder = folder
        self._block = round(BLOCK_SECONDS * sample_rate)
        self._stretches = stretches
        self.given = 0
        """Samples so far."""
        self.stopped = threading.Event()
        """Set: the next piece raises Stopped."""

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        for one in self._stretches:
            spoken = _read(passage_file(self._folder, one.passage), one.end - one.start)
            for samples in (spoken, np.zeros(one.pause, np.int16)):
                for start in range(0, len(samples), self._block):
                    if self.stopped.is_set():
                        raise Stopped
                    piece = samples[start : start + self._block]
                    yield piece
                    self.given += len(piece)


def _read(path: Path, samples: int) -> NDArray[np.int16]:
    try:
        found = np.fromfile(path, "<i2")
    except OSError as error:
        raise StorageError(f"the audio of a passage cannot be read: {error}; ask for a new job") from error
    if len(found) != samples:
        raise StorageError(f"{path} is damaged: it has {len(found)} samples, not {samples}; ask for a new job")
    return found


def _length(file: File) -> int:
    last = file.stretches[-1]
    return last.end + last.pause
