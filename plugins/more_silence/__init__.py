"""Silence around segments: what the model left is trimmed, and a pause is put there that fits the punctuation."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Context, PostProcessor, PostProcessorKind, Stage, hookimpl

Pause = Annotated[float, Meta(ge=0, le=10_000)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin. Pauses are as long as they say at speed 1, and shorter in faster speech."""

    sentence_ms: Pause = 420
    """Milliseconds from the last sound of a segment that ends a sentence to the beginning of the next segment."""
    clause_ms: Pause = 180
    """The same behind a comma or another mark inside a sentence; nano itself makes 120 to 175 there."""
    other_ms: Pause = 60
    """The same where a long clause had to be parted between two words."""
    end_ms: Pause = 200
    """Milliseconds behind the very last sound: some players cut the end of what they play."""
    lead_ms: Annotated[float, Meta(ge=10, le=1000)] = 30
    """Most milliseconds of silence before a segment's first sound: soft onsets rise out of it."""
    hold_ms: Annotated[float, Meta(ge=10, le=1000)] = 50
    """Milliseconds behind a segment's last sound that are never cut, as speech dies away in them."""
    threshold_dbfs: Annotated[float, Meta(ge=-90, le=-20)] = -50
    """Peaks below this, in dB of full scale, are silence; nano's softest consonants reach -45, its hiss -51 to -70."""


@hookimpl
def post_processors(context: Context) -> Sequence[PostProcessorKind]:
    """The only one, `more_silence`."""
    settings: Settings = context.settings

    def make(stage: Stage) -> PostProcessor:
        from more_silence.pauses import Pauses

        return Pauses(settings, stage.utterance, stage.sample_rate)

    return [PostProcessorKind(make)]
