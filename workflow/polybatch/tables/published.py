"""Published scores beside ours.

inputs: csv files with the columns of `COLUMNS`, and `note` where there is something to say; a `View` of our scores
outputs: a `Table` for one benchmark: our mean over seeds, the published value, the difference

A published `hybrid` is our hybrid-a0.5, the setting that arXiv 2408.10536 reports.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from polybatch.core.contracts import SAMPLINGS, SETTINGS
from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import is_metric
from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.scores import View, arm_cells, arm_columns, constants, score_cell, setting_words
from polybatch.tables.summary import SETTING_LABELS, UNTRAINED, Arm, digits, mean_and_spread, metric_label

COLUMNS = ("source", "encoder", "sampling", "benchmark", "setting", "metric", "value")
HYBRID = "hybrid-a0.5"
_ROOT = Path(__file__).resolve().parents[3]


class Published(NamedTuple):
    """One published value; `sampling` as our labels spell it."""

    source: str
    encoder: str
    sampling: str
    benchmark: str
    setting: str
    metric: str
    value: float
    note: str


def read_published(paths: Iterable[Path | str]) -> list[Published]:
    """The rows of csv files.

    Args:
        paths: Relative ones are looked for in the working folder, then in the repository.

    Raises:
        DataError: A file is missing or holds faults; all faults of a file are in one message.
    """
    rows: list[Published] = []
    for path in map(Path, paths):
        found = path if path.exists() or path.is_absolute() else _ROOT / path
        if not found.is_file():
            raise DataError(
                "A file of published scores is missing.",
                where=path,
                expected="a csv file with the columns " + ", ".join(COLUMNS),
                remedy="correct tables.published in the config",
            )
        rows += _read(found)
    return rows


def _read(path: Path) -> list[Published]:
    rows, faults, seen = [], [], set()
    with _told(path), open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        faults += [f"no column {name}" for name in missing]
        for line, row in enumerate(reader if not missing else (), start=2):
            wrong = [f"line {line}: {fault}" for fault in _faults(row)]
            faults += wrong
            if not wrong:
                sampling = HYBRID if row["sampling"] == "hybrid" else row["sampling"]
                words = {name: row[name] for name in COLUMNS if name not in ("value", "sampling")}
                published = Published(**words, sampling=sampling, value=float(row["value"]), note=row.get("note") or "")
                key = published._replace(value=0.0, note="")
                faults += [f"line {line}: this value stands twice"] if key in seen else []
                seen.add(key)
                rows.append(published)
    if faults:
        raise DataError(
            f"A file of published scores has {len(faults)} fault(s).",
            where=path,
            expected="the columns " + ", ".join(COLUMNS),
            found="; ".join(faults),
        )
    return rows


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tells what is no csv text at all."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("A file of published scores is no csv in UTF-8.", where=path, found=str(error)) from error


def _faults(row: Mapping[str, str]) -> Iterator[str]:
    known = {"setting": SETTINGS.__contains__, "metric": is_metric, "sampling": _is_sampling, "value": _is_number}
    for name in COLUMNS:
        text = row[name] or ""
        if not text or not known.get(name, bool)(text):
            yield f"{name} cannot be {text!r}"


def _is_sampling(text: str) -> bool:
    """Whether our labels begin so; what they add for other cures (tables.cures) is read as it stands."""
    name = text.rpartition(": ")[2].partition(", ")[0]
    return name in (*SAMPLINGS, UNTRAINED) or name.startswith("hybrid-a")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def published_benchmarks(paths: Iterable[Path | str]) -> set[str]:
    """The benchmarks for which there are published scores: each of them gets a table."""
    return {row.benchmark for row in read_published(paths)}


def published_table(view: View, published: Sequence[Published]) -> Table:
    """One row an arm of ours and a source that published it: for each score ours, the published one, the difference.

    Arms match by their encoder's name and their sampling's label. Where the study varies the number of pairs, every
    such arm is set against the same published value.
    """
    mine = [row for row in published if row.benchmark == view.benchmark]
    pairs = [
        (arm, source) for arm in view.arms for source in dict.fromkeys(row.source for row in mine if _matches(arm, row))
    ]
    order = {name: place for place, name in enumerate(SETTINGS)}
    matched = [row for row in mine if any(_matches(arm, row) for arm in view.arms)]
    scores = sorted(dict.fromkeys((row.setting, row.metric) for row in matched), key=lambda s: order[s[0]])
    macro = view.macro()
    values = {(row.source, row.encoder, row.sampling, row.setting, row.metric): row.value for row in matched}
    rows = [
        [
            *arm_cells(view.summary, arm),
            Cell(source),
            *(
                cell
                for score in scores
                for cell in _cells(
                    macro.get((arm, *score), []), values.get((source, arm.encoder, arm.sampling_label, *score))
                )
            ),
        ]
        for arm, source in pairs
    ]
    return Table(
        name=f"published-{view.benchmark}",
        title=f"Published scores and ours on {view.benchmark}",
        caption=f"{' '.join(setting_words(view, *score) for score in _one_a_setting(scores))} Ours: mean over seeds ± "
        f"sample standard deviation. Difference: ours minus published; it is no test.{constants(view.summary)}".strip(),
        columns=[*arm_columns(view.summary), text_column("source", "source"), *_columns(scores)],
        rows=rows,
        notes=_notes(view, mine, matched),
        data_mark=view.data_mark,
    )


def _matches(arm: Arm, row: Published) -> bool:
    return (arm.encoder, arm.sampling_label) == (row.encoder, row.sampling)


def _one_a_setting(scores: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return list({setting: (setting, metric) for setting, metric in reversed(scores)}.values())[::-1]


def _columns(scores: Sequence[tuple[str, str]]) -> list[Column]:
    return [
        Column(
            f"{setting}.{metric}.{kind}",
            kind,
            f"{SETTING_LABELS[setting]} {metric_label(metric)}",
            digits=digits(metric),
        )
        for setting, metric in scores
        for kind in ("ours", "published", "difference")
    ]


def _cells(ours: Sequence[float], value: float | None) -> list[Cell]:
    mean, _, _ = mean_and_spread(ours)
    difference = None if mean is None or value is None else mean - value
    return [score_cell(ours), Cell(value), Cell(difference)]


def _notes(view: View, mine: Sequence[Published], matched: Sequence[Published]) -> list[str]:
    notes = [
        f"{source}: values as printed there; its training data, number of seeds and software are its own, and "
        "manifest.json holds ours."
        for source in dict.fromkeys(row.source for row in matched)
    ]
    notes += [f"{source}: {note}." for source, note in dict.fromkeys((r.source, r.note) for r in matched if r.note)]
    others = dict.fromkeys(f"{row.encoder} {row.sampling}" for row in mine if row not in matched)
    if others:
        notes.append(f"Published too, but not run here: {', '.join(others)}.")
    if view.data_mark:
        notes.append(f"Ours are marked {view.data_mark!r}: the differences mean nothing.")
    return notes
