"""Prints the newest main table of a study and says where everything lies.

inputs: results/tables/<study>/v<N>/
outputs: text on the terminal
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from pathlib import Path

from polybatch.config.paths import TABLES
from polybatch.core import stage
from polybatch.tables.forms.table import Table, to_terminal
from polybatch.tables.versions.versions import Version, newest, read_version

_WIDTH = 100


def describe(version: Version, *, bold: bool, every: bool = False, width: int = _WIDTH) -> str:
    """The main tables of a version as text.

    Args:
        version: The version to print.
        bold: Whether the best values are set bold by terminal codes.
        every: All columns; else the headline metric of each setting and the rank distance.
        width: Columns of the terminal, for the words below a table.
    """
    parts = []
    for table in version.tables:
        if table.name.startswith("main-"):
            parts += [_heading(table), "", to_terminal(table, bold=bold, keep=None if every else headline_keys(table))]
            parts += ["", *(line for note in table.notes for line in textwrap.wrap(note, width)), ""]
    return "\n".join([*parts, *_places(version)])


def headline_keys(table: Table) -> list[str]:
    """The first metric of every setting, the number of seeds, and the rank distance."""
    first: dict[str, str] = {}
    for column in table.columns:
        first.setdefault(column.group, column.key)
    return ["seeds", *first.values(), *(column.key for column in table.columns if "rank_distance" in column.key)]


def _heading(table: Table) -> str:
    return table.title + (f"  [{table.data_mark}]" if table.data_mark else "")


def _places(version: Version) -> list[str]:
    folder = os.path.relpath(version.path)
    lines = [f"version {version.name} in {folder}/"]
    files = {
        "README.md": "all tables and figures on one page",
        "main-*.csv": "full precision; also as .md, .tex and .html",
        "trade_off-*.svg": "figures; also as .png and .vl.json",
        "manifest.json": "what the tables were made from",
    }
    lines += [f"  {name:<16} {words}" for name, words in files.items() if any(version.path.glob(name))]
    study = version.path.absolute().parent
    report = study.parents[1] / "reports" / f"{study.name}.html"
    return [*lines, *([f"report in {os.path.relpath(report)}"] if report.is_file() else [])]


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="polybatch show", description="Print a study's newest main table.")
    parser.add_argument("--study", default="default", help="the study (default: default)")
    parser.add_argument("--version", help="a version such as v2 (default: the newest)")
    parser.add_argument("--tables", type=Path, default=Path(TABLES), help="folder of all studies' tables")
    parser.add_argument("--all", action="store_true", help="all columns, not only the headline metric")
    args = parser.parse_args(argv)
    root = args.tables / args.study
    version = read_version(root / args.version) if args.version else newest(root)
    print(describe(version, bold=sys.stdout.isatty(), every=args.all))


if __name__ == "__main__":
    stage.run(main)
