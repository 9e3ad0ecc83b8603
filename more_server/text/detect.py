"""Which language a text is in, where that is sure: speech in a wrong language is worse than in the default one.

Scripts that one language here has to itself decide almost alone. What is written in Latin letters, or in Chinese
characters without kana, is weighed by py3langid's model: naive Bayes over byte sequences, a log-likelihood a language.

The bounds were chosen on 13,000 phrases, of Home Assistant, message catalogues and written for it. Of 10,500 others,
0.2 % came out wrong, nearly all of them made of English words, and no command of Home Assistant in 2,500.
"""

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MOST_CHARACTERS = 400
"""The start of a text is enough: with more than 50 letters, none was taken for another language. This takes 0.3 ms."""

LEAD = 6.0
"""By how much, in nats, the best language leads the next. At 5, half as many again went wrong for 1 % more found."""
LEAD_OF_SHORT, SHORT_LETTERS, SHORT_WORDS = 12.0, 8, 2
"""The same for a single word, or few letters: `Esloveno` is Czech by 8. Of 2,081 single words, none went wrong."""
FOREIGN_LEAD = 6.0
"""So far ahead, a language not known here is the text's: 5 % of phrases in such languages are taken for one of ours."""
FOREIGN_LEAD_OWN_SCRIPT = 10.0
"""The same in a script that one of ours is written in, which a voice for another script could not read at all."""
HAN_LEAD, FEWEST_HAN = 2.5, 4
"""Chinese before Japanese, in nats a character: headings in kanji alone look Chinese too, all but 3 of 145 by less."""

SYLLABLE_WEIGHT, SCRIPT_WEIGHT = 4, 2
"""Latin letters that a letter of another script outweighs: `Philips Hueの電球` is Japanese with a name in it."""
KANA_SHARE = 0.1
"""From so much kana on, Chinese characters are Japanese."""

_HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
_KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f"
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CYRILLIC = "\u0400-\u052f"
_ARABIC = "\u0620-\u065f\u066e-\u06d3\u06d5\u06fa-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"
_DEVANAGARI = "\u0900-\u0963\u0971-\u097f"
_SCRIPTS = {
    "ko": re.compile(f"[{_HANGUL}]+"),
    "ja": re.compile(f"[{_KANA}]+"),
    "zh-cn": re.compile(f"[{_HAN}]+"),
    "ru": re.compile(f"[{_CYRILLIC}]+"),
    "ar": re.compile(f"[{_ARABIC}]+"),
    "hi": re.compile(f"[{_DEVANAGARI}]+"),
}
"""The letters that only one of LANGUAGES is written in."""
_SYLLABIC = ("ko", "ja", "zh-cn")
_SCRIPTED = re.compile(f"[{_HANGUL}{_KANA}{_HAN}{_CYRILLIC}{_ARABIC}{_DEVANAGARI}]+")
_LATIN = re.compile(rf"[^\W\d_{_HANGUL}{_KANA}{_HAN}{_CYRILLIC}{_ARABIC}{_DEVANAGARI}]+")
"""Letters of any other script: Greek ones end up as a foreign language."""
_NOT_WORDS = re.compile(r"<[^<>]{0,200}>|(?<![!-~])[!-~]*(?:://|www\.|@|\w_\w)[!-~]*", re.A)
"""Tags, addresses and identifiers."""


class LanguageDetector:
    """Tells languages apart. Loaded it holds 75 MB, so one serves all; any thread may call it."""

    def __init__(self, languages: Sequence[str]) -> None:
        """Languages of LANGUAGES that a text may be in: all of them, rather than those that can be spoken.

        What is left out is only told from them as a foreign language is.
        """
        self._languages = frozenset(languages)
        self._latin = self._languages - _SCRIPTS.keys()
        self._lock = threading.Lock()
        self._identifier: LanguageIdentifier | None = None

    def warm(self) -> None:
        """Load the model now, in 0.8 s, and not with the first text that needs it.

        Raises OSError where there is no room for a temporary file of 50 MB: py3langid unpacks its model into one.
        """
        self._ranked("")

    def detect(self, text: str, among: Sequence[str]) -> str | None:
        """The text's language where it is one of these; None where it is another, or too short or unclear to tell."""
        found = self._detect(_NOT_WORDS.sub(" ", text[:MOST_CHARACTERS]))
        return found if found in self._languages and found in among else None

    def _detect(self, text: str) -> str | None:
        script = _script(text)
        if script is None or script in ("ko", "ja"):
            return script
        if script == "latin":
            return self._in_latin_letters(_SCRIPTED.sub(" ", text))
        letters = _SCRIPTS[script].findall(text)
        return self._in_han("".join(letters)) if script == "zh-cn" else self._in_own_script(" ".join(letters), script)

    def _in_latin_letters(self, text: str) -> str | None:
        words = [word for word in text.split() if _LATIN.search(word)]
        short = len(words) < SHORT_WORDS or _size(_LATIN, text) < SHORT_LETTERS
        ranked = self._ranked(text)
        ours = [(code, score) for code, score in ranked if code in self._latin]
        foreign = next(score for code, score in ranked if code not in self._latin)
        if not ours or foreign - ours[0][1] > FOREIGN_LEAD:
            return None
        lead = ours[0][1] - ours[1][1] if len(ours) > 1 else LEAD_OF_SHORT
        return ours[0][0] if lead >= (LEAD_OF_SHORT if short else LEAD) else None

    def _in_own_script(self, text: str, code: str) -> str | None:
        ranked = self._ranked(text)
        return code if ranked[0][1] - dict(ranked)[code] <= FOREIGN_LEAD_OWN_SCRIPT else None

    def _in_han(self, text: str) -> str | None:
        scores = dict(self._ranked(text))
        return "zh-cn" if scores["zh"] - scores["ja"] >= HAN_LEAD * max(len(text), FEWEST_HAN) else None

    def _ranked(self, text: str) -> list[tuple[str, float]]:
        """All 139 languages of the model, the likeliest first."""
        with self._lock:
            if self._identifier is None:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        # How a word begins and ends tells most: with spaces around them, 7 to 10 % more of the short texts are right.
        ranked: list[tuple[str, float]] = self._identifier.rank(f" {text} ")
        return ranked


def _size(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))


def _script(text: str) -> str | None:
    """The language whose own script most of the letters are, or `latin`."""
    sizes = {code: _size(pattern, text) for code, pattern in _SCRIPTS.items()}
    if sizes["ja"] and sizes["ja"] >= KANA_SHARE * sizes["zh-cn"]:
        sizes["ja"], sizes["zh-cn"] = sizes["ja"] + sizes["zh-cn"], 0
    weighed = {code: size * (SYLLABLE_WEIGHT if code in _SYLLABIC else SCRIPT_WEIGHT) for code, size in sizes.items()}
    weighed["latin"] = _size(_LATIN, text)
    most = max(weighed, key=weighed.__getitem__)
    return most if weighed[most] else None
