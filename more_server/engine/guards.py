"""Guards on speech: how long a text may take, and what a run of codes or a tail of silence says about it.

What goes wrong with XTTS and why is known: a draw misses the stop code and babble or silence follows, a stop comes
too early and cuts the last word, a draw falls into a loop. Each guard here is a pure function or a small state of
one sequence; `Sequence` applies them, so what they do depends on that sequence's codes alone.
"""

import unicodedata
from collections.abc import Sequence as Codes
from dataclasses import dataclass

import numpy as np

from more_server.speech import Samples, Segment

ENGLISH_CODES_PER_CHARACTER = 1.43
"""21.5 codes a second at 15 characters a second. nano, 156 sentences in all profiles: 0.95 to 1.55 for more than
twenty characters, up to 6.7 for single words."""
CHARACTER_LIMITS = (
    ("en", 250), ("de", 253), ("fr", 273), ("es", 239), ("it", 213), ("pt", 203), ("pl", 224), ("zh-cn", 82),
    ("ar", 166), ("cs", 186), ("ru", 182), ("nl", 251), ("tr", 226), ("ja", 71), ("hu", 224), ("ko", 95), ("hi", 150),
)  # fmt: skip
"""coqui's character limits (layers/xtts/tokenizer.py): texts that take equally long, so their ratio is that of the
languages' speech per character."""

KANA_CODES = 2.4
"""A kana is a mora or, when small, less: 9 a second. Japanese's own figure is that of its mixture with kanji."""

FLOOR_SHARE = 0.4
"""Of the usual length; nobody speaks 38 English characters a second, so a stop before it has cut words off."""
EXPECTED_SHARE, EXPECTED_MORE = 1.5, 15
"""Beyond this the stop code is made likelier. nano's longest sentences take 1.1 times the usual length, its longest
single words 24 codes."""
LIMIT_SHARE, LIMIT_MORE = 2.1, 30
"""Beyond this it is not speech for this text any more. No nano sentence came nearer to it than 59 %."""
SHORT_CODES = 24
"""A text that usually takes no longer than 1.1 s is held back until it is whole: single words are what XTTS gets wrong
most, and only what nobody has heard can be spoken again."""
STOP_BIAS_PER_CODE, MOST_STOP_BIAS = 0.25, 25.0
"""Added to the stop code's logit for each code beyond the expected ones: one second beyond, 5.4 or 220 times as
likely."""

LONGEST_PERIOD = 16
LOOP_CODES = 24
"""A run of codes that repeats itself for 1.1 s …"""
LOOP_REPEATS = 4
"""… and at least so often is a loop; a held vowel or a pause inside a sentence stays under half of it."""

SILENCE_LEVEL = 0.004
"""-48 dB of full scale: below what is heard of a voice, above the noise that the decoder makes of silence."""
SILENCE_BLOCK_SECONDS = 0.01
NATURAL_TAIL_SECONDS = 0.18
"""A natural tail is 0.12 to 0.18 s (XTTS's references)."""
RUN_ON_TAIL_SECONDS = 0.6
"""From here a tail is a run-on and is trimmed to a natural one; between both it stays as it was spoken."""
RUN_ON_SECONDS = 1.2
"""Silence after which a segment that has said enough is over although no stop was drawn; a pause inside a sentence
lasts under a second."""


@dataclass(frozen=True)
class Bounds:
    """Codes that a segment may take."""

    floor: int
    """A stop before it is premature."""
    expected: int
    """From here on the stop code is made likelier."""
    limit: int
    """Here it ends in any case."""
    short: bool
    """So short that nothing of it is handed over before it is whole."""


def bounds(segment: Segment, language: str, most_codes: int) -> Bounds:
    """Bounds for a text in a language; most_codes is what the model has positions for."""
    usual = usual_codes(segment.text, language)
    limit = min(most_codes, round(LIMIT_SHARE * usual) + LIMIT_MORE)
    return Bounds(
        floor=min(round(FLOOR_SHARE * usual), limit - 1),
        expected=min(round(EXPECTED_SHARE * usual) + EXPECTED_MORE, limit),
        limit=limit,
        short=usual <= SHORT_CODES,
    )


def usual_codes(text: str, language: str) -> float:
    """Codes that a text usually takes, by its characters; Latin ones count as English inside other scripts."""
    limits = dict(CHARACTER_LIMITS)
    own = ENGLISH_CODES_PER_CHARACTER * limits["en"] / limits.get(language, limits["en"])
    latin = min(own, ENGLISH_CODES_PER_CHARACTER)
    return sum(
        latin if character.isascii() else min(own, KANA_CODES) if _is_kana(character) else own
        for character in text
        if not unicodedata.combining(character)  # Arabic's vowel signs, which most texts leave out
    )


def _is_kana(character: str) -> bool:
    return "\u3040" <= character <= "\u30ff"


def stop_bias(bounds: Bounds, drawn: int) -> float:
    """What is added to the stop code's logit after so many codes."""
    return min(STOP_BIAS_PER_CODE * max(0, drawn - bounds.expected), MOST_STOP_BIAS)


def loop_length(codes: Codes[int]) -> int:
    """Codes at the end that only repeat what came before them; 0: no loop.

    Looks for the shortest period of up to LONGEST_PERIOD codes that covers LOOP_CODES codes LOOP_REPEATS times.
    """
    for period in range(1, LONGEST_PERIOD + 1):
        span = max(LOOP_CODES, LOOP_REPEATS * period)
        if len(codes) >= span and all(codes[-i] == codes[-i - period] for i in range(1, span - period + 1)):
            return span - period
    return 0


class Tail:
    """Holds back silence behind sound, until sound follows or the segment ends; silence before any sound passes.

    What comes out does not depend on how the audio was cut: silence is judged in blocks counted from the start.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._block = round(SILENCE_BLOCK_SECONDS * sample_rate)
        self._pending = np.zeros(0, np.float32)
        self._silent = 0
        """Samples of `_pending` that are whole silent blocks."""
        self.heard = False
        """Sound has come."""

    @property
    def silent_seconds(self) -> float:
        """Silence behind the last sound so far."""
        return self._silent / self._rate

    def process(self, samples: Samples) -> Samples:
        """Take samples, shape (n,), give those that sound has followed, shape (m,)."""
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // self._block * self._block
        loud = np.abs(self._pending[self._silent : whole]).reshape(-1, self._block).max(axis=1) > SILENCE_LEVEL
        last = int(np.flatnonzero(loud)[-1]) + 1 if loud.any() else 0
        self.heard |= last > 0
        ready = self._silent + last * self._block if last else 0 if self.heard else whole
        given, self._pending = self._pending[:ready], self._pending[ready:]
        self._silent = whole - ready
        return given

    def finish(self) -> tuple[Samples, bool]:
        """The rest of the segment, shape (m,), and whether a run-on was trimmed from it."""
        rest, self._pending, self._silent = self._pending, np.zeros(0, np.float32), 0
        loud = np.flatnonzero(np.abs(rest) > SILENCE_LEVEL)
        sound = int(loud[-1]) + 1 if len(loud) else 0
        if not self.heard or len(rest) - sound < RUN_ON_TAIL_SECONDS * self._rate:
            return rest, False
        return rest[: sound + round(NATURAL_TAIL_SECONDS * self._rate)], True
