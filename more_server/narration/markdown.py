"""Markdown: headings of the first two levels begin chapters, and what a listener cannot use is left out."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

from more_server.narration.document import Document, assembled, one_line
from more_server.narration.markup import html_paragraphs

CHAPTER_LEVELS = ("h1", "h2")
FIELD = re.compile(r"^(title|author|lang|language)[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
TASK = re.compile(r"\A\[[ xX]\] ")
"""The box before an item of a list of tasks."""


def read(text: str) -> Document:
    """Markdown by CommonMark, with tables, footnotes and front matter.

    Links are said by their text and images by what is written for them. Blocks of code, footnotes and comments are
    left out: nobody who listens can make use of them.
    """
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.use(front_matter_plugin).use(footnote_plugin).parse(text)
    paragraphs = list(_paragraphs(tokens))
    parts: list[tuple[str, list[str]]] = [("", [])]
    for level, paragraph in paragraphs:
        if level in CHAPTER_LEVELS:
            parts.append((paragraph, []))
        parts[-1][1].append(paragraph)
    told = _front_matter(tokens)
    titles = [paragraph for level, paragraph in paragraphs if level == "h1"]
    return Document(
        # Where there are several, each is a chapter's.
        title=told.get("title") or (titles[0] if len(titles) == 1 else ""),
        author=told.get("author", ""),
        language=told.get("language") or told.get("lang", ""),
        chapters=assembled(parts),
    )


def _front_matter(tokens: Sequence[Token]) -> dict[str, str]:
    """Fields that are one line of text; YAML can be more, and books do not need it."""
    content = next((token.content for token in tokens if token.type == "front_matter"), "")
    return {name.lower(): value.strip("\"'") for name, value in FIELD.findall(content)}


def _paragraphs(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Tags of the blocks, such as `h1` or `p`, and what is said of them, blank ones left out."""
    tag, label, cells = "", "", list[str]()
    for token, item in _numbered(_without_notes(tokens)):
        if token.type in ("heading_open", "paragraph_open", "tr_open"):
            tag, cells = token.tag, []
        elif token.type == "list_item_open":
            label = item
        elif token.type == "tr_close" and cells:
            yield tag, ", ".join(cells)
        elif token.type == "html_block":
            yield from (("p", paragraph) for paragraph in html_paragraphs(token.content))
        elif token.type == "inline" and (said := TASK.sub("", one_line(_said(token.children or ())))):
            if tag == "tr":
                cells.append(said)
            else:
                yield tag, label + said
                label = ""


def _numbered(tokens: Iterator[Token]) -> Iterator[tuple[Token, str]]:
    """Tokens, and what is said before the items of lists that are numbered."""
    counters: list[int | None] = []
    for token in tokens:
        label = ""
        if token.type.endswith("list_open"):
            counters.append(int(token.attrGet("start") or 1) if token.tag == "ol" else None)
        elif token.type.endswith("list_close"):
            counters.pop()
        elif token.type == "list_item_open" and (number := counters[-1]) is not None:
            # With a bracket: `1.` before a word is an ordinal in German.
            label, counters[-1] = f"{number}) ", number + 1
        yield token, label


def _without_notes(tokens: Sequence[Token]) -> Iterator[Token]:
    inside = False
    for token in tokens:
        inside = (inside or token.type == "footnote_block_open") and token.type != "footnote_block_close"
        if not inside:
            yield token


def _said(tokens: Sequence[Token]) -> str:
    """Text of a line; emphasis and links fall away around theirs."""
    said = []
    for token in tokens:
        if token.type in ("text", "code_inline"):
            said.append(token.content)
        elif token.type == "image":
            said.append(_said(token.children or ()))
        elif token.type in ("softbreak", "hardbreak") or token.content.lower().startswith("<br"):
            said.append(" ")
    return "".join(said)
