"""From recordings to a dataset. Read this file first: `build` is all that happens, in order."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec

from more_server.audio.encode import encode_file
from more_server.audio.read import decode
from more_server.errors import BadInput, StorageError
from more_server.files import locked
from more_server.text import LANGUAGES, LanguageDetector
from more_train.dataset import assemble, page, report
from more_train.dataset.cutting import PIPELINE, Cutter, Outcome, Task
from more_train.dataset.format import CLIPS, PAGE, REFUSED, REPORT, VERSION, Clip, Dataset, Refused, read_dataset
from more_train.dataset.journal import Journal, lines
from more_train.dataset.judge import Candidate, judge, spoken
from more_train.dataset.metadata import Labelled, read_metadata
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.sources import Source, open_source
from more_train.dataset.store import Store
from more_train.dataset.transcribe import Transcript, Whisper

FEWEST_CLIPS = 2
"""One to train on and one that is held out."""
Progress = Callable[[str, int, int], None]
"""Hears what is done, how much of it, and of how much in all; what it raises stops the work."""


def build(source: Path, out: Path, settings: DatasetSettings, progress: Progress) -> Dataset:
    """Make a dataset in `out` of the recordings in a folder or a zip archive, which is only read.

    What is done is not done again: after a kill, a full disk or a cancelled run the next one goes on, and on the same
    recordings it has nothing to do. Raises BadInput where there is nothing to make a dataset of, StorageError where it
    cannot be written.
    """
    settings = settings.checked()
    here, there = source.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise BadInput(f"{out} and {source} lie within each other; name a folder outside the recordings", param="out")
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        with (
            locked(there),
            closing(open_source(source, settings)) as listed,
            closing(Store(there)) as store,
        ):
            return _Build(listed, store, settings, progress).run()
    except OSError as error:
        raise _unwritten(out, error.strerror or str(error)) from error
    except StorageError as error:
        raise _unwritten(out, error.message) from error


def _unwritten(out: Path, reason: str) -> StorageError:
    return StorageError(f"{out} is not finished: {reason}; what is done stays there, and the same command goes on")


class _Build:
    def __init__(self, source: Source, store: Store, settings: DatasetSettings, progress: Progress) -> None:
        self._source = source
        self._store = store
        self._settings = settings
        self._progress = progress
        self._name = settings.name or source.name
        self._refused: list[Refused] = []
        self._labels: dict[str, Labelled] = {}
        self._whisper: Whisper | None = None

    def run(self) -> Dataset:
        tasks = self._tasks()
        stamp = self._stamp(tasks)
        if self._store.is_finished(stamp):
            return read_dataset(self._store.out)[0]
        with (
            Journal(self._store.work / "recordings.jsonl", Outcome) as outcomes,
            Journal(self._store.work / "transcripts.jsonl", Transcript) as transcripts,
        ):
            self._store.dissolve()
            # Clips of the same names that were cut otherwise are about to be overwritten.
            outcomes.shrink(task.key(self._settings) for task in tasks)
            self._cut(tasks, outcomes)
            self._transcribe(tasks, outcomes, transcripts)
            found = [(task, outcomes.rows[task.key(self._settings)]) for task in tasks]
            return self._finish(found, transcripts, stamp)

    # -- what there is

    def _tasks(self) -> list[Task]:
        """Recordings to cut, in order. Raises BadInput where there are none."""
        told = read_metadata(self._source, self._store.scratch)
        if told is None:
            self._source.check()
        named = told.named if told else frozenset()
        others = {e.name for e in self._source.entries.values() if e.is_recording and e.name not in named}
        self._refused = [*self._source.refused, *(told.refused if told else ())]
        self._labels = {row.entry.name: row for row in told.labelled} if told else {}
        if told is None or (self._settings.whisper and others):
            self._whisper = Whisper(Path(self._settings.whisper), self._settings.language)
        else:
            why = "metadata.csv does not name it, and no Whisper model writes its text (whisper)"
            self._refused += [Refused(source=name, reasons=("unnamed",), why=why) for name in sorted(others)]
            others = set()
        chosen = self._labels.keys() | others
        entries = (entry for entry in self._source.entries.values() if entry.name in chosen)
        return [Task(entry, is_clip=entry.name in self._labels) for entry in entries]

    def _stamp(self, tasks: Sequence[Task]) -> str:
        """Of everything that the dataset depends on."""
        told = [
            [VERSION, PIPELINE, msgspec.structs.replace(self._settings, workers=0), str(self._source.path)],
            [self._whisper.key("") if self._whisper else "", len(self._source.entries)],
            [task.key(self._settings) for task in tasks],
            [[row.entry.name, row.text, row.speaker] for row in self._labels.values()],
            self._refused,
        ]
        return hashlib.blake2b(msgspec.json.encode(told), digest_size=16).hexdigest()

    # -- what takes time

    def _cut(self, tasks: Sequence[Task], outcomes: Journal[Outcome]) -> None:
        done, todo = 0, []
        for task in tasks:
            row = outcomes.rows.get(task.key(self._settings))
            if row and row.is_final and all(self._store.has(piece.id, piece.bytes) for piece in row.pieces):
                done += task.entry.bytes
            else:
                todo.append(task)
        total = done + sum(task.entry.bytes for task in todo)
        self._progress("reading", done, total)
        if not todo:
            return
        cutter = Cutter(self._source, self._store.cut, self._store.scratch, self._settings)
        with closing(cutter.run(todo, lambda read: self._progress("reading", min(done + read, total), total))) as cut:
            for outcome in cut:
                outcomes.add(outcome)

    def _transcribe(self, tasks: Sequence[Task], outcomes: Journal[Outcome], transcripts: Journal[Transcript]) -> None:
        if not self._whisper:
            return
        unlabelled = [outcomes.rows[task.key(self._settings)] for task in tasks if not task.is_clip]
        pieces = [piece for outcome in unlabelled for piece in outcome.pieces]
        for done, piece in enumerate(pieces):
            self._progress("transcribing", done, len(pieces))
            if self._whisper.key(piece.sound) not in transcripts.rows:
                transcripts.add(self._whisper.transcribe(piece.sound, self._store.read(piece.id)))
        self._progress("transcribing", len(pieces), len(pieces))

    # -- what comes of it

    def _candidates(
        self, found: Sequence[tuple[Task, Outcome]], transcripts: Journal[Transcript], folders: dict[str, str]
    ) -> Iterator[Candidate]:
        total = sum(len(outcome.pieces) for _, outcome in found)
        done = 0
        for task, outcome in found:
            label = self._labels.get(task.entry.name)
            for piece in outcome.pieces:
                if done % 100 == 0:
                    self._progress("checking", done, total)
                done += 1
                heard = None if label or not self._whisper else transcripts.rows[self._whisper.key(piece.sound)]
                text = label.text if label else heard.text if heard else ""
                yield Candidate(
                    piece=piece,
                    source=task.entry.name,
                    speaker=folders[self._speaker(task)],
                    text=text,
                    spoken=spoken(text, self._settings.language),
                    transcript=heard,
                )
        self._progress("checking", total, total)

    def _speaker(self, task: Task) -> str:
        label = self._labels.get(task.entry.name)
        return (label.speaker if label else "") or self._settings.speaker or self._name

    def _finish(self, found: Sequence[tuple[Task, Outcome]], transcripts: Journal[Transcript], stamp: str) -> Dataset:
        folders = assemble.speaker_folders(self._speaker(task) for task, _ in found)
        candidates = list(self._candidates(found, transcripts, folders))
        problems = judge(candidates, self._settings, LanguageDetector(LANGUAGES))
        clips, refused = assemble.sorted_out(candidates, problems, self._settings.language)
        refused = [*self._refused, *self._flawed(found), *refused]
        dataset = self._dataset(clips)
        told = report.make(
            dataset, candidates, clips, refused, folders,
            recorded=[(outcome.seconds, outcome.speech_seconds) for _, outcome in found],
            ignored=sum(not entry.is_recording for entry in self._source.entries.values()),
        )  # fmt: skip
        self._progress("writing", 0, len(clips))
        players = self._players(page.heard(clips, refused))
        self._store.write(CLIPS, lines(clips))
        self._store.write(REFUSED, lines(refused))
        self._store.write(REPORT, msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
        self._store.write(PAGE, page.page(told, candidates, clips, refused, players).encode())
        if len(clips) < FEWEST_CLIPS:
            raise self._nothing(told, refused)
        self._store.place(clips, lambda done: self._progress("writing", done, len(clips)))
        used = [candidate.piece.id for candidate in candidates]
        stamp = stamp if all(outcome.is_final for _, outcome in found) else ""
        self._store.finish(msgspec.json.format(msgspec.json.encode(dataset), indent=2) + b"\n", stamp, used)
        return dataset

    def _flawed(self, found: Sequence[tuple[Task, Outcome]]) -> list[Refused]:
        return [
            Refused(
                source=task.entry.name, reasons=(flaw.reason,), why=flaw.why, start=flaw.start, end=flaw.end,
                speaker=label.speaker if label else "", text=label.text if label else "",
            )
            for task, outcome in found
            for label in (self._labels.get(task.entry.name),)
            for flaw in outcome.flaws
        ]  # fmt: skip

    def _dataset(self, clips: Sequence[Clip]) -> Dataset:
        return Dataset(
            version=VERSION,
            name=self._name,
            language=self._settings.language,
            speakers=tuple(sorted({clip.speaker for clip in clips})),
            clips=len(clips),
            seconds=round(sum(clip.seconds for clip in clips), 2),
            held_out=sum(clip.split == "held_out" for clip in clips),
            source=str(self._source.path),
            settings=self._settings,
        )

    def _players(self, ids: Sequence[str]) -> dict[str, bytes]:
        def player(clip_id: str) -> bytes:
            clip = decode(self._store.read(clip_id), max_seconds=3600, max_channels=1)
            return encode_file(clip.samples, clip.sample_rate, "mp3")

        with ThreadPoolExecutor() as pool:
            return dict(zip(ids, pool.map(player, ids), strict=True))

    def _nothing(self, told: report.Report, refused: Sequence[Refused]) -> BadInput:
        counted = ", ".join(f"{page.TITLES.get(reason, reason)} ({count})" for reason, count in told.refused.items())
        first = "".join(f"; {row.source}: {row.why}" for row in refused[:3])
        return BadInput(
            f"{told.dataset.clips} clips of {self._source.path} can be used, and a dataset needs {FEWEST_CLIPS}. "
            f"Refused: {counted}{first}. {PAGE} tells of each",
            param="source",
        )
