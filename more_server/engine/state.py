"""What an engine is doing, as others are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EngineState:
    """For health and metrics."""

    model: str
    loaded: bool = False
    """It takes work: the model is loaded, nothing has failed, the breaker is closed."""
    failure: str = ""
    device: str = ""
    precision: str = ""
    slots: int = 0
    slots_in_use: int = 0
    speaking: int = 0
    """Utterances."""
    waiting: int = 0
    """Utterances."""
    breaker_open: bool = False
    hung: bool = False
    """A step does not come back; nothing but a new start of the process helps."""
    resting: bool = False
    """Speech is paused; the model's memory is free once what was being spoken has ended."""
    steps_by_rows: Mapping[int, int] = field(default_factory=dict)
    """Steps since the start, by the number of sequences they moved on."""
