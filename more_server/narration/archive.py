"""An EPUB's files: nothing is unpacked to the disk, and no more to memory than a book needs."""

from io import BytesIO

from more_server.archive import name_of, opened, pieces, problem
from more_server.errors import BadInput, shown

MOST_MEMBERS = 20_000
MOST_BYTES = 67_108_864
"""Of everything that is unpacked, which is text alone: the longest novels take under 20 MB with their markup."""
MOST_RATIO, FREE_BYTES = 100, 1_048_576
"""Text gets 3 to 10 times smaller, deflate makes zeros 1030 times so; the first megabyte of a file is looked at less
closely."""


def refused(message: str) -> BadInput:
    """An error about the document that was sent."""
    return BadInput(message, param="document")


class Archive:
    """The members of a zip file by name, read one at a time."""

    def __init__(self, content: bytes) -> None:
        """Raises BadInput for what is no zip file, encrypted, or names files outside itself, TooLarge."""
        self._zip = opened(BytesIO(content), "the EPUB", MOST_MEMBERS, "document")
        for member in self._zip.infolist():
            if found := problem(member):
                raise refused(f"{shown(name_of(member))} in the EPUB: {found[1]}")
        self._members = {name_of(member): member for member in self._zip.infolist()}
        self._left = MOST_BYTES

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """A member that is there. Raises BadInput where it is damaged, or unpacks to more than a book may have."""
        member = self._members[name]
        most = min(self._left, max(FREE_BYTES, MOST_RATIO * member.compress_size))
        if member.file_size > most:
            raise refused(
                f"{name} in the EPUB unpacks to more than {most} bytes; a book's text may have "
                f"{MOST_BYTES} bytes in all, and a file {MOST_RATIO} times those that it takes packed"
            )
        self._left -= member.file_size
        try:
            return b"".join(pieces(self._zip, member))
        except BadInput as error:
            raise refused(f"{name} in the EPUB is damaged: {error.message}") from error
