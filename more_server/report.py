"""What is told of a speech request, whatever front door it came by: its log line, its metrics and its trace."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Any, Self

import structlog

from more_server.errors import MoreError
from more_server.leaving import CLIENT_LEFT
from more_server.measures import Measures
from more_server.speech import Audio, Utterance
from more_server.tables import TelemetrySettings
from more_server.tracing import Span, Traces, step, within

log = structlog.get_logger("more_server.report")

OK = "ok"
UNFINISHED = "unfinished"
"""Outcome of speech whose listener left, or that the server's shutdown cut."""
STATUSES = ("ok", "refused", "busy", "unavailable", "failed", "unfinished")
"""What becomes of a request: spoken; 4xx; 429; 503; another 5xx; left by its listener, or cut by the server's end."""


class Reports:
    """Makes the reports of one server."""

    def __init__(self, telemetry: TelemetrySettings = TelemetrySettings()) -> None:  # noqa: B008 - it is frozen
        """Raises SettingsError where traces cannot be sent."""
        self.measures = Measures()
        self.traces = Traces(telemetry)
        self.talking = 0
        """Texts that arrive in pieces and are being spoken, pauses between the pieces included."""

    def begin(self, request_id: str, door: str, user_agent: str = "", traceparent: str = "") -> "Report":
        """The report of a request that has arrived. door: the front door, such as `http`."""
        return Report(request_id, door, user_agent, self.measures, self.traces.begin("speech", traceparent))

    def close(self) -> None:
        """Send what is left of traces. Blocks."""
        self.traces.close()


class Report:
    """Collects what a request did, from its arrival; `end` tells it. The text itself is never part of it."""

    def __init__(self, request_id: str, door: str, user_agent: str, measures: Measures, span: Span) -> None:
        self._arrived = time.monotonic()
        self.request_id = request_id
        self._door = door
        self._measures, self._span = measures, span
        self._bound = {"request_id": request_id}
        if span.trace_id:
            self._bound["trace_id"] = span.trace_id
        # As machines read them, each line has each field.
        self._fields: dict[str, Any] = {**self._bound, "door": door, "user_agent": user_agent, "text_length": 0}
        self._fields |= dict.fromkeys(("model", "voice_id", "language", "quality_profile", "seed"))
        self._first_audio: float | None = None
        self._whole = False
        """Nobody listens before the end."""
        self._made_seconds = 0.0
        """Of waiting for audio."""
        self.audio_seconds = 0.0
        self.guards: Counter[str] = Counter()
        """What guards on speech did."""
        self._told: MoreError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end(error)

    @contextmanager
    def _here(self) -> Iterator[None]:
        """What is logged meanwhile carries the request's id, and what is traced belongs to it."""
        with structlog.contextvars.bound_contextvars(**self._bound), within(self._span):
            yield

    def asked(self, text: str) -> None:
        """Text that is to be spoken, all of it or a piece."""
        self._fields["text_length"] += len(text)

    async def resolving(self, work: Awaitable[Utterance]) -> Utterance:
        """The utterance that a request is resolved to, taken note of."""
        with self._here(), step("resolve"):
            utterance = await work
        self._whole = utterance.whole
        self._fields |= {
            "model": utterance.model.partition(" ")[0],
            "voice_id": utterance.voice.id,
            "language": utterance.language,
            "quality_profile": utterance.profile.name,
            "seed": utterance.seed,
        }
        return utterance

    async def watched(self, chunks: AsyncGenerator[Audio, None]) -> AsyncGenerator[Audio, None]:
        """The same audio, taken note of as it passes."""
        async with aclosing(chunks):
            while True:
                began = time.monotonic()
                with self._here():
                    audio = await anext(chunks, None)
                self._made_seconds += time.monotonic() - began
                if audio is None:
                    return
                self._take(audio)
                yield audio

    async def encoding(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """The same bytes, of an encoder that takes what `watched` gives; traced as a step of its own."""
        with self._span.below("encode") as span:
            async with aclosing(pieces):
                while True:
                    began, before = time.monotonic(), self._made_seconds
                    piece = await anext(pieces, None)
                    span.worked(time.monotonic() - began - (self._made_seconds - before))
                    if piece is None:
                        return
                    yield piece

    def _take(self, audio: Audio) -> None:
        if self._first_audio is None and len(audio.samples):
            self._first_audio = time.monotonic() - self._arrived
            if not self._whole:
                self._measures.first_audio(self._door, self._profile, self._first_audio)
        self.guards.update(audio.guards)
        self._measures.guarded(audio.guards)
        self.audio_seconds += audio.seconds

    @property
    def _profile(self) -> str:
        return self._fields["quality_profile"] or ""

    def failed(self, error: MoreError) -> None:
        """An error that the caller is told in another way than by an end of the audio."""
        self._told = error

    def left(self) -> None:
        """The client was gone before the answer began; tell it."""
        self.end(asyncio.CancelledError())

    def end(self, error: BaseException | None = None) -> None:
        """Tell it. error: what the request ended by, if it did not end as it should."""
        error = error or self._told
        outcome, code = _judged(error)
        seconds = time.monotonic() - self._arrived
        factor = self._made_seconds / self.audio_seconds if self.audio_seconds else None
        facts = {
            **self._fields,
            "outcome": outcome,
            "duration_ms": round(seconds * 1000),
            "first_audio_ms": None if self._first_audio is None else round(self._first_audio * 1000),
            "audio_seconds": round(self.audio_seconds, 2),
            "real_time_factor": None if factor is None else round(factor, 3),
        }
        log.info("speech", **facts, guards=dict(self.guards))
        self._measures.ended(self._door, self._profile, status_of(code), seconds, self.audio_seconds, factor)
        self._span.note(**facts)
        self._span.end(error)


def _judged(error: BaseException | None) -> tuple[str, int]:
    """The outcome of a request by what it ended by, and the status of HTTP that is the same."""
    if error is None:
        return OK, 200
    if isinstance(error, MoreError):
        return error.code, error.status
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return UNFINISHED, CLIENT_LEFT
    # The web framework's own refusals have their status; whatever else it is, nobody foresaw it.
    status = getattr(error, "status_code", None)
    return (MoreError.code, MoreError.status) if status is None else (str(status), status)


def status_of(code: int) -> str:
    """One of STATUSES for a status of HTTP."""
    if code < 400:
        return "ok"
    named = {429: "busy", 503: "unavailable", CLIENT_LEFT: "unfinished"}
    return named.get(code, "refused" if code < 500 else "failed")
