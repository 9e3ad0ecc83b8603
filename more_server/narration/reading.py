"""What was sent to be spoken, as a document, whatever format it has."""

import base64
import binascii
import codecs
import re

from more_server.errors import BadInput, TooLarge
from more_server.narration import epub, markdown, plain
from more_server.narration.document import Document, is_said
from more_server.narration.request import DocumentFormat, SpeechJob

MOST_CHARACTERS = 10_000_000
"""Of a document: the longest novel there is has 9.6 million, and takes seven days to hear."""
ZIP = b"PK\x03\x04"
"""What an EPUB begins with, as every zip file that is not empty does."""
MARKDOWN = re.compile(r"^#{1,6} +\S|\A---[ \t]*\n(?s:.*?)^---[ \t]*$", re.MULTILINE)
"""A heading, or front matter. Other marks of Markdown the text front end takes for what they are anywhere."""


def read(asked: SpeechJob) -> Document:
    """The document of a request. Blocks: 1 s for a long book. Raises BadInput saying what is wrong with it."""
    if asked.input.strip() and asked.document:
        raise BadInput("send input or document, not both", param="document")
    param = "document" if asked.document else "input"
    found = _file(asked) if asked.document else _text(asked.input, asked.document_format, param)
    said = [text for chapter in found.chapters for text in chapter.paragraphs]
    _check_length(sum(map(len, said)), param)
    if not any(map(is_said, said)):
        what = "the document has no text" if asked.document else "there is no text; send input, or a file as document"
        raise BadInput(f"{what}: no letter and no digit to speak", param=param)
    return found


def _check_length(characters: int, param: str) -> None:
    if characters > MOST_CHARACTERS:
        raise TooLarge(f"{param} has {characters} characters; at most {MOST_CHARACTERS} are allowed", param=param)


def _file(asked: SpeechJob) -> Document:
    try:
        content = base64.b64decode("".join(asked.document.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"document is not valid base64: {error}", param="document") from error
    if asked.document_format == "epub" or (asked.document_format == "auto" and content.startswith(ZIP)):
        return epub.read(content)
    return _text(decoded(content), asked.document_format, "document")


def _text(text: str, document_format: DocumentFormat, param: str) -> Document:
    _check_length(len(text), param)
    if document_format == "epub":
        raise BadInput("an EPUB is a file; send its base64 as document", param="document_format")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if document_format == "markdown" or (document_format == "auto" and MARKDOWN.search(text)):
        return markdown.read(text)
    return plain.read(text)


def decoded(content: bytes) -> str:
    """A text file. Raises BadInput for other encodings than UTF-8 and, with its byte order mark, UTF-16."""
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if content.startswith(marks) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise BadInput(
            f"document is neither an EPUB nor text: it is not valid {name} at byte {error.start}; "
            "save it as UTF-8, or as UTF-16 with a byte order mark",
            param="document",
        ) from error
    if "\0" in text:
        raise BadInput(
            f"document is not text: there is a NUL character at {text.index(chr(0))}; "
            "text in UTF-16 needs a byte order mark, and UTF-32 is not read",
            param="document",
        )
    return text
