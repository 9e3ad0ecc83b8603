"""The one log line of a speech request."""

import time
from collections import Counter
from typing import Any

import structlog
from litestar import Request

from more_server.speech import Audio, Utterance
from more_server.web.errors import request_id

log = structlog.get_logger("more_server.web")

UNFINISHED = "unfinished"
"""Outcome of speech whose listener left, or that the server's shutdown cut."""


class Report:
    """Collects what a request did, from its arrival; `end` writes it. The text itself is never part of it."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self._arrived = time.monotonic()
        self.request_id = request_id(request.scope)
        self._fields: dict[str, Any] = {
            "request_id": self.request_id,
            "user_agent": request.headers.get("user-agent", ""),
        }
        self._first_audio: float | None = None
        self._engine_seconds = 0.0
        self.audio_seconds = 0.0
        self.guards: Counter[str] = Counter()
        """What guards on speech did."""
        self.outcome = "ok"

    def asked(self, text: str) -> None:
        """A body that could be read."""
        self._fields["text_length"] = len(text)

    def resolved(self, utterance: Utterance) -> None:
        """A request that can be spoken."""
        self._fields |= {
            "voice_id": utterance.voice.id,
            "quality_profile": utterance.profile.name,
            "seed": utterance.seed,
        }

    def made(self, audio: Audio, engine_seconds: float) -> None:
        """A piece of audio, and how long it was waited for."""
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
