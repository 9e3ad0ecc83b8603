"""What is told of a voice, checked; how good its recordings are; and what it may be changed to."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from more_server.audio.read import decode
from more_server.audio.report import ReferenceReport, report
from more_server.errors import BadInput, VoiceNotFound, allowed, shown
from more_server.speech import REFERENCE_NAME, MixPart, Voice, check_voice_id
from more_server.tables import LimitSettings
from more_server.text import LANGUAGES, resolve_language
from more_server.voices import VoiceLibrary, VoiceView

RESERVED = frozenset({"import", "mix"})
"""Names that no voice can have: they are addresses of the voices' administration."""
TEXTS = ("description", "licence", "consent", "source")
MOST_TITLE, MOST_ALIAS, MOST_ALIASES, MOST_TEXT = 100, 64, 32, 4000
HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, halves of characters, and what turns the direction of a line around."""

Clips = dict[str, bytes]


class Details(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person tells of a voice; what is left out stays as it is, or empty."""

    title: str | UnsetType = UNSET
    """Shown to people, 1 to 100 characters; without one, the voice's name with capitals."""
    languages: list[str] | UnsetType = UNSET
    """Of the recordings, the first one the default: BCP-47 tags or names."""
    aliases: list[str] | UnsetType = UNSET
    """Other names that requests may use; none of them another voice's name."""
    description: str | UnsetType = UNSET
    """Shown where voices are listed; up to 4000 characters, as all texts."""
    licence: str | UnsetType = UNSET
    """What the recordings may be used for."""
    consent: str | UnsetType = UNSET
    """Who agreed to the voice being cloned, and how."""
    source: str | UnsetType = UNSET
    """Where the recordings come from."""


def checked(details: Details, most: int = MOST_TEXT) -> dict[str, Any]:
    """The fields of a Voice that are told; texts have at most so many characters. Raises BadInput naming the field."""
    found: dict[str, Any] = {}
    if details.title is not UNSET:
        found["name"] = _line(details.title, "title", MOST_TITLE)
    if details.languages is not UNSET:
        found["languages"] = checked_languages(details.languages)
    if details.aliases is not UNSET:
        found["aliases"] = _checked_aliases(details.aliases)
    for field in TEXTS:
        if (text := getattr(details, field)) is not UNSET:
            found[field] = _text(text, field, most)
    return found


def checked_languages(tags: Iterable[str], param: str = "languages") -> tuple[str, ...]:
    """Codes of languages, each once. Raises BadInput listing what exists."""
    found = []
    for tag in tags:
        if (language := resolve_language(tag)) is None:
            raise BadInput(f"there is no language {shown(tag)}; there are: {allowed(LANGUAGES)}", param=param)
        found.append(language)
    return tuple(dict.fromkeys(found))


def new_voice(voice_id: str, fields: Mapping[str, Any], references: Iterable[str]) -> Voice:
    """A voice to be added; `fields` are checked ones. Raises BadInput for a name that cannot be."""
    check_new_id(voice_id)
    return Voice(**{"id": voice_id, "name": default_title(voice_id), "references": tuple(references), **fields})


def default_title(voice_id: str) -> str:
    """What a voice is called where nobody says."""
    return voice_id.replace("-", " ").replace("_", " ").strip().title()


def check_new_id(voice_id: str) -> None:
    """Raises BadInput for what cannot be a new voice's name."""
    check_voice_id(voice_id)
    if voice_id in RESERVED:
        raise BadInput(f"{voice_id!r} cannot be a voice's name: it is an address of the administration", param="name")


def check_free(view: VoiceView, voice: Voice) -> None:
    """Raises BadInput where the id of a new voice is taken, or an alias is another voice's id."""
    if any(known.id == voice.id for known in view.voices):
        raise BadInput(f"a voice {voice.id!r} exists already; remove it first or choose another name", param="name")
    check_aliases(view, voice)


def check_aliases(view: VoiceView, voice: Voice) -> None:
    """Raises BadInput where an alias is another voice's id, which would hide it for ever."""
    taken = {known.id for known in view.voices} - {voice.id}
    if clashing := sorted(set(voice.aliases) & taken):
        raise BadInput(f"{shown(clashing[0])} is a voice of its own; it cannot be another one's alias", param="aliases")


def exact(view: VoiceView, voice_id: str) -> Voice:
    """The voice with this very id; unlike for requests, neither aliases nor titles count. Raises VoiceNotFound."""
    for voice in view.voices:
        if voice.id == voice_id:
            return voice
    raise VoiceNotFound(
        f"there is no voice {shown(voice_id)}; there are: {allowed(voice.id for voice in view.voices)}", param="voice"
    )


def _checked_aliases(aliases: Sequence[str]) -> tuple[str, ...]:
    if len(aliases) > MOST_ALIASES:
        raise BadInput(f"{len(aliases)} aliases; at most {MOST_ALIASES} are allowed", param="aliases")
    for alias in aliases:
        if set(alias) & set("+()"):
            raise BadInput(
                f"the alias {shown(alias)} holds one of + ( ), which mixtures are written with", param="aliases"
            )
    return tuple(dict.fromkeys(_line(alias, "aliases", MOST_ALIAS).lower() for alias in aliases))


def _line(text: str, field: str, most: int) -> str:
    text = text.strip()
    if not 1 <= len(text) <= most or HIDDEN.search(text):
        raise BadInput(f"{field}: {shown(text)} must be 1 to {most} visible characters", param=field)
    return text


def _text(text: str, field: str, most: int) -> str:
    text = text.replace("\r\n", "\n").strip()
    if len(text) > most:
        raise BadInput(f"{field} has {len(text)} characters; at most {most} are allowed", param=field)
    if HIDDEN.search(re.sub(r"[\n\t]", "", text)):
        raise BadInput(f"{field} holds control characters", param=field)
    return text


# -- reviewed


def review(
    clips: Mapping[str, bytes], limits: LimitSettings, languages: Sequence[str], spoken: Sequence[str], default: str
) -> ReferenceReport:
    """How good the clips are. spoken: languages of the serving model; default: that of requests which name none.

    Raises BadInput naming the clip that cannot be read.
    """
    recorded = {}
    for name, content in clips.items():
        try:
            recorded[name] = decode(
                content, max_seconds=limits.reference_seconds, max_channels=limits.reference_channels
            )
        except BadInput as error:
            raise about(name, error) from error
    return report(recorded, languages, spoken, default if default in spoken or not spoken else spoken[0])


def about(where: str, error: BadInput, param: str = "audio_sample") -> BadInput:
    """The same error, that tells where."""
    return type(error)(f"{where}: {error.message}", param=param)


# -- changed


def changed(view: VoiceView, voice_id: str, fields: Mapping[str, Any], new_id: str = "") -> tuple[Voice, Voice]:
    """A voice as it is and as it will be; `fields` are checked ones. Raises VoiceNotFound or BadInput."""
    voice = exact(view, voice_id)
    check_changeable(voice)
    made = msgspec.structs.replace(voice, **fields)
    if "aliases" in fields:
        check_aliases(view, made)
    if new_id and new_id != voice_id:
        check_new_id(new_id)
        # A title that nobody chose would go on naming it as it was called before.
        title = default_title(new_id) if made.name in (voice_id, default_title(voice_id)) else made.name
        made = msgspec.structs.replace(made, id=new_id, name=title)
        check_free(view, msgspec.structs.replace(made, aliases=()))
    return voice, made


def check_changeable(voice: Voice) -> None:
    """Raises BadInput for a voice that stays as it is."""
    if voice.fixed or not voice.store:
        raise BadInput(f"the voice {voice.id!r} came with the model or the program; it stays", param="voice")


def put(library: VoiceLibrary, voice: Voice, made: Voice) -> Voice:
    """Keep a voice as it was changed; whatever happens in between, one of the two is there whole."""
    if made.id == voice.id:
        return library.update(made)
    kept = library.add(*fitted(made, library.clips(voice)), voice.store)
    library.remove(voice.id)
    return kept


def told(voice: Voice, clips: Mapping[str, bytes], store: str) -> dict[str, Any]:
    """A new voice for the record: what is known of it, and how large its recordings are, in bytes."""
    fields = ("languages", "aliases", *TEXTS, "mix")
    known = {field: value for field in fields if (value := getattr(voice, field))}
    sizes = {name: len(content) for name, content in clips.items()}
    return {"title": voice.name, **known, "references": sizes, "store": store}


def fitted(voice: Voice, clips: Mapping[str, bytes]) -> tuple[Voice, Clips]:
    """The same voice with clips under names that every store takes; somebody may have put them there by hand."""
    names: dict[str, str] = {}
    for name in voice.references:
        names[name] = free_name(name, names.values())
    mix = tuple(MixPart(part.weight, tuple(names[name] for name in part.references)) for part in voice.mix)
    made = msgspec.structs.replace(voice, references=tuple(names.values()), mix=mix)
    return made, {names[name]: clips[name] for name in voice.references}


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or one like it that can be a clip's and that differs from those taken in more than its case."""
    path = PurePosixPath(name)
    stem, suffix = path.stem, path.suffix.lower()
    if not REFERENCE_NAME.fullmatch(f"{stem}{suffix}"):
        stem = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:90] or "reference"
    lower, number, found = {one.lower() for one in taken}, 1, f"{stem}{suffix}"
    while found.lower() in lower:
        number += 1
        found = f"{stem[:90]}-{number}{suffix}"
    return found
