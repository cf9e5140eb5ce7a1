"""Finds places for names beside the marks of a figure, so that none covers a mark or another name.

inputs: marks to name, and all marks drawn
outputs: a place and an alignment for each name
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


def place_labels(
    means: pd.DataFrame,
    domains: Sequence[Sequence[float]],
    points: Sequence[Sequence[float]],
    size: tuple[float, float],
    closeness: float = 0.1,
) -> list[dict[str, Any]]:
    """Puts each arm's name where it covers neither a point nor another name.

    Args:
        means: arm, x, y.
        domains: The axes' ends. For a logarithmic axis give logarithms, here and in all else.
        points: x and y of all marks.
        size: Width and height of the plot, in pixels.
        closeness: What a pixel between mark and name costs; covering the mark of one seed costs 10.

    Returns:
        arm, x, y, label_x, label_y (data coordinates), align; greedy, in a fixed order of candidate places.
    """
    pixel = [span / (high - low) for span, (low, high) in zip(size, domains, strict=True)]

    def to_pixel(value: float, axis: int) -> float:
        return (value - domains[axis][0]) * pixel[axis]

    marks = [(to_pixel(x, 0), to_pixel(y, 1)) for x, y in zip(*points, strict=True)]
    centres = [(to_pixel(row.x, 0), to_pixel(row.y, 1)) for row in means.itertuples()]
    taken: list[Box] = []
    placed = []
    for row, (mx, my) in zip(means.itertuples(), centres, strict=True):
        width = 7.6 * len(row.arm)
        best: tuple[float, Box, float, float, str] | None = None
        for dx, dy, align in _candidates():
            left = mx + dx - {"left": 0.0, "right": width, "center": width / 2}[align]
            box = Box(left, my + dy - 8.5, left + width, my + dy + 8.5)
            cost = 10 * _faults(box, taken, marks, centres, size) + closeness * (dx * dx + dy * dy) ** 0.5
            if best is None or cost < best[0]:
                best = (cost, box, mx + dx, my + dy, align)
        assert best is not None
        _, box, px, py, align = best
        taken.append(box)
        label = [domains[axis][0] + place / pixel[axis] for axis, place in ((0, px), (1, py))]
        placed.append(
            {"arm": row.arm, "x": row.x, "y": row.y, "label_x": label[0], "label_y": label[1], "align": align}
        )
    return placed


class Box(NamedTuple):
    """A label's place, in pixels from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, x: float, y: float, margin: float) -> bool:
        """Whether a mark of radius `margin` at (x, y) would be touched."""
        across = self.left - margin < x < self.right + margin
        return across and self.bottom - margin < y < self.top + margin

    def meets(self, other: Box) -> bool:
        """Whether two labels overlap."""
        across = self.left < other.right + 4 and other.left < self.right + 4
        return across and self.bottom < other.top and other.bottom < self.top


def _candidates() -> list[tuple[float, float, str]]:
    """Places around a mark, near ones first among equals: beside it, above, below, and along the diagonals."""
    near = [(13.0, 0.0, "left"), (-13.0, 0.0, "right"), (0.0, 18.0, "center"), (0.0, -18.0, "center")]
    near += [(0.0, upward * distance, "center") for distance in (26.0, 36.0) for upward in (1, -1)]
    return near + [
        (across * distance, upward * distance * slope, "left" if across > 0 else "right")
        for distance in (14.0, 26.0, 40.0, 58.0, 80.0)
        for slope in (0.5, 1.0, 1.8)
        for across in (1, -1)
        for upward in (1, -1)
    ]


def _faults(
    box: Box, taken: Sequence[Box], marks: Sequence[tuple], centres: Sequence[tuple], size: tuple[float, float]
) -> float:
    """How badly a place is taken: names weigh most, then means, then the marks of single seeds."""
    outside = max(0.0, -box.left, box.right - size[0], -box.bottom, box.top - size[1])
    names = sum(box.meets(other) for other in taken)
    seeds = sum(box.covers(x, y, 4) for x, y in marks)
    means = sum(box.covers(x, y, 8) for x, y in centres)
    return outside + 16 * names + seeds + 4 * means
