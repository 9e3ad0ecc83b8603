"""Long recordings as files: tags, chapter marks, hours of samples that are never in memory at once."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server.audio.encode import FORMATS, Codec, CodedEncoder

BITEXACT = 0x400
"""FFmpeg's flag: nothing by chance in a file, and not its own version, so that the same audio is the same file."""


class BookFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How a long recording can be kept."""

    name: str
    media_type: str
    codec: Codec
    marks: Literal["none", "chapters", "comments"]
    """How it carries chapter marks: FFmpeg writes them in its own way, or we as Vorbis comments."""

    @property
    def suffix(self) -> str:
        """Of its files, with the dot."""
        return f".{self.name}"


class Mark(msgspec.Struct, frozen=True):
    """A stretch of a recording that has a name, such as a chapter."""

    title: str
    start: int
    """Its first sample."""
    end: int
    """The sample behind its last one."""


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says about itself; empty: it does not."""

    title: str
    author: str = ""
    album: str = ""
    """What the file is a part of."""
    language: str = ""
    """As models call it, such as `de` or `zh-cn`."""
    track: int = 0
    """Which of the parts, from 1; 0: it is whole."""
    tracks: int = 0


def _codec(name: str) -> Codec:
    codec = FORMATS[name].codec
    assert codec is not None
    return codec


_FORMATS = (
    BookFormat(
        name="wav",
        media_type="audio/wav",
        # A WAV counts its bytes in 32 bits: 24 h of 24 kHz. One that grows beyond becomes RF64 (EBU Tech 3306).
        codec=Codec(container="wav", name="pcm_s16le", sample_format="s16", container_options=(("rf64", "auto"),)),
        marks="none",
    ),
    BookFormat(name="flac", media_type="audio/flac", codec=_codec("flac"), marks="comments"),
    BookFormat(name="mp3", media_type="audio/mpeg", codec=_codec("mp3"), marks="chapters"),
    BookFormat(name="opus", media_type="audio/ogg", codec=_codec("opus"), marks="comments"),
    BookFormat(
        name="m4b",
        media_type="audio/mp4",
        codec=msgspec.structs.replace(
            _codec("aac"),
            container="mp4",
            # The index comes first, so that a player can begin before it has the whole file.
            container_options=(("movflags", "+faststart"), ("brand", "M4B ")),
        ),
        marks="chapters",
    ),
)

BOOK_FORMATS: Mapping[str, BookFormat] = MappingProxyType({format_.name: format_ for format_ in _FORMATS})
"""Every format by its name."""

ISO_639_2: Mapping[str, str] = MappingProxyType(
    {
        "ar": "ara",
        "cs": "ces",
        "de": "deu",
        "en": "eng",
        "es": "spa",
        "fr": "fra",
        "hi": "hin",
        "hu": "hun",
        "it": "ita",
        "ja": "jpn",
        "ko": "kor",
        "nl": "nld",
        "pl": "pol",
        "pt": "por",
        "ru": "rus",
        "tr": "tur",
        "zh": "zho",
    }
)
"""Codes of three letters, which MP4 and ID3 want, for those that models speak."""


def write_book(
    file: Path,
    format_: BookFormat,
    pieces: Iterable[NDArray[np.int16]],
    sample_rate: int,
    tags: Tags,
    marks: Sequence[Mark] = (),
) -> None:
    """Write mono `pieces`, each of shape (n,), to a file; what `pieces` raises ends it. Raises OSError.

    Decoded, it has as many samples as were given, in MP4 up to 1023 more, which its index leaves out. Marks are exact
    to the sample in MP4, to the millisecond elsewhere.
    """
    codec = format_.codec
    if codec.container == "mp4":
        # Its times are counted in milliseconds otherwise, and the end of the last frame is not where the audio's is.
        codec = msgspec.structs.replace(
            codec, container_options=(*codec.container_options, ("movie_timescale", str(sample_rate)))
        )
    with CodedEncoder(codec, sample_rate, str(file)) as encoder:
        container = encoder.container
        container.flags |= BITEXACT
        container.metadata.update(_metadata(format_, sample_rate, tags, marks))
        container.streams[0].metadata["language"] = _language(tags.language) or "und"
        container.set_chapters(_chapters(sample_rate, marks) if format_.marks == "chapters" else [])
        for piece in pieces:
            encoder.feed(np.divide(piece, 32767, dtype=np.float32))
        encoder.finish()


def _metadata(format_: BookFormat, sample_rate: int, tags: Tags, marks: Sequence[Mark]) -> dict[str, str]:
    found = {
        "title": tags.title,
        "artist": tags.author,
        "album": tags.album,
        "language": _language(tags.language),
        "genre": "Audiobook",
        "track": f"{tags.track}/{tags.tracks}" if tags.track else "",
    }
    if format_.name == "m4b":
        found["media_type"] = "2"  # iTunes' number for an audiobook
    if format_.marks == "comments":
        # FFmpeg reads them in FLAC and in Ogg. It writes none in FLAC, and in Ogg some that are a second late: it
        # rounds to whole seconds before it adds the milliseconds.
        for number, mark in enumerate(marks):
            found[f"CHAPTER{number:03}"] = timestamp(mark.start / sample_rate)
            found[f"CHAPTER{number:03}NAME"] = mark.title
    return {name: value for name, value in found.items() if value}


def _chapters(sample_rate: int, marks: Sequence[Mark]) -> list[Any]:
    return [
        {
            "id": number,
            "start": mark.start,
            "end": mark.end,
            "time_base": Fraction(1, sample_rate),
            "metadata": {"title": mark.title},
        }
        for number, mark in enumerate(marks)
    ]


def _language(language: str) -> str:
    return ISO_639_2.get(language.partition("-")[0], "")


def timestamp(seconds: float, mark: str = ".") -> str:
    """Hours, minutes, seconds and milliseconds, as Vorbis comments and subtitles have them; mark: before the last."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{milliseconds:03}"
