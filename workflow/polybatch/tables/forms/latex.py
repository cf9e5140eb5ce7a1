"""A table in LaTeX: booktabs rules, a caption, a label.

inputs: a `Table`
outputs: LaTeX; the document needs the packages booktabs, amssymb and longtable
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from polybatch.tables.forms.table import Cell, Column, Table, beside, format_value

_LATEX_MARKS = {
    "better": r"$^{\blacktriangle}$",
    "worse": r"$^{\blacktriangledown}$",
    "changed": r"$^{\blacklozenge}$",
}
_LATEX_ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
_LONG_TABLE = 45
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "α": r"$\alpha$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "◆": r"$\blacklozenge$",
    "−": r"$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def to_latex(table: Table) -> str:
    """A booktabs table (a longtable where it would not fit a page); needs booktabs, amssymb and longtable."""
    caption = " ".join([table.data_mark and f"[{table.data_mark}]", table.caption, *table.notes]).strip()
    spec = "".join("l" if column.is_text else "r" for column in table.columns)
    body = [
        " & ".join(_latex_cell(*pair) for pair in zip(row, table.columns, strict=True)) + r" \\" for row in table.rows
    ]
    head = [
        r"\toprule",
        *_latex_groups(table.columns),
        " & ".join(map(_latex_label, table.columns)) + r" \\",
        r"\midrule",
    ]
    named = rf"\caption{{{latex_escape(caption)}}}", rf"\label{{tab:{table.name}}}"
    comment = "% needs \\usepackage{booktabs,amssymb,longtable}"
    if len(table.rows) > _LONG_TABLE:
        lines = [
            comment,
            rf"\begin{{longtable}}{{{spec}}}",
            f"{named[0]} {named[1]} \\\\",
            *head,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}",
        ]
    else:
        lines = [
            comment,
            r"\begin{table*}[t]",
            r"\centering\small",
            *named,
            rf"\begin{{tabular}}{{{spec}}}",
            *head,
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
        ]
    return "\n".join(lines) + "\n"


def latex_escape(text: str) -> str:
    """`text` on one line, with every character that LaTeX would read as a command made literal."""
    line = re.sub(r"\s*\n\s*", " ", text.strip("\n"))
    return "".join(_LATEX_ESCAPES.get(character, character) for character in line)


def _latex_label(column: Column) -> str:
    arrow = f" {_LATEX_ARROWS[column.better]}" if column.better else ""
    return latex_escape(column.label) + arrow


def _latex_groups(columns: Sequence[Column]) -> list[str]:
    if not any(column.group for column in columns):
        return []
    spans = [(name, len(list(members))) for name, members in groupby(columns, key=lambda column: column.group)]
    cells, rules, start = [], [], 1
    for name, width in spans:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_escape(name)}}}" if name else " & " * (width - 1))
        if name:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [" & ".join(cells) + r" \\", " ".join(rules)]


def _latex_cell(cell: Cell, column: Column) -> str:
    value = latex_escape(format_value(cell, column))
    text = rf"\textbf{{{value}}}" if cell.best else value
    spread, difference = beside(cell, column)
    if spread:
        text += rf" {{\scriptsize$\pm${latex_escape(spread.removeprefix('± '))}}}"
    if difference:
        text += rf" {{\scriptsize {latex_escape(difference)}}}"
    return text + _LATEX_MARKS.get(cell.mark, "")
