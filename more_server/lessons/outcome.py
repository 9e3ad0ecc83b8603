"""What comes out of a training while it goes on: curves, samples to listen to, an evaluation."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from more_server.files import keep_file
from more_server.jobs.kinds import Work
from more_server.threads import to_its_end

LOOK_SECONDS = 1.0
"""Between two looks into the folder of the run."""
FILES = (
    ("curves.svg", "image/svg+xml", "Loss curves"),
    ("curves.csv", "text/csv; charset=utf-8", "Loss curves, as a table"),
    ("evaluation/report.html", "text/html; charset=utf-8", "Evaluation, with sentences to listen to"),
    ("evaluation/report.json", "application/json", "Evaluation, for programs"),
)
SAMPLES, SENTENCES = "samples", "sentences.txt"
"""The second lies beside samples: a line for each, its file and what it says."""
OFFERED = ".offered.json"
"""In the job's folder: what was offered, by name, and when that was written, in nanoseconds."""


class Offer(NamedTuple):
    """A file of the run that is offered, or whose copy is."""

    source: Path
    file: Path
    media_type: str
    title: str


class Outcome:
    """Offers the files of a run as results of its job, each when it is new.

    Of samples there are those of before the training, the best and the latest; all others stay in the run's folder.
    """

    def __init__(self, work: Work, run: Path) -> None:
        self._work, self._run = work, run
        self._offered: dict[str, int] | None = None
        self._looked = 0.0

    async def look(self, best_step: int | None, *, now: bool = False) -> None:
        """Offer what is new; best_step: of the least held-out loss, where it is known.

        now: though the last look was a moment ago. Raises StorageError.
        """
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._offered is None:
            self._offered = await to_its_end(self._read)
        fresh = await to_its_end(self._fresh, self._offered, best_step)
        for offer, _ in fresh:
            await self._work.add(offer.file, offer.media_type, offer.title)
        if fresh:
            self._offered |= {self._name(offer.file): written for offer, written in fresh}
            await to_its_end(keep_file, self._work.folder / OFFERED, msgspec.json.encode(self._offered))

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode((self._work.folder / OFFERED).read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}

    def _name(self, file: Path) -> str:
        return file.relative_to(self._work.folder).as_posix()

    def _fresh(self, offered: dict[str, int], best_step: int | None) -> list[tuple[Offer, int]]:
        found = []
        for offer in self._all(best_step):
            with suppress(FileNotFoundError):  # not there yet, or taken away for a newer one: for another look
                written = offer.source.stat().st_mtime_ns
                if offered.get(self._name(offer.file)) != written:
                    self._copy(offer)
                    found.append((offer, written))
        return found

    def _copy(self, offer: Offer) -> None:
        if offer.file != offer.source:
            content = offer.source.read_bytes()
            offer.file.parent.mkdir(parents=True, exist_ok=True)
            keep_file(offer.file, content)

    def _all(self, best_step: int | None) -> Iterator[Offer]:
        for name, media_type, title in FILES:
            yield Offer(self._run / name, self._run / name, media_type, title)
        folders = {int(path.name.removeprefix("step-")): path for path in (self._run / SAMPLES).glob("step-*")}
        offered = {"before": 0, "best": best_step, "latest": max(folders, default=None)}
        for which, step in offered.items():
            if step in folders:
                for name, said in _sentences(folders[step]):
                    file = self._work.folder / SAMPLES / which / name
                    yield Offer(folders[step] / name, file, "audio/wav", f"Step {step}: {said}")


def _sentences(folder: Path) -> list[tuple[str, str]]:
    """Samples and what they say; none while they are taken away for newer ones."""
    try:
        lines = (folder / SENTENCES).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [(name, said) for name, _, said in (line.partition("\t") for line in lines)]
