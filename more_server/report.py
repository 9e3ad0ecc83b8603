"""The one log line of a speech request, whatever front door it came by."""

import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog

from more_server.speech import Audio, Utterance

log = structlog.get_logger("more_server.report")

UNFINISHED = "unfinished"
"""Outcome of speech whose listener left, or that the server's shutdown cut."""


class Report:
    """Collects what a request did, from its arrival; `end` writes it. The text itself is never part of it."""

    def __init__(self, request_id: str, door: str, user_agent: str = "") -> None:
        """door: the front door, such as `http`."""
        self._arrived = time.monotonic()
        self.request_id = request_id
        self._fields: dict[str, Any] = {"request_id": request_id, "door": door, "user_agent": user_agent}
        self._first_audio: float | None = None
        self._engine_seconds = 0.0
        self.audio_seconds = 0.0
        self.guards: Counter[str] = Counter()
        """What guards on speech did."""
        self.outcome = "ok"

    def asked(self, text: str) -> None:
        """Text that is to be spoken, all of it or a piece."""
        self._fields["text_length"] = self._fields.get("text_length", 0) + len(text)

    def resolved(self, utterance: Utterance) -> None:
        """A request that can be spoken."""
        self._fields |= {
            "voice_id": utterance.voice.id,
            "language": utterance.language,
            "quality_profile": utterance.profile.name,
            "seed": utterance.seed,
        }

    async def watched(self, chunks: AsyncGenerator[Audio, None]) -> AsyncGenerator[Audio, None]:
        """The same audio, taken note of as it passes."""
        async with aclosing(chunks):
            waiting_since = time.monotonic()
            async for audio in chunks:
                self._made(audio, time.monotonic() - waiting_since)
                yield audio
                waiting_since = time.monotonic()

    def _made(self, audio: Audio, engine_seconds: float) -> None:
        if self._first_audio is None and len(audio.samples):
            self._first_audio = time.monotonic() - self._arrived
        self.guards.update(audio.guards)
        self.audio_seconds += audio.seconds
        self._engine_seconds += engine_seconds

    def end(self, outcome: str | None = None) -> None:
        """Write the line."""
        log.info(
            "speech",
            **self._fields,
            outcome=outcome or self.outcome,
            guards=dict(self.guards),
            duration_ms=round((time.monotonic() - self._arrived) * 1000),
            first_audio_ms=None if self._first_audio is None else round(self._first_audio * 1000),
            audio_seconds=round(self.audio_seconds, 2),
            real_time_factor=round(self._engine_seconds / self.audio_seconds, 3) if self.audio_seconds else None,
        )
