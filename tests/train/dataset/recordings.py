"""Recordings of a reader who never tires, the folders they lie in, and a look at what became of them."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from more_train.dataset.build import build
from more_train.dataset.format import Clip, Dataset, Refused, read_dataset
from more_train.dataset.settings import DatasetSettings

from more_server.audio.encode import encode_file
from tests.audio.signals import decode
from tests.espeak import SAMPLE_RATE, espeak

SENTENCES = (
    "The river had risen in the night.",
    "Nobody knew what he had meant by it.",
    "She opened the window and looked out.",
    "It was the first warm day of the year.",
    "He has lost the key to the garden again.",
    "They walked home along the old canal.",
    "The bread is still warm from the oven.",
    "A small boat was lying on the sand.",
    "We have to leave before it gets dark.",
    "The train was late, as it always was.",
    "Her brother wrote to her every week.",
    "There was no milk left in the house.",
)


@cache
def say(text: str, voice: str = "en-us+f2") -> np.ndarray:
    """A reading at SAMPLE_RATE, which begins and ends with its sound."""
    return espeak().say(text, voice)


def silence(seconds: float) -> np.ndarray:
    """A quiet room: noise 66 dB below full scale."""
    return (5e-4 * np.random.default_rng(5).normal(size=round(seconds * SAMPLE_RATE))).astype(np.float32)


def read_aloud(text: str, before: float = 0.4, behind: float = 0.4) -> np.ndarray:
    return np.concatenate([silence(before), say(text), silence(behind)])


def write(path: Path, samples: np.ndarray, kind: str = "wav") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_file(samples, SAMPLE_RATE, kind))
    return path


def ljspeech(folder: Path, texts: Sequence[str] = SENTENCES[:4]) -> Path:
    """A folder as LJSpeech has it: wavs/0000.wav … and metadata.csv."""
    for number, text in enumerate(texts):
        write(folder / "wavs" / f"{number:04}.wav", read_aloud(text))
    label(folder, {f"{number:04}": text for number, text in enumerate(texts)})
    return folder


def label(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.csv").write_text("".join(f"{name}|{text}\n" for name, text in texts.items()), "utf-8")


def made(source: Path, out: Path, **settings: Any) -> tuple[Dataset, dict[str, Clip], list[Refused]]:
    """The dataset of a source, its clips by their recording's name, and what was refused."""
    dataset = build(source, out, DatasetSettings(**({"language": "en"} | settings)), lambda *_: None)
    read, clips = read_dataset(out)
    assert read == dataset
    return dataset, {clip.source: clip for clip in clips}, refused(out)


def refused(out: Path) -> list[Refused]:
    return [msgspec.json.decode(line, type=Refused) for line in (out / "refused.jsonl").read_bytes().splitlines()]


def samples(out: Path, clip: Clip) -> np.ndarray:
    found, rate = decode((out / clip.file).read_bytes())
    assert rate == 24_000
    return found


def content(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of what is in it, but for what only makes the next run quick."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }
