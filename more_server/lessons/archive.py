"""Zip archives that a stranger made: nothing of them is trusted, and no name in them is used as a path."""

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from more_server.errors import BadInput, TooLarge

MOST_RATIO, SMALL_BYTES = 200, 50_000_000
"""Bytes out for a byte in. Half an hour of digital silence shrinks by 1000, so what is small may."""
PIECE = 1 << 20
END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
TAIL = 1 << 17
"""Bytes at the end of an archive that hold its last records, a comment of 64 kB included."""
ENTRY_BYTES = 46
"""The least that an archive's directory spends on a file."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error)
"""What zipfile raises for archives that somebody cut, bent or made up; bad UTF-8 is a ValueError."""


def opened(path: Path, most_files: int) -> zipfile.ZipFile:
    """An archive with its directory read. Raises BadInput or TooLarge."""
    try:
        if (count := _directory_bytes(path) // ENTRY_BYTES) > 10 * most_files:
            # Before zipfile makes an object of each.
            raise TooLarge(f"{path.name} holds up to {count} files; at most {most_files} are allowed", param="source")
        return zipfile.ZipFile(path)
    except BROKEN as error:
        raise BadInput(f"the archive {path.name} cannot be read: {_words(error)}", param="source") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", param="source") from error


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


def problem(info: zipfile.ZipInfo, name: str) -> tuple[str, str] | None:
    """Why an entry is not taken, as a reason and in words."""
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "outside", "names that lead elsewhere are not taken out of an archive"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link", "it is a link or a device, no file"
    if info.flag_bits & 0x41:
        return "encrypted", "it is encrypted; make the archive without a password"
    # The readers of the others give out whatever a block makes: 4 kB of bzip2 can be gigabytes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "foreign", "it is compressed in a way that is not read; use deflate or none"
    if info.file_size > max(SMALL_BYTES, MOST_RATIO * info.compress_size):
        return "large", f"{info.compress_size} bytes that unpack to {info.file_size} are no recording"
    return None


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: IO[bytes]) -> None:
    """The entry's content into `file`. Raises BadInput; OSError where `file` cannot be written."""
    count = 0
    try:
        packed = archive.open(info)
    except (*BROKEN, OSError) as error:
        raise BadInput(f"it cannot be unpacked: {_words(error)}") from error
    with packed:
        while piece := _piece(packed):
            count += len(piece)
            if count > info.file_size:
                raise BadInput("it is larger than the archive says")
            file.write(piece)


def _piece(packed: IO[bytes]) -> bytes:
    try:
        return packed.read(PIECE)
    except (*BROKEN, OSError) as error:
        raise BadInput(f"it cannot be unpacked: {_words(error)}") from error


def _directory_bytes(path: Path) -> int:
    """Size of the list of files, as the archive's last record says and zipfile believes."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    where = tail.rfind(END)
    if where < 0:
        return 0
    found: int = struct.unpack_from("<I", tail, where + 12)[0]
    longer = tail.rfind(END_64, 0, where)
    if longer >= 0 and len(tail) >= longer + 48:
        found = max(found if found != 0xFFFFFFFF else 0, struct.unpack_from("<Q", tail, longer + 40)[0])
    return found


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
