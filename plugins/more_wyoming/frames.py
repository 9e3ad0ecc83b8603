"""Messages of the protocol, read within bounds: the library's own reader waits for whatever length it is told."""

import asyncio
from typing import Any

import msgspec
from wyoming.event import Event

from more_wyoming import Settings


class BadFrame(Exception):
    """What came is no message, or too long for one; nothing behind it can be understood."""


class _Header(msgspec.Struct):
    """The first line. Lengths that are null count as 0, as in the library."""

    type: str
    data: dict[str, Any] | None = None
    data_length: int | None = None
    payload_length: int | None = None


async def read(reader: asyncio.StreamReader, settings: Settings) -> Event | None:
    """The next message; None where the other side has closed. Raises BadFrame. The reader's limit is `header_bytes`."""
    first = await reader.read(1)
    if not first:
        return None
    try:
        async with asyncio.timeout(settings.message_seconds):
            return await _rest(first, reader, settings)
    except TimeoutError as error:
        raise BadFrame(f"it was not complete within {settings.message_seconds:g} s (message_seconds)") from error


async def _rest(first: bytes, reader: asyncio.StreamReader, settings: Settings) -> Event | None:
    try:
        line = first if first == b"\n" else first + await reader.readline()
    except ValueError as error:
        raise BadFrame(f"its first line is longer than {settings.header_bytes} bytes (header_bytes)") from error
    if not line.endswith(b"\n"):
        return None
    header = _decoded(line, _Header)
    data = dict(header.data or {})
    if length := _checked(header.data_length, "data", settings.data_bytes):
        data |= _decoded(await reader.readexactly(length), dict[str, Any])
    payload = None
    if length := _checked(header.payload_length, "payload", settings.payload_bytes):
        payload = await reader.readexactly(length)
    return Event(header.type, data, payload)


def _decoded(content: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"it is no message of the protocol: {error}") from error


def _checked(length: int | None, what: str, most: int) -> int:
    if not 0 <= (length or 0) <= most:
        raise BadFrame(f"its {what} is of {length} bytes; at most {most} are allowed ({what}_bytes)")
    return length or 0
