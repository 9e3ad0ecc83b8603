"""Chains of FFmpeg's audio filters, each a post-processor: `more_filters.denoise` and whatever the settings add."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Context, PostProcessorKind, hookimpl

SHIPPED = (
    # Hiss at -55 dB becomes 7 dB softer, at -45 dB 4 dB; clean speech of the bundled voices keeps its consonants
    # within 0.2 dB (at nf=-40 they lose 0.8 dB and single sounds up to 4 dB).
    ("denoise", "afftdn=nr=10:nf=-50"),
    # Rumble out, a little less of the small room that cheap microphones add to references, clearer consonants.
    ("equaliser", "highpass=f=70,equalizer=f=250:t=q:w=1:g=-2,equalizer=f=3500:t=q:w=0.8:g=2.5"),
    # At -1 dB of full scale; without level=0 it would raise everything by that 1 dB.
    ("limiter", "alimiter=limit=0.891:attack=5:release=50:level=0"),
)

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}(?!\n)$")]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    chains: Annotated[dict[Name, Text], Meta(max_length=32)] = {}
    """Further chains by name, or others in the place of denoise, equaliser and limiter; each is filters in FFmpeg's
    words, such as `highpass=f=90,treble=g=3`."""


@hookimpl
def post_processors(context: Context) -> Sequence[PostProcessorKind]:
    """One for every chain. Raises BadInput naming the chain that cannot be used."""
    from more_filters.chain import Chain

    settings: Settings = context.settings
    return [PostProcessorKind(Chain(name, text).make, name) for name, text in (dict(SHIPPED) | settings.chains).items()]
