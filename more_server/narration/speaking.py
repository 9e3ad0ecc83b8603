"""The passages of a plan, each spoken once and kept in a file; whoever waits for a sentence goes first."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from more_server.audio.encode import make_encoder
from more_server.engine.engine import Engine
from more_server.errors import (
    Busy,
    Conflict,
    ModelNotFound,
    Resting,
    StorageError,
    Unavailable,
    VoiceChanged,
    VoiceNotFound,
)
from more_server.files import NO_ROOM, write_file
from more_server.jobs.kinds import Work
from more_server.narration.plan import DOOR, Passage, Plan, model_of
from more_server.speak import Speaker
from more_server.speech import Utterance

FOLDER = "passages"
"""Below a job's folder."""
SAMPLE_BYTES = 2
LONGEST_WAIT_SECONDS = 5.0
"""Between two tries while the server is busy or cannot speak."""
UNAVAILABLE_SECONDS = 900.0
"""How long a server may be unable to speak, other than for a training, before the job fails and waits for a person."""


class Spoken(msgspec.Struct, frozen=True):
    """What a passage became."""

    samples: int
    """Of its audio, the pause behind it left out."""


class Speaking:
    """One run of a job through its passages."""

    def __init__(
        self, speaker: Speaker, plan: Plan, work: Work, told: Callable[[str, float, str], Awaitable[None]]
    ) -> None:
        """told: hears the stage, the seconds of the plan that are done, and what is waited for."""
        self._speaker = speaker
        self._plan = plan
        self._work = work
        self._told = told
        self._folder = work.folder / FOLDER
        self._spoken: dict[int, Spoken] = {}
        self._seconds = 0.0
        self._unavailable_since: float | None = None

    async def run(self) -> list[Spoken]:
        """Speak what is not spoken yet. Raises what speech is refused or fails with, or StorageError, as a group."""
        await asyncio.to_thread(_make, self._folder)
        await self._told("speaking", 0.0, "")
        passages = iter(self._plan.passages)
        async with asyncio.TaskGroup() as group:
            for _ in range(await self._width()):
                group.create_task(self._speak_on(passages))
        return [self._spoken[passage.number] for passage in self._plan.passages]

    async def _width(self) -> int:
        """Passages at a time: as many as are spoken at once; one of them waits while a slot is left to people."""
        while True:
            state = self._engine().state()
            if state.loaded:
                return state.slots
            reason = state.failure or "the model is still loading"
            await self._wait(Resting(reason) if state.resting else Unavailable(reason))

    def _engine(self) -> Engine:
        return model_of(self._speaker, self._plan).engine

    async def _speak_on(self, passages: Iterator[Passage]) -> None:
        for passage in passages:
            name = f"passage {passage.number + 1}"
            spoken = await self._work.step(name, partial(self._keep, passage), Spoken)
            self._spoken[passage.number] = spoken
            self._seconds += passage.seconds + passage.pause_seconds
            await self._told("speaking", self._seconds, "")

    async def _keep(self, passage: Passage) -> Spoken:
        data = await self._audio(passage)
        with written(self._folder):
            await asyncio.to_thread(write_file, passage_file(self._work.folder, passage), data)
        return Spoken(len(data) // SAMPLE_BYTES)

    async def _audio(self, passage: Passage) -> bytes:
        """16-bit samples, as every file that comes of them has at most; compressing them would cost people's time."""
        while True:
            try:
                data = await self._said(passage)
            except (Busy, Unavailable) as error:
                await self._wait(error)
            else:
                self._unavailable_since = None
                return data

    async def _said(self, passage: Passage) -> bytes:
        data = bytearray()
        with self._speaker.reports.begin(f"{self._work.id}-{passage.number + 1}", DOOR) as report:
            report.asked(passage.text)
            utterance = await report.resolving(self._resolved(passage, report.request_id))
            with make_encoder("pcm", utterance.sample_rate) as encoder:
                async with aclosing(report.watched(self._speaker.speak(utterance))) as chunks:
                    async for audio in chunks:
                        data += encoder.feed(audio.samples)
        return bytes(data)

    async def _resolved(self, passage: Passage, request_id: str) -> Utterance:
        plan = self._plan
        self._engine()
        try:
            utterance = await self._speaker.resolve(plan.request(passage), request_id)
        except VoiceNotFound as error:
            raise VoiceNotFound(f"{error.message}; resume the job once it is back", param="voice") from error
        if utterance.voice.version != plan.voice_version:
            raise VoiceChanged(
                f"the voice {plan.voice} is not the one any more that this job has spoken with so far; "
                "ask for a new job, or bring the old recordings back and resume this one",
                param="voice",
            )
        if utterance.sample_rate != plan.sample_rate:
            raise Conflict(
                f"the model {plan.model} is not the one any more that this job has spoken with so far: it makes "
                f"{utterance.sample_rate} samples a second, not {plan.sample_rate}",
                param="model",
            )
        return utterance

    async def _wait(self, error: Busy | Unavailable) -> None:
        """Until speech may be possible again. Raises the error where that has been waited for too long."""
        if isinstance(error, Busy | Resting):
            self._unavailable_since = None
        else:
            self._unavailable_since = self._unavailable_since or time.monotonic()
            if time.monotonic() - self._unavailable_since > UNAVAILABLE_SECONDS:
                raise error
        await self._told("waiting", self._seconds, error.message)
        await _pause(error)


async def load(speaker: Speaker, plan: Plan, work: Work) -> None:
    """Have the model of a plan loaded, which it is not any more after a restart or a switch.

    Waits while a model is being trained. Raises ModelNotFound where it is gone, ModelError and SettingsError.
    """
    while True:
        try:
            await speaker.fleet.load(plan.model)
        except Resting as error:
            await work.tell("waiting", 0.0, 1.0, {"waiting_for": error.message})
            await _pause(error)
        except ModelNotFound as error:
            raise ModelNotFound(
                f"the job speaks with the model {plan.model}, which is not here any more; bring it back, then resume "
                "the job",
                param="model",
            ) from error
        else:
            return


async def _pause(error: Busy | Unavailable) -> None:
    await asyncio.sleep(min(error.retry_after or LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS))


def passage_file(folder: Path, passage: Passage) -> Path:
    """Where the audio of a passage is kept: 16-bit samples, the lower byte first."""
    return folder / FOLDER / f"{passage.number + 1:06}.pcm"


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Tells in our own words why something could not be written. Raises StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageError(f"there is no room left to write {path}; make some, then resume the job") from error
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _make(folder: Path) -> None:
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
