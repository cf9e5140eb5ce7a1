"""A table as data, and two of the forms in which people read one: csv and markdown.

inputs: a `Table`
outputs: text

Only the csv carries full precision. The others round to the column's digits, print the best value bold, and
show what is missing as a dash: a missing score is never a number.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from polybatch.core import markdown

MISSING = "–"
# A cell's mark as the text forms print it; the caption of the table says what it stands for.
MARKS = {"better": "▲", "worse": "▼", "changed": "◆"}
_ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Column:
    """A column: `key` in the csv, `label` under `group` elsewhere.

    `digits` are those behind the point (None: text or whole numbers), `percent` prints a share times 100,
    `better` ("higher", "lower" or "") says which way the best value lies, and `signed` prints a difference with its
    sign.
    """

    key: str
    label: str
    group: str = ""
    digits: int | None = None
    percent: bool = False
    better: str = ""
    signed: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column is set flush left."""
        return self.key.startswith("text.")


@dataclass(frozen=True)
class Cell:
    """A value with what is known about it; `value` None is a missing one.

    `spread` is the standard deviation over `count` seeds, `p` an adjusted p-value, `mark` "better", "worse" or, where
    neither end is better, "changed"; `difference` is that to the row which the table compares with. `digits` are
    its own, where they are not the column's.
    """

    value: float | int | str | None
    spread: float | None = None
    count: int | None = None
    p: float | None = None
    mark: str = ""
    best: bool = False
    difference: float | None = None
    digits: int | None = None

    @property
    def number(self) -> float | None:
        """The value if it is a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            return None
        return float(self.value) if math.isfinite(self.value) else None


@dataclass(frozen=True)
class Table:
    """A table with its words. `volatile` tables (timings) do not make a new version by themselves."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    data_mark: str = ""
    volatile: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The table as plain JSON values."""
        return asdict(self)

    def to_file(self) -> dict[str, Any]:
        """The table as it stands in tables.json: `to_dict` without what is the default, and the value alone for a cell
        of which nothing else is known."""
        rows = [[_said(cell) for cell in row] for row in self.rows]
        return _said(replace(self, rows=[])) | {"columns": [_said(column) for column in self.columns], "rows": rows}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Table:
        """The inverse of `to_dict` and of `to_file`."""
        columns = [Column(**column) for column in value["columns"]]
        rows = [[Cell(**cell) if isinstance(cell, dict) else Cell(cell) for cell in row] for row in value["rows"]]
        return cls(**{**value, "columns": columns, "rows": rows})


def _said(part: Table | Column | Cell) -> Any:
    """The fields that are not the default; of a cell that has its value alone, the value."""
    known = {one.name: getattr(part, one.name) for one in fields(part)}
    default = {one.name: list[Any]() if one.name == "notes" else one.default for one in fields(part)}
    said = {name: value for name, value in known.items() if value != default[name]}
    return said.get("value") if isinstance(part, Cell) and said.keys() <= {"value"} else said


def text_column(key: str, label: str, group: str = "") -> Column:
    """A column of words."""
    return Column(f"text.{key}", label, group)


def mark_best(table: Table) -> Table:
    """The same table with the best value of every column that has a direction marked; ties share the mark."""
    best = [_best_value(table, position) for position in range(len(table.columns))]
    rows = [
        [replace(cell, best=top is not None and cell.number == top) for cell, top in zip(row, best, strict=True)]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _best_value(table: Table, position: int) -> float | None:
    better = table.columns[position].better
    values = [number for row in table.rows if (number := row[position].number) is not None]
    if not better or len(values) < 2:
        return None
    return max(values) if better == "higher" else min(values)


def format_value(cell: Cell, column: Column) -> str:
    """The value alone, rounded for people."""
    if isinstance(cell.value, str):
        return cell.value
    number = cell.number
    if number is None:
        return MISSING
    column = _as_of(cell, column)
    return signed(number, column) if column.signed else format_number(number, column)


def _as_of(cell: Cell, column: Column) -> Column:
    """The column with the digits that a cell has of its own."""
    return column if cell.digits is None else replace(column, digits=cell.digits)


def format_number(number: float, column: Column) -> str:
    """A number with the column's digits."""
    if column.percent:
        return f"{100 * number:.{column.digits or 0}f}%"
    if column.digits is None:
        return f"{number:,.0f}" if number == round(number) else f"{number:g}"
    return f"{number:,.{column.digits}f}"


def plain(cell: Cell, column: Column) -> str:
    """Value, deviation, difference and mark as plain text."""
    words = [format_value(cell, column), *beside(cell, column), MARKS[cell.mark] if cell.mark else ""]
    return " ".join(filter(None, words))


def beside(cell: Cell, column: Column) -> tuple[str, str]:
    """What stands beside a value: `± deviation` and the difference with its sign, each "" where there is none."""
    if cell.number is None:
        return "", ""
    column = _as_of(cell, column)
    spread = "" if cell.spread is None else f"± {format_number(cell.spread, column)}"
    return spread, "" if cell.difference is None else signed(cell.difference, column)


def signed(difference: float, column: Column) -> str:
    """A difference with its sign and the column's digits; of shares in percentage points, without the sign %."""
    text = format_number(abs(difference), column).removesuffix("%")
    sign = "" if not any(digit in text for digit in "123456789") else "+" if difference > 0 else "−"
    return (sign or "±") + text


def header(column: Column) -> str:
    """The column's label with its direction."""
    return f"{column.label} {_ARROWS[column.better]}" if column.better else column.label


def to_csv(table: Table) -> str:
    """Full precision: a column a value, with `_sd`, `_seeds`, `_difference`, `_p`, `_mark` where a cell has them."""
    extras = [_csv_extras(table, position) for position in range(len(table.columns))]
    names = [column.key.removeprefix("text.") for column in table.columns]
    head = [
        name if not extra else f"{name}_{extra}"
        for name, more in zip(names, extras, strict=True)
        for extra in ("", *more)
    ]
    mark = ["data_mark"] if table.data_mark else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*head, *mark])
    for row in table.rows:
        values: list[Any] = []
        for cell, more in zip(row, extras, strict=True):
            values += [_csv_value(cell.value), *(_csv_value(_extra(cell, name)) for name in more)]
        writer.writerow([*values, *([table.data_mark] if mark else [])])
    return out.getvalue()


def _csv_extras(table: Table, position: int) -> list[str]:
    cells = [row[position] for row in table.rows]
    names = ("sd", "seeds", "difference", "p", "mark")
    return [name for name in names if any(_extra(cell, name) not in (None, "") for cell in cells)]


def _extra(cell: Cell, name: str) -> float | int | str | None:
    values = {"sd": cell.spread, "seeds": cell.count, "difference": cell.difference, "p": cell.p, "mark": cell.mark}
    return values[name]


def _csv_value(value: float | int | str | None) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def to_markdown(table: Table, level: int = 3) -> str:
    """Title, caption, table and notes, as GitHub shows them; columns are padded so that the text is readable too."""
    labels = [markdown.cell(_full_label(column)) for column in table.columns]
    rows = [
        [_markdown_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows
    ]
    widths = [max(3, *(len(row[i]) for row in [labels, *rows])) for i in range(len(labels))]
    rule = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for width, column in zip(widths, table.columns, strict=True)
    ]
    lines = [f"{'#' * level} {table.title}", "", *_markdown_data_mark(table)]
    lines += [f"| {' | '.join(pad(row, widths, table.columns))} |" for row in [labels, rule, *rows]]
    lines += [
        "",
        table.caption,
        "",
        *(f"- {' '.join(note.split())}" for note in table.notes),
        *([""] if table.notes else []),
    ]
    return "\n".join(lines)


def _markdown_data_mark(table: Table) -> list[str]:
    return [f"> **{table.data_mark}**", ""] if table.data_mark else []


def _full_label(column: Column) -> str:
    return f"{column.group} {header(column)}" if column.group else header(column)


def _markdown_cell(cell: Cell, column: Column) -> str:
    value = markdown.cell(format_value(cell, column))
    return plain(cell, column).replace(value, f"**{value}**", 1) if cell.best else markdown.cell(plain(cell, column))


def pad(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    return [
        text.ljust(width) if column.is_text else text.rjust(width)
        for text, width, column in zip(row, widths, columns, strict=True)
    ]
