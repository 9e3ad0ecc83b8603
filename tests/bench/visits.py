"""What every visit of a soak has in common: where it goes, what it asks for, and how it can end."""

import random
import socket
from typing import Any, Literal

import httpx
import msgspec
import numpy as np

from tests.bench.jobs import PARAGRAPHS
from tests.bench.served import TEN_WORDS
from tests.web.audio import decoded

FORMATS = ("pcm", "wav", "mp3", "opus", "aac", "flac")
REFUSALS = (429, 503)
REFUSAL_CODES = ("rate_limit_exceeded", "server_busy")
"""Where there is no status: on a WebSocket, over Wyoming."""
SECONDS_PER_CHARACTER = (0.02, 0.3)
"""Of speech that is plausible; nano's own lies between 0.04 and 0.1."""
QUIETEST = 0.005
"""Root of the mean square of speech; the server brings it to about 0.1."""
SILENCE_SECONDS = 120.0
"""Longest time in which nothing comes; what is made whole before it is sent takes so long on a busy machine."""
PATIENCE_SECONDS = 900.0
"""For a visit in all; a job waits for people, so it takes longest."""
NARROW = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)]
"""Of a slow reader, or the system takes half a minute of speech off the server before it notices."""

Outcome = Literal["whole", "told", "refused", "left"]
"""All of it came and was looked at; a bad request was told what is wrong with it; too many were there, and when to come
again was said; the client left on purpose. What ends otherwise is lost."""


class Lost(Exception):
    """Neither a whole answer nor a clear refusal."""


class Place(msgspec.Struct, frozen=True):
    """The server that is visited."""

    url: str
    wyoming_port: int
    clip: bytes
    """A reference for new voices."""
    at_a_time: int
    """Requests that it takes: spoken and waiting."""

    def http(self, *, narrow: bool = False) -> httpx.AsyncClient:
        """A client of its own for each visit, so that connections come and go."""
        transport = httpx.AsyncHTTPTransport(
            socket_options=NARROW if narrow else None, limits=httpx.Limits(max_connections=None)
        )
        return httpx.AsyncClient(base_url=self.url, timeout=SILENCE_SECONDS, transport=transport)


def sentence(chance: random.Random) -> str:
    """One to say, of 4 to 16 words or so."""
    return chance.choice((TEN_WORDS, "Nobody was there.", "It is a quarter past nine.", *PARAGRAPHS[:4]))


def long_text(chance: random.Random) -> str:
    """Some 25 seconds of speech."""
    return " ".join(chance.choice(PARAGRAPHS) for _ in range(5))


def refused(status: int, headers: Any) -> Outcome:
    """A refusal by design. Raises Lost for any other status, and where it does not say when to come again."""
    if status not in REFUSALS:
        raise Lost(f"status {status}")
    if not str(headers.get("retry-after", "")).isdecimal():
        raise Lost(f"status {status} without Retry-After")
    return "refused"


def refused_by(code: str, message: str) -> Outcome:
    """The same from an event."""
    if code not in REFUSAL_CODES:
        raise Lost(f"{code}: {message}")
    return "refused"


def heard(body: bytes, kind: str, text: str) -> Outcome:
    """Whether audio may be this text. Raises Lost."""
    if not body:
        raise Lost(f"no {kind} at all")
    try:
        samples, rate = decoded(body, kind)
    except Exception as error:
        raise Lost(f"{kind} of {len(body)} bytes that is none: {error}") from error
    seconds, (least, most) = len(samples) / rate, SECONDS_PER_CHARACTER
    if not least * len(text) < seconds < 1 + most * len(text):
        raise Lost(f"{seconds:.2f} s of {kind} for {len(text)} characters")
    if (loudness := float(np.sqrt(np.mean(samples**2)))) < QUIETEST:
        raise Lost(f"{kind} that is silent: {loudness:.5f}")
    return "whole"
