"""Datasets of readings by espeak-ng, and sentences that were said as a test wants them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from more_train.dataset.format import CLIPS, DATASET, SAMPLE_RATE, VERSION, Clip, Dataset
from more_train.dataset.settings import DatasetSettings
from more_train.evaluate.espeak import READERS, Espeak
from more_train.evaluate.exam import Trial
from more_train.evaluate.sentences import ENGLISH
from more_train.evaluate.speaking import Said, Spoken

from more_server.audio.encode import encode_file
from more_server.audio.read import resample
from more_server.engine.state import EngineState
from more_server.speech import Audio

SPEAKERS = ("adam", "beth")


@cache
def espeak() -> Espeak:
    return Espeak()


def reading(text: str, reader: int = 0) -> Audio:
    """A reading at the rate of datasets; by a man (0) or a woman (1)."""
    audio = espeak().say(text, "en", *READERS[reader])
    return Audio(resample(audio.samples, audio.sample_rate, SAMPLE_RATE), SAMPLE_RATE)


def write_dataset(folder: Path, held_out: Sequence[str] = ENGLISH[:10], *, train: int = 4, silent: str = "") -> Path:
    """A dataset of two speakers, each with so many training clips; silent: the text of a clip that is empty."""
    texts = [(text, "held_out") for text in held_out] + [(text, "train") for text in ENGLISH[40 : 40 + 2 * train]]
    clips = []
    for number, (text, split) in enumerate(texts):
        speaker = SPEAKERS[number % 2]
        audio = reading(text, number % 2)
        samples = np.zeros_like(audio.samples) if text == silent else audio.samples
        file = f"clips/{speaker}/{number:03}.flac"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(encode_file(samples, SAMPLE_RATE, "flac"))
        clips.append(
            Clip(
                id=f"{number:03}",
                file=file,
                speaker=speaker,
                language="en",
                text=f"{text}.",
                seconds=audio.seconds,
                split=split,
                source="espeak-ng",
                start=0.0,
                end=audio.seconds,
            )
        )
    dataset = Dataset(
        version=VERSION,
        name="readings",
        language="en",
        speakers=SPEAKERS,
        clips=len(clips),
        seconds=sum(clip.seconds for clip in clips),
        held_out=len(held_out),
        source="espeak-ng",
        settings=DatasetSettings(language="en"),
    )
    (folder / CLIPS).write_bytes(b"".join(msgspec.json.encode(clip) + b"\n" for clip in clips))
    (folder / DATASET).write_bytes(msgspec.json.encode(dataset))
    return folder


def said(trial: Trial, audio: Audio, **fields: object) -> Said:
    """What a model would have said for a trial."""
    return Said(trial=trial, **({"audio": audio, "seconds_per_code": 0.0464} | fields))


def spoken(*said: Said) -> Spoken:
    return Spoken(said=said, state=EngineState("perfect", device="cpu", precision="fp32"), seconds=1.0)
