"""Uploads that go on where a connection broke: tus 1.0 at `/v1/admin/uploads` (https://tus.io/protocols).

Its extensions creation, creation-with-upload, expiration, checksum and termination. Any client of that protocol can be
pointed here; a plain GET tells what there is.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any, Literal

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.params import FromPath

from more_server.audit import Actor, AuditLog
from more_server.errors import (
    BadInput,
    Conflict,
    DiskFull,
    MoreError,
    TooLarge,
    UploadLocked,
    UploadNotFound,
    WrongChecksum,
    WrongType,
    WrongVersion,
    shown,
)
from more_server.lessons.uploads import Sink, Upload, Uploads
from more_server.speak import Speaker
from more_server.tables import LimitSettings
from more_server.threads import in_threads, to_its_end
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described, said
from more_server.web.errors import handle_more_error

UPLOADS = "/v1/admin/uploads"
UPLOAD = "/v1/admin/uploads/{upload_id:str}"
VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
ALGORITHMS = ("sha1", "sha256")
EXPOSED = (
    *("location", "tus-checksum-algorithm", "tus-extension", "tus-max-size", "tus-resumable", "tus-version"),
    *("upload-expires", "upload-length", "upload-metadata", "upload-offset"),
)
"""Headers that a browser's page must be let see."""
BYTES = "application/offset+octet-stream"
BUFFER_BYTES = 1 << 20
"""Written at a time: uvicorn gives 64 kB, for each of which a thread would cost as much as the writing."""
MOST_METADATA = 4096
NUMBER = re.compile(r"[0-9]{1,18}")
TUS = {"tus-resumable": said(Literal["1.0.0"], "The version of tus.")}
CHECKSUM = {"upload-checksum": said(str, "sha1 or sha256, a space, and base64 of the body's digest.") | None}
BEGINNING = (
    TUS
    | CHECKSUM
    | {
        "upload-length": said(int, "Bytes of all of it.", ge=0),
        "upload-metadata": said(str, "`name base64`, with commas between; `filename` is its name.") | None,
    }
)
GOING_ON = TUS | CHECKSUM | {"upload-offset": said(int, "Bytes that have come before.", ge=0)}
REFUSALS = (WrongVersion, WrongChecksum, Conflict, UploadLocked, UploadNotFound, DiskFull)

Asked = Request[Any, Any, Any]


class UploadList(msgspec.Struct):
    """`GET /v1/admin/uploads`, the latest first."""

    data: list[Upload]
    object: Literal["list"] = "list"


def routes(_limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application; how much they take is checked by what an upload is to have."""
    told: dict[int | type[Exception], Any] = {MoreError: _refused}
    return [Router(path="/", route_handlers=HANDLERS, request_max_body_size=None, exception_handlers=told)]


@route([UPLOADS, UPLOAD], http_method=[HttpMethod.OPTIONS], opt=described(ADMIN), status_code=204)
async def capabilities(speaker: NamedDependency[Speaker]) -> Response[None]:
    """What of tus there is."""
    most = str(speaker.settings.limits.upload_bytes)
    headers = {"tus-extension": EXTENSIONS, "tus-max-size": most, "tus-checksum-algorithm": ",".join(ALGORITHMS)}
    return _empty(headers | {"tus-version": VERSION})


@get(UPLOADS, opt=described(ADMIN, answer=UploadList))
async def list_all(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """Uploads that are unfinished, or finished and not used yet."""
    return answer(UploadList(await asyncio.to_thread(Uploads(speaker.settings).list_all)))


@post(
    UPLOADS,
    opt=described(ADMIN, headers=BEGINNING, body=BYTES, body_needed=False, answer=Upload, errors=REFUSALS),
    status_code=201,
)
async def create(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog]
) -> Response[bytes]:
    """Begin an upload: `Upload-Length`, `Upload-Metadata` with `filename`, and perhaps its first bytes as the body."""
    _check_version(request)
    for name in ("upload-defer-length", "upload-concat"):
        if name in request.headers:
            raise BadInput(f"{name} is not supported; OPTIONS tells what is", param=name)
    length, sent = _number(request, "upload-length"), request.headers.get("upload-metadata", "")
    filename = metadata(sent).get("filename", "")
    digest = _checksum(request)
    uploads = Uploads(speaker.settings)
    made = await asyncio.to_thread(uploads.create, filename, length, sent)
    told = {"filename": filename, "bytes": length}
    await asyncio.to_thread(audit.record, caller(request), "uploads.create", made.id, told)
    if request.content_type[0] == BYTES:
        try:
            made = await _receive(request, uploads, made, 0, digest)
        except MoreError:  # without the answer nobody knows its address
            await to_its_end(uploads.remove, made.id)
            raise
    response = answer(made)
    response.status_code = 201
    response.headers.update(_headers(made) | {"location": f"{UPLOADS}/{made.id}"})
    return response


@get(UPLOAD, opt=described(ADMIN, answer=Upload, errors=(UploadNotFound,)))
async def get_one(speaker: NamedDependency[Speaker], upload_id: FromPath[str]) -> Response[bytes]:
    """How far an upload has come; HEAD, as tus asks, is answered with the same headers."""
    found = await asyncio.to_thread(Uploads(speaker.settings).find, upload_id)
    response = answer(found)
    response.headers.update(_headers(found) | {"cache-control": "no-store", "upload-length": str(found.length)})
    if found.metadata:
        response.headers["upload-metadata"] = found.metadata
    return response


@patch(
    UPLOAD,
    opt=described(ADMIN, headers=GOING_ON, body=BYTES, errors=(*REFUSALS, WrongType)),
    status_code=204,
)
async def append(request: Asked, speaker: NamedDependency[Speaker], upload_id: FromPath[str]) -> Response[None]:
    """More bytes, from `Upload-Offset` on; what has come stays when the connection breaks."""
    _check_version(request)
    if request.content_type[0] != BYTES:
        raise WrongType(f"the Content-Type of an upload's bytes is {BYTES}")
    offset, digest = _number(request, "upload-offset"), _checksum(request)
    uploads = Uploads(speaker.settings)
    found = await asyncio.to_thread(uploads.find, upload_id)
    return _empty(_headers(await _receive(request, uploads, found, offset, digest)))


@delete(UPLOAD, opt=described(ADMIN, headers=TUS, errors=(WrongVersion, UploadLocked, UploadNotFound)), status_code=204)
async def remove(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], upload_id: FromPath[str]
) -> Response[None]:
    """Forget an upload and its bytes."""
    _check_version(request)
    await asyncio.to_thread(_remove, Uploads(speaker.settings), audit, caller(request), upload_id)
    return _empty({})


HANDLERS = (capabilities, list_all, create, get_one, append, remove)
"""All of them, for whoever describes or checks the routes."""


def metadata(sent: str) -> dict[str, str]:
    """Upload-Metadata: `name base64,name base64`. Raises BadInput."""
    if len(sent) > MOST_METADATA:
        raise BadInput(f"Upload-Metadata has {len(sent)} characters; at most {MOST_METADATA}", param="upload-metadata")
    found: dict[str, str] = {}
    for pair in sent.split(",") if sent.strip() else ():
        name, _, value = pair.strip().partition(" ")
        try:
            text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError) as error:
            raise BadInput(
                f"Upload-Metadata: {shown(pair.strip())} is not a name and base64 of UTF-8", param="upload-metadata"
            ) from error
        if not name or name in found:
            raise BadInput("Upload-Metadata: each part has a name of its own", param="upload-metadata")
        found[name] = text
    return found


# -- the body


async def _receive(
    request: Asked, uploads: Uploads, upload: Upload, offset: int, checksum: tuple[str, bytes] | None
) -> Upload:
    """The body's bytes at `offset` of an upload; how far it has come then."""
    announced = request.content_length
    if announced is not None and offset == upload.offset and announced > upload.length - offset:
        raise TooLarge(f"{announced} bytes at {offset} are more than the {upload.length} that the upload is to have")
    async with in_threads(uploads.opened(upload.id, offset, checked=checksum is not None)) as sink:
        await _written(request, sink, checksum)
    return await asyncio.to_thread(uploads.find, upload.id)


async def _written(request: Asked, sink: Sink, checksum: tuple[str, bytes] | None) -> None:
    digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
    held = bytearray()

    def write() -> None:
        if digest:
            digest.update(held)
        sink.write(held)
        held.clear()

    async for piece in _pieces(request):
        held += piece
        if len(held) >= BUFFER_BYTES:
            await to_its_end(write)
    if held:
        await to_its_end(write)
    if checksum and digest and digest.digest() != checksum[1]:
        raise WrongChecksum(f"the {checksum[0]} of what came is {digest.hexdigest()}; it is as if nothing had come")
    sink.keep()


async def _pieces(request: Asked) -> AsyncIterator[bytes]:
    """The body as it comes; where the connection breaks, or stalls (limits.body_seconds), it just ends."""
    more = True
    while more:
        try:
            event = await request.receive()
        except TimeoutError:  # its client may want to go on over another one
            return
        if event["type"] != "http.request":
            return
        if event["body"]:
            yield event["body"]
        more = event.get("more_body", False)


# -- headers


def _check_version(request: Asked) -> None:
    if (sent := request.headers.get("tus-resumable", "")) != VERSION:
        raise WrongVersion(f"Tus-Resumable is {shown(sent)}; this server speaks {VERSION}", param="tus-resumable")


def _number(request: Asked, name: str) -> int:
    sent = request.headers.get(name, "")
    if not NUMBER.fullmatch(sent):
        raise BadInput(f"{name} is {shown(sent)}; it is a number of bytes", param=name)
    return int(sent)


def _checksum(request: Asked) -> tuple[str, bytes] | None:
    """Algorithm and digest that the body is to have; None: none was sent."""
    if (sent := request.headers.get("upload-checksum")) is None:
        return None
    algorithm, _, value = sent.partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadInput(
            f"upload-checksum: {shown(algorithm)} is not known; there are {', '.join(ALGORITHMS)}",
            param="upload-checksum",
        )
    try:
        return algorithm, base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise BadInput("upload-checksum: its value is not base64", param="upload-checksum") from error


def _headers(upload: Upload) -> dict[str, str]:
    expires = formatdate(upload.expires, usegmt=True)
    return {"tus-resumable": VERSION, "upload-offset": str(upload.offset), "upload-expires": expires}


def _empty(headers: dict[str, str]) -> Response[None]:
    return Response(None, status_code=204, headers={"tus-resumable": VERSION} | headers)


def _refused(request: Asked, error: MoreError) -> Response[bytes]:
    response = handle_more_error(request, error)
    response.headers["tus-resumable"] = VERSION
    if isinstance(error, WrongVersion):
        response.headers["tus-version"] = VERSION
    return response


def _remove(uploads: Uploads, audit: AuditLog, actor: Actor, upload_id: str) -> None:
    uploads.find(upload_id)  # what does not exist is not on record
    with audit.change(actor, "uploads.delete", upload_id):
        uploads.remove(upload_id)
