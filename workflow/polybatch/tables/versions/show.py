"""Prints what came out of a study, or one of its tables, and says where everything lies.

inputs: results/tables/<study>/v<N>/
outputs: text on the terminal, 100 columns wide
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from polybatch.config.paths import TABLES
from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.tables.forms.table import Table
from polybatch.tables.forms.terminal import to_terminal, wrapped
from polybatch.tables.versions.versions import Version, newest, read_version

_WIDTH = 100


def describe(version: Version, *, bold: bool, every: bool = False, name: str = "", width: int = _WIDTH) -> str:
    """Tables of a version as text.

    Args:
        version: The version to print.
        bold: Whether the best values are set bold by terminal codes.
        every: The main tables with all their columns, in place of what came out.
        name: One table in their place, such as "data" or "monolingual-test".
        width: Columns of the terminal.

    Raises:
        ConfigError: No table has that name.
    """
    parts = []
    for table in _chosen(version, every, name):
        parts += [*wrapped(_heading(table), width), "", to_terminal(table, bold=bold, width=width), ""]
        caption = [] if table.name.startswith("main-") else [*wrapped(table.caption, width), ""]
        notes = [line for note in table.notes for line in wrapped(note, width, "  ")]
        parts += [*caption, *notes, ""]
    return "\n".join([*parts, *_places(version)])


def _chosen(version: Version, every: bool, name: str) -> list[Table]:
    if name:
        named = [table for table in version.tables if table.name == name]
        if not named:
            raise ConfigError(
                f"{version.name} has no table {name}.",
                expected=", ".join(table.name for table in version.tables),
                where=version.path,
            )
        return named
    kinds = ["main-"] if every else ["findings-", "main-"]  # versions of before have no findings
    found = [[table for table in version.tables if table.name.startswith(kind)] for kind in kinds]
    return next(filter(None, found), [])


def _heading(table: Table) -> str:
    return table.title + (f"  [{table.data_mark}]" if table.data_mark else "")


def _places(version: Version) -> list[str]:
    folder = os.path.relpath(version.path)
    lines = [f"version {version.name} in {folder}/"]
    files = {
        "summary.html": "question, picture, table and costs on one page",
        "README.md": "all tables and figures on one page",
        "main-*.csv": "full precision; also as .md, .tex and .html",
        "trade_off-*.svg": "figures; also as .vl.json, and in latest/ as .png",
        "manifest.json": "what the tables were made from",
    }
    lines += [f"  {name:<16} {words}" for name, words in files.items() if any(version.path.glob(name))]
    study = version.path.absolute().parent
    report = study.parents[1] / "reports" / f"{study.name}.html"
    return [*lines, *([f"report in {os.path.relpath(report)}"] if report.is_file() else [])]


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="polybatch show", description="Print what came out of a study.")
    parser.add_argument("--study", default="default", help="the study (default: default)")
    parser.add_argument("--version", help="a version such as v2 (default: the newest)")
    parser.add_argument("--tables", type=Path, default=Path(TABLES), help="folder of all studies' tables")
    parser.add_argument("--all", action="store_true", help="the main tables, with all their columns")
    parser.add_argument("--table", default="", help="one table, such as monolingual-test, data or timings")
    args = parser.parse_args(argv)
    root = args.tables / args.study
    version = read_version(root / args.version) if args.version else newest(root)
    print(describe(version, bold=sys.stdout.isatty(), every=args.all, name=args.table))


if __name__ == "__main__":
    stage.run(main)
