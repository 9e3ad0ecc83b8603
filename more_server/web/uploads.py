"""Recordings and archives as browsers and programs send them."""

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath
from typing import Any, ParamSpec, TypeVar

import msgspec
from litestar import Request, Response, Router
from litestar.datastructures import UploadFile
from litestar.exceptions import HTTPException

from more_server.errors import BadInput, TooLarge, Unavailable, allowed, shown
from more_server.speak import Speaker
from more_server.tables import LimitSettings
from more_server.threads import to_its_end
from more_server.voice_toml import REFERENCE_SUFFIXES
from more_server.voicebank.archive import OVERHEAD_BYTES
from more_server.web.errors import handle_http_error, handle_more_error

MEDIA_TYPES = (
    (".wav", "audio/wav"),
    (".mp3", "audio/mpeg"),
    (".m4a", "audio/mp4"),
    (".mp4", "audio/mp4"),
    (".aac", "audio/aac"),
    (".ogg", "audio/ogg"),
    (".opus", "audio/ogg"),
    (".flac", "audio/flac"),
    (".webm", "audio/webm"),
    (".wav", "audio/x-wav"),
    (".wav", "audio/wave"),
    (".wav", "audio/vnd.wave"),
    (".mp3", "audio/mp3"),
    (".m4a", "audio/x-m4a"),
    (".flac", "audio/x-flac"),
)
"""Of recordings. Where several fit, the first one is meant."""
BEGINNINGS = (
    (".wav", re.compile(rb"RIFF....WAVE", re.DOTALL)),
    (".flac", re.compile(rb"fLaC")),
    (".ogg", re.compile(rb"OggS")),
    (".m4a", re.compile(rb"....ftyp", re.DOTALL)),
    (".webm", re.compile(rb"\x1aE\xdf\xa3")),
    (".aac", re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")),
    (".mp3", re.compile(rb"ID3|\xff[\xe2-\xff]")),
)
"""Of recordings, as `client.audio.voices.create(audio_sample=<bytes>)` sends them without a name."""
MULTIPART = "multipart/form-data"


TURN_SECONDS, RETRY_SECONDS = 60.0, 10.0
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


async def looked_through(
    speaker: Speaker, work: Callable[Given, Answer], *given: Given.args, **named: Given.kwargs
) -> Answer:
    """What blocking work on an upload gives, in its turn. Raises Unavailable where others are worked on for a minute.

    Who waits holds no thread: of asyncio's six on two cores, in which requests are resolved, none would be left.
    """
    turns = speaker.voices.adding
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turns.acquire()
    except TimeoutError as error:
        raise Unavailable("too many recordings are being looked through", retry_after=RETRY_SECONDS) from error
    try:
        return await to_its_end(work, *given, **named)
    finally:
        turns.release()


class Form(msgspec.Struct):
    """A form that was sent, blank fields left out."""

    texts: dict[str, list[str]]
    """By field, in the order in which they came."""
    files: dict[str, list[tuple[str, bytes]]]
    """Suffix, such as `.wav`, and content, by field."""

    def text(self, field: str) -> str:
        """The value of a field; empty where it was not sent. Raises BadInput where it was sent twice."""
        values = self.texts.get(field, [])
        if len(values) > 1:
            raise BadInput(f"{field} was sent {len(values)} times; once is enough", param=field)
        return values[0] if values else ""

    def listed(self, field: str) -> list[str]:
        """The values of a field that may come several times, or once with commas."""
        parts = (part.strip() for value in self.texts.get(field, []) for part in value.split(","))
        return [part for part in parts if part]


def uploads(handlers: Sequence[Any], limits: LimitSettings, recordings: int) -> Router:
    """Handlers that may be sent so many recordings.

    All handlers of a path belong into one router: each adds one of its own for OPTIONS.
    """

    def too_large(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        if error.status_code != TooLarge.status:
            return handle_http_error(request, error)
        many = f"{recordings} recordings of {limits.reference_bytes} bytes each"
        most = many if recordings > 1 else f"a recording of {limits.reference_bytes} bytes"
        return handle_more_error(request, TooLarge(f"the body is larger than {most} (limits.reference_bytes)"))

    return Router(
        path="/",
        route_handlers=list(handlers),
        request_max_body_size=recordings * limits.reference_bytes + OVERHEAD_BYTES,
        exception_handlers={HTTPException: too_large},
    )


def media_type(name: str) -> str:
    """Of a recording, by the suffix of its file's name."""
    suffix = PurePosixPath(name).suffix.lower()
    return next((kind for known, kind in MEDIA_TYPES if known == suffix), "application/octet-stream")


async def read_form(request: Request[Any, Any, Any], texts: Collection[str], files: Collection[str], most: int) -> Form:
    """A form of these fields, whose files have at most so many bytes each.

    Raises BadInput naming the field, TooLarge.
    """
    if request.content_type[0] != MULTIPART:
        raise BadInput(f"send a form ({MULTIPART}) with the fields: {allowed([*texts, *files])}")
    try:
        sent = await request.form()
    except (LookupError, ValueError) as error:  # a character set that does not exist, or another one than it says
        raise BadInput(f"the form cannot be read: {getattr(error, 'detail', error)}") from error
    try:
        form = Form({}, {})
        for field, value in sent.multi_items():
            is_file = isinstance(value, UploadFile)
            if field not in (files if is_file else texts):
                raise _unexpected(field, is_file, texts, files)
            if isinstance(value, UploadFile):
                content = await _content(value, field, most)
                form.files.setdefault(field, []).append((_suffix(value, content), content))
            elif value.strip():
                form.texts.setdefault(field, []).append(value)
        return form
    finally:
        await sent.close()


async def read_archive(request: Request[Any, Any, Any], most: int) -> bytes:
    """The file `file` of a form, or the body itself. Raises BadInput or TooLarge."""
    if request.content_type[0] != MULTIPART:
        content = await request.body()
    else:
        form = await read_form(request, (), ("file",), most)
        archives = form.files.get("file", [])
        if len(archives) > 1:
            raise BadInput(f"{len(archives)} archives; send one at a time", param="file")
        content = archives[0][1] if archives else b""
    if not content:
        raise BadInput("there is no archive; send it as the body, or as the file `file` of a form", param="file")
    return content


def _unexpected(field: str, is_file: bool, texts: Collection[str], files: Collection[str]) -> BadInput:
    if field in files:
        return BadInput(f"{field} must be a file, with a name", param=field)
    if field in texts and is_file:
        return BadInput(f"{field} must be text, not a file", param=field)
    return BadInput(f"there is no field {shown(field)}; there are: {allowed([*texts, *files])}", param=field)


def _suffix(file: UploadFile, content: bytes) -> str:
    """Of its name; where that has none, as some programs send it, of its media type or of how it begins."""
    suffix = PurePosixPath(file.filename).suffix.lower()
    if suffix in REFERENCE_SUFFIXES:
        return suffix
    sent = file.content_type.partition(";")[0].strip().lower()
    named = next((known for known, kind in MEDIA_TYPES if kind == sent), suffix)
    return named or next((known for known, begins in BEGINNINGS if begins.match(content)), "")


async def _content(file: UploadFile, field: str, most: int) -> bytes:
    content = await file.read(most + 1)
    if len(content) > most:
        raise TooLarge(f"a file {field} is larger than the {most} bytes allowed", param=field)
    return content
