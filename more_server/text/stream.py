"""Text that arrives in pieces, such as a language model's, to stretches that can be spoken before the rest is there."""

import re
import unicodedata
from enum import Enum

from more_server.text.languages.registry import get

_WIDE = "。！？।॥؟۔｡"
"""Sentence marks that end a sentence whatever follows; the others need white space behind them."""
_MARKS = f".!?…{_WIDE}"
_CLOSERS = "\"'’”»›)\\]}」』】）》*_"
_OPENERS = "\"'‘“„«‹([{「『【（《*_¿¡#>-–—"
_DASHES = "-–—"
_GAP = re.compile(r"\s*")
_PARTED = re.compile(r"[,;:—–،؛!?](?=\s)|[，、；：،؛。！？।॥؟…]|\n")
"""Where a long run is cut best: behind a clause."""
_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}")
_ROMAN = re.compile(r"[IVXLCDM]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_MOST_MARKS = 16
"""Marks and quotes of one sentence end; a longer run of them is no sentence end."""
_TINY_WORDS = 4
"""XTTS hallucinates on so few words, so they wait for the next sentence (as in split.py)."""
_TINY_CHARACTERS = 5
"""The same for Chinese and Japanese."""


class _Verdict(Enum):
    UNKNOWN = "what comes next decides"
    NONE = "no end of a sentence"
    MAYBE = "good enough where the text runs on for too long"
    SURE = "an end"


class TextStream:
    """One text that arrives in pieces.

    The stretches are the same however it is cut, and hold all of it but the white space between them. One is given as
    soon as what has arrived decides where it ends.
    """

    def __init__(self, language: str, limit: int | None = None) -> None:
        """The language is one of LANGUAGES; what has no end within so many characters, the language's own, is cut."""
        data = get(language)
        self._spaced, self._limit = data.spaced, limit or data.character_limit
        self._dotted_ordinals = data.dotted_ordinal is not None
        keys = [key.lower() for key in data.titles]
        self._titles = frozenset(key.rstrip("^") for key in keys if not key.endswith("#"))
        self._before_numbers = frozenset(key.rstrip("#") for key in keys if key.endswith("#"))
        # « Oui ! » has a space before the closing quote.
        self._late = r"|[ \u00a0\u202f]»" if data.code == "fr" else ""
        self._ends = re.compile(rf"[{_MARKS}](?:[{_MARKS}{_CLOSERS}]{self._late}){{0,{_MOST_MARKS}}}|\n\s*")
        self._text = ""
        """What has arrived and was not given yet, from its first letter on."""
        self._seen = 0
        """Up to here no sentence ends in it."""
        self._maybe = 0
        """Where one may have ended last; 0: nowhere."""

    def feed(self, piece: str) -> list[str]:
        """Take a piece of any size and give the stretches that it completes, often none."""
        self._text += piece
        if self._text[:1].isspace():
            self._text = self._text.lstrip()
        found = []
        while end := self._end():
            found.append(self._text[:end].strip())
            self._drop(end)
        return found

    def finish(self) -> list[str]:
        """Give the rest; then another text can begin."""
        rest = self._text.strip()
        self._drop(len(self._text))
        return [rest] if rest else []

    def _drop(self, end: int) -> None:
        self._text, self._seen, self._maybe = self._text[end:].lstrip(), 0, 0

    def _end(self) -> int:
        """Where the first stretch ends; 0 while that cannot be told."""
        for match in self._ends.finditer(self._text, self._seen):
            if match.start() >= self._limit:
                break
            verdict = self._judged(match)
            if verdict is _Verdict.UNKNOWN:
                return 0
            self._seen = match.end()
            # Not behind the line's end: how much white space has come must not matter.
            end = match.start() if match[0][0] == "\n" else match.end()
            if verdict is _Verdict.SURE and not self._is_tiny(self._text[:end]):
                return end
            if verdict in (_Verdict.SURE, _Verdict.MAYBE) and end <= self._limit:
                self._maybe = end
        return self._cut() if len(self._text) > self._limit else 0

    def _judged(self, match: re.Match[str]) -> _Verdict:
        """Whether a sentence ends with these marks. UNKNOWN only while nothing but white space has come behind them."""
        text, marks = self._text, match[0]
        following = _GAP.match(text, match.end())
        assert following is not None
        gap = marks if marks[0] == "\n" else following[0]
        if gap.count("\n") > 1:
            return _Verdict.SURE
        is_wide = marks[0] in _WIDE or (not self._spaced and marks[0] in "!?…")
        behind = match.end() if is_wide and not self._late else following.end()
        if behind == len(text):
            return _Verdict.UNKNOWN
        if is_wide:
            return _Verdict.SURE
        if marks[0] == "\n" or not gap:
            return _Verdict.NONE
        if marks.rstrip(_CLOSERS) == "." and self._goes_on(match.start(), text[behind]):
            return _Verdict.NONE
        says_on = text[behind].islower() or (text[behind] in _DASHES and "\n" not in gap)
        return _Verdict.MAYBE if says_on else _Verdict.SURE

    def _goes_on(self, dot: int, following: str) -> bool:
        """Whether the full stop belongs to the word before it: an abbreviation, an initial, an ordinal, an item."""
        before = self._text[max(0, dot - 40) : dot]
        word = re.split(r"\s", before)[-1].lstrip(_OPENERS)
        if _NUMBER.fullmatch(word):
            line = re.split(r"\n", before)[-1].strip()
            return line.lstrip(_OPENERS) == word or (self._dotted_ordinals and len(word) <= 3)
        if self._dotted_ordinals and _ROMAN.fullmatch(word):
            return True
        # A syllable of Korean or a character of Chinese may be all of a sentence.
        if (len(word) == 1 and word.isalpha() and word < "\u2e80") or _DOTTED.fullmatch(word):
            return True
        key = f"{word.lower()}."
        return key in self._titles or (key in self._before_numbers and following.isdecimal())

    def _cut(self) -> int:
        """Where a run without a sure end is cut: behind a doubtful end, a clause or a word, or else inside a word."""
        text, limit = self._text, self._limit
        head = text[: limit + 1]
        least = limit // 4
        clauses = [match.end() for match in _PARTED.finditer(head) if match.end() <= limit]
        for end in (self._maybe, clauses[-1] if clauses else 0):
            if end >= least:
                return end
        words = [at for at in range(limit, 0, -1) if text[at].isspace()][:1]
        if words and (self._spaced or words[0] >= least):
            return words[0]
        return next((at for at in range(limit, limit // 2, -1) if not _clings(text[at - 1], text[at])), limit)

    def _is_tiny(self, stretch: str) -> bool:
        spoken = sum(c.isalnum() for c in stretch[:200])
        if self._spaced:
            return not spoken or len(stretch.split(None, _TINY_WORDS)) <= _TINY_WORDS
        return spoken <= _TINY_CHARACTERS


def _clings(before: str, here: str) -> bool:
    """Whether two characters are one to the eye, or a number or Latin word inside Chinese."""
    joined = before == "\u200d" or unicodedata.combining(before) == 9  # a virama joins consonants
    mark = unicodedata.category(here)[0] == "M" or here in "\u200c\u200d" or here in _MARKS
    return joined or mark or (before.isalnum() and here.isalnum() and max(before, here) < "\u2e80")
