"""One thing to say: text in, whole or as it is being written, and events with its audio out."""

import uuid
from collections.abc import Awaitable, Callable
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


class WyomingTalk:
    """Says what it is given in the order of its coming, all of it in one format, between one start and one stop."""

    def __init__(self, server: Server, catalogue: Catalogue, voice: SynthesizeVoice | None, *, streaming: bool) -> None:
        """streaming: the text comes in pieces, and the end of what is said is told with `synthesize-stopped`."""
        self._streaming = streaming
        self._id = f"wyoming_{uuid.uuid4().hex}"
        language = (voice and voice.language) or None
        named = (voice and voice.name) or (catalogue.voice_for(language) if language else None)
        self._talk = server.talk(SpeechRequest(text="", voice=named, language=language, door="wyoming"), self._id)
        self._over = False
        self._rate = 0
        """Of what is said; 0: nothing was yet."""

    def add(self, text: str) -> None:
        """More text."""
        if not self._over:
            self._talk.add(text)

    def end(self) -> None:
        """There is no more text."""
        self._talk.end()

    async def say(self, write: Write) -> bool:
        """Say it to the end; False where the connection must be closed, so that nobody takes the part for the whole."""
        told: Error | None = None
        try:
            async with aclosing(self._talk.speak()) as chunks:
                async for audio in chunks:
                    await self._hand_over(audio, write)
        except ConnectionError:
            raise
        except errors.MoreError as error:
            told = Error(error.message, error.code)
        except Exception:
            log.exception("a request failed", request_id=self._id)
            told = Error("the server failed; its log says why", "server_error")
        self._over = True
        return await self._conclude(told, write)

    async def _hand_over(self, audio: Audio, write: Write) -> None:
        if not self._rate:
            self._rate = audio.sample_rate
            await write(AudioStart(self._rate, WIDTH, CHANNELS).event())
        if len(audio.samples):
            samples = np.rint(np.clip(audio.samples, -1, 1) * 32767).astype("<i2")
            await write(AudioChunk(self._rate, WIDTH, CHANNELS, samples.tobytes()).event())

    async def _conclude(self, told: Error | None, write: Write) -> bool:
        """Home Assistant ends with the first audio-stop, or where it streams with synthesize-stopped, else never."""
        if told is not None:
            await write(told.event())
        if self._rate and (told is None or self._streaming):
            await write(AudioStop().event())
        if self._streaming:
            await write(SynthesizeStopped().event())
        return self._streaming or told is None
