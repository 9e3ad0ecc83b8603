"""Speech at one loudness, whichever voice speaks it, and below a true peak."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Audio, Context, PostProcessor, PostProcessorKind, Stage, hookimpl


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    target_lufs: Annotated[float, Meta(ge=-40, le=-8)] = -16.0
    """Loudness of the result in LUFS; -16 is what podcasts are made at, for headphones and small loudspeakers."""
    true_peak_dbtp: Annotated[float, Meta(ge=-20, le=0)] = -1.0
    """Highest true peak of the result, in dB of full scale: a lossy encoder needs some room above the peaks."""
    max_gain_db: Annotated[float, Meta(ge=0, le=40)] = 20.0
    """Most that quiet speech is raised, in dB, so that the noise of a voice that is nearly silent stays low."""


@hookimpl
def post_processors(context: Context) -> Sequence[PostProcessorKind]:
    """The only one, `more_loudness`."""
    settings: Settings = context.settings

    def make(stage: Stage) -> PostProcessor:
        from more_loudness.processors import Streaming, Whole

        if stage.utterance.whole:
            return Whole(settings, stage.sample_rate)
        return Streaming(settings, stage.sample_rate, stage.measured)

    return [PostProcessorKind(make, measure=measure)]


def measure(audio: Audio) -> float:
    """Integrated loudness of a voice's own speech in LUFS; -70, the standard's gate, for silence."""
    from more_loudness.meter import integrated_loudness

    return integrated_loudness(audio.samples, audio.sample_rate)
