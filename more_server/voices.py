"""Voices in folders: <id>/voice.toml beside the reference clips, and their latents cached by content."""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tomli_w
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from more_server.audio.read import read, trim_silence
from more_server.errors import BadInput, TooLarge, VoiceNotFound, allowed, shown
from more_server.files import locked, remove_folder, staged_folder, sweep, write_file
from more_server.settings import LimitSettings, bundled_dir
from more_server.speech import Voice, VoiceLatents

OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)
"""OpenAI's names (openai-python 3.54), which clients send without asking; one nobody claims is the default voice."""
BUNDLED_VOICES = ("linden", "rowan")

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
REFERENCE_SUFFIXES = frozenset({".wav", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".opus", ".flac", ".webm"})

SHORTEST_REFERENCE_SECONDS = 1.0
"""XTTS drops chunks below 0.33 s; below a second there is hardly a voice to copy."""
CHECK_SAMPLE_RATE = 24_000


class VoiceMetadata(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What voice.toml may hold."""

    name: str = ""
    """Shown to people; empty: the id."""
    languages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    consent: str = ""
    source: str = ""


class VoiceLibrary:
    """Voices of several folders, the first one writable and shadowing the others, and of the model itself.

    The folders are looked at for every call, so a voice added by hand is there at once.
    """

    def __init__(self, folders: Sequence[Path], studio: Mapping[str, VoiceLatents] | None = None) -> None:
        self._folders = tuple(folders)
        self.studio = dict(studio or {})
        """Voices that the model carries as latents, by id."""
        self._read: dict[Path, tuple[Any, Voice]] = {}

    def all(self) -> list[Voice]:
        """All voices in order of id; folders that cannot be read are left out (`problems` tells why)."""
        return self._scan()[0]

    def problems(self) -> list[str]:
        """A sentence for each voice folder that cannot be used."""
        return self._scan()[1]

    def find(self, name: str) -> Voice:
        """The voice with this id, alias or name, in any case. Raises VoiceNotFound listing what exists."""
        voices, wanted = self.all(), name.strip().lower()
        for names in (lambda v: (v.id,), lambda v: v.aliases, lambda v: (v.name.lower(),)):
            for voice in voices:
                if wanted in names(voice):
                    return voice
        raise VoiceNotFound(
            f"there is no voice {shown(name)}; there are: {allowed(voice.id for voice in voices)}", param="voice"
        )

    def resolve(self, name: str | None, default: str) -> Voice:
        """The voice that a request means; none, or one of OpenAI's names that nobody claims, is the default."""
        if name:
            try:
                return self.find(name)
            except VoiceNotFound:
                if name.strip().lower() not in OPENAI_VOICES:
                    raise
        if default:
            return self.find(default)
        if voices := self.all():
            return voices[0]
        raise VoiceNotFound("no voice is installed; add one with `more-server voices add NAME CLIP`", param="voice")

    def add(
        self, voice_id: str, clips: Sequence[tuple[str, bytes]], metadata: VoiceMetadata, limits: LimitSettings
    ) -> Voice:
        """Write a voice, all of it or nothing. clips: suffix (such as `.wav`) and content of each reference.

        Raises BadInput or TooLarge for an id that does not fit or is taken, and for a clip that cannot serve.
        """
        check_voice_id(voice_id)
        self._check_free(voice_id)
        if not clips:
            raise BadInput("a voice needs at least one reference clip", param="audio_sample")
        for suffix, content in clips:
            check_clip(suffix, content, limits)
        target = self._folders[0] / voice_id
        with locked(target):
            self._check_free(voice_id)
            sweep(target)
            with staged_folder(target) as folder:
                for number, (suffix, content) in enumerate(clips, start=1):
                    (folder / f"reference-{number}{suffix}").write_bytes(content)
                (folder / "voice.toml").write_text(metadata_toml(metadata), "utf-8")
        return self.find(voice_id)

    def _check_free(self, voice_id: str) -> None:
        if any(voice.id == voice_id for voice in self.all()) or (self._folders[0] / voice_id).exists():
            raise BadInput(f"a voice {voice_id!r} exists already; remove it first or choose another name", param="name")

    def remove(self, voice_id: str) -> None:
        """Delete a voice of the writable folder. Raises VoiceNotFound or BadInput."""
        voice = next((voice for voice in self.all() if voice.id == voice_id), None)
        if voice is None:
            raise VoiceNotFound(
                f"there is no voice {shown(voice_id)}; there are: {allowed(v.id for v in self.all())}", param="voice"
            )
        folder = voice.references[0].parent if voice.references else None
        if folder is None or folder.parent != self._folders[0] or _is_shipped(folder):
            raise BadInput(f"the voice {voice_id!r} came with the model or the program; it stays", param="voice")
        with locked(folder):
            remove_folder(folder)

    def _scan(self) -> tuple[list[Voice], list[str]]:
        voices = {voice_id: Voice(id=voice_id, name=voice_id.replace("-", " ").title()) for voice_id in self.studio}
        problems = []
        for home in reversed(self._folders):
            for folder in sorted(home.iterdir()) if home.is_dir() else []:
                if folder.name.startswith(".") or not folder.is_dir():
                    continue
                try:
                    voices[folder.name] = self._voice(folder)
                except (OSError, ValueError) as error:
                    problems.append(f"voice {folder.name}: {error}")
        return [voices[voice_id] for voice_id in sorted(voices)], problems

    def _voice(self, folder: Path) -> Voice:
        path = folder / "voice.toml"
        if not ID_PATTERN.fullmatch(folder.name):
            raise ValueError(f"{folder}: {ID_RULE}")
        stamp = (path.stat().st_mtime_ns, folder.stat().st_mtime_ns)
        if (known := self._read.get(folder)) and known[0] == stamp:
            return known[1]
        metadata = msgspec.convert(tomllib.loads(path.read_text("utf-8")), VoiceMetadata)
        references = tuple(
            sorted(clip for clip in folder.iterdir() if clip.suffix.lower() in REFERENCE_SUFFIXES and clip.is_file())
        )
        if not references:
            raise ValueError(f"{folder} holds no reference clip ({allowed(REFERENCE_SUFFIXES)})")
        aliases = tuple(alias.lower() for alias in metadata.aliases)
        fields = msgspec.structs.asdict(metadata) | {"name": metadata.name or folder.name, "aliases": aliases}
        voice = Voice(id=folder.name, references=references, **fields)
        self._read[folder] = (stamp, voice)
        return voice


def _is_shipped(folder: Path) -> bool:
    """Whether a folder came with the program; in a checkout the shipped voices lie beside a user's own."""
    return folder.name in BUNDLED_VOICES and folder.parent.resolve() == (bundled_dir() / "voices").resolve()


ID_RULE = "a voice's name is 1 to 64 lower-case letters, digits, '-' and '_', beginning with a letter or digit"


def check_voice_id(voice_id: str) -> None:
    """Raises BadInput unless the id can be a folder's name everywhere."""
    if not ID_PATTERN.fullmatch(voice_id):
        raise BadInput(f"{shown(voice_id)} cannot be a voice's name: {ID_RULE}", param="name")


def metadata_toml(metadata: VoiceMetadata) -> str:
    """voice.toml's text."""
    return tomli_w.dumps({name: value for name, value in msgspec.structs.asdict(metadata).items() if value})


def check_clip(suffix: str, content: bytes, limits: LimitSettings) -> None:
    """Raises BadInput or TooLarge unless the clip can be read and holds enough speech."""
    if suffix not in REFERENCE_SUFFIXES:
        raise BadInput(
            f"a reference cannot be a {suffix or 'nameless'} file; allowed are {allowed(REFERENCE_SUFFIXES)}",
            param="audio_sample",
        )
    audio = read(
        content,
        sample_rate=CHECK_SAMPLE_RATE,
        max_bytes=limits.reference_bytes,
        max_seconds=limits.reference_seconds,
        max_channels=limits.reference_channels,
    )
    speech = len(trim_silence(audio.samples, audio.sample_rate)) / audio.sample_rate
    if speech < SHORTEST_REFERENCE_SECONDS or not np.abs(audio.samples).max() > 0:
        raise BadInput(
            f"the reference holds {speech:.1f} s of sound; at least {SHORTEST_REFERENCE_SECONDS:.0f} s are needed, "
            "6 to 30 s of clean speech are good",
            param="audio_sample",
        )


def read_clip(path: Path, limits: LimitSettings) -> bytes:
    """Content of a clip on disk. Raises BadInput or TooLarge."""
    try:
        with path.open("rb") as file:
            content = file.read(limits.reference_bytes + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", param="audio_sample") from error
    if len(content) > limits.reference_bytes:
        raise TooLarge(f"{path} is larger than {limits.reference_bytes} bytes", param="audio_sample")
    return content


class LatentCache:
    """Latents on disk, by the hash of references, model and parameters; losing it costs time, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(voice: Voice, fingerprint: str) -> str:
        """Hash of the reference clips and of the model's fingerprint."""
        digest = hashlib.sha256(fingerprint.encode())
        for clip in voice.references:
            digest.update(hashlib.sha256(clip.read_bytes()).digest())
        return digest.hexdigest()

    def read(self, key: str) -> VoiceLatents | None:
        """Latents for a key; None where there are none or the file is damaged."""
        try:
            tensors = load_file(self._path(key))
            return VoiceLatents(tensors["conditioning"], tensors["speaker_embedding"])
        except (OSError, SafetensorError, KeyError):
            return None

    def write(self, key: str, latents: VoiceLatents) -> None:
        """Keep latents; a reader never sees half a file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        content = save(
            {
                "conditioning": np.ascontiguousarray(latents.conditioning),
                "speaker_embedding": np.ascontiguousarray(latents.speaker_embedding),
            }
        )
        write_file(self._path(key), content)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


def read_studio_voices(model_dir: Path) -> dict[str, VoiceLatents]:
    """Voices that a model folder carries as latents: `<name>/conditioning` and `<name>/speaker_embedding`."""
    path = model_dir / "speakers.safetensors"
    if not path.is_file():
        return {}
    tensors = load_file(path)
    voices = {}
    for name in sorted({key.rpartition("/")[0] for key in tensors}):
        voice_id = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        conditioning, embedding = tensors[f"{name}/conditioning"], tensors[f"{name}/speaker_embedding"]
        voices[voice_id] = VoiceLatents(conditioning.astype(np.float32), embedding.astype(np.float32))
    return voices
