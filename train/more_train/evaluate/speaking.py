"""A model that says sentences as a server would: the same registry, resolving, engine, guards and seeds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server.app import create_speaker
from more_server.audio.read import resample, trim_silence
from more_server.engine.state import EngineState
from more_server.errors import BadInput, MoreError
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import EMPTY, Audio, SpeechRequest
from more_server.tables import EngineSettings, LimitSettings
from more_train.evaluate.exam import Exam, NewVoice, Trial

MOST_TOGETHER = 8
"""Sentences spoken at a time: eight streams cost a CPU about twice one."""
SAMPLE_RATE = 24_000
UNPROCESSED = "unprocessed"
"""The quality that is asked for, without post-processors: a model is judged by its own level and its own silences."""

Embedding = NDArray[np.float32]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a sentence."""

    trial: Trial
    audio: Audio
    """Before any post-processing; empty where it failed."""
    failure: str = ""
    guards: tuple[str, ...] = ()
    tempo: float = 1.0
    """Of the quality profile, which the audio has been stretched by."""
    seconds_per_code: float = 0.0
    voice: Embedding | None = None
    """Of the voice that said it."""
    speech: Embedding | None = None
    """Of what was said; None where it is too short for one."""
    reference: Embedding | None = None
    """Of the reference, where that is a recording of the voice's speaker."""


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """An exam, spoken by a model."""

    said: tuple[Said, ...]
    """In the order of the trials."""
    state: EngineState
    seconds: float
    """Of work for all of it."""


def speak(
    exam: Exam, folder: Path, engine: EngineSettings, on_said: Callable[[int], None], scratch: Path | None = None
) -> Spoken:
    """Let a model say all of an exam; what cannot be said is told, not raised.

    on_said: told how many sentences are done; scratch: folder for the data directory; None: the system's. Raises
    ModelError or SettingsError where the model cannot be loaded, BadInput where it has not one of the voices.
    """
    return asyncio.run(_speak(exam, folder, engine, on_said, scratch))


async def _speak(
    exam: Exam, folder: Path, engine: EngineSettings, on_said: Callable[[int], None], scratch: Path | None
) -> Spoken:
    async with _opened(folder, engine, exam.voices, scratch) as speaker:
        await _prepare(exam, speaker)
        together = asyncio.Semaphore(min(speaker.engine.state().slots, MOST_TOGETHER))
        done = 0

        async def say(number: int, trial: Trial) -> Said:
            nonlocal done
            async with together:
                said = await _say(speaker, trial, exam, number)
            done += 1
            on_said(done)
            return said

        began = time.monotonic()
        said = await asyncio.gather(*(say(number, trial) for number, trial in enumerate(exam.trials)))
        return Spoken(said=tuple(said), state=speaker.engine.state(), seconds=time.monotonic() - began)


@asynccontextmanager
async def _opened(
    folder: Path, engine: EngineSettings, voices: Sequence[NewVoice], scratch: Path | None
) -> AsyncIterator[Speaker]:
    """A server's speaker over a data directory of its own, so that nothing of the real one is written to."""
    with TemporaryDirectory(prefix="more-evaluate-", dir=scratch) as directory:
        data_dir, name = Path(directory), folder.name.lstrip(".") or "model"
        (data_dir / "models").mkdir()
        (data_dir / "models" / name).symlink_to(folder, target_is_directory=True)
        limits = LimitSettings(reference_bytes=100_000_000, voice_references=100)
        settings = Settings(data_dir=data_dir, model=name, engine=engine, limits=limits, prepare_voices=False)
        speaker = await asyncio.to_thread(create_speaker, settings)
        speaker.engine.start()
        try:
            await speaker.open()
            for new in voices:
                await asyncio.to_thread(speaker.voices.add, new.voice, new.clips)
            yield speaker
        finally:
            await speaker.fleet.stop()


async def _prepare(exam: Exam, speaker: Speaker) -> None:
    """Make the quality. Raises BadInput where it or a voice is not there: every sentence would fail for it."""
    base, snapshot = exam.material.quality, speaker.registry.snapshot
    await asyncio.to_thread(speaker.profiles.create, UNPROCESSED, base, {"post_processors": []}, snapshot)
    view = await asyncio.to_thread(speaker.voices.view, speaker.fleet.serving.studio)
    for voice in exam.material.voices:
        view.resolve(voice, "")
    spoken = speaker.languages()
    if not any(language in spoken for language in exam.material.languages):
        raise BadInput(
            f"the model {speaker.engine.model_dir.name} speaks {', '.join(spoken)}; the sentences are in "
            f"{', '.join(exam.material.languages)}",
            param="language",
        )


async def _say(speaker: Speaker, trial: Trial, exam: Exam, number: int) -> Said:
    asked = SpeechRequest(
        text=trial.text,
        voice=trial.voice,
        language=trial.language,
        quality=UNPROCESSED,
        seed=exam.material.seed + number,
        whole=True,
        door="evaluate",
    )
    failed = Said(trial=trial, audio=Audio(EMPTY, SAMPLE_RATE))
    try:
        utterance = await speaker.resolve(asked, trial.id)
        pieces = [audio async for audio in speaker.speak(utterance)]
        audio = Audio(np.concatenate([piece.samples for piece in pieces]), pieces[0].sample_rate)
        return Said(
            trial=trial,
            audio=audio,
            guards=tuple(guard for piece in pieces for guard in piece.guards),
            tempo=utterance.speed,
            seconds_per_code=utterance.seconds_per_code,
            voice=utterance.latents.speaker_embedding,
            speech=await embedding(speaker, audio),
            reference=await embedding(speaker, trial.reference) if exam.recordings else None,
        )
    except MoreError as error:
        return msgspec.structs.replace(failed, failure=error.message)


async def embedding(speaker: Speaker, audio: Audio) -> Embedding | None:
    """Of speech, by the model's own encoder; None for what is too short or silent."""
    config = speaker.engine.config
    samples = trim_silence(resample(audio.samples, audio.sample_rate, config.sample_rate), config.sample_rate)
    if not samples.any():
        return None
    encoded = resample(samples, config.sample_rate, config.speaker_encoder.sample_rate)
    try:
        found = (await speaker.engine.condition([(samples, encoded)])).speaker_embedding
    except BadInput:
        return None
    return found if np.isfinite(found).all() else None
