"""The shape of a language's data: everything `normalise` needs to know about one language."""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import msgspec


class Noun(msgspec.Struct, frozen=True):
    """A word that is counted: a currency or a unit."""

    gender: str
    """`m`, `f` or `n`; empty where the language has none."""
    forms: tuple[str, ...]
    """One per index of `Language.plural`; a form holding `{}` says where the number goes."""

    def form(self, index: int) -> str:
        return self.forms[min(index, len(self.forms) - 1)]


class Money(msgspec.Struct, frozen=True):
    major: Noun
    minor: Noun | None
    """The hundredth part, where amounts are read so."""


def noun(text: str) -> Noun:
    """`f|libra|libras`; the gender may be left out."""
    first, *rest = text.strip().split("|")
    return Noun(first, tuple(rest)) if first in ("m", "f", "n") else Noun("", (first, *rest))


def _entries(block: str, separators: str) -> list[str]:
    return [entry.strip() for entry in re.split(separators, block) if entry.strip()]


def _keyed(entry: str) -> tuple[list[str], str]:
    keys, value = entry.split(None, 1)
    return keys.split(","), value


def nouns(block: str) -> dict[str, Noun]:
    """`key,key form|form`, one a line or parted by semicolons."""
    rows = map(_keyed, _entries(block, r"[\n;]"))
    return {key: noun(value) for keys, value in rows for key in keys}


def moneys(block: str) -> dict[str, Money]:
    """Lines of `key,key form|form; form|form`, the minor unit second."""
    table = {}
    for keys, value in map(_keyed, _entries(block, r"\n")):
        major, _, minor = value.partition(";")
        money = Money(noun(major), noun(minor) if minor.strip() else None)
        table.update(dict.fromkeys(keys, money))
    return table


def words(block: str) -> dict[str, str]:
    """`key = value`, one a line or parted by semicolons."""
    pairs = [entry.partition(" = ") for entry in _entries(block, r"[\n;]")]
    return {key.strip(): value.strip() for key, _, value in pairs}


def listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def two_forms(n: int) -> int:
    return 0 if n == 1 else 1


def one_form(_: int) -> int:
    return 0


def slavic_forms(n: int) -> int:
    """Russian: 1 and 21 take the first form, 2-4 and 22-24 the second, the rest the third."""
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else 2


def kanji_digits(digits: str, signs: str) -> str:
    return "".join(signs[int(d)] for d in digits)


@cache
def _num2words() -> Callable[..., Any]:
    from num2words import num2words

    return num2words  # type: ignore[no-any-return, unused-ignore]


@lru_cache(8192)
def num2words(n: int, language: str, to: str = "cardinal") -> str:
    return str(_num2words()(n, lang=language, to=to))


Spell = Callable[[int, str], str]


class Language(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    names: tuple[str, ...]
    """What else the language is called, in lower case."""
    character_limit: int
    """Longest segment XTTS-v2 speaks well (coqui's table)."""

    cardinal: Spell
    """(number, gender) to words; gender is empty when nothing is counted. Never asked for 10^15 or more."""
    ordinal: Spell
    """(number, form) to words; the forms are the values of `ordinal_marks`."""
    ordinal_marks: dict[str, str] = {}
    """Suffix of a digit string to the form it stands for, such as `ª` to `f`."""
    dotted_ordinal: Callable[[int, str, str], str | None] | None = None
    """Reads `5.`: (number, word before, word after) to words, or None when the dot ends a sentence."""
    digits: str = ""
    """The ten digits one by one; from `cardinal` when empty."""

    decimal: str
    """The sign between whole and fraction."""
    thousands: str
    """Signs between groups of three digits."""
    point: str
    minus: str
    fraction_as_number: bool = False
    """`3,14` ends in fourteen, not in one four."""
    decimal_words: Callable[[str, str], str | None] | None = None
    """Reads (whole, fraction) where the language inflects around the decimal sign."""
    plural: Callable[[int], int] = two_forms
    fraction_form: int | None = 1
    """Form of a noun after a decimal; None: as after the whole part."""
    count: Callable[[int, Noun], str] | None = None
    """Joins a whole number and a noun where it takes more than a space."""
    spaced: bool = True
    """Words are separated by spaces."""
    padded: bool = True
    """What stands for a number is set apart from its neighbours; not where particles cling to it."""
    gender_of: Callable[[str], str] | None = None
    """Gender of a plain noun after a number, guessed from its ending; empty where it would be a guess too far."""

    currencies: dict[str, Money]
    money_and: str = " "
    """Between the major and the minor amount."""
    magnitudes: dict[str, str] = {}
    """What may stand between an amount and its currency ($3 million, 5 Mrd. €), and how it is read."""
    magnitude_link: Callable[[str], str] = str
    """What joins a magnitude to the currency's name: million *of* euros."""
    units: dict[str, Noun]
    second: str = "s"
    """Key of the second among `units`; elsewhere than in Czech and Hungarian, s is no word."""
    suffixes: str = ""
    """Pattern of endings that cling to a number: Turkish after an apostrophe, Hungarian after a hyphen."""

    months: tuple[str, ...]
    date_order: str = "dmy"
    date: Callable[[int, int, int | None, str], str]
    """(day, month, year, word before) to words."""
    month_day: tuple[str, ...] = ()
    """Patterns of dates in words with the groups day, month and perhaps year; `{months}` stands for the names."""
    time: Callable[[int, int, str], str]
    """(hour, minute, word before) to words, on the 24-hour clock."""
    time_words: str = ""
    """Pattern of what may follow a time and is already part of the reading, such as ` Uhr`."""
    hour_letter: bool = False
    """`14h30` is a time."""
    year: Callable[[int], str] | None = None
    """Reads a bare four-digit number that looks like a year."""
    phrases: Callable[[str], str] | None = None
    """Rewrites what only this language writes so, before the common rules for numbers."""

    range_word: str
    """Between the ends of `3-5`, with its own spaces."""
    symbols: dict[str, str]
    """Signs to words: & + @ % # = and so on."""
    addresses: dict[str, str]
    """The signs of URLs and e-mail addresses: . @ / - _ :"""
    letters: str
    """Names of a to z; empty: letters stay letters, set apart by spaces."""
    more_letters: dict[str, str] = {}
    """Names of capitals outside A to Z that occur in acronyms."""

    titles: dict[str, str] = {}
    """Abbreviations that never end a sentence."""
    closings: dict[str, str] = {}
    """Abbreviations that may end one: the full stop stays where it does."""
    plain_words: str = ""
    """Short words that are no acronyms when written in capitals."""
    roman: Callable[[int, str, str], str | None] | None = None
    """Reads a Roman numeral: (value, word before, word after) to text, digits allowed; None leaves it alone."""

    final_letters: dict[str, str] = {}
    """Letters whose lower case is not what `str.lower` makes of them."""

    def set_apart(self, words: str) -> str:
        return f" {words} " if self.padded else words

    def digit_words(self) -> tuple[str, ...]:
        return tuple(self.digits.split()) if self.digits else tuple(self.cardinal(d, "") for d in range(10))
