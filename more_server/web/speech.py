"""`POST /v1/audio/speech`: the first encoded chunk exists before the status line is sent."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.response import Stream

from more_server.audio.encode import Format, find_format, make_encoder
from more_server.errors import BadInput, MoreError
from more_server.speak import Speaker
from more_server.speech import SpeechRequest, Utterance
from more_server.web import wire
from more_server.web.errors import request_id

Result = TypeVar("Result")
log = structlog.get_logger("more_server.web")

DEFAULT_FORMAT = "mp3"
"""Open WebUI and LibreChat omit the format and treat the answer as MP3."""


@post("/v1/audio/speech", status_code=200)
async def speech(request: Request[Any, Any, Any], speaker: NamedDependency[Speaker]) -> Response[Any]:
    """Speech for a text, streamed as it is made."""
    speaker.check_ready()
    body = wire.decode(await request.body(), wire.SpeechBody)
    response_format, as_events = find_format((body.response_format or DEFAULT_FORMAT).lower()), _as_events(body)
    utterance = await speaker.resolve(_asked(body), request_id(request.scope))
    report = Report(request, body, utterance)
    chunks = encoded(speaker, utterance, response_format, report)
    if as_events:
        chunks = events(chunks, speaker, utterance, report)
    first = await unless_disconnected(request, anext(chunks))
    if first is None:
        await chunks.aclose()
        return Response(None, status_code=499)
    return Stream(
        continued(first, chunks),
        media_type="text/event-stream" if as_events else response_format.content_type,
        headers={"x-seed": str(utterance.seed), "cache-control": "no-cache", "x-accel-buffering": "no"},
    )


def _asked(body: wire.SpeechBody) -> SpeechRequest:
    return SpeechRequest(
        text=body.input,
        voice=body.voice.id if isinstance(body.voice, wire.VoiceReference) else body.voice,
        model=body.model,
        quality=body.quality,
        language=body.language,
        speed=1.0 if body.speed is None else body.speed,
        seed=body.seed,
    )


def _as_events(body: wire.SpeechBody) -> bool:
    name = body.stream_format or "audio"
    if name not in ("audio", "sse"):
        raise BadInput(f"there is no stream_format {name!r}; there are: audio, sse", param="stream_format")
    return name == "sse"


class Report:
    """The one log line of a speech request."""

    def __init__(self, request: Request[Any, Any, Any], body: wire.SpeechBody, utterance: Utterance) -> None:
        self._started = time.monotonic()
        self.first_audio: float | None = None
        self.audio_seconds = 0.0
        self._fields = {
            "request_id": utterance.id,
            "user_agent": request.headers.get("user-agent", ""),
            "text_length": len(body.input),
            "voice_id": utterance.voice.id,
            "quality_profile": utterance.profile.name,
            "seed": utterance.seed,
        }

    def made(self, seconds: float) -> None:
        """Count audio that was made."""
        if self.first_audio is None:
            self.first_audio = time.monotonic() - self._started
        self.audio_seconds += seconds

    def end(self, outcome: str) -> None:
        """Write the line."""
        seconds = time.monotonic() - self._started
        log.info(
            "speech",
            **self._fields,
            outcome=outcome,
            duration_ms=round(seconds * 1000),
            first_audio_ms=round((self.first_audio or 0) * 1000),
            audio_seconds=round(self.audio_seconds, 2),
            real_time_factor=round(seconds / self.audio_seconds, 3) if self.audio_seconds else None,
        )


async def encoded(speaker: Speaker, utterance: Utterance, kind: Format, report: Report) -> AsyncGenerator[bytes, None]:
    """Encoded audio, as early as the codec lets it out; also writes the request's log line."""
    outcome = "client left"
    try:
        with make_encoder(kind.name, speaker.engine.config.output_sample_rate) as encoder:
            async with aclosing(speaker.speak(utterance)) as chunks:
                async for audio in chunks:
                    report.made(audio.seconds)
                    if data := encoder.feed(audio.samples):
                        yield data
            if data := encoder.finish():
                yield data
        outcome = "ok"
    except MoreError as error:
        outcome = error.code
        raise
    finally:
        report.end(outcome)


async def events(
    chunks: AsyncGenerator[bytes, None], speaker: Speaker, utterance: Utterance, report: Report
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
        yield _event(wire.error_body(error))
        return
    spoken = sum(len(segment.token_ids) for segment in utterance.segments)
    codes = speaker.codes_spoken(report.audio_seconds, utterance)
    yield _event(wire.SpeechDone(wire.Usage(spoken, codes, spoken + codes)))


def _event(value: msgspec.Struct) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"


async def continued(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The first chunk, already made, then the rest; closing it closes the rest."""
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def unless_disconnected(request: Request[Any, Any, Any], work: Awaitable[Result]) -> Result | None:
    """The result of work, or None when the client leaves first; Litestar tells nobody before a response starts."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnection(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return None
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnection(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
