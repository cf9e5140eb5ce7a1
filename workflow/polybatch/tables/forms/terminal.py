"""A table as aligned text for a terminal.

inputs: a `Table`
outputs: text, within a number of columns where one is given

What is too wide is first wrapped in its headers, then in its columns of words; what is still too wide is printed as
blocks below one another, which repeat the words on the left. No column is dropped.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from polybatch.tables.forms.table import MARKS, Cell, Column, Table, beside, format_value, header

_GAP = 2
# Columns of words are wrapped no narrower than this; runs and paths are readable in it.
_NARROWEST = 22


@dataclass
class _Printed:
    """A column's texts, and the width that it is printed in."""

    column: Column
    texts: list[str]
    best: list[bool]
    width: int

    def heading(self) -> list[str]:
        """The lines of the header, wrapped to the column's width."""
        return [line.replace("\u00a0", " ") for line in _wrapped(self.unbroken(), self.width)]

    def unbroken(self) -> str:
        """The header, its arrow tied to the last word."""
        return header(self.column).replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓")


def to_terminal(table: Table, *, bold: bool, keep: Iterable[str] | None = None, width: int | None = None) -> str:
    """Aligned text with a line of group names.

    Args:
        table: What to print.
        bold: Whether the best values are set bold by ANSI codes.
        keep: Keys of the columns to print beside those of words; all without it.
        width: Columns of the terminal; without it lines are as long as they get.
    """
    wanted = set(keep) if keep is not None else None
    printed = []
    for place, column in enumerate(table.columns):
        if wanted is None or column.is_text or column.key in wanted:
            cells = [row[place] for row in table.rows]
            texts = _aligned(cells, column)
            widest = max(map(len, [header(column), *texts]))
            printed.append(_Printed(column, texts, [cell.best for cell in cells], widest))
    blocks = [printed] if width is None else _fit(printed, width)
    return "\n\n".join("\n".join(_lines(block, bold)) for block in blocks)


def _fit(printed: list[_Printed], width: int) -> list[list[_Printed]]:
    """The columns in as many blocks as it takes to keep each within the width."""
    if _total(printed) <= width:
        return [printed]
    for one in printed:
        one.width = max(map(len, [*one.unbroken().split(" "), *one.texts]))
    words = [one for one in printed if one.column.is_text]
    least = _NARROWEST if len(words) * _NARROWEST <= width // 2 else max(8, width // len(words) - 2 * _GAP)
    while _total(printed) > width:
        wide = [one for one in words if one.width > max([least, *map(len, one.unbroken().split(" "))])]
        if not wide:
            break
        max(wide, key=lambda one: one.width).width -= 1
    return _blocks(printed, width)


def _blocks(printed: list[_Printed], width: int) -> list[list[_Printed]]:
    leading = [one for one in printed if one.column.is_text]
    if len(leading) == len(printed):
        return [printed]
    blocks = [list(leading)]
    for one in printed:
        if one.column.is_text:
            continue
        if _total([*blocks[-1], one]) > width and len(blocks[-1]) > len(leading):
            blocks.append(list(leading))
        blocks[-1].append(one)
    return blocks


def _total(printed: Sequence[_Printed]) -> int:
    """The columns of a terminal that these take, names of groups included."""
    return sum(wide for _, wide in _groups(printed)) + _GAP * (len(_groups(printed)) - 1)


def _groups(printed: Sequence[_Printed]) -> list[tuple[str, int]]:
    """Name and width of neighbours that share a group; columns without one stand alone."""
    found = []
    for name, members in groupby(printed, key=lambda one: one.column.group):
        widths = [one.width for one in members]
        inner = sum(widths) + _GAP * (len(widths) - 1)
        found.append((name, max(inner, len(name))))
    return found


def _lines(printed: Sequence[_Printed], bold: bool) -> list[str]:
    _widen(printed)
    lines = []
    if any(one.column.group for one in printed):
        lines.append((" " * _GAP).join(name.center(wide) if name else " " * wide for name, wide in _groups(printed)))
    heads = [one.heading() for one in printed]
    tall = max(map(len, heads))
    heads = [[""] * (tall - len(head)) + head for head in heads]
    lines += [_joined(printed, [head[row] for head in heads]) for row in range(tall)]
    lines.append((" " * _GAP).join("─" * one.width for one in printed))
    for row in range(len(printed[0].texts)):
        cells = [_wrapped(one.texts[row], one.width) if one.column.is_text else [one.texts[row]] for one in printed]
        for part in range(max(map(len, cells))):
            texts = [cell[part] if part < len(cell) else "" for cell in cells]
            tops = [bold and one.best[row] and part == 0 for one in printed]
            lines.append(_joined(printed, texts, tops))
    return [line.rstrip() for line in lines]


def _widen(printed: Sequence[_Printed]) -> None:
    """A name of a group that is wider than its columns widens the last of them."""
    for (_, wide), (_, members) in zip(
        _groups(printed), groupby(printed, key=lambda one: one.column.group), strict=True
    ):
        mine = list(members)
        mine[-1].width += wide - (sum(one.width for one in mine) + _GAP * (len(mine) - 1))


def _joined(printed: Sequence[_Printed], texts: Sequence[str], tops: Sequence[bool] | None = None) -> str:
    parts = [
        text.ljust(one.width) if one.column.is_text else text.rjust(one.width)
        for text, one in zip(texts, printed, strict=True)
    ]
    bold = tops or [False] * len(parts)
    return (" " * _GAP).join(f"\033[1m{part}\033[0m" if top else part for part, top in zip(parts, bold, strict=True))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _aligned(cells: Sequence[Cell], column: Column) -> list[str]:
    """A column's texts with deviations, differences and marks in places of their own, so that the points line up."""
    parts = [
        (f" {spread}" if spread else "", f" {difference}" if difference else "")
        for spread, difference in (beside(cell, column) for cell in cells)
    ]
    marks = [MARKS.get(cell.mark, "") for cell in cells]
    spreads, differences = ([part[place] for part in parts] for place in (0, 1))
    wide = [max(map(len, part), default=0) for part in (spreads, differences, marks)]
    return [
        format_value(cell, column)
        + spread.ljust(wide[0])
        + change.rjust(wide[1])
        + (f" {mark:<{wide[2]}}" if wide[2] else "")
        for cell, spread, change, mark in zip(cells, spreads, differences, marks, strict=True)
    ]
