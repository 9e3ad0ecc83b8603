"""The quality profiles that ship, and further ones from the settings."""

from collections.abc import Sequence
from typing import Any

import msgspec

from more_server import Context, Profile, errors, hookimpl

BASE = "base"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    profiles: dict[str, dict[str, Any]] = {}
    """Further profiles by name: a `base`, such as balanced, and the fields that differ from it."""


def shipped() -> list[Profile]:
    """The three profiles that come with the server."""
    # XTTS-v2's own config gives top_k 50 and repetition penalty 5. The others are those that MORE was designed with:
    # with nano, ten sentences and fixed seeds, all three have 9-10 of 10 nearest to their own reading.
    chain = ("more_silence", "more_loudness")
    return [
        Profile(name="fast", temperature=0.7, top_p=0.85, speed=1.2, post_processors=chain),
        Profile(name="balanced", temperature=0.75, top_p=0.9, speed=1.0, post_processors=chain),
        Profile(
            name="high_quality",
            temperature=0.6,
            top_p=0.95,
            speed=0.95,
            retries=3,
            self_check=True,
            post_processors=("more_filters.denoise", *chain),
        ),
    ]


@hookimpl
def profiles(context: Context) -> Sequence[Profile]:
    """Shipped ones first; each further one is made of any before it. Raises BadInput naming the field."""
    made = {profile.name: profile for profile in shipped()}
    for name, table in context.settings.profiles.items():
        base = table.get(BASE, "balanced")
        if name in made:
            raise errors.BadInput(
                f"profiles.{name}: there is such a profile already", param=f"settings.profiles.{name}"
            )
        if base not in made:
            raise errors.BadInput(
                f"profiles.{name}.base: there is no {base!r}; there are: {errors.allowed(made)}",
                param=f"settings.profiles.{name}.base",
            )
        changes = {field: value for field, value in table.items() if field != BASE}
        try:
            made[name] = made[base].derived(name, changes)
        except errors.BadInput as error:
            where = f"profiles.{name}.{error.param}"
            raise errors.BadInput(f"profiles.{name}: {error.message}", param=f"settings.{where}") from error
    return list(made.values())
