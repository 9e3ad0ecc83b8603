"""Text that arrives in pieces, such as a language model's, spoken while it is still being written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

import msgspec

from more_server.errors import BadInput, Unavailable
from more_server.report import Report, Reports
from more_server.settings import Settings
from more_server.speech import Audio, SpeechRequest, Utterance
from more_server.text import TextStream

BEFORE_CHARACTERS = 200
"""Of what was spoken before; as much as tells a language for sure."""


class Speaking(Protocol):
    """What speaks a talk."""

    settings: Settings

    async def splitter(self, request: SpeechRequest) -> TextStream: ...
    async def resolve(self, request: SpeechRequest, request_id: str) -> Utterance: ...
    def speak(self, utterance: Utterance) -> AsyncGenerator[Audio, None]: ...


class Talk:
    """Says what it is given in the order of its coming; for one event loop.

    Stretches that wait while others are spoken are spoken together: sentences that know their neighbours sound better.
    """

    def __init__(self, speaker: Speaking, asked: SpeechRequest, request_id: str, reports: Reports) -> None:
        """asked: all but the text, which is not looked at. reports: where it is told of."""
        self._speaker, self._asked, self._id, self._reports = speaker, asked, request_id, reports
        self._arrived: list[str] = []
        """Text that nobody has looked at yet."""
        self._changed = asyncio.Event()
        self._ended = False
        self._report: Report | None = None
        self.characters = 0
        """Of all text so far."""
        self.utterance: Utterance | None = None
        """What is being spoken, or was last."""
        self.text = ""
        """The same as it was written."""

    def add(self, text: str) -> None:
        """More text, cut anywhere. What is too long is told by `speak`."""
        self.report.asked(text)
        self.characters += len(text)
        if not self._too_long():
            self._arrived.append(text)
        self._changed.set()

    def end(self) -> None:
        """There is no more text."""
        self._ended = True
        self._changed.set()

    async def speak(self) -> AsyncGenerator[Audio, None]:
        """Audio of it all, once; leaving the iterator stops the work. Writes the log line.

        Raises as `resolve` and `speak` of the server do, and BadInput where there was nothing to speak.
        """
        self._reports.talking += 1
        try:
            with self.report as report:
                async with aclosing(self._utterances()) as utterances:
                    async for utterance in utterances:
                        self.utterance = utterance
                        async with aclosing(report.watched(self._speaker.speak(utterance))) as chunks:
                            async for audio in chunks:
                                yield audio
        finally:
            self._reports.talking -= 1

    async def _utterances(self) -> AsyncGenerator[Utterance, None]:
        before, rate = "", 0
        async with aclosing(self._texts()) as texts:
            async for text, is_last in texts:
                # Marks and emoji alone are nothing to speak; that all of it was such is told at the end.
                if not any(character.isalnum() for character in text):
                    continue
                asked = msgspec.structs.replace(self._asked, text=text, before=before, continues=not is_last)
                utterance = await self.report.resolving(self._speaker.resolve(asked, self._id))
                if rate not in (0, utterance.sample_rate):
                    raise Unavailable("another model serves now, of another sample rate; ask anew")
                self.text = text.strip()
                before, rate = (before + text)[-BEFORE_CHARACTERS:], utterance.sample_rate
                yield utterance
        if not rate:
            raise BadInput("there is no text to speak: no letter and no digit", param="input")

    async def _texts(self) -> AsyncGenerator[tuple[str, bool], None]:
        """What can be spoken, as soon as it can, and whether it is known to be the last of it."""
        splitter: TextStream | None = None
        stretches: list[str] = []
        while True:
            if self._too_long():
                most = self._speaker.settings.limits.text_characters
                raise BadInput(f"the text has more than {most} characters, which is the limit", param="input")
            if splitter is None and not self._ended:
                splitter = await self._speaker.splitter(self._asked)
                continue  # there may be more by now, or too much
            arrived, self._arrived = self._arrived, []
            if splitter is None:  # all of it is there
                yield "".join(arrived), True
                return
            stretches += [stretch for piece in arrived for stretch in splitter.feed(piece)]
            if ended := self._ended and not self._arrived:
                stretches += splitter.finish()
            if stretches:
                # As lines: a heading is told from a sentence that was cut by its length.
                text, stretches = "\n".join(stretches), []
                yield text, ended
            if ended:
                return
            if not (self._arrived or self._ended):
                self._changed.clear()
                await self._changed.wait()

    def _too_long(self) -> bool:
        return self.characters > self._speaker.settings.limits.text_characters

    @property
    def report(self) -> Report:
        """Counts from the first text on."""
        if self._report is None:
            asked = self._asked
            self._report = self._reports.begin(self._id, asked.door, asked.user_agent, asked.traceparent)
        return self._report
