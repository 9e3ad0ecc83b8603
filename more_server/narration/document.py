"""A text that was read: chapters of paragraphs, whatever it came as."""

from collections.abc import Iterable, Sequence

import msgspec


class Chapter(msgspec.Struct, frozen=True):
    """A part of a document that begins anew: a file or a mark of its own in what comes out."""

    title: str
    """As it is listed; empty: it has none. It is spoken only where `paragraphs` has it, too."""
    paragraphs: tuple[str, ...]
    """What is spoken, none of them blank, without line breaks; a heading is a paragraph."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be spoken."""

    title: str = ""
    author: str = ""
    language: str = ""
    """BCP-47, as the document itself tells it; empty: it does not."""
    chapters: tuple[Chapter, ...]
    """In reading order, at least one; none is without paragraphs."""


def one_line(text: str) -> str:
    """Without white space around it and with single spaces inside."""
    return " ".join(text.split())


def is_said(text: str) -> bool:
    """There is a letter or digit in it."""
    return any(character.isalnum() for character in text)


def assembled(parts: Iterable[tuple[str, Sequence[str]]]) -> tuple[Chapter, ...]:
    """Titles and paragraphs as chapters. Where nothing follows a heading but the next one, both belong to the latter.

    So do marks before it without a word, such as a row of stars.
    """
    chapters: list[Chapter] = []
    waiting: list[str] = []
    for title, paragraphs in parts:
        if [paragraph.casefold() for paragraph in paragraphs if is_said(paragraph)] in ([], [title.casefold()]):
            waiting += paragraphs
        else:
            chapters.append(Chapter(title, (*waiting, *paragraphs)))
            waiting = []
    if waiting and chapters:
        chapters[-1] = Chapter(chapters[-1].title, (*chapters[-1].paragraphs, *waiting))
    elif waiting:
        chapters.append(Chapter("", tuple(waiting)))
    return tuple(chapters)
