"""Which language a request is spoken in: the one it names, else the voice's, else the text's, else the default."""

from collections.abc import Sequence

import structlog

from more_server.errors import BadInput, allowed, shown
from more_server.settings import Settings
from more_server.speech import SpeechRequest, Voice
from more_server.text import LANGUAGES, LanguageDetector, resolve_language

RECOGNISE = "auto"
"""What some clients send as `language` where they leave it open."""
log = structlog.get_logger("more_server.languages")


class LanguageChoice:
    """Chooses languages; any thread may call it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """Another one after a reload."""
        self._detector: LanguageDetector | None = LanguageDetector(LANGUAGES)

    def warm(self, spoken: Sequence[str]) -> None:
        """Load what would make the first request wait, where several languages may be meant. Blocks."""
        self._recognised("The model is loaded.", spoken)

    def choose(self, request: SpeechRequest, voice: Voice, model: str, spoken: Sequence[str]) -> str:
        """One of the languages that are `spoken` by a model. Raises BadInput listing them.

        A voice of several languages is spoken in that of the text, where it is one of them, else in its first.
        """
        if request.language and request.language.strip().lower() != RECOGNISE:
            language = resolve_language(request.language)
            if language is None or language not in spoken:
                wanted, there = shown(request.language), allowed(spoken)
                raise BadInput(
                    f"language {wanted} is not spoken by the model {model}; it speaks: {there}", param="language"
                )
            return language
        own = _known(voice.languages, spoken)
        if found := self._recognised(f"{request.before} {request.text}", own or spoken):
            return found
        return [*own, *_known([self.settings.default_language], spoken), spoken[0]][0]

    def _recognised(self, text: str, among: Sequence[str]) -> str | None:
        """The language of the text, where several may be meant and it is sure."""
        if len(among) < 2 or not self.settings.detect_language or self._detector is None:
            return None
        try:
            return self._detector.detect(text, among)
        except OSError as error:
            log.warning("languages are not recognised: their model cannot be unpacked", reason=str(error))
            self._detector = None
            return None


def _known(tags: Sequence[str], spoken: Sequence[str]) -> list[str]:
    found = (resolve_language(tag) for tag in tags)
    return [language for language in found if language is not None and language in spoken]
