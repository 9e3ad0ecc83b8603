"""Normalised text to segments that the model speaks in one breath."""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from more_server.text.languages.registry import get

_SENTENCE = frozenset(".!?。！？।؟…")
_CLAUSE = frozenset(",;:—–，、；：،؛")
_DROPPED_STOP = ".。।"
_TINY_WORDS = 4
"""XTTS hallucinates on inputs of so few words."""
_TINY_CHARACTERS = 5
"""The same for Chinese and Japanese."""
_NO_LINE_START = frozenset("ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ’'-」』）")


class Piece(NamedTuple):
    """Text that is spoken in one breath."""

    text: str
    mark: str
    """The punctuation it ended with, spoken or dropped; empty for none."""


class Point(NamedTuple):
    end: int
    """Where the segment before it ends."""
    following: int
    """Where the segment after it begins."""
    weight: float


# A sentence end beats a word end ten times as far along, a clause end one about twice as far.
_WEIGHT_SENTENCE, _WEIGHT_CLAUSE, _WEIGHT_WORD, _WEIGHT_END = 1.0, 0.55, 0.0, 2.0
_TINY_TAIL_PENALTY = 0.6


def split(
    text: str,
    language: str,
    *,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    first_max_tokens: int | None = None,
) -> list[Piece]:
    """Segments in order, each within `max_tokens` and the language's character limit; nothing speakable gives none.

    The first ends early, within `first_max_tokens`, where a sentence or clause ends there. A word is cut only
    when it alone exceeds a limit. `count_tokens` is asked a few times per segment, never per word.
    """
    data = get(language)
    text = text.strip()
    if not _has_words(text):
        return []
    cutter = _Cutter(text, data.spaced, data.character_limit, count_tokens, max_tokens)
    spans: list[tuple[int, int]] = []
    start = 0
    if first_max_tokens is not None:
        start = cutter.first(min(first_max_tokens, max_tokens), spans)
    while start < len(text):
        point = cutter.cut(start)
        spans.append((start, point.end))
        start = point.following
    pieces = [Piece(cutter.finished(*span), cutter.mark(*span)) for span in cutter.merged(spans)]
    return [piece for piece in pieces if _has_words(piece.text)]


def _has_words(text: str) -> bool:
    return any(c.isalnum() for c in text)


class _Cutter:
    """One text being cut: its possible points, and the running guess of tokens per character."""

    def __init__(self, text: str, spaced: bool, limit: int, count: Callable[[str], int], max_tokens: int) -> None:
        self.text, self.spaced, self.limit, self.count, self.max_tokens = text, spaced, limit, count, max_tokens
        self.points = list(_points(text, spaced))
        self.ends = [point.end for point in self.points]
        sample = text[:limit]
        self.density = max(1, count(sample)) / len(sample)

    def finished(self, start: int, end: int) -> str:
        """The segment as it is spoken: XTTS reads a final full stop aloud, except after very few words."""
        segment = self.text[start:end].strip()
        stopless = segment[:-1].rstrip() if segment[-1:] and segment[-1] in _DROPPED_STOP else segment
        return segment if self._is_tiny(stopless) else stopless

    def mark(self, start: int, end: int) -> str:
        """The punctuation at the end of a segment."""
        last = self.text[start:end].rstrip()[-1:]
        return last if last in _SENTENCE or last in _CLAUSE else ""

    def first(self, max_tokens: int, spans: list[tuple[int, int]]) -> int:
        """Cut off a short first segment at a good point, if there is one; where the rest begins."""
        reach = min(self.limit, int(max_tokens / self.density))
        if len(self.text) <= reach:
            return 0
        for _ in range(3):
            good = [p for p in self._within(0, reach) if _WEIGHT_CLAUSE <= p.weight < _WEIGHT_END]
            good = [p for p in good if not self._is_tiny(self.text[: p.end]) and not self._leaves_tiny(p)]
            if not good:
                return 0
            point = max(good, key=lambda p: (p.weight, p.end))
            used = self.count(self.finished(0, point.end))
            if used <= max_tokens:
                spans.append((0, point.end))
                return point.following
            reach = min(point.end - 1, point.end * max_tokens // used)
        return 0

    def cut(self, start: int) -> Point:
        """The best point after `start` whose segment is within the limits."""
        reach = min(self.limit, int(self.max_tokens / self.density) + 1)
        while candidates := self._within(start, reach):
            point = max(candidates, key=lambda p: self._score(p, start, reach))
            used = self.count(self.finished(start, point.end))
            length = max(1, point.end - start)
            if used <= self.max_tokens:
                self.density = max(1, used) / length
                return point
            self.density = used / length
            # at least a tenth less each time, so that no count can make this long
            reach = min(length - 1, length * 9 // 10, length * self.max_tokens // used)
        return self._first_word(start)

    def _first_word(self, start: int) -> Point:
        """The next word alone, cut by force where it exceeds the limits."""
        point = self.points[bisect_right(self.ends, start)]
        if point.end - start <= self.limit and self.count(self.finished(start, point.end)) <= self.max_tokens:
            return point
        low, high = start + 1, min(point.end, start + self.limit)
        while low < high:
            middle = (low + high + 1) // 2
            if self.count(self.finished(start, middle)) <= self.max_tokens:
                low = middle
            else:
                high = middle - 1
        end = _grapheme_end(self.text, start, low)
        return Point(end, end, _WEIGHT_WORD)

    def merged(self, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Join tiny segments to a neighbour where both fit into one."""
        result: list[tuple[int, int]] = []
        for span in spans:
            if result and any(self._is_tiny(self.text[slice(*s)]) for s in (result[-1], span)):
                joined = (result[-1][0], span[1])
                if self._fits(*joined):
                    result[-1] = joined
                    continue
            result.append(span)
        return result

    def _fits(self, start: int, end: int) -> bool:
        return end - start <= self.limit and self.count(self.finished(start, end)) <= self.max_tokens

    def _within(self, start: int, reach: int) -> list[Point]:
        return self.points[bisect_right(self.ends, start) : bisect_right(self.ends, start + reach)]

    def _score(self, point: Point, start: int, reach: int) -> float:
        penalty = _TINY_TAIL_PENALTY if self._leaves_tiny(point) else 0.0
        return point.weight + (point.end - start) / max(1, reach) - penalty

    def _leaves_tiny(self, point: Point) -> bool:
        rest = len(self.text) - point.following
        return 0 < rest < 40 and self._is_tiny(self.text[point.following :])

    def _is_tiny(self, segment: str) -> bool:
        # A run of Latin letters inside Chinese is longer than its few words.
        if self.spaced:
            return len(segment.split(None, _TINY_WORDS)) <= _TINY_WORDS
        return sum(c.isalnum() for c in segment[: 4 * _TINY_CHARACTERS]) <= _TINY_CHARACTERS


def _points(text: str, spaced: bool) -> list[Point]:
    points = []
    for i in range(1, len(text)):
        before, here = text[i - 1], text[i]
        if here.isspace():
            if not before.isspace():
                points.append(Point(i, _skip_space(text, i), _weight(text, i)))
        elif not spaced and not before.isspace() and _may_part(before, here):
            points.append(Point(i, i, _weight(text, i)))
    points.append(Point(len(text), len(text), _WEIGHT_END))
    return points


def _skip_space(text: str, i: int) -> int:
    while i < len(text) and text[i].isspace():
        i += 1
    return i


def _weight(text: str, end: int) -> float:
    last = text[end - 1]
    if last in _SENTENCE:
        # "J. Smith": a single letter with a dot is an initial
        is_initial = last == "." and end >= 2 and text[end - 2].isupper() and (end == 2 or not text[end - 3].isalnum())
        return _WEIGHT_WORD if is_initial else _WEIGHT_SENTENCE
    return _WEIGHT_CLAUSE if last in _CLAUSE else _WEIGHT_WORD


def _may_part(before: str, here: str) -> bool:
    if here in _SENTENCE or here in _CLAUSE or here in _NO_LINE_START or _clings(here):
        return False
    return not (before < "\u2e80" and here < "\u2e80")


def _clings(c: str) -> bool:
    return unicodedata.category(c)[0] == "M" or c in "\u200c\u200d"


def _grapheme_end(text: str, start: int, end: int) -> int:
    """The last place up to `end` that parts no letter from its marks; `end` itself if there is none."""
    for i in range(end, start, -1):
        joined = text[i - 1] == "\u200d" or unicodedata.combining(text[i - 1]) == 9  # a virama joins consonants
        if i == len(text) or not (_clings(text[i]) or joined):
            return i
    return end
