"""Where a recording is cut: clips of about a sentence or two that begin and end in pauses."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from more_train.dataset.settings import DatasetSettings
from more_train.dataset.speech import Stretch

GOOD_PAUSE = 0.4
"""Seconds: between sentences it is longer, and a cut there costs nothing."""
PAUSE_COST = 3.0
"""Of a cut without any pause, against that of a clip without any length (SHORT_COST)."""
SHORT_COST = 2.0


class Span(msgspec.Struct, frozen=True):
    """What becomes a clip: sound from `start` to `end`, and how far silence reaches around it."""

    start: float
    """Seconds, of the first sound."""
    end: float
    """Seconds, of the last one."""
    before: float
    """Seconds of silence in front of it, half of the pause to another span."""
    behind: float
    """Seconds of silence behind it."""


def whole(stretches: Sequence[Stretch], sound: Stretch, seconds: float) -> Span:
    """All speech of a recording that is one clip already, and sound around it: a whisper may have been missed."""
    start, end = min(stretches[0].start, sound.start), max(stretches[-1].end, sound.end)
    return Span(start, end, start, seconds - end)


def parted(stretches: Sequence[Stretch], seconds: float, settings: DatasetSettings) -> tuple[list[Span], list[Stretch]]:
    """Spans of a long recording, and speech that has no pause where it would have to be cut.

    The cheapest way to cut is taken, for the recording as a whole: long pauses are better than short ones, and clips of
    `preferred_seconds` to `longest_seconds` better than shorter ones.
    """
    most = settings.longest_seconds - 2 * settings.pad_seconds
    endless = [stretch for stretch in stretches if stretch.seconds > most]
    spans: list[Span] = []
    for group in _groups(stretches, most, settings.longest_pause):
        for first, last in _cheapest(group, most, settings.preferred_seconds - 2 * settings.pad_seconds):
            start, end = group[first].start, group[last].end
            spans.append(Span(start, end, start, seconds - end))
    return _shared_pauses(spans, endless), endless


def _groups(stretches: Sequence[Stretch], most: float, longest_pause: float) -> Iterator[list[Stretch]]:
    """Runs of speech without a pause that is too long, or a stretch that is."""
    group: list[Stretch] = []
    for stretch in stretches:
        too_long = stretch.seconds > most
        if group and (too_long or stretch.start - group[-1].end > longest_pause):
            yield group
            group = []
        if not too_long:
            group.append(stretch)
    if group:
        yield group


def _cheapest(group: Sequence[Stretch], most: float, preferred: float) -> list[tuple[int, int]]:
    """First and last stretch of each span."""
    costs, begins = [0.0], [0]
    for last in range(len(group)):
        ways = []
        for first in range(last, -1, -1):
            length = group[last].end - group[first].start
            if length > most:
                break
            cut = _cut_cost(group[first].start - group[first - 1].end) if first else 0.0
            ways.append((costs[first] + cut + SHORT_COST * max(0.0, 1 - length / preferred), first))
        cost, first = min(ways)
        costs.append(cost)
        begins.append(first)
    spans, behind = [], len(group)
    while behind:
        spans.append((begins[behind], behind - 1))
        behind = begins[behind]
    return spans[::-1]


def _cut_cost(pause: float) -> float:
    # Squared: a pause of 0.1 s may be the closure of a plosive, one of 0.3 s hardly.
    return PAUSE_COST * max(0.0, 1 - pause / GOOD_PAUSE) ** 2


def _shared_pauses(spans: Sequence[Span], endless: Sequence[Stretch]) -> list[Span]:
    """The spans with every pause shared between both neighbours."""
    sounds = sorted([*((span.start, span.end) for span in spans), *((part.start, part.end) for part in endless)])
    pauses = [(end, start) for (_, end), (start, _) in pairwise(sounds)]
    before = {start: (start - end) / 2 for end, start in pauses}
    behind = {end: (start - end) / 2 for end, start in pauses}
    return [
        Span(span.start, span.end, before.get(span.start, span.before), behind.get(span.end, span.behind))
        for span in spans
    ]
