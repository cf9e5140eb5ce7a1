"""Writes a version's folder: every table and figure in its forms, the pages, the manifest, the numbers behind them.

inputs: the manifest, the tables, the views that figures are drawn from, scores and their per-group values
outputs: the files that `names.expected_files` announces, but for the pictures of pixels, in a folder that is given
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.contracts import SCORES
from polybatch.core.errors import DataError
from polybatch.core.sums import SUMS
from polybatch.tables.names import DRAWN, SUMMARY, TABLE_FORMS, expected_files, figures_of

if TYPE_CHECKING:
    import pandas as pd

    from polybatch.tables.forms.table import Table
    from polybatch.tables.scores import View


def write_tables(folder: Path, manifest: Mapping[str, Any], tables: Sequence[Table], views: Sequence[View]) -> None:
    """Every table in its four forms, every figure in two, the front page and the manifest."""
    from polybatch.core.files import write_json
    from polybatch.tables.figures.draw import FIGURES
    from polybatch.tables.figures.first_passages import first_passages
    from polybatch.tables.figures.style import save, to_svg
    from polybatch.tables.forms import latex, table, webpage
    from polybatch.tables.front import front_page
    from polybatch.tables.story import PICTURE, story_of, to_page

    forms = dict(zip(TABLE_FORMS, (table.to_csv, table.to_markdown, latex.to_latex, webpage.to_html), strict=True))
    for made in tables:
        for form, render in forms.items():
            (folder / f"{made.name}.{form}").write_text(render(made), "utf-8")
    drawn = [(figure, view) for view in views for figure in figures_of(manifest["config"], view.benchmark)]
    for figure, view in drawn:
        save(FIGURES[figure.kind](replace(view, headline=figure.metric or view.headline)), folder, figure.name)
    figures = [figure for figure, _ in drawn]
    (folder / "README.md").write_text(front_page(manifest, tables, figures), "utf-8")
    narrow = {figure.name: to_svg(first_passages(view, columns=1)) for figure, view in drawn if figure.kind == PICTURE}
    (folder / SUMMARY).write_text(to_page(story_of(manifest, tables, figures), folder, narrow), "utf-8")
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "tables.json", [made.to_file() for made in tables], compact=True)


def write_data(folder: Path, scores: pd.DataFrame, groups: pd.DataFrame) -> None:
    """The numbers behind the tables, for a later comparison of versions.

    Groups are sorted: values of one group are often the same in several arms, and take half the bytes side by side.
    """
    import pyarrow as pa

    from polybatch.core.files import write_parquet
    from polybatch.tables.significance import GROUP_ORDER, GROUPS
    from polybatch.tables.summary import without_arm

    groups = groups.sort_values(GROUP_ORDER, kind="stable")
    for name, frame, schema in (("scores", scores, SCORES), ("groups", groups, GROUPS)):
        table = pa.Table.from_pandas(without_arm(frame)[schema.names], schema=schema, preserve_index=False)
        write_parquet(folder / f"{name}.parquet", [table.replace_schema_metadata(None)], schema, small=True)


def check_written(config: Mapping[str, Any], folder: Path) -> None:
    """The files declared to Snakemake and those written must be the same, or a later run would miss one.

    Those that only the copy `latest` has come later.
    """
    written = {path.name for path in folder.iterdir()} | {"VERSION", SUMS}
    expected = {name for name in expected_files(config) if not name.endswith(DRAWN)}
    if written != expected:
        raise DataError(
            "The tables made are not those that the config announces.",
            found=", ".join(sorted(written - expected)) or "fewer files",
            expected=", ".join(sorted(expected - written)) or "no further files",
            remedy="give --collected, --compositions, and where the config asks for them --supplied, --contamination, "
            "--exposure and --translations; evaluate all settings and metrics",
        )
