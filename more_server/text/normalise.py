"""Text as people write it to text as XTTS can speak it. The order of the steps is the whole of this file's wisdom."""

import re
import unicodedata

from more_server.text import clean, dates, numbers, words
from more_server.text.languages.base import Language
from more_server.text.languages.registry import get


def normalise(text: str, language: str) -> str:
    """Only words and plain punctuation: no digit, sign, emoji or markup is left.

    Pure and total: any string in any of LANGUAGES gives a string. The case is kept.
    """
    data = get(language)
    text = clean.strip_markup(text)
    text = clean.characters(text, spaced=data.spaced)
    text = words.expand_addresses(text, data)
    text = clean.plain_marks(text)
    text = words.expand_abbreviations(text, data)
    text = words.expand_roman(text, data)
    if data.phrases:
        text = data.phrases(text)
    text = _expand_numbers(words.expand_dotted(text, data), data)
    text = words.expand_signs(words.expand_acronyms(text, data), data)
    return _tidy(text, data)


def _expand_numbers(text: str, data: Language) -> str:
    """From the most specific shape to the least: each step takes its digits out of the way of the next."""
    if any(c.isdecimal() or c in "½¼¾" for c in text):
        text = dates.expand_dates(numbers.adopt_foreign_signs(text, data), data)
        text = dates.expand_times(text, data)
        text = numbers.expand_digit_strings(text, data)
        text = numbers.expand_fractions(text, data)
        text = words.prepare_signs(text, data)
        text = numbers.expand_ranges(text, data)
        text = numbers.expand_negatives(text, data)
        text = numbers.expand_money(text, data)
        text = numbers.expand_quantities(text, data)
        text = numbers.expand_ordinals(text, data)
        text = words.separate_letters(text, data)
        return numbers.expand_plain(text, data)
    return words.prepare_signs(text, data)


_OPTIONAL_ENDING = re.compile(r"(?<=\w)\(\w{1,3}\)")
_BRACKETS = re.compile(r"\s*[()\[\]{}⟨⟩]+\s*")
_LEFT_HYPHEN = re.compile(r"(?<=\w) -(?=[^\W\d_])")
_DASHES = re.compile(r"\s*(?:–+|(?<!\w)-+|-{2,}|-+(?!\w))[\s–-]*")
_ELLIPSIS = re.compile(r"\s*\.(?:\s?\.)+\s*(?=(\S?))")
_BREAKS = re.compile(rf"\s*{clean.BREAK}[\s{clean.BREAK}]*")
_RUN = re.compile(r"[,;:.!?，、。！？；：।؟،؛](?:\s*[,;:.!?，、。！？；：।؟،؛])+")
_RANK = {sign: rank for rank, signs in enumerate([",，、،", ":：", ";；؛", ".。।", "!！", "?？؟"]) for sign in signs}
_GAP_BEFORE = re.compile(r"\s+(?=[,;:.!?，、。！？；：।؟،؛])")
_NO_GAP_AFTER = re.compile(r"(?<=[,;:.!?।؟،؛])(?=[^\W_])")
_CJK_GAP = re.compile(r"(?<=[^\x00-\u2fff]) (?=[^\x00-\u2fff])")
_LATIN_EDGE = re.compile(r"(?<=[A-Za-z])(?=[\u2fff-\uffef])|(?<=[\u3040-\uff00])(?=[A-Za-z])")
_LOOSE_JOINERS = re.compile(r"(?:(?<=\s)|^)[\u200c\u200d]+|(?<![\u200c\u200d])[\u200c\u200d]+(?=\s|$)")
_WIDE_MARKS = {
    "zh-cn": str.maketrans(",.!?;:", "，。！？；："),
    "ja": str.maketrans(",.!?;:", "、。！？；："),
}
_FULL_STOP = {"zh-cn": "。", "ja": "。", "hi": "।"}


def _tidy(text: str, data: Language) -> str:
    text = clean.single_spaces(text)
    if data.code != "es":
        text = text.replace("¿", " ").replace("¡", " ")
    # hyphens that a number left behind: 21st-century
    text = _LEFT_HYPHEN.sub(" ", text).replace("' ", "'")
    text = _BRACKETS.sub(", ", _OPTIONAL_ENDING.sub("", text))
    text = _DASHES.sub(", ", text)
    text = _ELLIPSIS.sub(lambda m: ", " if m[1].islower() else "" if m[1] in _RANK else ". ", text)
    stop = _FULL_STOP.get(data.code, ".")
    text = _BREAKS.sub(f"{stop}{clean.BREAK} ", text)
    text = _RUN.sub(_strongest, text.replace(f":{stop}{clean.BREAK}", ":").replace(clean.BREAK, ""))
    text = _LOOSE_JOINERS.sub("", clean.single_spaces(_speakable(text)))
    text = _NO_GAP_AFTER.sub(" ", _GAP_BEFORE.sub("", text))
    text = " ".join(text.split())
    if not data.spaced:
        text = _LATIN_EDGE.sub(" ", _CJK_GAP.sub("", text))
        text = re.sub(r"(?<=[，、。！？；：]) | (?=[，、。！？；：])", "", text.translate(_WIDE_MARKS[data.code]))
    text = text.lstrip(" ,;:.!?，、。！？；：।؟،؛-").rstrip(" ,;:，、；：،؛-")
    return unicodedata.normalize("NFC", text.translate({ord(c): low for c, low in data.final_letters.items()}))


def _strongest(m: re.Match[str]) -> str:
    signs = [c for c in m[0] if not c.isspace()]
    return max(signs, key=_RANK.__getitem__) + (" " if m[0][-1].isascii() else "")


_MARKS = set("¿¡,;:.!?，、。！？；：।؟،؛'- ・ー\u200c\u200d")


def _speakable(text: str) -> str:
    """The last net: letters, their marks and the punctuation that pauses; all else becomes a space."""
    if text.isascii() and text.replace(" ", "").isalpha():
        return text
    kept: list[str] = []
    carries = False
    for c in text:
        kind = unicodedata.category(c)[0]
        # a mark without its letter cannot be said; 〇 is a letter number, and a word of Chinese and Japanese
        is_letter = kind == "L" or c == "〇" or (carries and (kind == "M" or c in "\u200c\u200d"))
        kept.append(c if is_letter or (c in _MARKS and c not in "\u200c\u200d") else " ")
        carries = is_letter
    return "".join(kept)
