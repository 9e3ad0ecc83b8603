"""What long speech is asked for with."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

DocumentFormat = Literal["auto", "text", "markdown", "epub"]
Subtitles = Literal["srt", "vtt"]
Tag = Annotated[str, Meta(max_length=1000)]


class SpeechJob(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A text, an article or a book to be spoken, and as what files."""

    input: str = ""
    """The text or Markdown to speak; this or `document`."""
    document: str = ""
    """Base64 of a file: an EPUB, Markdown, or plain text in UTF-8 or, with a byte order mark, UTF-16."""
    document_format: DocumentFormat = "auto"
    """text, markdown or epub; auto: EPUB by its first bytes, Markdown where a line is a `#` heading or front matter."""
    model: str | None = None
    """As of `POST /v1/audio/speech`; absent: the one that serves when the job is asked for, which speaks all of it."""
    voice: str | None = None
    """A voice's id, alias or name, or a mixture: `a+b`, `a(2)+b(1)`; absent: the default voice."""
    quality: str | None = None
    """A quality profile: fast, balanced, high_quality, or one that was added; as it is when the job is asked for."""
    language: str | None = None
    """BCP-47 tag or name; absent or `auto`: the document's own, else the voice's, else the one that is recognised."""
    speed: float = 1.0
    """0.25 to 4; 1 is the profile's own tempo."""
    seed: int | None = None
    """0 to 2^63-1; the same seed makes the same audio."""
    response_format: Literal["wav", "flac", "mp3", "opus", "m4b"] = "mp3"
    """mp3 (the default), m4b, opus, flac or wav."""
    split: Literal["none", "chapters"] = "none"
    """none (the default): one file with chapter marks, where the format has them; chapters: one file for each."""
    subtitles: tuple[Subtitles, ...] = ()
    """srt, vtt or both: files that tell when what is said."""
    title: Tag = ""
    """Of the files, up to 1000 characters; empty: the document's own."""
    author: Tag = ""
    """The same for who wrote it."""
    chapter_pause_seconds: Annotated[float, Meta(ge=0, le=30)] = 1.5
    """Seconds of silence behind a chapter, and half as many behind its heading; 0 to 30, 1.5 by default."""
    paragraph_pause_seconds: Annotated[float, Meta(ge=0, le=10)] = 0.5
    """Seconds of silence between paragraphs; 0 to 10, 0.5 by default."""
