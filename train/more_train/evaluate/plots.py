"""Plots as SVG text that stands in a page of its own; colours are the page's."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 14, 44
BINS = 20
TICKS = 5


class Series(NamedTuple):
    """Values of one kind."""

    name: str
    values: Sequence[float]
    colour: str
    """A class of the page's style sheet, such as `first`."""


class Points(NamedTuple):
    """Points of one kind."""

    name: str
    values: Sequence[tuple[float, float, str]]
    """Across, up, and what the pointer is told."""
    colour: str


class Frame:
    """Axes from data to places in the picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        return self._placed(value, self.across, LEFT, WIDTH - RIGHT)

    def y(self, value: float) -> float:
        return self._placed(value, self.up, HEIGHT - BOTTOM, TOP)

    @staticmethod
    def _placed(value: float, span: tuple[float, float], begin: int, end: int) -> float:
        share = (value - span[0]) / (span[1] - span[0])
        return round(begin + min(max(share, 0.0), 1.0) * (end - begin), 1)

    def axes(self, across: str, up: str) -> str:
        """Grid, numbers and names."""
        parts = []
        for value in ticks(*self.across):
            x = self.x(value)
            parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{number(value)}</text>')
        for value in ticks(*self.up):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{number(value)}</text>')
        middle, half = (LEFT + WIDTH - RIGHT) // 2, (TOP + HEIGHT - BOTTOM) // 2
        parts.append(f'<text class="name" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
        parts.append(
            f'<text class="name" transform="translate(12 {half}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
        )
        return "".join(parts)


def histogram(series: Sequence[Series], across: str, mark: float | None = None) -> str:
    """How often values occur, one kind beside the other; mark: a value to draw a line at."""
    known = [value for one in series for value in one.values] + ([mark] if mark is not None else [])
    begin, end = span(known)
    counts = [_counts(one.values, begin, end) for one in series]
    frame = Frame((begin, end), (0, max(1, *(max(one) for one in counts))))
    parts = [frame.axes(across, "sentences")]
    room = (WIDTH - LEFT - RIGHT) / BINS
    width = (room - 1) / len(series)
    for number_of, (one, heights) in enumerate(zip(series, counts, strict=True)):
        for place, height in enumerate(heights):
            if height:
                x, y = round(LEFT + place * room + number_of * width, 1), frame.y(height)
                parts.append(
                    f'<rect class="{one.colour}" x="{x}" y="{y}" width="{width:.1f}" '
                    f'height="{HEIGHT - BOTTOM - y:.1f}"><title>{escape(one.name)}: {height}</title></rect>'
                )
    if mark is not None:
        x = frame.x(mark)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    return _picture(parts, across)


def scatter(series: Sequence[Points], across: str, up: str) -> str:
    """Points, and the diagonal on which both values are the same."""
    places = [value for one in series for point in one.values for value in point[:2]]
    begin, end = span(places)
    frame = Frame((begin, end), (begin, end))
    parts = [
        frame.axes(across, up),
        f'<line class="mark" x1="{frame.x(begin)}" y1="{frame.y(begin)}" x2="{frame.x(end)}" y2="{frame.y(end)}"/>',
    ]
    for one in series:
        parts += [
            f'<circle class="{one.colour}" cx="{frame.x(x)}" cy="{frame.y(y)}" r="3.5"><title>{escape(told)}</title>'
            "</circle>"
            for x, y, told in one.values
        ]
    return _picture(parts, f"{up} against {across}")


def curves(series: Sequence[Points], across: str, up: str) -> str:
    """Lines from point to point, one kind over the other."""
    xs = [point[0] for one in series for point in one.values]
    ys = [point[1] for one in series for point in one.values]
    frame = Frame(span(xs), span(ys))
    parts = [frame.axes(across, up)]
    for one in series:
        path = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y, _ in one.values)
        parts.append(f'<polyline class="{one.colour}" points="{path}"><title>{escape(one.name)}</title></polyline>')
        parts += [
            f'<circle class="{one.colour}" cx="{frame.x(x)}" cy="{frame.y(y)}" r="2"><title>{escape(told)}</title>'
            "</circle>"
            for x, y, told in one.values
            if told
        ]
    return _picture(parts, f"{up} over {across}")


def _picture(parts: Sequence[str], name: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name, quote=True)}">{"".join(parts)}</svg>'
    )


def _counts(values: Sequence[float], begin: float, end: float) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int((value - begin) / (end - begin) * BINS)))] += 1
    return counts


def span(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the most, with a little room, on round numbers; something in any case."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    step = _step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high."""
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _step(low: float, high: float) -> float:
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((factor for factor in (1, 2, 5) if factor * power >= rough * 0.999), 10)


def number(value: float) -> str:
    """As short as it can be said."""
    return f"{value:.6g}" if value else "0"
