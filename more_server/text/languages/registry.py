"""Which languages there are, and the names they go by."""

from functools import cache
from importlib import import_module

from more_server.text.languages.base import Language

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
"""XTTS-v2's languages by their codes in its vocabulary."""


@cache
def get(code: str) -> Language:
    """The data of one of LANGUAGES; KeyError for anything else."""
    if code not in LANGUAGES:
        raise KeyError(code)
    module = import_module(f"more_server.text.languages.{code.partition('-')[0]}")
    language: Language = module.LANGUAGE
    return language


@cache
def _names() -> dict[str, str]:
    names = {name: code for code in LANGUAGES for name in get(code).names}
    return names | {code.partition("-")[0]: code for code in LANGUAGES}


def resolve_language(tag: str) -> str | None:
    """`en-US`, `zh_TW`, `German` to one of LANGUAGES; None if it is none of them."""
    folded = tag.strip().casefold().replace("_", "-")
    names = _names()
    return names.get(folded) or names.get(folded.partition("-")[0])


def character_limit(language: str) -> int:
    """Longest segment in characters that XTTS-v2 speaks well."""
    return get(language).character_limit
