"""A zip file from a stranger: nothing is unpacked to the disk, and no more to memory than a book needs."""

import lzma
import stat
import struct
import zipfile
import zlib
from io import BytesIO
from typing import IO

from more_server.errors import BadInput, shown

MOST_MEMBERS = 20_000
MOST_BYTES = 67_108_864
"""Of everything that is unpacked, which is text alone: the longest novels take under 20 MB with their markup."""
MOST_RATIO, FREE_BYTES = 100, 1_048_576
"""Text gets 3 to 10 times smaller, deflate makes zeros 1030 times so; the first megabyte of a file is looked at less
closely."""
PIECE_BYTES = 65_536
FAILURES = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile raises for files that are damaged or made to harm."""


def refused(message: str) -> BadInput:
    """An error about the document that was sent."""
    return BadInput(message, param="document")


class Archive:
    """The members of a zip file by name, read one at a time."""

    def __init__(self, content: bytes) -> None:
        """Raises BadInput for what is no zip file, encrypted, too large, or names files outside itself."""
        try:
            self._zip = zipfile.ZipFile(BytesIO(content))
            members = self._zip.infolist()
        except FAILURES as error:
            raise refused(f"document is not an EPUB: it cannot be read as a zip file ({error})") from error
        if len(members) > MOST_MEMBERS:
            raise refused(f"the EPUB has {len(members)} files; at most {MOST_MEMBERS} are allowed")
        for member in members:
            _check(member)
        self._members = {member.filename: member for member in members}
        self._left = MOST_BYTES

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """A member that is there. Raises BadInput where it is damaged, or unpacks to more than a book may have."""
        member = self._members[name]
        try:
            with self._zip.open(member) as stream:
                return self._unpacked(stream, member)
        except FAILURES as error:
            raise refused(f"{name} in the EPUB is damaged: {error}") from error

    def _unpacked(self, stream: IO[bytes], member: zipfile.ZipInfo) -> bytes:
        # Counted while it is read: what the archive says of its sizes need not be true.
        most = min(self._left, max(FREE_BYTES, MOST_RATIO * member.compress_size))
        content = bytearray()
        while piece := stream.read(PIECE_BYTES):
            content += piece
            if len(content) > most:
                raise refused(
                    f"{member.filename} in the EPUB unpacks to more than {most} bytes; a book's text may have "
                    f"{MOST_BYTES} bytes in all, and a file {MOST_RATIO} times those that it takes packed"
                )
        self._left -= len(content)
        return bytes(content)


def _check(member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or stat.S_ISLNK(member.external_attr >> 16):
        raise refused(f"the EPUB names a file outside itself: {shown(name)}")
    if member.flag_bits & 1:
        raise refused(f"{name} in the EPUB is encrypted; only books without copy protection can be read")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(f"{name} in the EPUB is packed in a way that EPUB does not know; it must be stored or deflated")
