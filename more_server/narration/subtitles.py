"""What is said when, as files that players show beside the audio."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from more_server.audio.book import timestamp

WORD_JOINER = "\u2060"
"""Of no width, and no place for a line to break."""
# SRT has nothing to escape with: what players take for a tag, or for the arrow between times, is parted unseen.
_SRT_MARKUP = re.compile(r"<(?=[/A-Za-z])|\{(?=\\)|--(?=>)")


class Cue(NamedTuple):
    """A stretch of speech."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str


def srt(cues: Iterable[Cue]) -> str:
    """SubRip; cues without text or length are left out."""
    shown = enumerate(_shown(cues), 1)
    return "".join(
        f"{number}\n{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}\n"
        f"{_SRT_MARKUP.sub(lambda found: found[0] + WORD_JOINER, cue.text)}\n\n"
        for number, cue in shown
    )


def vtt(cues: Iterable[Cue]) -> str:
    """WebVTT; cues without text or length are left out."""
    return "WEBVTT\n\n" + "".join(
        f"{timestamp(cue.start)} --> {timestamp(cue.end)}\n{html.escape(cue.text, quote=False)}\n\n"
        for cue in _shown(cues)
    )


SUBTITLES: Mapping[str, tuple[Callable[[Iterable[Cue]], str], str]] = MappingProxyType(
    {"srt": (srt, "application/x-subrip"), "vtt": (vtt, "text/vtt")}
)
"""Who writes them and their media type, by the suffix of the file."""


def _shown(cues: Iterable[Cue]) -> Iterable[Cue]:
    """The cues as they can be written: times that are whole milliseconds, no blank lines."""
    for cue in cues:
        start, end, text = round(cue.start, 3), round(cue.end, 3), _lines(cue.text)
        if text and end > start:
            yield Cue(start, end, text)


def _lines(text: str) -> str:
    visible = "".join(c if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    lines = (" ".join(line.split()) for line in visible.splitlines())
    return "\n".join(line for line in lines if line)
