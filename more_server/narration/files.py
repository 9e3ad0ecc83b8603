"""Which files come out of a plan, what they are called, and what each of them holds."""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from more_server.audio.book import Mark, Tags
from more_server.narration.plan import Passage, Plan
from more_server.narration.subtitles import Cue

LONGEST_NAME = 120
"""Bytes of a file's name without its suffix: file systems take 255, and some programs add to it."""
FORBIDDEN = frozenset('<>:"/\\|?*')
RESERVED = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10)))
)
"""What Windows takes for a device, whatever the suffix."""
UNNAMED = "speech"


class Stretch(NamedTuple):
    """A passage in a file."""

    passage: Passage
    start: int
    """Its first sample."""
    end: int
    """The sample behind its last one."""
    pause: int
    """Samples of silence behind it."""


class File(NamedTuple):
    """One of the files that a plan becomes."""

    stem: str
    """Its name without a suffix."""
    title: str
    tags: Tags
    stretches: Sequence[Stretch]
    marks: Sequence[Mark]

    def cues(self, sample_rate: int) -> Iterator[Cue]:
        """What is said in it, and when."""
        for one in self.stretches:
            yield Cue(one.start / sample_rate, one.end / sample_rate, one.passage.text)


def files(plan: Plan, samples: Sequence[int], *, by_chapter: bool) -> list[File]:
    """The files, in order: one, or one for each chapter. samples: of each passage."""
    if not by_chapter:
        stretches = _stretches(plan, plan.passages, samples)
        title = plan.title or UNNAMED
        tags = Tags(title=title, author=plan.author, album=plan.title, language=plan.language)
        return [File(safe_name(title), title, tags, stretches, _marks(plan, stretches))]
    found = []
    for number, passages in groupby(plan.passages, lambda passage: passage.chapter):
        title = chapter_title(plan, number)
        tags = Tags(
            title=title,
            author=plan.author,
            album=plan.title,
            language=plan.language,
            track=number + 1,
            tracks=len(plan.chapters),
        )
        stem = safe_name(f"{number + 1:03} {plan.chapters[number]}")
        found.append(File(stem, title, tags, _stretches(plan, list(passages), samples), ()))
    return found


def chapter_title(plan: Plan, number: int) -> str:
    """Its own, or its number where it has none."""
    return plan.chapters[number] or str(number + 1)


def safe_name(text: str) -> str:
    """The text as a name that every file system takes, without a suffix."""
    composed = unicodedata.normalize("NFC", text)
    visible = (" " if c in FORBIDDEN or unicodedata.category(c)[0] in "CZ" else c for c in composed)
    # A dot in front hides a file, and Windows drops one at the end.
    name = " ".join("".join(visible).split()).encode()[:LONGEST_NAME].decode(errors="ignore").strip(" .")
    if name.partition(".")[0].strip().upper() in RESERVED:
        name = f"_{name}"
    return name or UNNAMED


def _stretches(plan: Plan, passages: Sequence[Passage], samples: Sequence[int]) -> list[Stretch]:
    found, start = [], 0
    for passage in passages:
        end = start + samples[passage.number]
        pause = round(passage.pause_seconds * plan.sample_rate)
        found.append(Stretch(passage, start, end, pause))
        start = end + pause
    return found


def _marks(plan: Plan, stretches: Sequence[Stretch]) -> list[Mark]:
    """Chapters; none where there is but one and that has no title."""
    if not any(plan.chapters) and len(plan.chapters) == 1:
        return []
    found = []
    for number, group in groupby(stretches, lambda stretch: stretch.passage.chapter):
        inside = list(group)
        found.append(Mark(chapter_title(plan, number), inside[0].start, inside[-1].end + inside[-1].pause))
    return found
