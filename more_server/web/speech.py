"""`POST /v1/audio/speech`: the first encoded chunk exists before the status line is sent."""

import base64
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.response import Stream

from more_server.audio.encode import FORMATS, find_format
from more_server.audio.encoded import encoded, encoded_whole
from more_server.errors import BadInput, ModelNotFound, MoreError, VoiceNotFound, shown
from more_server.leaving import CLIENT_LEFT, unless_gone
from more_server.report import Report
from more_server.speak import Speaker
from more_server.speech import Utterance
from more_server.web import wire
from more_server.web.described import described
from more_server.web.errors import request_id

DEFAULT_FORMAT = "mp3"
"""Open WebUI and LibreChat omit the format and treat the answer as MP3."""
NOT_STREAMED = (False, "false")
"""What `stream` is in a request that wants nothing before all of it is there."""
DOOR = "http"
"""As the log has it."""
SPEECH = {"scope": "speech"}
SPOKEN = (*(one.content_type for one in FORMATS.values()), "text/event-stream")
PIECES = (wire.SpeechDelta, wire.SpeechDone, wire.ErrorBody)


@dataclass(frozen=True)
class Begun:
    """An answer whose first bytes are there."""

    first: bytes
    rest: AsyncGenerator[bytes, None]
    content_type: str
    seed: int
    whole: bool
    """There is nothing behind the first bytes."""


@post(
    "/v1/audio/speech",
    opt=described(SPEECH, body=wire.SpeechBody, answer=SPOKEN, events=PIECES, errors=(VoiceNotFound, ModelNotFound)),
    status_code=200,
)
async def speech(request: Request[Any, Any, Any], speaker: NamedDependency[Speaker]) -> Response[Any]:
    """Speech for a text, streamed as it is made."""
    agent, traceparent = (request.headers.get(name, "") for name in ("user-agent", "traceparent"))
    report = speaker.reports.begin(request_id(request.scope), DOOR, agent, traceparent)
    try:
        body = await _body(request)
        # HTTP/1.0 has no chunks: a connection cut in the middle would look like the end. nginx speaks it by default.
        old = request.scope["http_version"] == "1.0"
        begun = None if body is None else await unless_gone(request.receive, _begin(speaker, body, report, old))
    except BaseException as error:
        report.end(error)
        raise
    if begun is None:
        report.left()
        return Response(None, status_code=CLIENT_LEFT)
    chunks = _to_the_end(begun, report)
    if not begun.whole:
        return Stream(chunks, media_type=begun.content_type, headers=_headers(begun, report))
    return Response(await _joined(chunks), media_type=begun.content_type, headers=_headers(begun, report))


def _headers(begun: Begun, report: Report) -> dict[str, str]:
    headers = {"x-seed": str(begun.seed), "cache-control": "no-cache", "x-accel-buffering": "no"}
    if report.guards:  # until now: of a stream, what was done before its first byte
        headers["x-guards"] = ", ".join(f"{name}={count}" for name, count in sorted(report.guards.items()))
    return headers


async def _body(request: Request[Any, Any, Any]) -> bytes | None:
    """The request's body; None when the client left while sending it."""
    try:
        return await request.body()
    except InternalServerException:  # "client disconnected prematurely"; Litestar has no class of its own for it
        return None


async def _begin(speaker: Speaker, content: bytes, report: Report, whole: bool) -> Begun:
    """Everything that may be refused, and the first bytes."""
    speaker.check_ready()
    body = wire.decode(content, wire.SpeechBody)
    report.asked(body.input)
    audio_format, as_events = find_format((body.response_format or DEFAULT_FORMAT).lower()), _as_events(body)
    # Pieces are joined by LibreChat behind nginx, too; the length in an MP3 file's first frame would end it there.
    as_file = body.stream in NOT_STREAMED or (whole and audio_format.name != "mp3")
    whole = whole or as_file
    asked = wire.speech_request(body, body.input, whole=whole)
    utterance = await report.resolving(speaker.resolve(asked, report.request_id))
    encode = encoded_whole if as_file else encoded
    chunks = report.encoding(encode(report.watched(speaker.speak(utterance)), audio_format.name))
    if as_events:
        chunks = events(chunks, utterance, report)
    content_type = "text/event-stream" if as_events else audio_format.content_type
    if whole:
        chunks = _once(await _joined(chunks))
    return Begun(await anext(chunks), chunks, content_type, utterance.seed, whole)


def _as_events(body: wire.SpeechBody) -> bool:
    name = (body.stream_format or "audio").lower()
    if name not in ("audio", "sse"):
        raise BadInput(f"there is no stream_format {shown(name)}; there are: audio, sse", param="stream_format")
    return name == "sse"


async def events(
    chunks: AsyncGenerator[bytes, None], utterance: Utterance, report: Report
) -> AsyncGenerator[bytes, None]:
    """OpenAI's event stream. A failure after the first event is told as an event, which both SDKs raise."""
    first = True
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield _event(wire.SpeechDelta(base64.b64encode(chunk).decode()))
                first = False
    except MoreError as error:
        if first:
            raise
        report.failed(error)
        yield _event(wire.error_body(error))
        return
    spoken = sum(len(segment.token_ids) for segment in utterance.segments)
    # The tempo undone; pauses that post-processors put in are none of the model's codes, but nearly none in all.
    codes = math.ceil(report.audio_seconds * utterance.speed / utterance.seconds_per_code)
    yield _event(wire.SpeechDone(wire.Usage(spoken, codes, spoken + codes)))


def _event(value: msgspec.Struct) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"


async def _to_the_end(begun: Begun, report: Report) -> AsyncGenerator[bytes, None]:
    """The first bytes, then the rest; closing it closes the rest. Writes the request's log line."""
    with report:
        async with aclosing(begun.rest):
            yield begun.first
            async for chunk in begun.rest:
                yield chunk


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def _joined(chunks: AsyncGenerator[bytes, None]) -> bytes:
    async with aclosing(chunks):
        return b"".join([chunk async for chunk in chunks])
