"""A table as an HTML page of its own, and the parts of other pages.

inputs: a `Table`, a picture, HTML parts
outputs: HTML without outside parts, which a browser and Snakemake's report show as it is
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from itertools import groupby

from polybatch.tables.forms.table import MARKS, Cell, Column, Table, beside, format_value, header

_SAMPLING = re.compile(r"\b(?:en-en|x-x-mono|x-x|x-y|hybrid-a[0-9.]+(?:to[0-9.]+)?)\b")
_LONG = 24  # characters of a text cell, beyond which it may be broken: what 12rem hold
# Names below one class, so that a page may stand inside of another. `.prose` and `.flex` are of Snakemake's report,
# which keeps 32rem for the description of a workflow, puts the graph of its rules beside it, over wide tables, and
# centres both on the screen, so that nobody could scroll to the top of what is taller, nor to the left of what is wider
# than the list of results leaves room for.
_STYLE = """
.polybatch { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 1rem; }
.polybatch h1 { font-size: 1.15rem; margin: 0 0 .6rem; }
.polybatch h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
.polybatch table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
.polybatch th, .polybatch td { padding: .28rem .7rem; text-align: right; white-space: nowrap; font-weight: 400; }
.polybatch th { font-weight: 600; }
.polybatch thead th { white-space: normal; vertical-align: bottom; }
.polybatch th.t, .polybatch td.t { text-align: left; }
.polybatch td.long { white-space: normal; min-width: 12rem; max-width: 40rem; }
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
.h-screen:has(.polybatch) { align-items: flex-start; justify-content: flex-start; }
.prose:has(.polybatch) { max-width: 64rem; }
.flex:has(> .py-2 > .prose .polybatch) { flex-wrap: wrap; min-width: 0; }
.py-2:has(> .prose .polybatch) { min-width: 0; max-width: 100%; }
.story.polybatch { max-width: 62rem; margin: 1rem auto; }
.polybatch .wide { overflow-x: auto; }
.polybatch .name { white-space: nowrap; }
.polybatch summary { cursor: pointer; color: #24507d; }
.polybatch details { margin: .5rem 0; }
.polybatch a { color: #24507d; }
.polybatch .links ul { columns: 18rem; }
.polybatch li { margin: .15rem 0; }
.prose .polybatch .links { display: none; }
@media (max-width: 44rem) {
  .polybatch, .story.polybatch { margin: .5rem .2rem; }
  .polybatch table { font-size: .78em; }
  .polybatch th, .polybatch td { padding: .3rem .22rem; }
  .polybatch th, .polybatch td.t { white-space: normal; min-width: 0; }
  .polybatch td .diff::before { content: "\\A"; white-space: pre; }
  .polybatch ul { padding-left: 1.2rem; }
}
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


def page(title: str, parts: Sequence[str], kind: str = "") -> str:
    """HTML parts as one document, which may also be put into another as it is; `kind` is a further class of it."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            '<meta name="color-scheme" content="light"/>',
            f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            f'<div class="{" ".join(filter(None, ["polybatch", kind]))}">',
            *filter(None, parts),
            "</div>\n</body>\n</html>\n",
        ]
    )


def words(text: str) -> str:
    """Text as HTML; a sampling's name is not broken at its hyphen."""
    return _SAMPLING.sub(r'<span class="name">\g<0></span>', html.escape(text))


def data_mark(mark: str) -> str:
    """The mark of a study that is not on its real data, as a box; "" without one."""
    return f'<p class="data">{html.escape(mark)}</p>' if mark else ""


def picture(svg: bytes, told: str, narrow: bytes | None = None) -> str:
    """An SVG as a part of a page, with words for readers who do not see it; `narrow` is for narrow screens."""
    image = f'<img src="{_inline(svg)}" alt="{html.escape(told)}">'
    if narrow is None:
        return image
    return f'<picture><source media="(max-width: 44rem)" srcset="{_inline(narrow)}">{image}</picture>'


def _inline(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def bare_table(table: Table) -> str:
    """Header and rows, which scroll by themselves where the page is narrower."""
    groups = [""]
    if any(column.group for column in table.columns):
        cells = [
            f'<th class="g" colspan="{len(list(members))}">{html.escape(name)}</th>'
            if name
            else "<th></th>" * len(list(members))
            for name, members in groupby(table.columns, key=lambda column: column.group)
        ]
        groups = ["<tr>" + "".join(cells) + "</tr>"]
    labels = "".join(f"<th{_html_class(column)}>{_label(column)}</th>" for column in table.columns)
    rows = [
        "<tr>" + "".join(_html_cell(*pair) for pair in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    ]
    return "\n".join(
        [
            '<div class="wide">\n<table>\n<thead>',
            *groups,
            f"<tr>{labels}</tr>\n</thead>\n<tbody>",
            *rows,
            "</tbody>\n</table>\n</div>",
        ]
    )


def _label(column: Column) -> str:
    """The header; its arrow stays with the last word."""
    return html.escape(header(column)).replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓")


def _html_class(column: Column, text: str = "") -> str:
    """The class of a header, or of the cell with a text: one that is long is broken into lines, so that columns fit."""
    if not column.is_text:
        return ""
    return ' class="t long"' if len(text) > _LONG else ' class="t"'


def _html_cell(cell: Cell, column: Column) -> str:
    plain = format_value(cell, column)
    value = words(plain) if column.is_text else html.escape(plain)
    text = f"<b>{value}</b>" if cell.best else value
    spread, difference = beside(cell, column)
    if spread:
        text += f' <span class="sd">{html.escape(spread)}</span>'
    if difference:
        text += f' <span class="diff">{html.escape(difference)}</span>'
    if cell.mark:
        text += f' <span class="mark">{MARKS[cell.mark]}</span>'
    return f"<td{_html_class(column, plain)}>{text}</td>"
