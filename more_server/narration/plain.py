"""Plain text: paragraphs between blank lines, and chapters where a line says so."""

import re
from functools import cache

from more_server.narration.document import Document, assembled, one_line

LONGEST_WRAPPED = 100
"""Columns. A longer line was not wrapped by hand, so it and those beside it are paragraphs of their own."""
SHORTEST_WRAPPED = 45
"""Columns. Where no line is longer, they are verses, or items of a list."""
HEADING_LINES, HEADING_CHARACTERS = 3, 120
"""Of a heading that goes on in further lines, such as `CHAPTER I` above `Down the Rabbit-Hole`."""

BLANK = re.compile(r"\n[^\S\n]*\n\s*")
WORD_FIRST = (
    "chapter kapitel chapitre capítulo capitulo capitolo rozdział kapitola hoofdstuk глава bölüm fejezet الفصل अध्याय"
)
NUMBER_FIRST = "chapter kapitel chapitre capítulo rozdział kapitola hoofdstuk глава bölüm fejezet"
ALONE = "prologue epilogue prolog epilog prólogo epílogo prologo epilogo пролог эпилог"
ROMAN = r"(?=[ivxlc])c{0,3}(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})"
MAY_BE_HEADING = re.compile(f"{'|'.join({*WORD_FIRST.split(), *ALONE.split()})}|第|제", re.IGNORECASE)
SPELLED = 60
"""Chapters whose number may be a word."""
TONGUES = ("en", "de", "fr", "es", "it", "pt", "pl", "cs", "nl", "ru", "tr", "hu")


def read(text: str) -> Document:
    """Text with lines that end in `\\n`."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for block in BLANK.split(text.strip()):
        lines = [line for line in map(one_line, block.split("\n")) if line]
        if title := _title(lines):
            parts.append((title, [title]))
        else:
            parts[-1][1].extend(_paragraphs(lines))
    return Document(chapters=assembled(parts))


def _paragraphs(lines: list[str]) -> list[str]:
    widths = [sum(2 if character >= "\u2e80" else 1 for character in line) for line in lines]
    if not lines or max(widths) > LONGEST_WRAPPED or max(widths) < SHORTEST_WRAPPED:
        return lines
    return [" ".join(lines)]


def _title(lines: list[str]) -> str:
    """The heading that a block is; empty where it is none."""
    if not 0 < len(lines) <= HEADING_LINES or not MAY_BE_HEADING.search(lines[0]):
        return ""
    if len(lines[0]) > HEADING_CHARACTERS or not _heading().fullmatch(lines[0]):
        return ""
    title = " ".join(lines)
    # What ends as a sentence does, below a heading, is the text itself.
    return "" if len(title) > HEADING_CHARACTERS or (len(lines) > 1 and lines[-1][-1] in ".!?…,;:") else title


@cache
def _heading() -> re.Pattern[str]:
    """`Chapter 1`, `CHAPTER ONE: The Sea`, `Drittes Kapitel`, `第三章`; never a sentence that begins like that."""
    from num2words import num2words

    numbers = range(1, SPELLED + 1)
    cardinals = {num2words(number, lang=tongue).casefold() for tongue in TONGUES for number in numbers}
    # Polish and Czech ordinals are not in num2words.
    tongues = [tongue for tongue in TONGUES if tongue not in ("pl", "cs")]
    ordinals = {num2words(number, to="ordinal", lang=tongue).casefold() for tongue in tongues for number in numbers}
    # German ordinals bend (drittes Kapitel), and so do Russian ones (глава первая).
    bent = {f"{word}{ending}" for word in ordinals for ending in ("", "s")}
    bent |= {re.sub("(?:ый|ой)$", "ая", word) for word in ordinals} | {"третья"}
    spelled = "|".join(sorted((re.escape(word).replace(r"\-", "[- ]") for word in cardinals | bent), key=len)[::-1])
    number = rf"(?:\d{{1,3}}|{ROMAN}|{spelled})"
    first, last = WORD_FIRST.replace(" ", "|"), NUMBER_FIRST.replace(" ", "|")
    named = r"(?: ?[.:–—-] ?.{0,80})?"
    return re.compile(
        rf"(?:(?:{first}) (?:the )?{number}|(?:the )?{number}\.? (?:{last})|{ALONE.replace(' ', '|')}){named}"
        r"|第 ?[\d〇一二三四五六七八九十百]{1,5} ?[章回](?:[ :：.、].{0,40})?|제 ?\d{1,3} ?장(?:[ :.].{0,40})?",
        re.IGNORECASE,
    )
