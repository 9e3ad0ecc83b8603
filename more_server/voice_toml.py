"""What is told of a voice beside its clips: a voice.toml, in folders of voices and in archives."""

import math
import tomllib
from collections.abc import Collection
from pathlib import PurePosixPath

import msgspec
import tomli_w

from more_server.errors import BadInput, allowed, shown
from more_server.speech import MixPart, Voice, check_reference_name, check_voice_id

FILE_NAME = "voice.toml"
MOST_BYTES = 65_536
"""Of one; those that ship have 340."""
MOST_DOTS = 1000
"""In a line: tomllib takes half a minute for a dotted key that fills the file."""
REFERENCE_SUFFIXES = frozenset({".wav", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".opus", ".flac", ".webm"})
"""Of the file names of reference clips."""
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
        raise BadInput(f"what is told of the voice cannot be written: {error.reason}", param="name") from error
    if len(content) > MOST_BYTES:
        raise BadInput(f"more is told of the voice than the {MOST_BYTES} bytes that are kept", param="name")
    return content


def check_new_voice(voice: Voice, clips: Collection[str]) -> None:
    """For stores: raises BadInput where a name cannot be, or where these clips are not those of the voice."""
    check_voice_id(voice.id)
    for name in voice.references:
        check_reference_name(name)
        if PurePosixPath(name).suffix not in REFERENCE_SUFFIXES:
            raise BadInput(
                f"{shown(name)} cannot be a reference clip; allowed are {allowed(REFERENCE_SUFFIXES)}",
                param="references",
            )
    if not clips:
        raise BadInput("a voice needs at least one reference clip", param="references")
    # On some file systems Clip.wav and clip.wav are one file.
    if set(clips) != set(voice.references) or len({name.lower() for name in clips}) != len(voice.references):
        raise BadInput("the reference clips are not those that the voice names, each once", param="references")
    if fault := fault_of_mix(voice.mix, voice.references):
        raise BadInput(fault, param="mix")


def fault_of_mix(mix: Collection[MixPart], clips: Collection[str]) -> str:
    """What is wrong with the parts of a voice that has these clips; empty for nothing."""
    for part in mix:
        if not (math.isfinite(part.weight) and part.weight > 0):
            return f"a part of mix has the weight {part.weight:g}; it must be above 0"
        if not part.references:
            return "a part of mix has no references"
        if missing := sorted(set(part.references) - set(clips)):
            return f"mix names {shown(missing[0])}, which is no reference clip of the voice"
    return ""
