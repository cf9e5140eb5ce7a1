"""A table as aligned text for a terminal.

inputs: a `Table`
outputs: text, within a number of columns where one is given

What is too wide is first wrapped in its headers, then in its columns of words; what is still too wide is printed as
blocks below one another, which repeat the words on the left. No column is dropped. Widths are those that a terminal
shows: a Chinese character takes two columns, a combining mark none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from polybatch.tables.forms.table import MARKS, Cell, Column, Table, beside, format_value, header

_GAP = 2
# Words are broken where a line ends only if they are longer than this; runs and paths are readable in it.
_LONGEST_WORD = 22
_GROUP_WORD = 14
# Where not even that fits, columns of words get this narrow before all else.
_NARROW = 8


@dataclass
class _Printed:
    """A column's texts, and the width that it is printed in."""

    column: Column
    texts: list[str]
    best: list[bool]
    width: int
    # A name of its group has at least this width, if it has a word as long.
    group_word: int = _GROUP_WORD

    def heading(self) -> list[str]:
        """The lines of the header, wrapped to the column's width."""
        return [line.replace("\u00a0", " ") for line in wrapped(self.unbroken(), self.width)]

    def unbroken(self) -> str:
        """The header, its arrow tied to the last word."""
        return header(self.column).replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓")

    def least(self, longest_word: int) -> int:
        """The width below which its header, or a text of words, would be broken inside of a word."""
        words = [word for text in (self.texts if self.column.is_text else []) for word in text.split()]
        fixed = [] if self.column.is_text else [terminal_width(text) for text in self.texts]
        return max([1, *fixed, *(min(longest_word, terminal_width(w)) for w in [*words, *self.unbroken().split(" ")])])


def terminal_width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The lines of a text, broken between words, and inside of words that are longer than a line.

    Args:
        text: Its line breaks count as spaces; a space that does not break stays.
        width: Columns of a line.
        indent: What every line but the first begins with.
    """
    lines, line, room = [""], "", width
    for word in text.replace("\n", " ").split(" "):
        joined = f"{line} {word}" if line else word
        if terminal_width(joined) <= room:
            line = joined
        else:
            lines += [line] if line else []
            room = width - terminal_width(indent)
            *full, line = _cut(word, room)
            lines += full
    first, *others = [*lines[1:], line]
    return [first, *(indent + other for other in others)]


def _cut(word: str, room: int) -> list[str]:
    """A word in parts that fit; at least one character each."""
    parts, part, taken = [], "", 0
    for character in word:
        wide = _columns(character)
        if part and taken + wide > room:
            parts.append(part)
            part, taken = "", 0
        part, taken = part + character, taken + wide
    return [*parts, part]


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
            widest = max(map(terminal_width, [header(column), *texts]))
            printed.append(_Printed(column, texts, [cell.best for cell in cells], widest))
    blocks = [printed] if width is None else _fit(printed, width)
    return "\n\n".join("\n".join(_lines(block, bold)) for block in blocks)


def _fit(printed: list[_Printed], width: int) -> list[list[_Printed]]:
    """The columns in as many blocks as it takes to keep each within the width."""
    if _total(printed) <= width:
        return [printed]
    for one in printed:
        if not one.column.is_text:
            one.width = one.least(_LONGEST_WORD)
    words, leading = [one for one in printed if one.column.is_text], _leading(printed)
    natural = [one.width for one in leading]
    _narrow(words, printed, width, _LONGEST_WORD)
    if len(leading) == len(printed):
        for most in (_NARROW, 1):
            _narrow(words, printed, width, most)
    if _total(printed) <= width:
        return [printed]
    # It will be cut: then the words need be no narrower than half of a block.
    for one, before in zip(leading, natural, strict=True):
        one.width = min(before, max(_LONGEST_WORD, one.width))
    _narrow(leading, leading, width // 2, _LONGEST_WORD)
    values = printed[len(leading) :]
    # The words that every block repeats leave room for the widest value.
    for most in (_NARROW, 1):
        widest = max(values, key=lambda one: _total([one]), default=None)
        _narrow(leading, [*leading, widest] if widest else leading, width, most)
    for one in values:
        _narrow([one] if one.column.is_text else [], [*leading, one], width, 1)
    return _blocks(printed, width)


def _narrow(words: Sequence[_Printed], together: Sequence[_Printed], width: int, longest_word: int) -> None:
    """Narrows columns of words, the widest first, until `together` fits or a word would have to be broken."""
    if longest_word == 1 and _total(together) > width:
        for one in together:
            one.group_word = 1
    least = {id(one): one.least(longest_word) for one in words}
    while _total(together) > width:
        wide = [one for one in words if one.width > least[id(one)]]
        if not wide:
            break
        max(wide, key=lambda one: one.width).width -= 1


def _leading(printed: list[_Printed]) -> list[_Printed]:
    """The columns of words before the first number: they say what a row is."""
    first = next((place for place, one in enumerate(printed) if not one.column.is_text), len(printed))
    return printed[:first]


def _blocks(printed: list[_Printed], width: int) -> list[list[_Printed]]:
    leading = _leading(printed)
    blocks = [list(leading)]
    for _, members in groupby(printed[len(leading) :], key=lambda one: one.column.group):
        group = list(members)
        # A group that fits into a block stays whole.
        parts = [group] if _total([*leading, *group]) <= width else [[one] for one in group]
        for part in parts:
            if _total([*blocks[-1], *part]) > width and len(blocks[-1]) > len(leading):
                blocks.append(list(leading))
            blocks[-1] += part
    return blocks


def _total(printed: Sequence[_Printed]) -> int:
    """The columns of a terminal that these take, names of groups included."""
    return sum(wide for _, wide in _groups(printed)) + _GAP * (len(_groups(printed)) - 1)


def _groups(printed: Sequence[_Printed]) -> list[tuple[str, int]]:
    """Name and width of neighbours that share a group; columns without one stand alone."""
    found = []
    for name, members in groupby(printed, key=lambda one: one.column.group):
        mine = list(members)
        inner = sum(one.width for one in mine) + _GAP * (len(mine) - 1)
        longest = max(map(terminal_width, name.split()), default=0)
        found.append((name, max(inner, min(longest, *(one.group_word for one in mine)))))
    return found


def _lines(printed: Sequence[_Printed], bold: bool) -> list[str]:
    # A block's columns are those of other blocks too: what widens here must not widen there.
    printed = [replace(one) for one in printed]
    _widen(printed)
    names = [wrapped(name, wide) if name else [] for name, wide in _groups(printed)]
    widths = [wide for _, wide in _groups(printed)]
    lines = []
    for row in range(max(map(len, names))):
        parts = [_centred(name[row] if row < len(name) else "", wide) for name, wide in zip(names, widths, strict=True)]
        lines.append((" " * _GAP).join(parts))
    heads = [one.heading() for one in printed]
    tall = max(map(len, heads))
    heads = [[""] * (tall - len(head)) + head for head in heads]
    lines += [_joined(printed, [head[row] for head in heads]) for row in range(tall)]
    lines.append((" " * _GAP).join("─" * one.width for one in printed))
    for row in range(len(printed[0].texts)):
        cells = [wrapped(one.texts[row], one.width) if one.column.is_text else [one.texts[row]] for one in printed]
        for part in range(max(map(len, cells))):
            texts = [cell[part] if part < len(cell) else "" for cell in cells]
            tops = [bold and one.best[row] and part == 0 for one in printed]
            lines.append(_joined(printed, texts, tops))
    return [line.rstrip() for line in lines]


def _widen(printed: Sequence[_Printed]) -> None:
    """A name of a group with a word that is wider than its columns widens the last of them."""
    for (_, wide), (_, members) in zip(
        _groups(printed), groupby(printed, key=lambda one: one.column.group), strict=True
    ):
        mine = list(members)
        mine[-1].width += wide - (sum(one.width for one in mine) + _GAP * (len(mine) - 1))


def _centred(text: str, width: int) -> str:
    room = width - terminal_width(text)
    return " " * (room // 2) + text + " " * (room - room // 2)


def _joined(printed: Sequence[_Printed], texts: Sequence[str], tops: Sequence[bool] | None = None) -> str:
    parts = []
    for text, one in zip(texts, printed, strict=True):
        room = " " * (one.width - terminal_width(text))
        parts.append(text + room if one.column.is_text else room + text)
    bold = tops or [False] * len(parts)
    return (" " * _GAP).join(f"\033[1m{part}\033[0m" if top else part for part, top in zip(parts, bold, strict=True))


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
