"""A table as an HTML page of its own, and the parts of other pages.

inputs: a `Table`, a picture, HTML parts
outputs: HTML without outside parts, which a browser and Snakemake's report show as it is
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from itertools import groupby

from polybatch.tables.forms.table import MARKS, Cell, Column, Table, beside, format_value, header

# Names below one class, so that a page may stand inside of another. `.prose` and `.flex` are of Snakemake's report,
# which keeps 32rem for the description of a workflow, puts the graph of its rules beside it, over wide tables, and
# centres both on the screen, so that nobody could scroll to the top of what is taller.
_STYLE = """
.polybatch { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 1rem; }
.polybatch h1 { font-size: 1.15rem; margin: 0 0 .6rem; }
.polybatch h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
.polybatch table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
.polybatch th, .polybatch td { padding: .28rem .7rem; text-align: right; white-space: nowrap; font-weight: 400; }
.polybatch th { font-weight: 600; }
.polybatch th.t, .polybatch td.t { text-align: left; }
.polybatch thead tr:first-child th { border-top: 2px solid #1b1b1b; }
.polybatch thead tr:last-child th { border-bottom: 1px solid #1b1b1b; }
.polybatch tbody tr:last-child td { border-bottom: 2px solid #1b1b1b; }
.polybatch tbody tr:nth-child(even) { background: #f5f6f8; }
.polybatch th.g { text-align: center; border-bottom: 1px solid #b5b5b5; }
.polybatch .sd, .polybatch .diff { color: #5a5a5a; font-size: .85em; }
.polybatch .mark { color: #5a5a5a; font-size: .8em; }
.polybatch p, .polybatch ul { max-width: 56rem; color: #333; }
.polybatch p.told { color: #1b1b1b; }
.polybatch .notes { font-size: .87em; color: #5a5a5a; }
.polybatch img { display: block; max-width: 100%; margin: .4rem 0; }
.h-screen:has(.polybatch) { align-items: flex-start; }
.prose:has(.polybatch) { max-width: 64rem; }
.flex:has(> .py-2 > .prose .polybatch) { flex-wrap: wrap; }
.polybatch .data { display: inline-block; background: #fff1c9; border: 1px solid #d9a300; padding: .2rem .6rem; }
""".strip()


def to_html(table: Table) -> str:
    """A page of its own, with no outside parts, for a browser and for Snakemake's report."""
    notes = "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in table.notes) + "</ul>" if table.notes else ""
    return page(
        table.title,
        [
            f"<h1>{html.escape(table.title)}</h1>",
            data_mark(table.data_mark),
            bare_table(table),
            f"<p>{html.escape(table.caption)}</p>\n{notes}",
        ],
    )


def page(title: str, parts: Sequence[str]) -> str:
    """HTML parts as one document, which may also be put into another as it is."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            '<div class="polybatch">',
            *filter(None, parts),
            "</div>\n</body>\n</html>\n",
        ]
    )


def data_mark(mark: str) -> str:
    """The mark of a study that is not on its real data, as a box; "" without one."""
    return f'<p class="data">{html.escape(mark)}</p>' if mark else ""


def picture(svg: bytes, words: str) -> str:
    """An SVG as a part of a page, with the words for readers who do not see it."""
    coded = base64.b64encode(svg).decode("ascii")
    return f'<img src="data:image/svg+xml;base64,{coded}" alt="{html.escape(words)}">'


def bare_table(table: Table) -> str:
    """Header and rows."""
    groups = [""]
    if any(column.group for column in table.columns):
        cells = [
            f'<th class="g" colspan="{len(list(members))}">{html.escape(name)}</th>'
            if name
            else "<th></th>" * len(list(members))
            for name, members in groupby(table.columns, key=lambda column: column.group)
        ]
        groups = ["<tr>" + "".join(cells) + "</tr>"]
    labels = "".join(f"<th{_html_class(column)}>{html.escape(header(column))}</th>" for column in table.columns)
    rows = [
        "<tr>" + "".join(_html_cell(*pair) for pair in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    ]
    return "\n".join(
        ["<table>\n<thead>", *groups, f"<tr>{labels}</tr>\n</thead>\n<tbody>", *rows, "</tbody>\n</table>"]
    )


def _html_class(column: Column) -> str:
    return ' class="t"' if column.is_text else ""


def _html_cell(cell: Cell, column: Column) -> str:
    value = html.escape(format_value(cell, column))
    text = f"<b>{value}</b>" if cell.best else value
    spread, difference = beside(cell, column)
    if spread:
        text += f' <span class="sd">{html.escape(spread)}</span>'
    if difference:
        text += f' <span class="diff">{html.escape(difference)}</span>'
    if cell.mark:
        text += f' <span class="mark">{MARKS[cell.mark]}</span>'
    return f"<td{_html_class(column)}>{text}</td>"
