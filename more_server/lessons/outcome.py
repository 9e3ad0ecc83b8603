"""What comes out of a training while it goes on: curves, samples to listen to, an evaluation."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from more_server.jobs.kinds import Work

LOOK_SECONDS = 1.0
"""Between two looks into the folder of the run."""
FILES = (
    ("curves.svg", "image/svg+xml", "Loss curves"),
    ("curves.csv", "text/csv; charset=utf-8", "Loss curves, as a table"),
    ("evaluation/report.html", "text/html; charset=utf-8", "Evaluation, with sentences to listen to"),
    ("evaluation/report.json", "application/json", "Evaluation, for programs"),
)
SENTENCES = "sentences.txt"
"""Beside samples: a line for each, its file and what it says."""


class Outcome:
    """Offers the files of a run as results of its job, each when it is new."""

    def __init__(self, work: Work, run: Path) -> None:
        self._work, self._run = work, run
        self._offered: dict[Path, int] = {}
        """When each was written, in nanoseconds."""
        self._looked = 0.0

    async def look(self, *, now: bool = False) -> None:
        """Offer what is new; now: though the last look was a moment ago."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for path, written, media_type, title in await asyncio.to_thread(self._new):
            await self._work.add(path, media_type, title)
            self._offered[path] = written

    def _new(self) -> list[tuple[Path, int, str, str]]:
        found = []
        for path, media_type, title in self._all():
            written = path.stat().st_mtime_ns
            if self._offered.get(path) != written:
                found.append((path, written, media_type, title))
        return found

    def _all(self) -> Iterator[tuple[Path, str, str]]:
        for name, media_type, title in FILES:
            if (self._run / name).is_file():
                yield self._run / name, media_type, title
        for folder in sorted((self._run / "samples").glob("step-*")):
            step = int(folder.name.removeprefix("step-"))
            for line in (folder / SENTENCES).read_text("utf-8").splitlines():
                name, _, said = line.partition("\t")
                yield folder / name, "audio/wav", f"Step {step}: {said}"
