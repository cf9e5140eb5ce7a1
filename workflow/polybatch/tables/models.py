"""The tables of a study without trainings, whose rows are models as they come.

inputs: a `View` of one benchmark's scores, whose `models` are named, and their per-group values
outputs: `Table`s: languages (every model, language by language), model_pairs (every model against every other)

Whether two models differ is asked on the same queries (`tables.significance`).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from polybatch.tables.findings import ACROSS, POOLED, WITHIN, finding_column, finding_columns
from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.names import BY_LANGUAGE, MODEL_PAIRS
from polybatch.tables.scores import View, compare, significance_notes
from polybatch.tables.summary import better, mean_and_spread, metric_label

if TYPE_CHECKING:
    import pandas as pd


def model_tables(view: View, groups: pd.DataFrame) -> list[Table]:
    """The tables of a study without trainings; none of any other.

    Args:
        view: The benchmark's scores.
        groups: As of `significance.arm_groups`.
    """
    if not view.models:
        return []
    pairs = [pairs_table(view, groups)] if len(view.models) > 1 else []
    return [languages_table(view), *pairs]


def languages_table(view: View) -> Table:
    """One row a model and query language: the columns of the findings, for the queries of that language alone."""
    keys = finding_columns(view)
    scores = view.scores
    grouped = scores.groupby(["arm", "query_lang", "setting", "metric"], sort=False)["value"]
    means = {key: float(values.mean()) for key, values in grouped}
    languages = sorted(set(scores["query_lang"]))
    rows = [
        [Cell(arm.encoder), Cell(lang), *(Cell(_finite(means.get((arm, lang, *key)))) for key in keys)]
        for arm in view.arms
        for lang in languages
    ]
    return Table(
        name=f"{BY_LANGUAGE}-{view.benchmark}",
        title=f"Every model, language by language, on {view.benchmark}",
        caption=f"{WITHIN}: queries and passages in the row's language. {ACROSS}: queries in the row's language, "
        f"passages in another, mean over these. {POOLED}: queries in the row's language, the passages of all languages "
        "at once. Own language first: share of queries whose best placed right passage is in the query's own language; "
        "neither end is better in itself.",
        columns=[text_column("model", "model"), text_column("query_lang", "query"), *map(finding_column, keys)],
        rows=rows,
        notes=list(view.notes),
        data_mark=view.data_mark,
    )


def _finite(value: float | None) -> float | None:
    return mean_and_spread([] if value is None else [value])[0]


def pairs_table(view: View, groups: pd.DataFrame) -> Table:
    """One row a pair of models: the first one's mean less the second one's, tested on the same queries."""
    keys, macro = finding_columns(view), view.macro()
    pairs = list(combinations(view.arms, 2))
    comparisons = compare(view, groups, pairs, keys)
    found = {(c.arm, c.reference, c.setting, c.metric): c for c in comparisons}
    rows = []
    for first, second in pairs:
        cells = []
        for key in keys:
            one, other = (mean_and_spread(macro.get((arm, *key), []))[0] for arm in (first, second))
            test = found.get((first, second, *key))
            difference = None if one is None or other is None else one - other
            cells.append(Cell(difference, p=test.p if test else None, mark=test.mark if test else ""))
        rows.append([Cell(first.encoder), Cell(second.encoder), *cells])
    columns = [Column(c.key, c.label, c.group, c.digits, c.percent) for c in map(finding_column, keys)]
    return Table(
        name=f"{MODEL_PAIRS}-{view.benchmark}",
        title=f"Every model against every other on {view.benchmark}",
        caption="The mean of the model on the left less that of the other one; of shares of queries in percentage "
        f"points. {', '.join(metric_label(m) for _, m in keys if better(m) == 'lower') or 'Of nothing here'} is better "
        "lower, so that a better model has a difference below zero there.",
        columns=[text_column("model", "model"), text_column("other", "against"), *columns],
        rows=rows,
        notes=significance_notes(view, comparisons, "the other model"),
        data_mark=view.data_mark,
    )
