"""Word errors by a speech recogniser that is already on this machine; nothing is downloaded."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from more_server.audio.encode import encode_file
from more_server.speech import Audio
from more_server.text import normalise
from more_train.dataset.transcribe import MOST_SECONDS, Whisper

UNSPACED = frozenset({"zh-cn", "ja"})


class Heard(NamedTuple):
    """What a recogniser made of a sentence."""

    text: str
    errors: int
    """Words wrong, lacking or too many; characters where words are not spaced."""
    words: int
    """Of the text that was to be said."""


class Listener:
    """Whisper with a model on disk, one for each language."""

    def __init__(self, folder: Path) -> None:
        """Raises BadInput where the folder is no such model."""
        self.name = folder.resolve().name
        self._folder = folder
        self._by_language: dict[str, Whisper] = {}
        self._of("en")

    def __call__(self, audio: Audio, language: str) -> str | None:
        """What is heard; None for what is longer than Whisper hears at once. Raises BadInput or MoreError."""
        if audio.seconds > MOST_SECONDS:
            return None
        return self._of(language).transcribe("", encode_file(audio.samples, audio.sample_rate, "flac")).text

    def _of(self, language: str) -> Whisper:
        if language not in self._by_language:
            self._by_language[language] = Whisper(self._folder, language)
        return self._by_language[language]


def hear(text: str, heard: str, language: str) -> Heard:
    """Compare what was to be said with what was heard, both as they are read aloud."""
    meant, found = units(text, language), units(heard, language)
    return Heard(heard, edits(meant, found), max(1, len(meant)))


def units(text: str, language: str) -> list[str]:
    """Words in lower case without punctuation, numbers written out; characters where words are not spaced."""
    spoken = unicodedata.normalize("NFKC", normalise(text, language)).casefold()
    letters = re.sub(r"[^\w\s]|_", "", spoken.replace("-", " "))
    return [one for one in letters if not one.isspace()] if language in UNSPACED else letters.split()


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Least number of units to change, drop or add (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, left in enumerate(one, start=1):
        above, row = row, [number]
        for index, right in enumerate(other):
            row.append(min(above[index] + (left != right), above[index + 1] + 1, row[index] + 1))
    return row[-1]
