"""The tables of retrieval scores.

inputs: a `Summary` of all runs and their per-group values
outputs: `Table`s for one benchmark: main and averages; the significance of the main table's differences
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import (
    RANK_DISTANCE,
    TOKEN_F1,
)
from polybatch.tables.forms.table import Cell, Column, Table, mark_best, text_column
from polybatch.tables.significance import LEVEL, PairedTest, holm, paired_test, reference_arm
from polybatch.tables.summary import (
    SETTING_LABELS,
    UNTRAINED,
    Arm,
    Summary,
    averaged_cells,
    better,
    digits,
    mean_and_spread,
    metric_label,
    missing_notes,
)

if TYPE_CHECKING:
    import pandas as pd

# The metrics of the main table, setting by setting, after the headline metric; those without scores are left out.
MAIN_METRICS: dict[str, tuple[str, ...]] = {
    "monolingual": ("map", "recall@1", "ndcg@10", TOKEN_F1),
    "cross_lingual": ("map", "recall@1", "ndcg@10", TOKEN_F1),
    "multilingual": ("map", "recall@10", "ndcg@10", RANK_DISTANCE),
}
# The sampling that the others are tested against.
DEFAULT_REFERENCE = "hybrid-a0.5"
_MEANINGS = {
    "map": "mAP is mean average precision over the full ranking",
    "ndcg@10": "nDCG@10 is normalised discounted cumulative gain over the first ten",
    "mrr@10": "MRR@10 is the mean reciprocal rank within the first ten",
    RANK_DISTANCE: "rank distance is the number of ranks between a query's best and worst placed relevant "
    "passages in the pool of all languages",
    "f1@10": "retrieval F1@10 is that of the first ten passages against the relevant ones",
    TOKEN_F1: "token F1 is that between the tokens of the top-ranked passage and of the gold answer (passages are "
    "longer than answers, so it is low by construction)",
}
_SETTING_MEANINGS = {
    "monolingual": "Monolingual: query and corpus in one language, mean over {}.",
    "cross_lingual": "Cross-lingual: mean over {} of different languages.",
    "multilingual": "Multilingual: the corpora of all languages in one pool, mean over {}.",
}
_CELL_WORDS = {
    "monolingual": ("language", "languages"),
    "cross_lingual": ("ordered pair", "ordered pairs"),
    "multilingual": ("query language", "query languages"),
}


class Comparison(NamedTuple):
    """One arm against its reference in one setting and metric; `p` is adjusted for all comparisons of the table."""

    arm: Arm
    reference: Arm
    setting: str
    metric: str
    test: PairedTest
    p: float | None

    @property
    def mark(self) -> str:
        """ "better" or "worse" than the reference; "" where the difference is not significant.

        "changed" stands for a significant difference where neither end is better.
        """
        if self.p is None or self.p >= LEVEL:
            return ""
        if not better(self.metric):
            return "changed"
        return "better" if (self.test.difference > 0) == (better(self.metric) == "higher") else "worse"


@dataclass(frozen=True)
class View:
    """One benchmark's scores with what the study wants shown of them: what all its tables and figures are made from.

    `parameters`: encoder -> number of its parameters, None where it is not known; in the study's order. `notes`: what
    a reader must know of the benchmark itself. `scratch`: encoders that start from random weights. `steps`: "encoder/
    training" -> optimiser steps of its trainings, where they all took as many.
    """

    summary: Summary
    benchmark: str
    headline: str = "map"
    metrics: Mapping[str, Sequence[str]] = field(default_factory=lambda: MAIN_METRICS)
    settings: Sequence[str] = SETTINGS
    reference: str = DEFAULT_REFERENCE
    data_mark: str = ""
    parameters: Mapping[str, int | None] = field(default_factory=dict)
    notes: Sequence[str] = ()
    scratch: Collection[str] = ()
    steps: Mapping[str, int] = field(default_factory=dict)

    @property
    def arms(self) -> list[Arm]:
        """The arms scored on this benchmark, in table order."""
        here = set(self.summary.macro[self.summary.macro["benchmark"] == self.benchmark]["arm"])
        return [arm for arm in self.summary.arms if arm in here]

    @property
    def scores(self) -> pd.DataFrame:
        """The benchmark's rows of scores."""
        return self.summary.scores[self.summary.scores["benchmark"] == self.benchmark]

    def macro(self) -> dict[tuple[Arm, str, str], list[float]]:
        """(arm, setting, metric) -> the macro averages of its seeds."""
        part = self.summary.macro[self.summary.macro["benchmark"] == self.benchmark]
        grouped = part.groupby(["arm", "setting", "metric"], sort=False)["value"]
        return {(arm, setting, metric): list(values) for (arm, setting, metric), values in grouped}

    def main_columns(self) -> list[tuple[str, str]]:
        """(setting, metric) of the main table: the headline metric first in every setting."""
        known = {(setting, metric) for _, setting, metric in self.macro()}
        wanted = [(s, m) for s in self.settings for m in dict.fromkeys((self.headline, *self.metrics.get(s, ())))]
        columns = [column for column in wanted if column in known]
        if not any(metric == self.headline for _, metric in columns):
            raise DataError(
                f"No score of the headline metric {self.headline} on benchmark {self.benchmark}.",
                found=", ".join(sorted({metric for _, metric in known})),
                remedy="name one of the metrics found as tables.headline in the config",
            )
        return columns


def compare_with_reference(view: View, groups: pd.DataFrame, columns: Sequence[tuple[str, str]]) -> list[Comparison]:
    """Tests every arm of a table against its reference in every column; Holm's correction over all of them."""
    of_benchmark = groups[groups["benchmark"] == view.benchmark]
    parts = {
        key: part.set_index("group")[["value", "cells"]]
        for key, part in of_benchmark.groupby(["arm", "setting", "metric"], sort=False)
    }
    found = []
    for arm in view.arms:
        reference = reference_arm(arm, view.arms, view.reference)
        for setting, metric in columns if reference is not None else []:
            mine, other = parts.get((arm, setting, metric)), parts.get((reference, setting, metric))
            if reference is not None and mine is not None and other is not None:
                found.append(Comparison(arm, reference, setting, metric, paired_test(other, mine), None))
    adjusted = holm([comparison.test.p for comparison in found])
    return [comparison._replace(p=p) for comparison, p in zip(found, adjusted, strict=True)]


def arm_columns(summary: Summary) -> list[Column]:
    """The columns that name an arm: its sampling and whatever else the study varies."""
    labels = {"num_pairs": "pairs", "num_translated": "translated", "languages": "trained on"}
    before = [text_column("encoder", "encoder")] if "encoder" in summary.varying else []
    after = [text_column(name, labels[name]) for name in summary.varying if name != "encoder"]
    return [*before, text_column("sampling", "sampling"), *after]


def arm_cells(summary: Summary, arm: Arm) -> list[Cell]:
    """The cells below `arm_columns`."""
    trained = arm.sampling != UNTRAINED
    names = [column.key.removeprefix("text.") for column in arm_columns(summary)]
    words = {
        "encoder": arm.encoder,
        "sampling": arm.sampling_label,
        "num_pairs": arm.num_pairs if trained else None,
        "num_translated": arm.num_translated or None,
        "languages": arm.languages if trained else None,
    }
    return [Cell(words[name]) for name in names]


def main_table(view: View, comparisons: Sequence[Comparison]) -> Table:
    """All arms against all settings: means over seeds, deviations, best values and significance marks."""
    columns, macro = view.main_columns(), view.macro()
    found = {(c.arm, c.setting, c.metric): c for c in comparisons}
    seeds = {arm: max(mean_and_spread(macro[key])[2] for key in macro if key[0] == arm) for arm in view.arms}
    rows = []
    for arm in view.arms:
        cells = [score_cell(macro.get((arm, *column), []), found.get((arm, *column))) for column in columns]
        rows.append([*arm_cells(view.summary, arm), Cell(None if arm.sampling == UNTRAINED else seeds[arm]), *cells])
    table = Table(
        name=f"main-{view.benchmark}",
        title=f"Retrieval scores on {view.benchmark}",
        caption=_main_caption(view, columns, seeds),
        columns=[*arm_columns(view.summary), Column("seeds", "seeds"), *map(_score_column, columns)],
        rows=rows,
        notes=[
            *view.notes,
            *significance_notes(view, comparisons),
            *_fewer_seeds(view, columns, macro, seeds),
            *missing_notes(view.summary, view.benchmark),
        ],
        data_mark=view.data_mark,
    )
    return mark_best(table)


def _score_column(column: tuple[str, str]) -> Column:
    setting, metric = column
    return Column(
        f"{setting}.{metric}",
        metric_label(metric),
        SETTING_LABELS[setting],
        digits=digits(metric),
        better=better(metric),
    )


def score_cell(values: Sequence[float], comparison: Comparison | None = None) -> Cell:
    """Mean and deviation of the seeds' values, with the mark of a comparison."""
    mean, spread, count = mean_and_spread(values)
    if comparison is None:
        return Cell(mean, spread, count)
    return Cell(mean, spread, count, comparison.p, comparison.mark)


def _main_caption(view: View, columns: Sequence[tuple[str, str]], seeds: Mapping[Arm, int]) -> str:
    told = [
        setting_words(view, setting, next(metric for at, metric in columns if at == setting))
        for setting in SETTINGS
        if any(setting == column[0] for column in columns)
    ]
    meant = [_MEANINGS[metric] for metric in dict.fromkeys(m for _, m in columns) if metric in _MEANINGS]
    meanings = f"Of the metrics, {'; '.join(meant)}." if meant else ""
    counts = sorted({n for arm, n in seeds.items() if arm.sampling != UNTRAINED})
    spread = (
        "Mean over seeds ± sample standard deviation; a row with one seed has no deviation."
        if max(counts, default=1) > 1
        else "One seed a row, so no deviation is shown."
    )
    floor = " The untrained row is the encoder before training." if any(a.as_it_comes for a in seeds) else ""
    return (
        f"{view.benchmark}: {' '.join(told)} {spread} Bold: best of the column; "
        f"arrows say which way is better.{floor} {meanings}{constants(view.summary)}"
    ).strip()


def setting_words(view: View, setting: str, metric: str) -> str:
    """What a setting is, and over how much of it a metric's averages are."""
    cells = averaged_cells(view.summary, view.benchmark, setting, metric)
    words = f"{len(cells)} {_CELL_WORDS[setting][len(cells) != 1]}"
    absent = view.summary.left_out.get(view.benchmark, ())
    return _SETTING_MEANINGS[setting].format(words + (f" ({', '.join(absent)} left out)" if absent else ""))


def constants(summary: Summary) -> str:
    """What all trained arms share, as one sentence."""
    trained = [arm for arm in summary.arms if arm.sampling != UNTRAINED]
    words = {
        "encoder": "encoder {}",
        "num_pairs": "{} training pairs",
        "num_translated": "{} machine-translated pairs a language",
        "languages": "languages {}",
    }
    values = {name: {getattr(arm, name) for arm in trained} - {""} for name in words}
    shared = [
        text.format(*values[name])
        for name, text in words.items()
        if name not in summary.varying and values[name] and (name, *values[name]) != ("num_translated", "all")
    ]
    return f" Trained rows: {', '.join(shared)}." if shared else ""


def significance_notes(view: View, comparisons: Sequence[Comparison]) -> list[str]:
    """What was tested, on how many groups, and which groups could not be paired."""
    tested = [c for c in comparisons if c.p is not None]
    if not tested:
        return [
            f"No significance is marked: no run of {view.reference} to compare with on the same pairs, translations "
            "and languages."
        ]
    same = {"num_pairs": "pairs", "num_translated": "translated pairs"}
    parts = [part for part in view.summary.varying if not view.reference.startswith(UNTRAINED) or part == "encoder"]
    shared = [same.get(part, part) for part in parts]
    reference = view.reference + (f" with the same {' and '.join(shared)}" if shared else "")
    sizes = sorted({c.test.groups for c in tested})
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    changed = (
        ", ◆ significantly different where neither end is better" if any(not better(c.metric) for c in tested) else ""
    )
    notes = [
        f"▲ significantly better, ▼ significantly worse than {reference}{changed} (p < {LEVEL:g}): two-sided "
        f"paired t-test over {size} query groups, with values averaged over languages and seeds within a group; Holm's "
        f"correction over the table's {len(tested)} comparisons. The test speaks about other queries, the deviation "
        "about other seeds."
    ]
    dropped = max(c.test.dropped for c in tested)
    if dropped:
        notes.append(f"Up to {dropped} groups stand in one of two compared runs only and were left out of the test.")
    return notes


def _fewer_seeds(view: View, columns: Sequence[tuple[str, str]], macro: Mapping, seeds: Mapping[Arm, int]) -> list[str]:
    short = []
    for arm in view.arms:
        counts = {column: mean_and_spread(macro.get((arm, *column), []))[2] for column in columns}
        short += [
            f"{view.summary.label(arm)}: {SETTING_LABELS[setting].lower()} {metric_label(metric)} is the mean of "
            f"{count} of {seeds[arm]} seeds."
            for (setting, metric), count in counts.items()
            if 0 < count < seeds[arm]
        ]
    return short


def averages_table(view: View) -> Table:
    """Every macro average of every arm: all metrics, not only those of the main table."""
    columns = [*arm_columns(view.summary), text_column("setting", "setting"), text_column("metric", "metric")]
    macro = view.macro()
    names = sorted({key[1:] for key in macro}, key=lambda name: (SETTINGS.index(name[0]), name[1]))
    rows = [
        [*arm_cells(view.summary, arm), Cell(setting), Cell(metric), score_cell(macro[arm, setting, metric])]
        for arm in view.arms
        for setting, metric in names
    ]
    return Table(
        name=f"averages-{view.benchmark}",
        title=f"All macro averages on {view.benchmark}",
        caption=f"Every metric in every setting, mean over seeds ± sample standard deviation.{constants(view.summary)}",
        columns=[*columns, Column("value", "value", digits=4)],
        rows=rows,
        data_mark=view.data_mark,
    )
