"""What each arm cost and what it brought: its training and what search needs, beside its gains in every setting.

inputs: models/<run>/training.json; a `View` of one benchmark's scores and their per-group values
outputs: a `Table`: cost
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from polybatch.config.grid import NONE, WHOLE, Run
from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.retrieval.metrics import RANK_DISTANCE
from polybatch.tables.forms.table import Cell, Column, Table, mark_best, text_column
from polybatch.tables.making import run_of
from polybatch.tables.scores import (
    Comparison,
    View,
    arm_cells,
    arm_columns,
    compare_with_reference,
    constants,
    score_cell,
    significance_notes,
)
from polybatch.tables.summary import (
    SETTING_LABELS,
    UNTRAINED,
    Arm,
    arm_of,
    better,
    digits,
    mean_and_spread,
    metric_label,
)

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("seconds", "steps", "device", "world_size")
Key = tuple[str, str]


class Needs(NamedTuple):
    """What an arm needs beyond its training and its model; both are words of the table.

    Attributes:
        encoding: Texts that are encoded once more to make it.
        search: What search needs beside the model.
    """

    encoding: str = "none"
    search: str = "nothing"


_ONCE_MORE = "training text of each language, once"
# A projection of the embeddings -> what it needs. LIR is here one linear map for all languages, kept inside of the
# model (that of Yang et al., arXiv 2109.04727, has a map for each language: see posthoc/projections.py); centring takes
# a mean of its own from every language's texts; SHIFT moves passages alone (arXiv 2606.18801), so that no query's
# language is asked.
_NEEDS = {
    "lir": Needs(_ONCE_MORE, "one fixed matrix inside of the model"),
    "centring": Needs(_ONCE_MORE, "the language of every text"),
    "shift": Needs(_ONCE_MORE, "the language of every passage, while indexing"),
}


def needs_of(arm: Arm) -> Needs:
    """What an arm needs for making it and at search time: nothing, unless its embeddings are projected.

    A projection before the training stays part of the model.
    """
    found = [_NEEDS[kind] for kind in (_kind(arm.begin), _kind(arm.projection)) if kind in _NEEDS]
    if not found:
        return Needs()
    return Needs(_ONCE_MORE, "; ".join(dict.fromkeys(needs.search for needs in found)))


def _kind(projection: str) -> str:
    """`lir` of `lir-r8`."""
    return projection.partition("-")[0]


def read_trainings(paths: Iterable[Path | str]) -> dict[Arm, list[dict[str, Any]]]:
    """Arm -> the training records of its seeds, in the order of the paths.

    Raises:
        DataError: A record lacks a key, or its folder is no run's.
    """
    found: dict[Arm, list[dict[str, Any]]] = {}
    for path in map(Path, paths):
        record = read_json(path)
        missing = [key for key in _KEYS if key not in record]
        if missing:
            raise DataError("A training record lacks a key.", where=path, expected=", ".join(missing))
        try:
            run = Run.parse(run_of(path))
        except ValueError as error:
            raise DataError("A training record does not lie in the folder of a run.", where=path) from error
        found.setdefault(arm_of(run.grid), []).append(record)
    return found


def cost_table(view: View, groups: pd.DataFrame, trainings: Mapping[Arm, Sequence[Mapping[str, Any]]]) -> Table:
    """One row an arm: training time and steps, what it needs beyond, and its differences to the reference.

    Args:
        view: The benchmark's scores.
        groups: As of `significance.arm_groups`.
        trainings: As of `read_trainings`; what is lacking is shown as missing.
    """
    keys = [key for key in _keys(view) if any((arm, *key) in view.macro() for arm in view.arms)]
    comparisons = compare_with_reference(view, groups, keys)
    tested = {(c.arm, c.setting, c.metric): c for c in comparisons}
    references = {c.reference for c in comparisons}
    means = {key: mean_and_spread(values)[0] for key, values in view.macro().items()}
    rows = [
        [
            *arm_cells(view.summary, arm),
            *_training_cells(arm, trainings.get(_trained(arm), ())),
            *map(Cell, needs_of(arm)),
            *(_gain(arm, key, means, tested.get((arm, *key)), arm in references) for key in keys),
        ]
        for arm in view.arms
    ]
    table = Table(
        name=f"cost-{view.benchmark}",
        title=f"What each arm cost and what it brought on {view.benchmark}",
        caption="Training: minutes by its own clock, validation and checkpoints included, loading left out, mean over "
        "seeds ± sample standard deviation; the processors it ran on; optimiser steps. Once more: texts encoded beyond "
        "the training and the benchmark, which costs every arm of an encoder alike. At search: what search needs "
        f"beside the model. Brought: difference to {view.reference} of the macro averages, whose own row is ±0; bold: "
        f"best of the column.{constants(view.summary)}",
        columns=[*arm_columns(view.summary), *_cost_columns(), *map(_gain_column, keys)],
        rows=rows,
        notes=[*view.notes, *significance_notes(view, comparisons), *_unknown(view, trainings)],
        data_mark=view.data_mark,
        volatile=True,
    )
    return mark_best(table)


def _keys(view: View) -> list[Key]:
    """(setting, metric) of what an arm brings."""
    settings = [setting for setting in SETTING_LABELS if setting in view.settings]
    wanted = [(setting, view.headline) for setting in settings]
    wanted += [("multilingual", RANK_DISTANCE)] if "multilingual" in settings else []
    return list(dict.fromkeys(wanted))


def _cost_columns() -> list[Column]:
    return [
        Column("minutes", "minutes", "Training", digits=1),
        Column("steps", "steps", "Training"),
        text_column("device", "on", "Training"),
        text_column("encoding", "once more", "Encoding"),
        text_column("search", "needs", "At search"),
    ]


def _gain_column(key: Key) -> Column:
    setting, metric = key
    return Column(
        f"{setting}.{metric}.difference",
        metric_label(metric),
        SETTING_LABELS[setting],
        digits=digits(metric),
        better=better(metric),
        signed=True,
    )


def _training_cells(arm: Arm, records: Sequence[Mapping[str, Any]]) -> list[Cell]:
    if arm.sampling == UNTRAINED:
        return [Cell(0.0), Cell(0), Cell("–")]
    minutes = score_cell([record["seconds"] / 60 for record in records])
    steps = mean_and_spread([record["steps"] for record in records])[0]
    on = "; ".join(dict.fromkeys(map(_device, records)))
    whole = int(steps) if steps is not None and steps == int(steps) else steps
    return [minutes, Cell(whole), Cell(on or None)]


def _trained(arm: Arm) -> Arm:
    """The arm whose training this one is made of: mixtures of weights and projections need none of their own."""
    return arm._replace(share=WHOLE, projection=NONE)


def _device(record: Mapping[str, Any]) -> str:
    """The processors of a training in words: "2 CPU cores", "4 × NVIDIA H100"."""
    count, threads = record["world_size"], record.get("threads")
    if record["device"] != "cpu":
        return f"{count} × {record['device']}" if count > 1 else str(record["device"])
    if not threads:
        return "CPU"
    cores = f"{count} × {threads}" if count > 1 else f"{threads}"
    return f"{cores} CPU core{'s' if count * threads > 1 else ''}"


def _gain(
    arm: Arm, key: Key, means: Mapping[tuple, float | None], comparison: Comparison | None, is_reference: bool
) -> Cell:
    if comparison is None:
        return Cell(0.0 if is_reference and means.get((arm, *key)) is not None else None)
    mean, other = means.get((arm, *key)), means.get((comparison.reference, *key))
    if mean is None or other is None or not math.isfinite(mean - other):
        return Cell(None)
    return Cell(mean - other, p=comparison.p, mark=comparison.mark)


def _unknown(view: View, trainings: Mapping[Arm, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Which arms lack a record, and whether the cores of some training were not written down."""
    trained = [arm for arm in view.arms if arm.sampling != UNTRAINED]
    without = [view.summary.label(arm) for arm in trained if not trainings.get(_trained(arm))]
    notes = [f"No record of the training of {', '.join(without)}."] if without else []
    records = [record for arm in trained for record in trainings.get(_trained(arm), ())]
    if any(record["device"] == "cpu" and not record.get("threads") for record in records):
        notes.append("The number of CPU cores was not written down by the version of Polybatch that trained.")
    return notes
