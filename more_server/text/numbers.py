"""Numbers to words: integers, decimals, ordinals, amounts of money, quantities, ranges, digit strings."""

import re
from functools import cache
from typing import NamedTuple

from more_server.text.languages.base import Language, Money, Noun, noun
from more_server.text.languages.registry import get

_LONGEST_CARDINAL = 15
"""Digits; longer numbers are read digit by digit. Every language's speller covers this many."""
_LONGEST_PLAIN = 9
"""Digits without separators that are still read as one number; longer ones are telephone or serial numbers."""


class Number(NamedTuple):
    whole: str
    fraction: str = ""


class Patterns(NamedTuple):
    number: str
    plain: re.Pattern[str]
    money_before: re.Pattern[str]
    money_after: re.Pattern[str]
    quantity: re.Pattern[str]
    span: re.Pattern[str]
    negative: re.Pattern[str]
    magnitude: re.Pattern[str] | None
    """An abbreviated million or thousand without a currency."""
    ordinal: re.Pattern[str] | None


def _alternatives(keys: object) -> str:
    return "|".join(re.escape(k) for k in sorted(keys, key=len, reverse=True))  # type: ignore[call-overload]


@cache
def patterns(code: str) -> Patterns:
    language = get(code)
    sep = f"[{language.thousands}]"
    groups = rf"\d{{1,3}}(?:{sep}\d{{3}})+(?!\d)"
    if code == "hi":
        groups = rf"\d{{1,2}}(?:,\d{{2}})*,\d{{3}}(?!\d)|{groups}"
    decimal = r"(?:[.,]\d+)?" if language.decimal == "," else r"(?:\.\d+|,\d{1,2}(?![\d,]))?"
    number = rf"(?:(?:{groups}|\d+){decimal})"
    start = r"(?<!\d)(?<!\d[.,])"
    letter = r"[^\W\d_]" if language.spaced and code != "ko" else r"[A-Za-z]"
    currency = _alternatives(language.currencies)
    magnitude = (
        rf"(?:\s?(?P<magnitude>{_alternatives(language.magnitudes)})(?!{letter}))?" if language.magnitudes else ""
    )
    units, dot = _alternatives(language.units), r"\.(?= [a-zß-ÿ])"  # the dot of "6 ft. tall" ends nothing
    suffix = rf"(?P<suffix>{language.suffixes or '(?!)'})?"
    # Only where words are spaced can a hyphen join a word and a number.
    before_minus = r"(?<![^\s(,:;=<>])" if language.padded else r"(?<![A-Za-z0-9])"
    short = _alternatives(
        k for k, said in language.magnitudes.items() if k != said.rpartition("|")[2] and (len(k) > 1 or k in "kK")
    )
    marks = _alternatives(language.ordinal_marks)
    return Patterns(
        number,
        re.compile(rf"{start}{number}{suffix}"),
        re.compile(rf"(?<!{letter})(?P<currency>{currency})\s?(?P<number>{number}){magnitude}"),
        re.compile(rf"{start}(?P<number>{number}){magnitude}\s?(?P<currency>{currency})(?!{letter}){suffix}"),
        re.compile(rf"{start}(?P<number>{number})\s?(?P<unit>{units})(?!{letter}|[²³])(?:{dot}|{suffix})"),
        re.compile(rf"(?<![\d/:-])(?<!\d[.,])(?P<first>(?:[$€£¥₹]\s?)?(?P<low>{number})\s?%?)(?P<dash>\s?[–~]\s?|-)(?=(?:[$€£¥₹]\s?)?(?P<high>{number})(?![\d/:-]))"),
        re.compile(rf"{before_minus}-(?=(?:{currency})?\d)"),
        re.compile(rf"{start}(?P<number>{number})\s?(?P<magnitude>{short})(?!{letter})") if short else None,
        re.compile(rf"(?<![\d.,])(?P<number>\d+)\s?(?:\^)?(?P<mark>{marks})(?!\w)", re.I) if marks else None,
    )  # fmt: skip


def parse(text: str, language: Language) -> Number:
    """A match of `Patterns.number` to its digits."""
    decimal = language.decimal if language.decimal in text else {",": ".", ".": ","}[language.decimal]
    whole, sign, fraction = text.rpartition(decimal)
    if not sign or _is_grouped(text, decimal, language):
        whole, fraction = text, ""
    return Number(re.sub(r"\D", "", whole), fraction)


def _is_grouped(text: str, decimal: str, language: Language) -> bool:
    return (
        decimal in language.thousands
        and re.fullmatch(rf"\d{{1,3}}(?:\{decimal}\d\d)*(?:\{decimal}\d{{3}})+", text) is not None
    )


def by_digit(digits: str, language: Language) -> str:
    names = language.digit_words()
    return (" " if language.spaced else "").join(names[int(d)] for d in digits)


def spell(number: Number, language: Language, gender: str = "") -> str:
    if not number.fraction:
        return _spell_whole(number.whole, language, gender)
    if language.decimal_words and (read := language.decimal_words(*number)):
        return read
    gap = " " if language.spaced else ""
    parts = _spell_whole(number.whole, language, ""), language.point, _spell_fraction(number.fraction, language)
    return gap.join(parts)


def _spell_whole(digits: str, language: Language, gender: str) -> str:
    if len(digits) > _LONGEST_CARDINAL or (len(digits) > 1 and digits[0] == "0"):
        return by_digit(digits, language)
    return language.cardinal(int(digits), gender)


def _spell_fraction(digits: str, language: Language) -> str:
    significant = digits.lstrip("0")
    if language.fraction_as_number and significant and len(digits) <= 2:
        zeros = [by_digit("0", language)] * (len(digits) - len(significant))
        return " ".join([*zeros, language.cardinal(int(significant), "")])
    return by_digit(digits, language)


def counted(number: Number, noun: Noun, language: Language) -> str:
    whole = int(number.whole[-_LONGEST_CARDINAL:])
    if language.count and not number.fraction and len(number.whole) <= _LONGEST_CARDINAL:
        return language.count(whole, noun)
    index = language.plural(whole)
    if number.fraction and language.fraction_form is not None:
        index = language.fraction_form
    form, amount = noun.form(index), spell(number, language, noun.gender)
    if "{}" in form:
        return form.format(amount)
    return f"{amount}{' ' if language.spaced else ''}{form}"


def _amount(number: Number, money: Money, language: Language) -> str:
    if money.minor is None:
        number = Number(number.whole, number.fraction.rstrip("0"))
    if money.minor is None or len(number.fraction) != 2:
        return counted(number, money.major, language)
    minor = Number(number.fraction.lstrip("0"))
    if not minor.whole:
        return counted(Number(number.whole), money.major, language)
    if not number.whole.strip("0"):
        return counted(minor, money.minor, language)
    major = counted(Number(number.whole), money.major, language)
    return f"{major}{language.money_and}{counted(minor, money.minor, language)}"


def _with_magnitude(number: Number, magnitude: str, language: Language) -> str:
    """5 million; the numbers of East Asia run on into theirs: 五百万."""
    said = language.magnitudes[magnitude]
    return counted(number, noun(said), language) if language.padded else f"{spell(number, language)}{said}"


_COMMA_DECIMAL = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3})+,\d{1,2}(?![\d,.]\d|\d)")
_POINT_DECIMAL = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+\.\d+(?![\d,.]\d|\d)")


def adopt_foreign_signs(text: str, language: Language) -> str:
    """`1.234,56` where the point is decimal, and `1,234.56` where the comma is: both are beyond doubt."""
    if language.decimal == ".":
        return _COMMA_DECIMAL.sub(lambda m: m[0].replace(".", "").replace(",", "."), text)
    return _POINT_DECIMAL.sub(lambda m: m[0].replace(",", "").replace(".", ","), text)


def expand_money(text: str, language: Language) -> str:
    def read(m: re.Match[str]) -> str:
        money, number = language.currencies[m["currency"]], parse(m["number"], language)
        groups = m.groupdict()
        magnitude, suffix = groups.get("magnitude"), _bare_suffix(groups.get("suffix"))
        if not magnitude:
            return language.set_apart(_amount(number, money, language) + suffix)
        name = money.major.form(language.plural(1_000_000)).replace("{}", "").strip()
        amount = _with_magnitude(number, magnitude, language)
        return language.set_apart(f"{amount}{' ' if language.spaced else ''}{language.magnitude_link(name)}{suffix}")

    compiled = patterns(language.code)
    text = compiled.money_after.sub(read, compiled.money_before.sub(read, text))
    if compiled.magnitude:
        text = compiled.magnitude.sub(
            lambda m: f" {_with_magnitude(parse(m['number'], language), m['magnitude'], language)} ", text
        )
    return text


def expand_quantities(text: str, language: Language) -> str:
    def read(m: re.Match[str]) -> str:
        words = counted(parse(m["number"], language), language.units[m["unit"]], language)
        return language.set_apart(words + _bare_suffix(m["suffix"]))

    return patterns(language.code).quantity.sub(read, text)


def expand_ranges(text: str, language: Language) -> str:
    def read(m: re.Match[str]) -> str:
        low, high = parse(m["low"], language), parse(m["high"], language)
        rising = (len(low.whole), low) < (len(high.whole), high)
        short_year = len(low.whole) == 4 and len(high.whole) == 2 and not low.fraction
        if m["dash"] == "-" and not rising and not short_year:
            return f"{m['first']} "
        return f"{m['first']}{language.range_word}"

    return patterns(language.code).span.sub(read, text)


def expand_negatives(text: str, language: Language) -> str:
    return patterns(language.code).negative.sub(f" {language.minus} ", text)


_DOTTED = re.compile(r"(?<![\d.,])(\d{1,4})\. (?=([^\W\d_]+))")
_LAST_WORD = re.compile(r"([^\W\d_]+)\W{0,2}$")


def word_before(m: re.Match[str]) -> str:
    # a window, because slicing the whole text for each match would take quadratic time
    found = _LAST_WORD.search(m.string[max(0, m.start() - 32) : m.start()])
    return found[1] if found else ""


def expand_ordinals(text: str, language: Language) -> str:
    marked = patterns(language.code).ordinal
    if marked:
        marks = language.ordinal_marks
        text = marked.sub(lambda m: language.set_apart(_ordinal(m["number"], language, marks[m["mark"].lower()])), text)
    dotted = language.dotted_ordinal
    if not dotted:
        return text

    def read(m: re.Match[str]) -> str:
        words = dotted(int(m[1]), word_before(m), m[2])
        return m[0] if words is None else f"{words} "

    return _DOTTED.sub(read, text)


def _ordinal(digits: str, language: Language, form: str) -> str:
    return language.ordinal(int(digits), form) if 0 < len(digits) < 7 and int(digits) else by_digit(digits, language)


_PHONE = re.compile(
    r"(?<![\w+])\+\d(?:[ ().-]{0,2}\d){6,16}(?!\d)"  # +49 30 1234567
    r"|(?<![\d.,-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\d-])"  # (555) 123-4567
    r"|(?<![\d.,-])0\d{1,4}(?:[ /-]\d{2,8}){1,5}(?![\d-])"  # 01 23 45 67 89
    r"|(?<![\d.,-])\d{3}-\d{4}(?![\d-])"
    r"|(?<![\d.,-])\d{4}(?: \d{4}){2,5}(?!\d)"  # card numbers
    r"|(?<![\d.,-])\d+(?:-\d+){2,}(?![\d-])"  # ISBN and the like
)
_GROUPS = re.compile(r"(?<![\d.,:-])\d{2,4}(?: \d{2,4}){2,4}(?![\d:]| ?\d|[.,]\d)")
_TELEPHONE = ("tel", "tél", "тел", "mob", "fax")
_VERSION = re.compile(r"(?<![\d.,])\d+(?:\.\d+){2,}(?!\d|,\d)")
_FRACTION = re.compile(r"(?<![\d/.,])(\d{1,3})/(\d{1,3})(?![\d/])")


def expand_digit_strings(text: str, language: Language) -> str:
    def phone(m: re.Match[str]) -> str:
        groups = [by_digit(g, language) for g in re.findall(r"\d+", m[0])]
        plus = f"{language.symbols['+']} " if m[0][0] == "+" else ""
        return f" {plus}{', '.join(groups)} "

    def version(m: re.Match[str]) -> str:
        if re.fullmatch(rf"\d{{1,3}}(?:[{language.thousands}]\d{{3}})+", m[0]):
            return m[0]
        said = [_spell_whole(d, language, "") for d in m[0].split(".")]
        dot = language.point if language.decimal == "." else language.addresses["."]
        return language.set_apart(f" {dot} ".join(said))

    def groups(m: re.Match[str]) -> str:
        is_number = re.fullmatch(r"\d{1,3}(?: \d{3})+", m[0]) and not word_before(m).lower().startswith(_TELEPHONE)
        return m[0] if is_number or " " not in language.thousands else phone(m)

    return _VERSION.sub(version, _GROUPS.sub(groups, _PHONE.sub(phone, text)))


_VULGAR = {"½": ("1/2", "5"), "¼": ("1/4", "25"), "¾": ("3/4", "75")}


def expand_fractions(text: str, language: Language) -> str:
    for sign, (alone, after_whole) in _VULGAR.items():
        if sign in text:
            text = re.sub(rf"(?<=\d) ?{sign}", language.decimal + after_whole, text).replace(sign, alone)

    def read(m: re.Match[str]) -> str:
        if m[0] == "24/7":
            return "24 7"
        sign = {"1/2": "½", "1/4": "¼", "3/4": "¾"}.get(m[0], "")
        if sign in language.symbols:
            return f" {language.symbols[sign]} "
        over = language.symbols["/"]
        return over.format(m[1], m[2]) if "{" in over else f"{m[1]} {over} {m[2]}"

    return _FRACTION.sub(read, text)


def expand_plain(text: str, language: Language) -> str:
    """What no other rule has taken: decimals, years, integers, and any digit left at all."""

    def read(m: re.Match[str]) -> str:
        suffix = m["suffix"] or ""
        token = m[0].removesuffix(suffix)
        if token.isdecimal() and len(token) > _LONGEST_PLAIN and not token.endswith("000"):
            spelt = by_digit(token, language)
        elif token.isdecimal() and len(token) == 4 and language.year:
            spelt = language.year(int(token)) if token[0] in "12" else _spell_whole(token, language, "")
        else:
            spelt = spell(parse(token, language), language, "" if suffix else _gender_after(m, language))
        return f"{spelt}{_bare_suffix(suffix)}"

    text = patterns(language.code).plain.sub(read, _space_digits(text) if language.padded else text)
    return re.sub(r"\d+", lambda m: f" {by_digit(m[0], language)} ", text)


def _bare_suffix(suffix: str | None) -> str:
    return (suffix or "").lstrip("'-")


_NEXT_WORD = re.compile(r" ([^\W\d_]+)")


def _gender_after(m: re.Match[str], language: Language) -> str:
    if language.gender_of is None:
        return ""
    following = _NEXT_WORD.match(m.string[m.end() : m.end() + 32])
    return language.gender_of(following[1]) if following else ""


_GLUED_BEFORE = re.compile(r"(?<=[^\W\d])-?(?=\d)")
_GLUED_AFTER = re.compile(r"(?<=\d)(?=[^\W\d])")


def _space_digits(text: str) -> str:
    return _GLUED_AFTER.sub(" ", _GLUED_BEFORE.sub(" ", text))
