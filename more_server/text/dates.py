"""Dates and times of day to words."""

import datetime
import re
from functools import cache

from more_server.text.languages.base import Language
from more_server.text.languages.registry import get
from more_server.text.numbers import Number, counted, word_before

_ISO = re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])")
_YEAR_FIRST = re.compile(
    r"(?<![\d./-])(\d{4})([./-]) ?(\d{1,2})\2 ?(\d{1,2})(?![\d/-]|\.\d)(?:(?<=[. ]\d)\.|(?<=[. ]\d\d)\.)?"
)
_YEAR_LAST = re.compile(r"(?<![\d./-])(\d{1,2})(?:([/-])|\.) ?(\d{1,2})(?(2)\2|\.) ?(\d{4}|\d{2})(?![\d/-]|\.\d)")
_ZONE = re.compile(r"(?<=\d)T(\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?(?!\w)")


@cache
def _named(code: str) -> tuple[re.Pattern[str], ...]:
    language = get(code)
    months = "|".join(re.escape(name) for name in sorted(language.months, key=len, reverse=True))
    short = "|".join(dict.fromkeys(name[:3] for name in language.months))
    patterns = [t.replace("{months}", months).replace("{short}", short) for t in language.month_day]
    return tuple(re.compile(rf"(?<![\w.,/])(?:{pattern})" if language.spaced else pattern) for pattern in patterns)


def _is_date(day: int, month: int, year: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def _full_year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else year + (2000 if year < 50 else 1900)


def expand_dates(text: str, language: Language) -> str:
    def read(m: re.Match[str], year: int, month: int, day: int) -> str:
        if not _is_date(day, month, year):
            return m[0]
        return language.set_apart(language.date(day, month, year, word_before(m)))

    def year_first(m: re.Match[str]) -> str:
        return read(m, int(m[1]), int(m[3]), int(m[4]))

    def year_last(m: re.Match[str]) -> str:
        first, second, year = int(m[1]), int(m[3]), _full_year(m[4])
        if m[2] is None and len(m[4]) == 2 and language.dotted_ordinal is None:
            return m[0]  # 10.12.24 is a date only where dates are written with dots
        if language.date_order == "mdy" and m[2] == "/" and first <= 12:
            first, second = second, first
        return read(m, year, second, first) if second <= 12 else read(m, year, first, second)

    def named(m: re.Match[str]) -> str:
        day, month = int(m["day"]), _month(m["month"], language)
        year = m.groupdict().get("year")
        if not month or not _is_date(day, month, 2000):
            return m[0]
        return language.set_apart(language.date(day, month, int(year) if year else None, word_before(m)))

    text = _ISO.sub(lambda m: read(m, int(m[1]), int(m[2]), int(m[3])), _ZONE.sub(r" \1", text))
    text = _YEAR_LAST.sub(year_last, _YEAR_FIRST.sub(year_first, text))
    for pattern in _named(language.code):
        text = pattern.sub(named, text)
    return text


def _month(name: str, language: Language) -> int:
    if name.isdecimal():
        return int(name)
    for index, month in enumerate(language.months, 1):
        if name.casefold() == month.casefold() or (len(name) <= 5 and name[:3] == month[:3]):
            return index
    return 0


_CLOCK = r"(?:[01]?\d|2[0-4])"
_TIME_RANGE = re.compile(rf"(?<![\d:.,])({_CLOCK}:[0-5]\d(?: ?[ap]\.?m\.?)?) ?[-–~] ?(?={_CLOCK}:[0-5]\d)", re.I)
_LETTER_RANGE = re.compile(rf"(?<![\d.,])({_CLOCK}h(?:[0-5]\d)?) ?[-–] ?(?={_CLOCK}h)")
_HALF_DAY_RANGE = re.compile(rf"(?<![\d.,])({_CLOCK}(?::[0-5]\d)? ?[ap]\.?m\.?) ?[-–~] ?(?={_CLOCK})", re.I)
_HALF_DAY = r"(?: ?(?P<half>[ap])\.?m\b(?P<stop>\.?))?"
_BARE_HALF_DAY = re.compile(r"(?<![\d:.,])(?P<hour>1[0-2]|0?[1-9]) ?(?P<half>[ap])\.?m\b(?P<stop>\.?)", re.I)


@cache
def _clock(code: str) -> re.Pattern[str]:
    language = get(code)
    after = rf"(?P<after>{language.time_words})" if language.time_words else "(?P<after>(?!))"
    dotted = (
        rf"|(?P<dotted>{_CLOCK})\.(?P<dotted_minute>[0-5]\d)(?={language.time_words})" if language.time_words else ""
    )
    letter = rf"|(?P<lettered>{_CLOCK}) ?h(?: ?(?P<lettered_minute>[0-5]\d))?(?!\w)" if language.hour_letter else ""
    colon = rf"(?P<hour>{_CLOCK}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])"
    suffix = rf"(?P<suffix>{language.suffixes or '(?!)'})?"
    return re.compile(rf"(?<![\d:.,])(?:{colon}{_HALF_DAY}{dotted}{letter})(?:{after})?{suffix}", re.I)


def expand_times(text: str, language: Language) -> str:
    if language.hour_letter:
        text = _LETTER_RANGE.sub(lambda m: f"{m[1]}{language.range_word}", text)
    text = _HALF_DAY_RANGE.sub(lambda m: f"{m[1]}{language.range_word}", text)
    text = _TIME_RANGE.sub(lambda m: f"{m[1]}{language.range_word}", text)
    text = _clock(language.code).sub(lambda m: _read_time(m, language), text)
    return _BARE_HALF_DAY.sub(lambda m: _read_time(m, language), text)


def _read_time(m: re.Match[str], language: Language) -> str:
    groups = m.groupdict()
    hour = int(groups.get("hour") or groups.get("dotted") or groups.get("lettered") or 0)
    minute = int(groups.get("minute") or groups.get("dotted_minute") or groups.get("lettered_minute") or 0)
    half, stop = (groups.get("half") or "").lower(), _stop(m)
    if half and language.code == "en":
        clock = language.time(hour, minute, word_before(m)).removesuffix(" o'clock")
        return f" {clock} {'ay' if half == 'a' else 'pee'} em{stop} "
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    words = language.time(hour, minute, word_before(m))
    second = groups.get("second")
    if second and int(second):
        words += f" {counted(Number(str(int(second))), language.units[language.second], language)}"
    suffix = (groups.get("suffix") or "").lstrip("'-")
    return language.set_apart(f"{words}{suffix}{stop}")


def _stop(m: re.Match[str]) -> str:
    """The full stop of `p.m.` stays where the sentence ends with it."""
    rest = m.string[m.end() : m.end() + 3].lstrip()
    return "." if m.groupdict().get("stop") and (not rest or rest[0].isupper() or rest[0] == "\x1e") else ""
