"""What a process of more_train and the server that attends it tell each other: a line of JSON each time."""

from collections.abc import Mapping
from typing import Any

import msgspec

POLITE_SECONDS = 4.0
"""From SIGTERM to SIGKILL: a cancel is done within five. Checkpoints appear whole or not at all, and one of XTTS-v2,
7 GB, takes longer: its training goes on from the last one, which is at most the recipe's save_minutes old."""
PREPARING, TRAINING = "preparing", "training"
"""Stages of a fine-tuning."""
SPEAKS, LISTENED, FORETELLS = "speaks", "is listened to", "foretells"
"""Stages of an evaluation, each behind the name of the model."""


class Told(msgspec.Struct, frozen=True):
    """Progress of a process."""

    stage: str
    done: float
    """Of `total`, within the stage."""
    total: float
    about: dict[str, Any] | None = None
    """Whatever else it tells."""


class Failure(msgspec.Struct, frozen=True):
    """Why it failed, as the error tree has it."""

    status: int
    code: str
    message: str
    param: str | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the three."""

    progress: Told | None = None
    failure: Failure | None = None
    result: dict[str, Any] | None = None
    """What came of it; the last word."""


def overall(told: Told, stage: str, parts: Mapping[str, int]) -> float:
    """Progress over all stages, in the unit of `parts`, which come one after the other."""
    stages = list(parts)
    before = sum(parts[one] for one in stages[: stages.index(stage)])
    return before + parts[stage] * (told.done / told.total if told.total else 1.0)
