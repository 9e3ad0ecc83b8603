"""What is no number and yet not read as written: addresses, abbreviations, acronyms, Roman numerals, signs."""

import re
from functools import cache

from more_server.text.clean import BREAK
from more_server.text.languages.base import Language
from more_server.text.languages.registry import get
from more_server.text.numbers import word_before

_TLDS = (
    "com|org|net|edu|gov|info|io|ai|dev|app|eu|uk|de|fr|es|it|pt|br|pl|ru|nl|cz|hu|tr|cn|jp|kr|in|us|ca|au|mx|ar|ch|at|be|"
    "me|tv|co|sa|ae"
)
_EMAIL = re.compile(r"(?<![\w.+-])(?:mailto:)?([\w.+-]{1,64})@((?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])")
_URL = re.compile(
    r"(?<![\w@])(?:https?|ftp)://([^\s<>\"{}|\\^\[\]（），。！？]{1,2000})|(?<![\w@./])www\.([^\s<>\"{}|\\^\[\]（），。！？]{1,2000})",
    re.I,
)
_DOMAIN = re.compile(
    rf"(?<![\w@./-])((?:[A-Za-z0-9][\w-]{{1,62}}\.){{1,5}}(?:{_TLDS}))((?:/[\w./~%+-]{{0,500}})?)(?![\w@]|\.\w)", re.A
)
_TRAILING = ".,;:!?)'*_~"


def expand_addresses(text: str, language: Language) -> str:
    def url(m: re.Match[str]) -> str:
        address = m[1] or f"www.{m[2]}"
        stripped = address.rstrip(_TRAILING)
        # query and fragment are for machines
        return f" {_address(re.split(r'[?#]', stripped)[0].rstrip('/'), language)} {address[len(stripped) :]}"

    def domain(m: re.Match[str]) -> str:
        path = m[2].rstrip(_TRAILING)
        return f" {_address(m[1] + path.rstrip('/'), language)} {m[2][len(path) :]}"

    if "@" in text:
        text = _EMAIL.sub(lambda m: f" {_address(f'{m[1]}@{m[2]}', language)} ", text)
    if "//" in text or "www." in text.lower():
        text = _URL.sub(url, text)
    return _DOMAIN.sub(domain, text) if "." in text else text


def _address(address: str, language: Language) -> str:
    host, slash, path = address.partition("/")
    stem, dot, tld = host.rpartition(".")
    parts = re.split(r"(\W|_)", stem, flags=re.A) if language.code != "ru" else re.split(r"(\W|_)", stem)
    parts += [dot, letters(tld, language) if len(tld) == 2 else tld, *re.split(r"(\W|_)", slash + path)]
    said = [
        language.addresses.get(p, "") if len(p) == 1 and not p.isalnum() else _host_word(p, language) for p in parts
    ]
    return " ".join(part for part in said if part)


def _host_word(part: str, language: Language) -> str:
    return letters(part, language) if part.lower() == "www" else part


def letters(acronym: str, language: Language) -> str:
    """Each letter by its name; unchanged when one has none."""
    names = _letter_names(language.code)
    gap = " " if language.padded or not language.letters else ""
    return gap.join(names.get(c, c) for c in acronym.upper())


@cache
def _letter_names(code: str) -> dict[str, str]:
    language = get(code)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = language.letters.split() if language.letters else list(alphabet)
    return dict(zip(alphabet, names, strict=True)) | language.more_letters


_UPPER = "".join(chr(i) for i in (*range(0x41, 0x250), *range(0x400, 0x430)) if chr(i).isupper())


def _abbreviation(key: str) -> str:
    """`No.#` wants a digit after it, `St.^` a capital (or a letter of a script without case)."""
    ahead = {"#": r"(?=\s?\d)", "^": rf"(?=\s?[{_UPPER}\u0590-\u1fff\u3000-\ud7ff])"}.get(key[-1], "")
    body = key[:-1] if ahead else key
    pattern = re.sub(r"\\\.(?=.)", lambda _: r"\.\s?", re.escape(body)).replace(r"\ ", r"\s")
    first = body[0]
    if first.isalpha() and first.lower() != first.upper():
        pattern = f"[{first.lower()}{first.upper()}]{pattern[1:]}"
    after_number = r"(?<!\d )" if key[-1] == "^" else ""
    return after_number + pattern + ("" if body[-1] in "./°-" else r"(?!\w)") + ahead


@cache
def _abbreviations(code: str) -> list[tuple[re.Pattern[str], str, bool]]:
    language = get(code)
    table = [(key, word, False) for key, word in language.titles.items()]
    table += [(key, word, True) for key, word in language.closings.items()]
    table.sort(key=lambda entry: len(entry[0]), reverse=True)
    return [(re.compile(rf"(?<![\w.]){_abbreviation(key)}"), word, closes) for key, word, closes in table]


def expand_abbreviations(text: str, language: Language) -> str:
    for pattern, word, closes in _abbreviations(language.code):
        text = pattern.sub(lambda m, word=word, closes=closes: f"{word}{_stop(m) if closes else ''} ", text)  # type: ignore[misc]
    return text


def _stop(m: re.Match[str]) -> str:
    rest = m.string[m.end() : m.end() + 3]
    following = rest.lstrip()
    ends = not following or following[0] == BREAK or (rest != following and following[0].isupper())
    return "." if m[0].endswith(".") and ends else ""


_INITIALS = re.compile(r"(?<![\w.])(?:[^\W\d_a-z]\. ?)+(?=[^\W\d_a-z])")
_DOTTED = re.compile(r"(?<![\w.])((?:[^\W\d_]\.){2,})(?!\w)")
_CAPITALS = re.compile(r"(?<![\w'])([^\W\d_a-z]{2,6})('?s)?(?!\w)")
_ELIDED_CAPITALS = re.compile(r"(?<!\w)([^\W\d_a-z]{2,6})()(?!\w)")
_LATIN_CAPITALS = re.compile(r"(?<![A-Za-z])([A-Z]{2,6})()(?![A-Za-z])")
_LETTER_AND_NUMBER = re.compile(r"(?<![A-Za-z])([A-Z])-?(?=\d)|(?<=\d)([A-Z])(?![A-Za-z])")
_NEIGHBOUR = re.compile(r"^ ([^\W\d_]{2,})")
_VOWELS = set("AEIOUYÀÁÂÃÄÅÈÉÊËÌÍÎÏÒÓÔÕÖØÙÚÛÜÝĄĘÓŐŰİАЕЁИОУЫЭЮЯ")
_SPOKEN = {"PIN", "SIM", "RAM", "ROM", "ZIP", "LAN"}
"""Acronyms read as words although they are short."""


def expand_dotted(text: str, language: Language) -> str:
    """`U.S.A.` and `J. R. R. Tolkien`; before numbers, because their dots end no sentence."""

    def initials(m: re.Match[str]) -> str:
        found = [c for c in m[0] if c.isalpha()]
        if not all(c.isupper() for c in found) or (len(found) == 1 and not _begins_name(m)):
            return m[0]
        return letters("".join(found), language) + " "

    def dotted(m: re.Match[str]) -> str:
        rest = m.string[m.end() : m.end() + 1]
        return letters(m[1].replace(".", ""), language) + ("." if not rest or rest == BREAK else "")

    return _INITIALS.sub(initials, _DOTTED.sub(dotted, text))


def _begins_name(m: re.Match[str]) -> bool:
    """`Plan B. Then` ends a sentence, `J. Smith` and `George W. Bush` do not."""
    before = word_before(m)
    return (
        m.start() == 0 or m.string[m.start() - 1] in BREAK + "," or (before[:1].isupper() and m[0][0] not in "ABCDIX")
    )


def expand_acronyms(text: str, language: Language) -> str:
    latin = not language.plain_words
    # "l'ADN" is an article and an acronym, "I'LL" is neither
    pattern = _LATIN_CAPITALS if latin else _ELIDED_CAPITALS if language.code in ("fr", "it") else _CAPITALS
    names = _letter_names(language.code)
    plain = frozenset(language.plain_words.upper().split()) | _SPOKEN

    def read(m: re.Match[str]) -> str:
        word = m[1]
        if not word.isupper() or word in plain or any(c not in names for c in word) or _is_pronounceable(word):
            return m[0]
        after = _NEIGHBOUR.match(m.string[m.end() : m.end() + 24])
        before = word_before(m) if m.string[m.start() - 1 : m.start()] == " " else ""
        if any(
            n.isupper() and (_is_pronounceable(n) or n in plain)
            for n in (before, after[1] if after else "")
            if len(n) > 1
        ):
            return m[0]
        spelt = letters(word, language) + (m[2] or "")
        return f" {spelt} " if latin and (language.padded or not language.letters) else spelt

    return pattern.sub(read, text)


def _is_pronounceable(word: str) -> bool:
    if len(word) < 4:
        return False
    shape = "".join("v" if c in _VOWELS else "c" for c in word)
    return "v" in shape and "ccc" not in shape and shape[:2] + shape[-2:] != "cccc"


def separate_letters(text: str, language: Language) -> str:
    """`MP3`, `B2B`, `A4`, `3D`: a single capital beside a number is said by its name."""

    def read(m: re.Match[str]) -> str:
        return f" {letters(m[1] or m[2], language)} "

    return _LETTER_AND_NUMBER.sub(read, text)


_ROMAN = re.compile(r"(?<![\w'.-])(X{0,3}(?:IX|IV|V?I{0,3}))(?<=[IVX])(?!\w|'(?!s\b))(\.(?=\s[^\W\d_]))?")
_ROMAN_BEFORE_MARK = re.compile(
    r"(?<![\w'.-])(?=[IVX]{2}|[VX]|Ier\b|Ire\b)(X{0,3}(?:IX|IV|V?I{0,3}))(?=(?:er?|re|ème|è)\b)"
)
_AFTER = re.compile(r"^\.? ([^\W\d_]+)")


def roman_value(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[c] for c in numeral]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


def expand_roman(text: str, language: Language) -> str:
    reader = language.roman
    if not reader:
        return text

    def read(m: re.Match[str]) -> str:
        after = _AFTER.match(m.string[m.end() : m.end() + 32])
        words = reader(roman_value(m[1]), word_before(m), after[1] if after else "")
        if words is None:
            # long ones are never acronyms, whatever stands around them
            return str(roman_value(m[1])) + (m[2] or "") if len(m[1]) > 2 or m[1] == "II" else m[0]
        return words + (m[2] or "" if words[-1].isdigit() else "")

    if language.code == "fr":
        text = _ROMAN_BEFORE_MARK.sub(lambda m: str(roman_value(m[1])), text)
    return _ROMAN.sub(read, text)


_ARROW = re.compile(r"[-=]+>|<[-=]+")
_EQUALS = re.compile(r"(?<=\w) ?= ?(?=[\w-])")
_COMPARED = re.compile(r"(?<=\w) ?([<>]) ?(?=\w)")
_TIMES = re.compile(r"(?<=\d) ?[xX] ?(?=\d)")
_SPACED_MINUS = re.compile(r"(?<=\d) - (?=\d)")
_JUNK = re.compile(r"[<>=~^\\|`_*/#@&+ºª°]+")


def prepare_signs(text: str, language: Language) -> str:
    """Signs whose meaning hangs on the digits beside them, while there still are digits."""
    text = _ARROW.sub(", ", text)
    text = _TIMES.sub(" × ", text)
    text = re.sub(r"(?<=\d)-(?=\d+ ?=)", f" {language.minus} ", text)
    text = re.sub(r"(?<=\d):(?=\d)", " ", text)
    text = _EQUALS.sub(f" {language.symbols['=']} ", text)
    text = _COMPARED.sub(lambda m: f" {language.symbols[m[1]]} ", text)
    text = _SPACED_MINUS.sub(f" {language.minus} ", text)
    text = re.sub(r"#\s?(?=\d)", f" {language.symbols['#1']} ", text)
    return re.sub(r"(?<!\w)~\s?(?=\d)", f" {language.symbols['~']} ", text)


def expand_signs(text: str, language: Language) -> str:
    """The signs that are left."""
    text = re.sub(r"(?<=[^\W\d])/(?=[^\W\d])", " ", text)
    for sign in "&+@#≤≥≈×÷±§²³":
        if sign in text:
            text = text.replace(sign, f" {language.symbols[sign]} ")
    for sign, money in language.currencies.items():
        if not sign[0].isalpha() and sign in text:
            text = text.replace(sign, f" {_bare(money.major.form(1))} ")
    for sign in ("%", "‰", "°"):
        if sign in text:
            text = text.replace(sign, f" {_bare(language.units[sign].form(2))} ")
    return _JUNK.sub(" ", text)


def _bare(form: str) -> str:
    return form.replace("{}", "").strip()
