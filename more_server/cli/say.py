"""What `say` does: text from an argument or as another program writes it, audio into a file or another program."""

import asyncio
import codecs
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from more_server.app import create_speaker
from more_server.audio.encode import find_format
from more_server.audio.encoded import encoded, encoded_whole
from more_server.errors import BadInput, StorageError
from more_server.files import write_file
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import Audio, SpeechRequest, Utterance
from more_server.talk import Talk

STDOUT = "-"
PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Target:
    """Where the audio goes."""

    path: Path | None
    """None: standard output."""
    format: str

    @classmethod
    def named(cls, output: str, format_name: str | None) -> Self:
        """What the command line says. Raises BadInput."""
        if output == STDOUT:
            if sys.stdout.isatty():
                raise BadInput("audio is nothing for a terminal; let a program read it, or name a file with --output")
            return cls(None, find_format(format_name or "wav").name)
        path = Path(output)
        if path.is_dir():
            raise BadInput(f"{path} is a folder; name the file to write")
        if not path.parent.is_dir():
            raise BadInput(f"{path.parent} is not a folder")
        return cls(path, find_format(format_name or path.suffix.removeprefix(".")).name)

    @property
    def streams(self) -> bool:
        """Somebody takes the audio while it is being made."""
        return self.path is None


async def spoken(loaded: Settings, request: SpeechRequest, target: Target, *, piped: bool) -> str:
    """Speak, and give what there is to say of it. piped: the text comes on standard input."""
    speaker = create_speaker(loaded)
    speaker.engine.start()
    try:
        await speaker.open()
        said = _Said(speaker, request, piped)
        encode = encoded_whole if request.whole else encoded
        async with aclosing(encode(said.audio(), target.format)) as chunks:
            await _write(chunks, target)
    finally:
        await speaker.fleet.stop()
    return f"{target.path or 'standard output'}: {said.told()}"


class _Said:
    """The audio of a request, and what came of it."""

    def __init__(self, speaker: Speaker, request: SpeechRequest, piped: bool) -> None:
        self._speaker, self._request, self._piped = speaker, request, piped
        self._began = time.monotonic()
        self._seconds = 0.0
        self._utterance: Utterance | None = None

    async def audio(self) -> AsyncGenerator[Audio, None]:
        talk = self._speaker.talk(self._request, "say")
        if self._piped:
            _read_into(talk)
            chunks = talk.speak()
        else:
            self._utterance = await self._speaker.resolve(self._request, "say")
            chunks = self._speaker.speak(self._utterance)
        async with aclosing(chunks):
            async for audio in chunks:
                self._seconds += audio.seconds
                self._utterance = self._utterance or talk.utterance
                yield audio

    def told(self) -> str:
        assert self._utterance is not None
        took = time.monotonic() - self._began
        said = self._utterance
        return f"{self._seconds:.1f} s of speech by {said.voice.name} in {took:.1f} s (seed {said.seed})"


def _read_into(talk: Talk) -> None:
    """Hand over standard input as it comes. On a thread that ends with the process: it may wait for ever."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := os.read(sys.stdin.fileno(), PIECE_BYTES):
            loop.call_soon_threadsafe(talk.add, decoder.decode(piece))
        loop.call_soon_threadsafe(talk.end)

    threading.Thread(target=read, name="standard input", daemon=True).start()


async def _write(chunks: AsyncGenerator[bytes, None], target: Target) -> None:
    if target.path is None:
        async for chunk in chunks:
            await asyncio.to_thread(_write_out, chunk)
        return
    content = b"".join([chunk async for chunk in chunks])
    try:
        write_file(target.path, content)
    except OSError as error:
        raise StorageError(f"{target.path} cannot be written: {error.strerror}") from error


def _write_out(chunk: bytes) -> None:
    try:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # What is buffered would be written at exit, and fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StorageError("who took the audio on standard output has gone") from error
