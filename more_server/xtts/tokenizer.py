"""Text to XTTS text tokens: language token, then the text with spaces as `[SPACE]`."""

from functools import lru_cache
from pathlib import Path

from anyascii import anyascii
from tokenizers import Tokenizer as Vocabulary

from more_server.text import romanise

SPACE = "[SPACE]"

# Punctuation for vocabularies that lack it: a pause is heard where the mark would have made one.
NEAREST_MARK = {";": ",", ":": ",", "—": ",", "–": ",", "…": ".", "(": ",", ")": ",", "’": "'"}


class Tokenizer:
    """XTTS's `vocab.json`, a Hugging Face tokenizer."""

    def __init__(self, vocabulary: Path) -> None:
        self._vocabulary = Vocabulary.from_file(str(vocabulary))
        self._characters = frozenset(token for token in self._vocabulary.get_vocab() if len(token) == 1)
        self._spoken_as = lru_cache(maxsize=4096)(self._find_spoken_as)

    def encode(self, text: str, language: str) -> tuple[int, ...]:
        """Tokens of normalised text, the language token first.

        Characters outside the vocabulary are written in letters that it has (é for nano is e), never
        as the unknown token, which XTTS answers with noise.
        """
        return tuple(self._vocabulary.encode(self.spelling(text, language)).ids)

    def count(self, text: str, language: str) -> int:
        """Number of tokens, the language token included."""
        return len(self._vocabulary.encode(self.spelling(text, language)).ids)

    def spelling(self, text: str, language: str) -> str:
        """The text as the vocabulary sees it."""
        if language == "tr":
            text = text.replace("İ", "i").replace("I", "ı")
        text = romanise(text.strip(), language).lower()
        text = "".join(map(self._spoken_as, text))
        return f"[{language}]" + " ".join(text.split()).replace(" ", SPACE)

    def _find_spoken_as(self, character: str) -> str:
        if character in self._characters or character.isspace():
            return character
        nearest = NEAREST_MARK.get(character, "") or anyascii(character).lower()
        return "".join(letter for letter in nearest if letter in self._characters)
