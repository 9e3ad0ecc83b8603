"""From recordings to clips on disk, several at a time; what was done is on record and not done again."""

import hashlib
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from more_server.errors import BadInput, TooLarge
from more_train.dataset import clip, spans
from more_train.dataset.clip import Piece
from more_train.dataset.recording import Recording
from more_train.dataset.settings import DatasetSettings, cores
from more_train.dataset.sources import Entry, Source, Unread
from more_train.dataset.speech import Silero, Stretch

PIPELINE = 1
"""To be raised whenever the same recording is cut otherwise than before."""
CUTTING = ("longest_seconds", "pad_seconds", "loudness", "peak", "most_hours")
"""Settings that clips depend on; others only decide which are refused."""
PARTING = ("preferred_seconds", "longest_pause")
"""Further ones, where a recording becomes several clips."""
UNREAD = "unread"
"""The reason that is tried again in the next run."""
QUEUED = 4
"""Recordings handed to a thread at a time."""
WATCH_SECONDS = 0.2
"""Between two looks at what is done."""


class Flaw(msgspec.Struct, frozen=True):
    """Why a recording, or a part of it, became no clip."""

    reason: str
    """A word for programs."""
    why: str
    """A sentence for people."""
    start: float = 0.0
    """Seconds in the recording."""
    end: float = 0.0
    """Seconds in the recording; 0: all of it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a recording."""

    key: str
    """Of the recording's content, and of what was done with it."""
    seconds: float = 0.0
    """Length."""
    speech_seconds: float = 0.0
    """Of it, speech."""
    pieces: tuple[Piece, ...] = ()
    """Clips, in order."""
    flaws: tuple[Flaw, ...] = ()
    """What became none."""

    @property
    def is_final(self) -> bool:
        """Whether the next run would find the same."""
        return all(flaw.reason != UNREAD for flaw in self.flaws)


class Task(msgspec.Struct, frozen=True):
    """A recording to be cut."""

    entry: Entry
    """Where it is."""
    is_clip: bool
    """One clip, whose text is known, and not to be parted."""

    def key(self, settings: DatasetSettings) -> str:
        """Another one where another outcome is possible."""
        used = [getattr(settings, field) for field in (*CUTTING, *(() if self.is_clip else PARTING))]
        told = msgspec.json.encode([PIPELINE, self.entry.name, self.entry.stamp, self.is_clip, used])
        return hashlib.blake2b(told, digest_size=16).hexdigest()


class Stopped(Exception):
    """Work that nobody waits for any more."""


class Cutter:
    """Cuts recordings on threads: decoding, resampling, silero and FLAC leave Python's lock alone."""

    def __init__(self, source: Source, clips: Path, scratch: Path, settings: DatasetSettings) -> None:
        self._source = source
        self._clips = clips
        self._scratch = scratch
        self._settings = settings
        self._silero: Silero | None = None
        self._stop = threading.Event()
        self._read_bytes = 0
        self._lock = threading.Lock()

    def run(self, tasks: Iterable[Task], on_bytes: Callable[[int], None]) -> Generator[Outcome, None, None]:
        """Outcomes as they come; `on_bytes` hears how many bytes were read so far, and may raise to stop it all.

        Raises OSError where the disk is full.
        """
        self._silero = Silero()
        workers = self._settings.workers or cores()
        pool, todo = ThreadPoolExecutor(workers, "cut"), iter(tasks)
        running: set[Future[Outcome]] = set()
        try:
            while True:
                # Not all at once: there may be hundreds of thousands.
                while len(running) < QUEUED * workers and (task := next(todo, None)):
                    running.add(pool.submit(self._cut, task))
                if not running:
                    return
                done, running = wait(running, WATCH_SECONDS, FIRST_COMPLETED)
                yield from (future.result() for future in done)
                on_bytes(self._read_bytes)
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)

    def _cut(self, task: Task) -> Outcome:
        assert self._silero
        key = task.key(self._settings)
        with Recording(self._scratch) as recording:
            try:
                with self._source.open(task.entry, self._scratch) as file:
                    recording.fill(file, self._silero, 3600 * self._settings.most_hours, self._count)
            except BadInput as error:
                reason = {Unread: UNREAD, TooLarge: "large"}.get(type(error), "unreadable")
                return Outcome(key=key, flaws=(Flaw(reason, error.message),))
            pieces, flaws = self._pieces(task, recording)
            return Outcome(
                key=key,
                seconds=round(recording.seconds, 3),
                speech_seconds=round(sum(part.seconds for part in recording.stretches), 3),
                pieces=pieces,
                flaws=flaws,
            )

    def _pieces(self, task: Task, recording: Recording) -> tuple[tuple[Piece, ...], tuple[Flaw, ...]]:
        settings = self._settings
        if not recording.stretches:
            return (), (Flaw("no_speech", f"there is no speech in its {recording.seconds:.1f} s"),)
        endless: list[Stretch] = []
        if task.is_clip:
            found = [spans.whole(recording.stretches, recording.sound, recording.seconds)]
            if (length := found[0].end - found[0].start + 2 * settings.pad_seconds) > settings.longest_seconds:
                return (), (_too_long(length, settings),)
        else:
            found, endless = spans.parted(recording.stretches, recording.seconds, settings)
        room = recording.room()
        pieces = []
        for span in found:
            self._count(0)
            pieces.append(clip.make(recording, span, room, task.entry.name, self._clips, settings))
        why = f"speech of more than {settings.longest_seconds:g} s without a pause to cut at"
        return tuple(pieces), tuple(Flaw("no_pause", why, round(p.start, 3), round(p.end, 3)) for p in endless)

    def _count(self, read: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._read_bytes += read


def _too_long(length: float, settings: DatasetSettings) -> Flaw:
    return Flaw(
        "long",
        f"it is {length:.1f} s long; at most {settings.longest_seconds:g} s are allowed, and metadata.csv does not say "
        "where its text may be cut: leave it out there, and let Whisper write the text",
    )
