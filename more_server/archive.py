"""Zip archives that a stranger made: nothing of them is trusted, and no name in them is used as a path."""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from more_server.errors import BadInput, TooLarge

BROKEN = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, LookupError, OverflowError, struct.error,
          zlib.error)  # fmt: skip
"""What zipfile raises for archives that somebody cut, bent or made up; bad UTF-8 is a ValueError."""
LISTED_BYTES = 128
"""That the list of files may take for each, on average, where there are as many as are allowed; with a name of 30
letters it takes 80 to 110."""
DRIVE = re.compile(r"[A-Za-z]:/")
PIECE_BYTES = 1 << 20


def opened(file: IO[bytes], name: str, most: int, param: str) -> zipfile.ZipFile:
    """An archive with its list of at most so many files read.

    name: what people know the archive by. param: the field it came in. Raises BadInput or TooLarge.
    """
    try:
        # zipfile makes half a kilobyte of each file, 140 000 in a second, before it can be asked how many there are.
        # Its own reader of the archive's last record, as any other may be shown another record than it believes.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if end and (size := end[5]) > most * LISTED_BYTES:
            raise TooLarge(
                f"the list of the files in {name} has {size} bytes; at most {most * LISTED_BYTES} are allowed",
                param=param,
            )
        archive = zipfile.ZipFile(file)
    except BROKEN as error:
        raise BadInput(f"{name} cannot be read as a zip file: {_words(error)}", param=param) from error
    if (count := len(archive.infolist())) > most:
        raise TooLarge(f"{name} holds {count} files; at most {most} are allowed", param=param)
    return archive


def name_of(info: zipfile.ZipInfo) -> str:
    """Its name; macOS writes UTF-8 and does not say so, which zipfile reads as an old code page."""
    # `filename` is what zipfile makes of it: cut at a zero byte, for one. Some of Windows's tools part folders by \.
    name = info.orig_filename.replace("\\", "/")
    if info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def problem(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    """Why an entry is not taken, as a reason and in words."""
    name = name_of(info)
    if DRIVE.match(name) or any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        return "outside", "names that lead elsewhere are not taken out of an archive"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link", "it is a link or a device, no file"
    if info.flag_bits & 0x41:
        return "encrypted", "it is encrypted; make the archive without a password"
    # The readers of the others give out whatever a block makes: 4 kB of bzip2 can be gigabytes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "foreign", "it is compressed in a way that is not read; use deflate or none"
    return None


def pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of an entry that has no `problem`: no more bytes than it declares, which is zipfile's promise.

    Raises BadInput where it is damaged, or declares something else than it has.
    """
    try:
        with archive.open(info) as packed:
            while piece := packed.read(PIECE_BYTES):
                yield piece
    except BROKEN as error:
        raise BadInput(f"it cannot be unpacked: {_words(error)}") from error


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
