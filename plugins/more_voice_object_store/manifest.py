"""What makes a voice in the bucket: `voices/<id>/voice.json`, which names clips at `voices/<id>/<version>/<name>`.

Clips are written before the manifest that names them and never changed; the manifest is the moment at which a voice
is there, or is gone.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import MixPart, Voice, check_reference_name, errors, voice_toml

ROOT = "voices"
FILE_NAME = "voice.json"
MOST_BYTES = 65_536
FIELDS = ("languages", "description", "licence", "consent", "source", "mix", "references")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A voice as the bucket knows it. Fields that a later release adds are passed over."""

    version: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    """Drawn for each writing, so that two writers never touch the same clips."""
    references: Annotated[tuple[str, ...], Meta(min_length=1)]
    name: str = ""
    languages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    consent: str = ""
    source: str = ""
    mix: tuple[MixPart, ...] = ()

    def voice(self, voice_id: str, store: str) -> Voice:
        """The voice that it tells of."""
        return Voice(
            id=voice_id,
            name=self.name or voice_id,
            aliases=tuple(alias.lower() for alias in self.aliases),
            store=store,
            version=self.version,
            **{field: getattr(self, field) for field in FIELDS},
        )


def manifest_of(voice: Voice, version: str) -> Manifest:
    """What is to be known of a voice."""
    fields = {field: getattr(voice, field) for field in FIELDS}
    return Manifest(version=version, name=voice.name, aliases=voice.aliases, **fields)


def encoded(manifest: Manifest) -> bytes:
    """As it is kept. Raises BadInput for text that is not Unicode, or too much of it."""
    try:
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    except UnicodeEncodeError as error:
        raise errors.BadInput(f"what is told of the voice cannot be written: {error.reason}", param="name") from error
    if len(content) > MOST_BYTES:
        raise errors.BadInput(f"more is told of the voice than the {MOST_BYTES} bytes that are kept", param="name")
    return content


def decoded(content: bytes) -> Manifest:
    """From what is kept. Raises ValueError saying what is wrong with it."""
    manifest = msgspec.json.decode(content, type=Manifest)
    try:
        for name in manifest.references:
            check_reference_name(name)
    except errors.BadInput as error:
        raise ValueError(error.message) from error
    if fault := voice_toml.fault_of_mix(manifest.mix, manifest.references):
        raise ValueError(fault)
    return manifest


def manifest_key(voice_id: str) -> str:
    """Where a voice's manifest lies."""
    return f"{ROOT}/{voice_id}/{FILE_NAME}"


def clip_key(voice_id: str, version: str, reference: str) -> str:
    """Where a clip lies."""
    return f"{ROOT}/{voice_id}/{version}/{reference}"
