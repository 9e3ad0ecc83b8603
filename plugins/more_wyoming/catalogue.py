"""What the server tells of itself, from memory where looking takes too long: Home Assistant waits for a second."""

import asyncio
from importlib import metadata

import structlog
from wyoming.event import Event
from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from more_server import Server, Voice, errors

PROGRAM = "MORE"
"""Part of the id that Home Assistant keeps what it found under: not to be changed."""
LOOK_SECONDS = 0.4
"""Longest that an answer waits for the voices of now; then it tells those of the time before."""
log = structlog.get_logger("more_wyoming")


class Catalogue:
    """The voices, as they were when they were last looked at."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._version = metadata.version("more-server")
        self._looking: asyncio.Task[None] | None = None
        self.voices: tuple[Voice, ...] = ()

    async def look(self, seconds: float = LOOK_SECONDS) -> None:
        """Look at the voices of now, as far as that is done in time; it goes on behind."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait({self._looking}, timeout=seconds)

    async def close(self) -> None:
        """End what goes on behind."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        try:
            self.voices = tuple(await asyncio.to_thread(self._server.all_voices))
        except errors.MoreError as error:
            log.warning("voices cannot be looked at", reason=error.message)

    def info(self) -> Event:
        """The answer to `describe`: one program, for Home Assistant looks at the first one alone."""
        program = TtsProgram(
            name=PROGRAM,
            description="Speech from your own machine",
            attribution=Attribution(name=PROGRAM, url=""),
            installed=True,
            version=self._version,
            voices=[self._voice(voice) for voice in self.voices],
            supports_synthesize_streaming=True,
        )
        return Info(tts=[program]).event()

    def _voice(self, voice: Voice) -> TtsVoice:
        # Home Assistant shows the description in place of the name, which is the id.
        return TtsVoice(
            name=voice.id,
            description=voice.name,
            attribution=Attribution(name=voice.source or PROGRAM, url=""),
            installed=True,
            version=voice.version or None,
            languages=self._languages(voice),
        )

    def _languages(self, voice: Voice) -> list[str]:
        return [_tag(one) for one in voice.languages or (str(self._server.settings.default_language),)]

    def voice_for(self, language: str) -> str | None:
        """A voice for a language that was asked for without one; None: the default voice, which speaks it as well."""
        wanted = _tag(language).partition("-")[0]
        speaking = [voice for voice in self.voices if wanted in (tag.partition("-")[0] for tag in voice.languages)]
        default = str(self._server.settings.default_voice).strip().lower()
        if not speaking or any(default in (voice.id, *voice.aliases, voice.name.lower()) for voice in speaking):
            return None
        return speaking[0].id


def _tag(language: str) -> str:
    """A language as Home Assistant writes it: pt-br is pt-BR."""
    first, *rest = language.strip().replace("_", "-").split("-")
    return "-".join([first.lower(), *(part.upper() if len(part) == 2 else part for part in rest)])
