"""A dataset on disk, as a trainer reads it.

<folder>/dataset.json             what it is; written last, so a folder without it is not a dataset
<folder>/clips.jsonl              a Clip a line
<folder>/clips/<speaker>/<id>.flac  24 kHz mono, 16 bit
<folder>/refused.jsonl            a Refused a line
<folder>/report.json, report.html what was found, for programs and for people
<folder>/.work/                   what makes the next run quick; may be deleted
"""

from pathlib import Path
from typing import Literal

import msgspec

from more_server.errors import BadInput
from more_server.lessons import datasets
from more_train.dataset.settings import DatasetSettings

VERSION = 1
SAMPLE_RATE = 24_000
DATASET, REPORT, PAGE = datasets.ABOUT, datasets.REPORT, datasets.PAGE
CLIPS, REFUSED = "clips.jsonl", "refused.jsonl"
CLIP_FOLDER, WORK = "clips", ".work"

Split = Literal["train", "held_out"]


class Dataset(datasets.Dataset, frozen=True, kw_only=True):
    """What a folder holds, with what the server does not ask for."""

    version: int
    """Of this format."""
    sample_rate: int = SAMPLE_RATE
    """Hertz of every clip."""
    source: str
    """Folder or archive it was made of."""
    settings: DatasetSettings
    """How it was made."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """A recording with its text."""

    id: str
    """Unique, and the same whenever the same stretch of the same recording is cut."""
    file: str
    """Below the dataset's folder: clips/<speaker>/<id>.flac."""
    speaker: str
    """One of the dataset's."""
    language: str
    """One of XTTS's languages."""
    text: str
    """What is said, as people write it."""
    seconds: float
    """Length, ends included."""
    split: Split
    """Whether training may see it."""
    source: str
    """Recording it was cut from, below the source's folder."""
    start: float
    """Where it begins there, in seconds."""
    end: float
    """Where it ends there, in seconds."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A clip, a recording or a line of metadata.csv that is not in the dataset."""

    source: str
    """The recording, or the metadata's file and line."""
    reasons: tuple[str, ...]
    """Words for programs, such as `clipped`."""
    why: str
    """Sentences for people."""
    id: str = ""
    """Of the clip; empty where none was cut."""
    file: str = ""
    """Its audio below the dataset's folder; empty where none was cut."""
    speaker: str = ""
    """Who speaks, where that is known."""
    text: str = ""
    """What is said, where that is known."""
    start: float = 0.0
    """Where it begins in the recording, in seconds."""
    end: float = 0.0
    """Where it ends there; 0: all of it."""


def read_dataset(folder: Path) -> tuple[Dataset, tuple[Clip, ...]]:
    """The dataset in a folder and its clips. Raises BadInput saying what is missing or damaged."""
    name = folder.absolute().name
    try:
        dataset = msgspec.json.decode((folder / DATASET).read_bytes(), type=Dataset)
        lines = (folder / CLIPS).read_bytes().splitlines()
        clips = tuple(msgspec.json.decode(line, type=Clip) for line in lines)
    except FileNotFoundError as error:
        raise BadInput(
            f"{name} is no dataset: there is no {Path(error.filename).name}; `python -m more_train dataset` makes "
            "one, and goes on where it was interrupted"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"the dataset {name} cannot be read: {reason}; build it again") from error
    if dataset.version != VERSION:
        raise BadInput(f"the dataset {name} has version {dataset.version}; only {VERSION} can be read: build it again")
    if len(clips) != dataset.clips:
        raise BadInput(
            f"the dataset {name} is damaged: {CLIPS} has {len(clips)} clips and not {dataset.clips}; build it again"
        )
    return dataset, clips
