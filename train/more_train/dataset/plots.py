"""Plots as SVG, drawn by hand: a page with them needs nothing else."""

import math
from collections.abc import Sequence
from html import escape

from more_train.dataset.report import Bars

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 40
MOST_POINTS = 2000
"""Of a scatter plot; more are thinned out evenly."""


def histogram(bars: Bars, label: str) -> str:
    """Kept clips with the refused ones on top of them."""
    if not bars.edges:
        return ""
    most = max(map(sum, zip(bars.kept, bars.refused, strict=True)), default=1) or 1
    across, up = _scale(bars.edges[0], bars.edges[-1], LEFT, WIDTH - RIGHT), _up(most)
    parts = []
    for index, (kept, refused) in enumerate(zip(bars.kept, bars.refused, strict=True)):
        left, right = across(bars.edges[index]), across(bars.edges[index + 1])
        said = f"{bars.edges[index]:.1f} to {bars.edges[index + 1]:.1f}: {kept} kept, {refused} refused"
        shape = f'x="{left + 0.5:.1f}" width="{max(right - left - 1, 0.5):.1f}"'
        parts.append(
            f"<g><title>{said}</title>"
            f'<rect class="kept" {shape} y="{up(kept):.1f}" height="{up(0) - up(kept):.1f}"/>'
            f'<rect class="refused" {shape} y="{up(kept + refused):.1f}" '
            f'height="{up(kept) - up(kept + refused):.1f}"/></g>'
        )
    return _plot(parts, (bars.edges[0], bars.edges[-1]), most, label, "clips")


def scatter(kept: Sequence[tuple[float, float]], refused: Sequence[tuple[float, float]], x: str, y: str) -> str:
    """Points of both kinds; both axes begin at 0."""
    both = [*kept, *refused]
    if not both:
        return ""
    right, top = max(point[0] for point in both) or 1, max(point[1] for point in both) or 1
    across, up = _scale(0, right, LEFT, WIDTH - RIGHT), _up(top)
    parts = []
    for kind, points in (("kept", kept), ("refused", refused)):
        step = -(-len(points) // MOST_POINTS) or 1
        parts += [
            f'<circle class="{kind}" cx="{across(px):.1f}" cy="{up(py):.1f}" r="2.2"/>' for px, py in points[::step]
        ]
    return _plot(parts, (0, right), top, x, y)


def _plot(parts: Sequence[str], x_range: tuple[float, float], most: float, x: str, y: str) -> str:
    across, up = _scale(*x_range, LEFT, WIDTH - RIGHT), _up(most)
    lines = []
    for tick in ticks(0, most):
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    lines += [
        f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks(*x_range)
    ]
    names = (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="12" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(y)}</text>'
    )
    said = escape(f"{y} by {x}", quote=True)
    drawn = "".join([*lines, *parts, names])
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{drawn}</svg>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between both, about so many."""
    rough = (high - low) / about
    if rough <= 0:
        return [low]
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _scale:  # noqa: N801 - used as a function
    """From values to places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._first = low, first
        self._factor = (last - first) / ((high - low) or 1)

    def __call__(self, value: float) -> float:
        return self._first + (value - self._low) * self._factor


def _up(most: float) -> _scale:
    return _scale(0, 1.05 * most, HEIGHT - BOTTOM, TOP)
