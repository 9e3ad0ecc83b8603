"""One thing to say: text in, whole or as it is being written, and events with its audio out."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import numpy as np
import structlog
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.tts import SynthesizeStopped, SynthesizeVoice

from more_server import Audio, Server, SpeechRequest, errors
from more_wyoming.catalogue import Catalogue

WIDTH, CHANNELS = 2, 1
log = structlog.get_logger("more_wyoming")
Write = Callable[[Event], Awaitable[None]]


class Talk:
    """Says what it is given in the order of its coming, all of it in one format, between one start and one stop.

    Stretches that wait while others are spoken are spoken together: sentences that know their neighbours sound better.
    """

    def __init__(self, server: Server, catalogue: Catalogue, voice: SynthesizeVoice | None, *, streaming: bool) -> None:
        """streaming: the text comes in pieces, and the end of what is said is told with `synthesize-stopped`."""
        self.streaming = streaming
        self._server = server
        self._id = f"wyoming_{uuid.uuid4().hex}"
        self._language = (voice and voice.language) or None
        name = voice and voice.name
        self._voice = name or (catalogue.voice_for(self._language) if self._language else None)
        self._stream = server.text_stream(self._language or catalogue.language_of(self._voice))
        self._waiting: list[str] = []
        self._changed = asyncio.Event()
        self._ended = False
        self._failed = False
        self._characters = 0
        self._rate = 0
        """Of what is said; 0: nothing was yet."""

    def add(self, text: str) -> None:
        """More text."""
        self._characters += len(text)
        if self._ended or self._failed or self._too_long():
            self._changed.set()  # what is too long is told by whoever speaks
            return
        self._put(self._stream.feed(text) if self.streaming else [text])

    def end(self) -> None:
        """There is no more text."""
        if not self._ended:
            self._ended = True
            self._put(self._stream.finish())

    def _put(self, stretches: list[str]) -> None:
        self._waiting += stretches
        self._changed.set()

    def _too_long(self) -> bool:
        return self.streaming and self._characters > self._server.settings.limits.text_characters

    async def say(self, write: Write) -> bool:
        """Say it to the end; False where the connection must be closed, so that nobody takes the part for the whole."""
        began = time.monotonic()
        told: Error | None = None
        try:
            await self._say(write)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except errors.MoreError as error:
            told = Error(error.message, error.code)
        except Exception:
            log.exception("a request failed", request_id=self._id)
            told = Error("the server failed; its log says why", "server_error")
        log.info(
            "spoken by wyoming",
            request_id=self._id,
            streaming=self.streaming,
            text_length=self._characters,
            duration_ms=round((time.monotonic() - began) * 1000),
            outcome=told.code if told else "ok",
        )
        return await self._conclude(told, write)

    async def _conclude(self, told: Error | None, write: Write) -> bool:
        """Home Assistant ends with the first audio-stop, or where it streams with synthesize-stopped, else never."""
        self._failed = told is not None
        self._waiting.clear()
        if told is not None:
            await write(told.event())
        if self._rate and (told is None or self.streaming):
            await write(AudioStop().event())
        if self.streaming:
            await write(SynthesizeStopped().event())
        return self.streaming or told is None

    async def _say(self, write: Write) -> None:
        async with aclosing(self._texts()) as texts:
            async for text in texts:
                # Marks and emoji alone are nothing to speak; that all of it was such is told at the end.
                if any(c.isalnum() for c in text):
                    await self._speak(text, write)
        if not self._rate:
            raise errors.BadInput("there is no text to speak: no letter and no digit", param="text")

    async def _texts(self) -> AsyncGenerator[str, None]:
        while True:
            if self._too_long():
                most = self._server.settings.limits.text_characters
                raise errors.BadInput(f"the text has more than {most} characters, which is the limit", param="text")
            if self._waiting:
                text = " ".join(self._waiting)
                self._waiting.clear()
                yield text
            elif self._ended:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _speak(self, text: str, write: Write) -> None:
        asked = SpeechRequest(text=text, voice=self._voice, language=self._language)
        utterance = await self._server.resolve(asked, self._id)
        if self._rate not in (0, utterance.sample_rate):
            raise errors.Unavailable("another model serves now, of another sample rate; ask anew")
        async with aclosing(self._server.speak(utterance)) as chunks:
            async for audio in chunks:
                if not self._rate:
                    self._rate = audio.sample_rate
                    await write(AudioStart(self._rate, WIDTH, CHANNELS).event())
                if len(audio.samples):
                    await write(self._chunk(audio))

    def _chunk(self, audio: Audio) -> Event:
        samples = np.rint(np.clip(audio.samples, -1, 1) * 32767).astype("<i2")
        return AudioChunk(self._rate, WIDTH, CHANNELS, samples.tobytes()).event()
