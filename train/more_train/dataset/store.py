"""The folder of a dataset while it is made: every clip lies in one of two places, and moves by a rename.

Clips that were cut wait below .work/cut; those of a finished dataset lie below clips/. Whatever happens in between, no
clip is in both, dataset.json is only there while all of them are in place, and the next run finds each of them.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from more_server.errors import BadInput
from more_server.files import keep_file, sweep
from more_train.dataset.assemble import CUT
from more_train.dataset.clip import SUFFIX
from more_train.dataset.format import CLIP_FOLDER, DATASET, PAGE, REFUSED, REPORT, WORK, Clip, read_dataset

FINISHED = "finished"
"""Below .work: what the dataset that is there was made of."""


class Store:
    """One dataset's folder; only the holder of its lock may use it."""

    def __init__(self, out: Path) -> None:
        """Raises OSError, and BadInput where the folder is somebody else's."""
        self.out = out
        self.work = out / WORK
        self.cut = out / CUT
        self.scratch = self.work / "scratch"
        if out.exists() and not out.is_dir():
            raise BadInput(f"{out} is a file; name a folder that is new, empty or a dataset", param="out")
        if out.is_dir() and any(out.iterdir()) and not (self.work.is_dir() or (out / DATASET).is_file()):
            raise BadInput(
                f"{out} holds other things; name a folder that is new, empty or a dataset, as nothing else is touched",
                param="out",
            )
        shutil.rmtree(self.scratch, ignore_errors=True)  # of a killed run
        for folder in (self.cut, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self._sizes = {path.stem: path.stat().st_size for path in self._clips()}

    def has(self, clip_id: str, size: int) -> bool:
        """Whether the clip is there, all of it."""
        return self._sizes.get(clip_id) == size

    def is_finished(self, stamp: str) -> bool:
        """Whether there is a whole dataset that was made of the same things."""
        try:
            if (self.work / FINISHED).read_text("utf-8") != stamp:
                return False
            _, clips = read_dataset(self.out)
        except (OSError, BadInput):
            return False
        there = all((self.out / name).is_file() for name in (REFUSED, REPORT, PAGE))
        return there and all(self._sizes.get(clip.id) for clip in clips)

    def dissolve(self) -> None:
        """Until `finish` there is no dataset; all clips wait to be used again."""
        (self.out / DATASET).unlink(missing_ok=True)
        (self.work / FINISHED).unlink(missing_ok=True)
        for path in self._kept():
            path.replace(self.cut / path.name)

    def place(self, clips: Sequence[Clip], step: Callable[[int], None]) -> None:
        """Move the clips of a dissolved dataset to where they belong; `step` hears how many were."""
        for folder in {self.out / clip.file for clip in clips}:
            folder.parent.mkdir(parents=True, exist_ok=True)
        for done, clip in enumerate(clips):
            if done % 100 == 0:
                step(done)
            (self.cut / f"{clip.id}{SUFFIX}").replace(self.out / clip.file)
        step(len(clips))

    def write(self, name: str, content: bytes) -> None:
        """A file of the dataset, whole or not at all. Raises StorageError."""
        keep_file(self.out / name, content)

    def finish(self, dataset: bytes, stamp: str, ids: Iterable[str]) -> None:
        """From here on there is a dataset; clips of no recording any more are deleted. ids: all others."""
        self.write(DATASET, dataset)
        self.tidy(ids)
        keep_file(self.work / FINISHED, stamp.encode())

    def tidy(self, ids: Iterable[str]) -> None:
        """Delete clips but these, what killed writers left, and folders of speakers who are gone."""
        kept = set(ids)
        for path in self._clips():
            if path.stem not in kept:
                path.unlink()
        for path in self.cut.glob(".*.partial-*"):
            path.unlink(missing_ok=True)
        sweep(self.out / DATASET)
        for folder in (self.out / CLIP_FOLDER).glob("*/"):
            with suppress(OSError):
                folder.rmdir()

    def close(self) -> None:
        """Remove what was only needed on the way."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def read(self, clip_id: str) -> bytes:
        """A clip's file, while there is no dataset."""
        return (self.cut / f"{clip_id}{SUFFIX}").read_bytes()

    def _clips(self) -> Iterator[Path]:
        yield from self._kept()
        yield from self.cut.glob(f"*{SUFFIX}")

    def _kept(self) -> list[Path]:
        return [
            Path(entry.path)
            for folder in (self.out / CLIP_FOLDER).glob("*/")
            for entry in os.scandir(folder)
            if entry.name.endswith(SUFFIX)
        ]
