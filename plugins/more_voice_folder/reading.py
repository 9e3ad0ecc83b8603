"""Voices of a folder, read: <id>/voice.toml beside the reference clips."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from more_server import Listing, Voice, VoiceStore, check_voice_id, errors, voice_toml
from more_voice_folder.derived import DerivedFiles

BROKEN = (OSError, ValueError, RecursionError)
"""What reading a voice that somebody put there by hand can raise; deeply nested TOML raises the last."""
Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, bytes and time of change (ns) of the files that a voice was read from."""


class Contents(msgspec.Struct, frozen=True):
    """A folder at one moment."""

    voices: dict[str, Voice]
    problems: dict[str, str]
    """Folders that are no voices, each with a sentence that tells why."""
    listing: Listing


class ReadOnlyFolder(VoiceStore):
    """Looks at the folder for every call, so that a change is there at once. Files that stay are parsed once."""

    writable = False

    def __init__(self, name: str, home: Path, derived: DerivedFiles) -> None:
        self.name = name
        self.home = home
        """The folder."""
        self.derived = derived
        """Where what was worked out from the voices is kept."""
        self._known: dict[str, tuple[Stamp, Voice]] = {}

    def list(self) -> Listing:
        """All voices, as they are on the disk."""
        return self.contents().listing

    def read(self, voice_id: str, reference: str) -> bytes:
        """Content of a reference clip. Raises VoiceNotFound."""
        voice = self._find(voice_id)
        missing = errors.VoiceNotFound(f"the voice {voice_id!r} has no clip {errors.shown(reference)}", param="voice")
        if reference not in voice.references:
            raise missing
        path = self.home / voice_id / reference
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise missing from None
        except OSError as error:
            raise errors.StorageError(f"{path} cannot be read: {error.strerror or error}") from error

    def read_derived(self, key: str) -> bytes | None:
        """What was kept under a key."""
        return self.derived.read(key)

    def write_derived(self, key: str, content: bytes) -> None:
        """Keep what can be worked out again, for voices that cannot be changed too."""
        self.derived.write(key, content)

    def contents(self) -> Contents:
        """Voices and problems. Raises StorageError where the folder itself cannot be read."""
        known: dict[str, tuple[Stamp, Voice]] = {}
        problems = {}
        for name in self._names():
            try:
                if found := self._look(name):
                    known[name] = found
            except errors.BadInput as error:
                problems[name] = error.message
            except BROKEN as error:
                problems[name] = f"voice {name}: {_reason(error)}"
        self._known = known
        voices = {name: voice for name, (_, voice) in known.items()}
        return Contents(voices, problems, Listing(tuple(voices.values()), tuple(problems.values())))

    def _names(self) -> tuple[str, ...]:
        try:
            with os.scandir(self.home) as entries:
                names = (entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
                return tuple(sorted(names))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise errors.StorageError(f"{self.home} cannot be read: {error.strerror or error}") from error

    def _find(self, voice_id: str) -> Voice:
        try:
            found = self._look(voice_id)
        except errors.BadInput as error:
            raise errors.VoiceNotFound(error.message, param="voice") from error
        except BROKEN as error:
            raise errors.VoiceNotFound(f"voice {voice_id}: {_reason(error)}", param="voice") from error
        if found is None:
            raise errors.VoiceNotFound(f"there is no voice {voice_id!r} in {self.home}", param="voice")
        return found[1]

    def _look(self, voice_id: str) -> tuple[Stamp, Voice] | None:
        """A voice and what it was read from; None where there is none of this name, or none any more.

        Raises BadInput for a name that cannot be, else one of BROKEN.
        """
        check_voice_id(voice_id)
        folder = self.home / voice_id
        if folder.is_symlink() and not self._holds(folder):
            raise ValueError("it is a link that leads out of the folder of voices; copy it or mount it there instead")
        with _opened(folder) as descriptor:
            if descriptor is None:
                return None
            try:
                found = self._read(voice_id, descriptor)
            except BROKEN:
                if _lies_at(folder, descriptor):
                    raise
                return None
            # A voice is removed by a rename. While its folder lies in its place, no file of it was gone before.
            return found if _lies_at(folder, descriptor) else None

    def _read(self, voice_id: str, descriptor: int) -> tuple[Stamp, Voice]:
        files = self._files(voice_id, descriptor)
        stamp = tuple(sorted((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in files.items()))
        if (known := self._known.get(voice_id)) and known[0] == stamp:
            return known
        if voice_toml.FILE_NAME not in files:
            raise ValueError(f"there is no {voice_toml.FILE_NAME} in its folder")
        clips = sorted(name for name in files if name != voice_toml.FILE_NAME)
        if not clips:
            suffixes = errors.allowed(voice_toml.REFERENCE_SUFFIXES)
            raise ValueError(f"there is no reference clip in its folder ({suffixes})")
        with os.fdopen(os.open(voice_toml.FILE_NAME, os.O_RDONLY, dir_fd=descriptor), "rb") as file:
            description = voice_toml.parsed(file.read(voice_toml.MOST_BYTES + 1), clips)
        fields = {field: getattr(description, field) for field in voice_toml.FIELDS} | {
            "name": description.name or voice_id,
            "aliases": tuple(alias.lower() for alias in description.aliases),
        }
        clip_stamp = [(name, files[name].st_size, files[name].st_mtime_ns) for name in clips]
        return stamp, Voice(
            id=voice_id,
            references=tuple(clips),
            store=self.name,
            version=hashlib.sha256(repr(clip_stamp).encode("utf-8", "surrogateescape")).hexdigest()[:16],
            fixed=self._is_fixed(voice_id),
            **fields,
        )

    def _files(self, voice_id: str, descriptor: int) -> dict[str, os.stat_result]:
        """voice.toml and the clips: files, or links to files within the folder of voices."""
        files = {}
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name != voice_toml.FILE_NAME and not _is_clip(entry.name):
                    continue
                if entry.is_symlink() and not self._holds(self.home / voice_id / entry.name):
                    continue
                try:
                    status = entry.stat()
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP):  # a link to nothing, or in a circle
                        continue
                    raise
                if stat.S_ISREG(status.st_mode):
                    files[entry.name] = status
        return files

    def _holds(self, path: Path) -> bool:
        """Whether what a link leads to lies in the folder of voices."""
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.home))

    def _is_fixed(self, _voice_id: str) -> bool:
        return True


def _is_clip(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in voice_toml.REFERENCE_SUFFIXES


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # whatever it is, looking at it tells it
        return True


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor of a folder; it keeps the inode from being given to another one. None where it is no folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lies_at(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
