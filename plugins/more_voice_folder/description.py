"""What stands in a voice.toml."""

import math
import tomllib
from collections.abc import Collection

import msgspec
import tomli_w

from more_server import MixPart, Voice, errors

FILE_NAME = "voice.toml"
MOST_BYTES = 65_536
"""Of one; those that ship have 340."""
MOST_DOTS = 1000
"""In a line: tomllib takes half a minute for a dotted key that fills the file."""
FIELDS = ("name", "languages", "aliases", "description", "licence", "consent", "source", "mix")


class Description(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of a voice besides its clips; every field may be left out."""

    name: str = ""
    """Shown to people; empty: the id."""
    languages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    consent: str = ""
    source: str = ""
    mix: tuple[MixPart, ...] = ()


def parsed(content: bytes, clips: Collection[str]) -> Description:
    """The description of a voice with these clips. Raises ValueError or RecursionError saying what is wrong."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"{FILE_NAME} is larger than {MOST_BYTES} bytes")
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise ValueError(f"{FILE_NAME} has a line with more than {MOST_DOTS} dots")
    description = msgspec.convert(tomllib.loads(content.decode("utf-8")), Description)
    if fault := fault_of_mix(description.mix, clips):
        raise ValueError(fault)
    return description


def written(voice: Voice) -> bytes:
    """The content of its voice.toml. Raises BadInput for text that is not Unicode."""
    description = Description(**{field: getattr(voice, field) for field in FIELDS})
    try:
        content = tomli_w.dumps(msgspec.to_builtins(description)).encode()
    except UnicodeEncodeError as error:
        raise errors.BadInput(f"what is told of the voice cannot be written: {error.reason}", param="name") from error
    if len(content) > MOST_BYTES:
        raise errors.BadInput(f"more is told of the voice than the {MOST_BYTES} bytes that are kept", param="name")
    return content


def fault_of_mix(mix: Collection[MixPart], clips: Collection[str]) -> str:
    """What is wrong with the parts of a voice that has these clips; empty for nothing."""
    for part in mix:
        if not (math.isfinite(part.weight) and part.weight > 0):
            return f"a part of mix has the weight {part.weight:g}; it must be above 0"
        if not part.references:
            return "a part of mix has no references"
        if missing := sorted(set(part.references) - set(clips)):
            return f"mix names {errors.shown(missing[0])}, which is no reference clip of the voice"
    return ""
