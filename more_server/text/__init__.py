"""The text front end: from what people write to segments that XTTS speaks well."""

from more_server.text.detect import LanguageDetector
from more_server.text.languages.registry import LANGUAGES, character_limit, resolve_language
from more_server.text.normalise import normalise
from more_server.text.romanise import romanise
from more_server.text.samples import SAMPLES
from more_server.text.split import split
from more_server.text.stream import TextStream

__all__ = (
    "LANGUAGES",
    "SAMPLES",
    "LanguageDetector",
    "TextStream",
    "character_limit",
    "normalise",
    "resolve_language",
    "romanise",
    "split",
)
