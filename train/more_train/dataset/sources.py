"""Where recordings come from: a folder, or a zip archive that a stranger made. Both are only ever read.

What cannot be taken is told as a Refused and never stops the rest.
"""

import os
import stat
import tempfile
import unicodedata
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from more_server import archive
from more_server.audio.read import CONTAINERS
from more_server.errors import BadInput, TooLarge
from more_server.lessons.recordings import is_metadata, is_recording, is_strewn
from more_server.voicebank.details import HIDDEN
from more_train.dataset.format import Refused
from more_train.dataset.settings import DatasetSettings

FOREIGN = frozenset((".wma", ".amr", ".ape", ".ac3", ".dts", ".wv", ".ra", ".rm", ".mid", ".midi", ".dsf", ".tta"))
"""Audio too, which nothing here decodes: worth a word where a text file is not."""
MOST_RATIO, SMALL_BYTES = 200, 50_000_000
"""Bytes out of an archive for a byte in it. Half an hour of digital silence shrinks by 1000, so what is small may."""
MOST_REASONS = 3


class Unread(BadInput):
    """A file that could not be read this time: a disk or a network failed, or it is somebody else's."""


class Entry(msgspec.Struct, frozen=True):
    """A file of a source."""

    name: str
    """Below the source, for people: bytes that are no text are escaped."""
    stamp: str
    """Another one where the content may be another."""
    bytes: int
    """Size, as the source says."""

    @property
    def is_recording(self) -> bool:
        """Whether it looks like audio that can be read."""
        return is_recording(self.name)


class Source(ABC):
    """Files by name, in order, and what was not taken."""

    def __init__(self, path: Path, settings: DatasetSettings) -> None:
        self.path = path
        self._settings = settings
        self.entries: dict[str, Entry] = {}
        self.refused: list[Refused] = []
        self._by_form: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Of the folder, or of the archive without its suffix."""
        return self.path.stem if self.path.is_file() else self.path.name

    @abstractmethod
    def open(self, entry: Entry, scratch: Path) -> IO[bytes]:
        """The file, seekable; what has to be unpacked lies in the folder `scratch` while it is open.

        Raises BadInput where it cannot be read, Unread where it may be later, OSError where there is no room to unpack.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the source."""

    def check(self) -> None:
        """Raises BadInput where there is no recording, or nothing will tell what they say."""
        names = self.entries.keys()
        if not any(map(is_recording, names)):
            others = "; ".join(f"{row.source}: {row.why}" for row in self.refused[:MOST_REASONS])
            told = f": {others}" if others else ""
            raise BadInput(f"there is no recording in {self.path}; put {CONTAINERS} there{told}", param="source")
        if not self._settings.whisper and not any(map(is_metadata, names)):
            raise BadInput(
                f"{self.path} has no metadata.csv, so its texts are not known: write one with lines like "
                "`wavs/0001.wav|What is said.`, or name a Whisper model (whisper)",
                param="source",
            )

    def find(self, name: str) -> Entry | None:
        """The entry of this name, however its accents are written."""
        return self.entries.get(name) or self.entries.get(self._by_form.get(unicodedata.normalize("NFC", name), ""))

    def _add(self, entry: Entry) -> None:
        if len(self.entries) >= self._settings.most_files:
            raise TooLarge(f"{self.path} holds more than the {self._settings.most_files} files allowed", param="source")
        if entry.name in self.entries:
            self._refuse(entry.name, "twice", "the name stands in it twice; the first one is taken")
            return
        if PurePosixPath(entry.name).suffix.lower() in FOREIGN:
            self._refuse(entry.name, "foreign", f"this kind of audio cannot be read; send {CONTAINERS}")
            return
        if entry.bytes > (most := self._settings.most_file_bytes):
            self._refuse(
                entry.name, "large", f"it has {entry.bytes} bytes; at most {most} are allowed (most_file_bytes)"
            )
            return
        self.entries[entry.name] = entry
        self._by_form.setdefault(unicodedata.normalize("NFC", entry.name), entry.name)

    def _refuse(self, name: str, reason: str, why: str) -> None:
        self.refused.append(Refused(source=name, reasons=(reason,), why=why))


def open_source(path: Path, settings: DatasetSettings) -> Source:
    """A folder or a zip archive, listed. Raises BadInput."""
    if path.is_dir():
        return _Folder(path.resolve(), settings)
    if path.is_file() and zipfile.is_zipfile(path):
        return _Archive(path.resolve(), settings)
    if path.is_file():
        raise BadInput(f"{path} is neither a folder nor a zip archive; put recordings into a folder", param="source")
    raise BadInput(f"{path} does not exist; name a folder or a zip archive of recordings", param="source")


def printable(name: str) -> str:
    """A file's name for terminals, pages and JSON: what is no text, and what is not seen, is escaped."""
    seen = os.fsencode(name).decode("utf-8", "backslashreplace")
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), seen)


class _Folder(Source):
    def __init__(self, path: Path, settings: DatasetSettings) -> None:
        super().__init__(path, settings)
        self._paths: dict[str, Path] = {}
        for found in sorted(self._walk(), key=lambda found: os.fsencode(found)):
            self._take(found)

    def open(self, entry: Entry, scratch: Path) -> IO[bytes]:
        try:
            return self._paths[entry.name].open("rb")
        except OSError as error:
            raise Unread(f"it cannot be read: {error.strerror}") from error

    def close(self) -> None:
        self._paths.clear()

    def _walk(self) -> Iterator[Path]:
        for above, folders, files in os.walk(self.path, onerror=self._unread):
            folders[:] = [name for name in folders if not is_strewn(name)]
            for name in folders:
                if (link := Path(above, name)).is_symlink():
                    self._refuse(self._shown(link), "link", "links to folders are not followed; copy the folder")
            yield from (Path(above, name) for name in files if not is_strewn(name))

    def _unread(self, error: OSError) -> None:
        self._refuse(self._shown(Path(error.filename)), "unreadable", f"the folder cannot be read: {error.strerror}")

    def _take(self, path: Path) -> None:
        name = self._shown(path)
        try:
            target = path.resolve(strict=True)
            state = target.stat()
        except (OSError, RuntimeError) as error:
            self._refuse(name, "link", f"it leads nowhere: {getattr(error, 'strerror', None) or error}")
            return
        if not target.is_relative_to(self.path):
            self._refuse(name, "outside", "the link leads out of the folder; copy the file into it")
        elif not stat.S_ISREG(state.st_mode):
            self._refuse(name, "link", "it is a device or a pipe, no file")
        else:
            self._paths.setdefault(name, target)
            self._add(Entry(name, f"{state.st_size}-{state.st_mtime_ns}", state.st_size))

    def _shown(self, path: Path) -> str:
        return printable(path.relative_to(self.path).as_posix())


class _Archive(Source):
    def __init__(self, path: Path, settings: DatasetSettings) -> None:
        super().__init__(path, settings)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        with ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
            except OSError as error:
                raise BadInput(f"{path} cannot be read: {error.strerror or error}", param="source") from error
            self._archive = archive.opened(file, path.name, settings.most_files, "source")
            for info in self._archive.infolist():
                self._take(info)
            self._check_size(sum(info.file_size for info in self._archive.infolist()))
            self._opened = stack.pop_all()

    def open(self, entry: Entry, scratch: Path) -> IO[bytes]:
        # Unpacked, as FFmpeg jumps to and fro, for which zipfile would unpack from the start each time.
        file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the caller closes it
        try:
            for piece in archive.pieces(self._archive, self._infos[entry.name]):
                file.write(piece)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        self._opened.close()

    def _check_size(self, declared: int) -> None:
        if declared > (most := self._settings.most_bytes):
            raise TooLarge(
                f"{self.path.name} says that it unpacks to {declared} bytes; at most {most} are allowed (most_bytes)",
                param="source",
            )

    def _take(self, info: zipfile.ZipInfo) -> None:
        name = printable(archive.name_of(info))
        parts = name.removesuffix("/").split("/")
        if any(is_strewn(part) and part != ".." for part in parts):
            return
        if problem := archive.problem(info):
            self._refuse(name, *problem)
        elif info.file_size > max(SMALL_BYTES, MOST_RATIO * info.compress_size):
            why = f"{info.compress_size} bytes that unpack to {info.file_size} are no recording"
            self._refuse(name, "large", why)
        elif not name.endswith("/"):
            self._infos.setdefault(name, info)
            self._add(Entry(name, f"{info.file_size}-{info.CRC:08x}", info.file_size))
