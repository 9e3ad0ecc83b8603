"""A voice mixed of others, that needs them no more once it is kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from more_server.errors import BadInput, shown
from more_server.speech import MixPart, Voice
from more_server.tables import LimitSettings
from more_server.voicebank.details import Clips, check_new_id, free_name, new_voice
from more_server.voices import MOST_MIXED, VoiceLibrary, VoiceView

RIGHTS = ("licence", "consent", "source")
"""What is told of each voice, and must go on being told of what is made of them."""


class Share(msgspec.Struct, forbid_unknown_fields=True):
    """A voice in a mixture."""

    voice: str
    """Its name or alias."""
    weight: float = 1.0
    """Above 0, against the others' weights."""


def mixed(
    library: VoiceLibrary,
    view: VoiceView,
    voice_id: str,
    shares: Sequence[Share],
    fields: Mapping[str, Any],
    limits: LimitSettings,
) -> tuple[Voice, Clips]:
    """A new voice made of two to eight others, and copies of their clips; `fields` are checked ones.

    A mixture among them counts as what it is made of. What is told of the parts' rights is told of the mixture, below
    what `fields` say. Raises BadInput, VoiceNotFound, or what a store fails with.
    """
    check_new_id(voice_id)
    weights = _weights(view, shares)
    count = sum(len(voice.references) for voice, _ in weights)
    if count > limits.voice_references:
        raise BadInput(
            f"the voices have {count} reference clips in all; at most {limits.voice_references} are allowed",
            param="parts",
        )
    clips: Clips = {}
    mix = tuple(part for voice, weight in weights for part in _copied(library, voice, weight, clips))
    voices = [voice for voice, _ in weights]
    languages = tuple(dict.fromkeys(language for voice in voices for language in voice.languages))
    told = {"languages": languages, "description": _description(weights), **fields, "mix": mix}
    for field in RIGHTS:
        told[field] = "\n".join(filter(None, (fields.get(field), _joined(field, voices))))
    return new_voice(voice_id, told, clips), clips


def _copied(library: VoiceLibrary, voice: Voice, weight: float, clips: Clips) -> list[MixPart]:
    """The parts that a voice is of a mixture; its clips are put among the others."""
    names = {}
    for name, content in library.clips(voice).items():
        # Clips of a mixture are already named for the voices that they come from.
        names[name] = free_name(name if voice.mix else f"{voice.id}-{name}", clips)
        clips[names[name]] = content
    parts = voice.mix or (MixPart(1.0, voice.references),)
    total = sum(part.weight for part in parts)
    return [MixPart(weight * part.weight / total, tuple(names[one] for one in part.references)) for part in parts]


def _description(weights: Sequence[tuple[Voice, float]]) -> str:
    total = sum(weight for _, weight in weights)
    return f"A mixture of {', '.join(f'{voice.name} ({weight / total:.0%})' for voice, weight in weights)}."


def _weights(view: VoiceView, shares: Sequence[Share]) -> list[tuple[Voice, float]]:
    """Voices and weights, the heaviest first. Raises BadInput."""
    found: dict[str, tuple[Voice, float]] = {}
    for share in shares:
        if not (math.isfinite(share.weight) and share.weight > 0):
            raise BadInput(f"the weight of {shown(share.voice)} is {share.weight:g}; it must be above 0", param="parts")
        voice = view.find(share.voice, "parts")
        if not voice.references:
            raise BadInput(
                f"{voice.id} is a voice of the model itself: it has no recordings that a kept mixture could be made "
                "of. Requests can mix it by name, such as `a+b`",
                param="parts",
            )
        found[voice.id] = (voice, share.weight + (found[voice.id][1] if voice.id in found else 0.0))
    if not 2 <= len(found) <= MOST_MIXED:
        raise BadInput(f"{len(found)} different voices; a mixture has 2 to {MOST_MIXED}", param="parts")
    return sorted(found.values(), key=lambda one: -one[1])


def _joined(field: str, voices: Sequence[Voice]) -> str:
    """What is told of each, a line each; empty where nothing is told of any."""
    lines: dict[str, None] = {}
    for voice in voices:
        text = getattr(voice, field).strip()
        if voice.mix and text:
            lines |= dict.fromkeys(text.splitlines())
        else:
            lines[f"{voice.id}: {' '.join(text.split()) or 'not stated'}"] = None
    return "\n".join(lines) if any(getattr(voice, field).strip() for voice in voices) else ""
