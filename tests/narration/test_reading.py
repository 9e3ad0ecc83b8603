"""Text and Markdown to chapters and paragraphs: nothing is lost, nothing is made up, and all else is refused."""

import codecs
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.errors import BadInput, TooLarge
from more_server.narration import reading
from more_server.narration.document import Chapter, Document
from more_server.narration.reading import read
from more_server.narration.request import SpeechJob
from tests.narration.epubs import job, outcome


def text(content: str, **asked: object) -> list[tuple[str, list[str]]]:
    document = read(SpeechJob(input=content, **asked))  # type: ignore[arg-type]
    return [(chapter.title, list(chapter.paragraphs)) for chapter in document.chapters]


def words(document: Document) -> list[str]:
    return " ".join(paragraph for chapter in document.chapters for paragraph in chapter.paragraphs).split()


# -- plain text


@pytest.mark.parametrize(
    "heading",
    [
        *("Chapter 1", "CHAPTER ONE", "Chapter XII.", "chapter twenty-one: The Sea", "Chapter the Third", "Kapitel 3"),
        *("Drittes Kapitel", "3. Kapitel", "Chapitre premier", "Capítulo IV", "Capitolo 2 – Il mare", "Hoofdstuk 4"),
        *("Глава первая", "Rozdział 7", "3. Bölüm", "1. fejezet", "第三章 海", "제1장", "Prologue", "EPILOG"),
    ],
)
def test_chapters_by_their_headings(heading: str) -> None:
    assert text(f"Before.\n\n{heading}\n\nIt began.\n\nIt went on.\n") == [
        ("", ["Before."]),
        (heading, [heading, "It began.", "It went on."]),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "Chapter 1 was long.",
            "Chapter closed",
            "Chapter",
            "Chapter I walked",
            "The chapter",
            "Première",
            "第",
            "1.",
        ),
        *("Chapter one\nhe said, and read on.", "Prologue to war", "Chapter 1: " + "very " * 30 + "long"),
    ],
)
def test_what_only_looks_like_a_heading(line: str) -> None:
    assert [title for title, _ in text(f"Before.\n\n{line}\n\nIt began.")] == [""]


def test_a_heading_in_two_lines_and_headings_without_text() -> None:
    contents = "CHAPTER I.\nDown the Rabbit-Hole\n\nCHAPTER II.\nThe Pool of Tears\n\n* * *\n\n"
    book = "CHAPTER I.\nDown the Rabbit-Hole\n\nAlice was tired.\n\nChapter 2\n\nThe end.\n\nCHAPTER III"
    first = "CHAPTER I. Down the Rabbit-Hole"
    assert text(contents + book) == [
        (first, [first, "CHAPTER II. The Pool of Tears", "* * *", first, "Alice was tired."]),
        ("Chapter 2", ["Chapter 2", "The end.", "CHAPTER III"]),
    ]


def test_paragraphs_of_wrapped_lines_of_long_lines_and_of_verses() -> None:
    wrapped = "He had been walking along the shore for an hour\nwhen he saw\nit."
    verse = "Tyger Tyger, burning bright,\nIn the forests of the night"
    long = "It was a long line that nobody had ever wrapped, " * 3
    assert text(f"{wrapped}\r\n \t\r\n\r\n{verse}\n\n{long}\n“No.”\n{long}") == [
        ("", [wrapped.replace("\n", " "), *verse.split("\n"), long.strip(), "“No.”", long.strip()])
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    content = "Grüße, мир, 世界, 🎈."
    sent = (codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b"") + content.encode(encoding)
    assert read(job(sent)) == Document(chapters=(Chapter("", (content,)),))


# -- Markdown

ARTICLE = """---
title: "An Article"
author: Ann Other
lang: en-GB
tags: [a, b]
---
# An *Article* &amp; more

It is **very** [plain](https://example.org/x), ![a cat on a mat](cat.png) says `x = 1`.[^1]
It goes
on.<br>Here, too. <!-- not this --> ~~Gone~~^[not this either]

## Lists

* apples
* [x] pears

3. wash
4. cut

   them well

| fruit | price |
|-------|------:|
| apple | 1 €   |

> They are **ripe**.
>
> > Very.

```python
print("not this")
```

    nor this

<!-- nor
this -->
<div align="center"><b>In</b> the middle</div>

### Smaller

Setext
======

The end.

[^1]: not this note
"""


def test_markdown_as_it_is_heard() -> None:
    document = read(SpeechJob(input=ARTICLE))
    assert (document.title, document.author, document.language) == ("An Article", "Ann Other", "en-GB")
    assert [(chapter.title, list(chapter.paragraphs)) for chapter in document.chapters] == [
        (
            "An Article & more",
            ["An Article & more", "It is very plain, a cat on a mat says x = 1. It goes on. Here, too. Gone"],
        ),
        (
            "Lists",
            [
                *("Lists", "apples", "pears", "3) wash", "4) cut", "them well", "fruit, price", "apple, 1 €"),
                *("They are ripe.", "Very.", "In the middle", "Smaller"),
            ],
        ),
        ("Setext", ["Setext", "The end."]),
    ]


def test_the_format_can_be_named() -> None:
    assert text("# One\n\ntwo") == [("One", ["One", "two"])]
    assert text("# One\n\ntwo", document_format="text") == [("", ["# One", "two"])]
    assert text("*One*\n\ntwo") == [("", ["*One*", "two"])]
    assert text("*One*\n\ntwo", document_format="markdown") == [("", ["One", "two"])]
    assert read(job(b"# One\n\ntwo")).title == "One"
    assert read(job(b"# One\n\ntwo\n\n# Three\n\nfour")).title == ""
    assert "deep" in text("# Deep\n\n" + "<div>" * 600 + "deep")[0][1][1]
    assert text("# Book\n\n## One\n\ntwo") == [("One", ["Book", "One", "two"])]


# -- what is refused


@pytest.mark.parametrize(
    ("asked", "param", "says"),
    [
        (SpeechJob(), "input", "there is no text; send input, or a file as document"),
        (SpeechJob(input=" \n* * *\n"), "input", "no letter and no digit"),
        (SpeechJob(input="```\ncode\n```", document_format="markdown"), "input", "no letter and no digit"),
        (SpeechJob(input="a", document="YQ=="), "document", "not both"),
        (SpeechJob(input="a", document_format="epub"), "document_format", "an EPUB is a file"),
        (SpeechJob(document="a!!"), "document", "not valid base64"),
        (SpeechJob(document="YQ"), "document", "not valid base64"),
        (SpeechJob(document="é"), "document", "not valid base64"),
        (job(b"\n"), "document", "the document has no text"),
        (job(b"caf\xe9"), "document", "not valid UTF-8 at byte 3; save it as UTF-8"),
        (job("wide".encode("utf-16-le")), "document", "NUL character at 1"),
        (job("wide".encode("utf-32")), "document", "UTF-32 is not read"),
        (job(b"\xff\xfea"), "document", "not valid UTF-16 at byte 2"),
        (job(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3"), "document", "neither an EPUB nor text"),
    ],
)
def test_what_cannot_be_read(asked: SpeechJob, param: str, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as refused:
        read(asked)
    assert (refused.value.param, refused.value.status) == (param, 400)


def test_a_text_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_CHARACTERS", 100)
    assert text("ten words " * 10)
    with pytest.raises(TooLarge, match="input has 110 characters; at most 100 are allowed") as refused:
        text("ten words " * 11)
    assert refused.value.param == "input"


# -- properties

LETTERS = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=12)
MARKS = st.sampled_from(["", ".", ",", "!”", "?", " –", "…", ";"])
SENTENCES = st.lists(st.tuples(LETTERS, MARKS).map("".join), min_size=1, max_size=12)
BREAKS = st.sampled_from([" ", "  ", "\t", "\n", "\r\n", "\n\n", "\r\n \r\n", "\n\n\n", "\u00a0"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    headings = st.sampled_from(["\n\nChapter 1\n\n", "\n\nKapitel zwei\n\n", "\n\n* * *\n\n", " Chapter 3 "])
    pieces = draw(st.lists(st.one_of(LETTERS, MARKS, BREAKS, headings), max_size=40))
    return "".join(pieces)


@given(texts())
@settings(max_examples=120, deadline=None)
def test_plain_text_keeps_every_word(content: str) -> None:
    document = outcome(SpeechJob(input=content, document_format="text"))
    if isinstance(document, BadInput):
        assert not any(character.isalnum() for character in content)
        return
    assert words(document) == content.split()
    assert all(one == " ".join(one.split()) != "" for chapter in document.chapters for one in chapter.paragraphs)
    assert document == msgspec.json.decode(msgspec.json.encode(document), type=Document)


@given(st.lists(st.tuples(st.sampled_from(["", "# ", "## ", "### ", "- ", "> "]), SENTENCES), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_markdown_keeps_every_word(blocks: list[tuple[str, list[str]]]) -> None:
    content = "\n\n".join(mark + " ".join(said) for mark, said in blocks)
    document = read(SpeechJob(input=content, document_format="markdown"))
    assert words(document) == " ".join(word for _, said in blocks for word in said).split()


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["auto", "text", "markdown"]))
@settings(max_examples=120, deadline=None)
def test_any_bytes_are_a_document_or_refused(content: bytes, form: str) -> None:
    found = outcome(job(content, document_format=form))
    assert found.param == "document" if isinstance(found, BadInput) else words(found)


@given(st.text(st.sampled_from("ab1 \n\t#>*-_[]()<!/=`|:\\&;^~\"'\0é"), max_size=120))
@settings(max_examples=120, deadline=None)
def test_any_markdown_is_a_document_or_refused(content: str) -> None:
    found = outcome(SpeechJob(input=content, document_format="markdown"))
    assert found.param == "input" if isinstance(found, BadInput) else words(found)
