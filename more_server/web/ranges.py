"""A file over HTTP, whole or in part (RFC 9110): downloads that go on where they broke off, players that seek."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.response import Stream

from more_server.errors import Changed, NoSuchRange, StorageError
from more_server.web.errors import handle_more_error

BLOCK_BYTES = 262_144
"""Read at a time: 1 GB goes over loopback in as little time as with larger ones."""
RANGE = re.compile(r"([0-9]*)[ \t]*-[ \t]*([0-9]*)")
DIGITS = 20
"""Of a number in a range; whatever has more is beyond the end of every file."""
HEAD = "head"
"""Key of `scope["state"]`, true where the request is HEAD: Litestar is told that it is GET (app.py)."""


@dataclass(frozen=True)
class Part:
    """Bytes of a file."""

    first: int
    length: int


def asked_part(header: str, size: int) -> Part | None:
    """What a Range header asks for of so many bytes; None: the whole file, also where it asks for several parts.

    A header that is not understood counts as none. Raises NoSuchRange.
    """
    unit, _, listed = header.partition("=")
    ranges = [one.strip(" \t") for one in listed.split(",") if one.strip(" \t")]
    found = RANGE.fullmatch(ranges[0]) if unit.strip(" \t").lower() == "bytes" and len(ranges) == 1 else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(_number(found[2]), size)
        if not length and size:
            raise _beyond(size)
        return Part(size - length, length) if length else None
    first, last = _number(found[1]), _number(found[2]) if found[2] else size - 1
    if found[2] and first > last:
        return None
    if first >= size:
        raise _beyond(size)
    return Part(first, min(last, size - 1) - first + 1)


async def send_file(request: Request[Any, Any, Any], path: Path, media_type: str, name: str) -> Response[Any]:
    """The answer to a GET or HEAD for a file, which a browser keeps under this name.

    Raises Changed, and StorageError where the file cannot be read.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error
    sends = False
    try:
        status = os.fstat(file.fileno())
        # The inode, too: a file that replaced another one within a tick of the clock.
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
        changed = datetime.fromtimestamp(int(status.st_mtime), UTC)
        headers = _headers(tag, changed, name)
        if not _is_meant(request, tag, changed):
            raise Changed("the file is not the one that the request is about", param="if-match")
        if _is_known(request, tag, changed):
            return Response(None, status_code=304, headers=headers)
        try:
            part = _part(request, tag, status.st_size)
        except NoSuchRange as error:
            answer = handle_more_error(request, error)
            answer.headers.update({"content-range": f"bytes */{status.st_size}", "accept-ranges": "bytes"})
            return answer
        whole = Part(0, status.st_size)
        headers["content-length"] = str((part or whole).length)
        if part is not None:
            headers["content-range"] = f"bytes {part.first}-{part.first + part.length - 1}/{status.st_size}"
        if request.scope["state"].get(HEAD):
            return Response(b"", media_type=media_type, headers=headers)
        sends, code = True, 206 if part else 200
        return Stream(_blocks(file, part or whole), status_code=code, media_type=media_type, headers=headers)
    finally:
        if not sends:
            file.close()


def disposition(name: str, kind: str = "attachment") -> str:
    """The header that names a file (RFC 6266): in ASCII for old programs, and as it is for all others (RFC 8187)."""
    plain = re.sub(r'[^ -~]|["\\%/]', "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _number(digits: str) -> int:
    return int(digits.lstrip("0")[:DIGITS] or 0)


def _beyond(size: int) -> NoSuchRange:
    return NoSuchRange(f"the file has {size} bytes, and the range begins behind them", param="range")


def _headers(tag: str, changed: datetime, name: str) -> dict[str, str]:
    return {
        "etag": tag,
        "last-modified": format_datetime(changed, usegmt=True),
        "accept-ranges": "bytes",
        "content-disposition": disposition(name),
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }


def _is_meant(request: Request[Any, Any, Any], tag: str, changed: datetime) -> bool:
    """RFC 9110, 13.2.2, steps 1 and 2."""
    if (tags := request.headers.get("if-match")) is not None:
        return tags.strip() == "*" or tag in _tags(tags)
    since = _date(request.headers.get("if-unmodified-since"))
    return since is None or changed <= since


def _is_known(request: Request[Any, Any, Any], tag: str, changed: datetime) -> bool:
    """The same, steps 3 and 4."""
    if (tags := request.headers.get("if-none-match")) is not None:
        return tags.strip() == "*" or tag in [one.removeprefix("W/") for one in _tags(tags)]
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and changed <= since


def _part(request: Request[Any, Any, Any], tag: str, size: int) -> Part | None:
    """The same, step 5. A date never matches: a file may change twice in its second. HEAD has no parts."""
    condition = request.headers.get("if-range", tag)
    if request.scope["state"].get(HEAD) or condition.strip() != tag or "range" not in request.headers:
        return None
    return asked_part(request.headers["range"], size)


def _tags(header: str) -> list[str]:
    return re.findall(r'(?:W/)?"[^"]*"', header)


def _date(header: str | None) -> datetime | None:
    """None for what is no date, which counts as not sent."""
    try:
        found = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


async def _blocks(file: IO[bytes], part: Part) -> AsyncGenerator[bytes, None]:
    """Raises StorageError where the file ends too early, which cuts the connection."""
    with file:
        await asyncio.to_thread(file.seek, part.first)
        left = part.length
        while left:
            block = await asyncio.to_thread(file.read, min(BLOCK_BYTES, left))
            if not block:
                raise StorageError("a file became shorter while it was sent")
            left -= len(block)
            yield block
