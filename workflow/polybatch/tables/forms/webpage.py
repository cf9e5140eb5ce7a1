"""A table as an HTML page of its own.

inputs: a `Table`
outputs: HTML without outside parts, which a browser and Snakemake's report show as it is
"""

from __future__ import annotations

import html
from itertools import groupby

from polybatch.tables.forms.table import MARKS, Cell, Column, Table, format_number, format_value, header

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 1.5rem; }
h1 { font-size: 1.15rem; margin: 0 0 .6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; text-align: right; white-space: nowrap; }
th.t, td.t { text-align: left; }
thead tr:first-child th { border-top: 2px solid #1b1b1b; }
thead tr:last-child th { border-bottom: 1px solid #1b1b1b; }
tbody tr:last-child td { border-bottom: 2px solid #1b1b1b; }
tbody tr:nth-child(even) { background: #f5f6f8; }
th.g { text-align: center; border-bottom: 1px solid #b5b5b5; }
.sd { color: #5a5a5a; font-size: .85em; }
.mark { color: #5a5a5a; font-size: .8em; }
p, ul { max-width: 60rem; color: #333; }
.data { display: inline-block; background: #fff1c9; border: 1px solid #d9a300; padding: .2rem .6rem; }
""".strip()


def to_html(table: Table) -> str:
    """A page of its own, with no outside parts, for a browser and for Snakemake's report."""
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
    mark = f'<p class="data">{html.escape(table.data_mark)}</p>' if table.data_mark else ""
    notes = "<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in table.notes) + "</ul>" if table.notes else ""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f"<title>{html.escape(table.title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            f"<h1>{html.escape(table.title)}</h1>\n{mark}\n<table>\n<thead>",
            *groups,
            f"<tr>{labels}</tr>\n</thead>\n<tbody>",
            *rows,
            f"</tbody>\n</table>\n<p>{html.escape(table.caption)}</p>\n{notes}\n</body>\n</html>\n",
        ]
    )


def _html_class(column: Column) -> str:
    return ' class="t"' if column.is_text else ""


def _html_cell(cell: Cell, column: Column) -> str:
    value = html.escape(format_value(cell, column))
    text = f"<b>{value}</b>" if cell.best else value
    if cell.spread is not None and cell.number is not None:
        text += f' <span class="sd">± {html.escape(format_number(cell.spread, column))}</span>'
    if cell.mark:
        text += f' <span class="mark">{MARKS[cell.mark]}</span>'
    return f"<td{_html_class(column)}>{text}</td>"
