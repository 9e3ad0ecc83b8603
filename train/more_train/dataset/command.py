"""`dataset`: recordings become a dataset, with bars while it takes and a few words at the end."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from more_train.attended import Teller
from more_train.attended import attended as attending

if TYPE_CHECKING:
    from more_train.dataset.format import Dataset
    from more_train.dataset.settings import DatasetSettings

MOST_ADVICE = 4


def dataset(
    source: Path,
    out: Path,
    /,
    *,
    language: str,
    name: str = "",
    speaker: str = "",
    whisper: Path | None = None,
    shortest_seconds: float = 1.0,
    preferred_seconds: float = 6.0,
    longest_seconds: float = 12.0,
    least_signal_to_noise: float = 15.0,
    most_clipped: float = 0.001,
    workers: int = 0,
    check: bool = False,
    attended: bool = False,
) -> None:
    """Make a dataset of recordings; interrupted, the same command goes on.

    Parameters
    ----------
    source
        Folder or zip archive of recordings, with a metadata.csv of `file|text` or not. It is only read.
    out
        Folder for the dataset: new, empty, or the same dataset as before.
    language
        What is spoken, such as en or German.
    name
        What the dataset is called; as the source is unless given.
    speaker
        Who speaks where metadata.csv names nobody; the dataset's name unless given.
    whisper
        Folder of a Whisper model in CTranslate2's format, for recordings without a metadata.csv.
    shortest_seconds
        Clips below it are refused.
    preferred_seconds
        Recordings without a metadata.csv are cut into clips of at least so many seconds, where their pauses allow it.
    longest_seconds
        No clip is longer.
    least_signal_to_noise
        Decibels between speech and noise; clips below it are refused.
    most_clipped
        Share of clipped samples; clips above it are refused.
    workers
        Recordings cut at a time; 0: as many as there are cores.
    check
        Look at the options and at what the source holds, by name, and end.
    attended
        For programs: JSON lines instead of bars, and the end of it when standard input closes.
    """
    with attending(attended) as teller:
        from more_train.dataset.settings import DatasetSettings  # which takes half a second

        act = _check if check else _tell if teller.is_heard else _show
        act(source, out, DatasetSettings(
            language=language, name=name, speaker=speaker, whisper=str(whisper or ""), most_clipped=most_clipped,
            shortest_seconds=shortest_seconds, preferred_seconds=preferred_seconds, longest_seconds=longest_seconds,
            least_signal_to_noise=least_signal_to_noise, workers=workers,
        ), teller)  # fmt: skip


def _check(source: Path, _out: Path, settings: "DatasetSettings", teller: Teller) -> None:
    from more_train.dataset.sources import open_source
    from more_train.dataset.transcribe import Whisper

    settings = settings.checked()
    if settings.whisper:
        Whisper(Path(settings.whisper), settings.language)
    with closing(open_source(source, settings)) as listed:
        listed.check()
    teller.result({"language": settings.language})
    if not teller.is_heard:
        recordings = sum(entry.is_recording for entry in listed.entries.values())
        Console(highlight=False, markup=False).print(
            f"{recordings} recordings in {source}; {len(listed.refused)} files cannot be taken"
        )


def _tell(source: Path, out: Path, settings: "DatasetSettings", teller: Teller) -> None:
    from more_train.dataset.build import build

    made = build(source, out, settings, teller.tell)
    teller.result({"clips": made.clips, "seconds": made.seconds, "held_out": made.held_out})


def _show(source: Path, out: Path, settings: "DatasetSettings", _teller: Teller) -> None:
    from more_train.dataset.build import build

    # Without markup: names come from files, and their brackets are theirs.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        made = build(source, out, settings, _Bars(progress))
    for line in summary(made, out):
        console.print(line)


class _Bars:
    """A bar for each stage, as they begin."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        # Nothing to do is done.
        self._progress.update(self._tasks[stage], completed=done if total else 1, total=total or 1)


def summary(made: "Dataset", out: Path) -> list[str]:
    """What was made, in sentences; its report tells the rest."""
    import msgspec

    from more_train.dataset.format import PAGE, REPORT
    from more_train.dataset.page import TITLES, long
    from more_train.dataset.report import Report

    told = msgspec.json.decode((out / REPORT).read_bytes(), type=Report)
    speakers = f"{len(made.speakers)} speaker{'' if len(made.speakers) == 1 else 's'}"
    found = [
        f"{made.name}: {made.clips} clips, {long(made.seconds)} of {made.language} by {speakers}, out of "
        f"{told.recordings} recordings of {long(told.recorded_seconds)}; {made.held_out} held out of training."
    ]
    if told.refused:
        counted = ", ".join(f"{TITLES.get(reason, reason)} {count}" for reason, count in told.refused.items())
        found.append(f"Refused, by reason: {counted}.")
    found += [f"· {sentence}." for sentence in told.advice[:MOST_ADVICE]]
    return [*found, f"Listen to it: {out / PAGE}"]
