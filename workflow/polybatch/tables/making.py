"""The tables about how the models were made: translation, refusals, batches drawn, time.

inputs: translated/<lang>.json, models/<run>/composition.json, Snakemake's benchmark files
outputs: `Table`s
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.tables.forms.table import Cell, Column, Table, text_column

_ACCEPTED = "accepted"


def read_translations(paths: Iterable[Path | str]) -> list[dict[str, Any]]:
    """The translation statistics, one a language, checked to add up.

    Raises:
        DataError: A file lacks a key, or its reasons do not sum up to its pairs.
    """
    statistics = []
    for path in paths:
        value = read_json(path)
        missing = [key for key in ("lang", "pairs", "accepted", "reasons", "sources") if key not in value]
        if missing:
            raise DataError("Translation statistics lack a key.", where=path, expected=", ".join(missing))
        for name, part in (("all sources", value), *value["sources"].items()):
            if sum(part["reasons"].values()) != part["pairs"] or part["reasons"].get(_ACCEPTED, 0) != part["accepted"]:
                raise DataError(
                    "Translation statistics do not add up.",
                    where=f"{path}, {name}",
                    expected=f"{part['pairs']} pairs, {part['accepted']} of them accepted",
                    found=str(part["reasons"]),
                )
        statistics.append(value)
    return statistics


def translation_table(statistics: Sequence[Mapping[str, Any]], data_mark: str = "") -> Table:
    """Languages against translation quality and the share of pairs kept; COMET where it was measured."""
    comet = [part for part in ("query", "passage") if any(part in one.get("comet", {}) for one in statistics)]
    columns = [
        text_column("lang", "language"),
        text_column("forward", "translator"),
        text_column("backward", "back-translator"),
        Column("pairs", "pairs", "Pairs"),
        Column("accepted", "accepted", "Pairs"),
        Column("keep_rate", "kept", "Pairs", digits=1, percent=True),
        Column("forward.passage.count", "references", "Translation"),
        *_quality_columns("forward", "Translation"),
        *_quality_columns("round_trip", "Round trip"),
        *(
            Column(f"distinct_{part}", part, "Distinct outputs", digits=1, percent=True)
            for part in ("query", "passage")
        ),
        *(Column(f"comet.{part}", f"COMET {part[0]}", "Translation", digits=3) for part in comet),
    ]
    rows = []
    for one in statistics:
        pairs, accepted = one["pairs"], one["accepted"]
        rows.append(
            [
                Cell(one["lang"]),
                *(Cell(_translator(one.get("translators", {}).get(way))) for way in ("forward", "backward")),
                Cell(pairs),
                Cell(accepted),
                Cell(accepted / pairs if pairs else None),
                Cell(one.get("forward", {}).get("passage", {}).get("count")),
                *_quality_cells(one.get("forward", {})),
                *_quality_cells(one.get("round_trip", {})),
                *(Cell(one.get("distinct_outputs", {}).get(part)) for part in ("query", "passage")),
                *(Cell(one.get("comet", {}).get(part, {}).get("mean")) for part in comet),
            ]
        )
    return Table(
        name="translation",
        title="Machine translation of the training pairs",
        caption="English pairs translated into each language and back. Translation: the output against human "
        "references set aside from all training; round trip: the English that comes back against the English that "
        "went in, which is what the filter sees. BLEU and chrF from 0 to 100, higher is better, q for queries and p "
        "for passages. Distinct outputs: share of different texts among the outputs; a low share tells of a "
        "translator that repeats itself.",
        columns=columns,
        rows=rows,
        notes=[*_no_references(statistics), *_without_references(statistics), *_licences(statistics)],
        data_mark=data_mark,
    )


def _quality_columns(prefix: str, group: str) -> list[Column]:
    return [
        Column(f"{prefix}.{part}.{metric}", f"{label} {part[0]}", group, digits=1)
        for part in ("query", "passage")
        for metric, label in (("bleu", "BLEU"), ("chrf", "chrF"))
    ]


def _quality_cells(value: Mapping[str, Any]) -> list[Cell]:
    return [Cell(value.get(part, {}).get(metric)) for part in ("query", "passage") for metric in ("bleu", "chrf")]


def _translator(card: Any) -> str | None:
    if isinstance(card, Mapping):
        name = card.get("repo_id") or card.get("model") or card.get("name") or card.get("architecture")
        return str(name) if name else None
    return str(card) if card else None


def _no_references(statistics: Sequence[Mapping[str, Any]]) -> list[str]:
    without = [one["lang"] for one in statistics if not one.get("forward")]
    return [f"No human references are set aside for {', '.join(without)}."] if without else []


def _without_references(statistics: Sequence[Mapping[str, Any]]) -> list[str]:
    """COMET with and without references are two measures, and no one may take them for one."""
    langs = [one["lang"] for one in statistics if any(not c["references"] for c in one.get("comet", {}).values())]
    return [f"COMET of {', '.join(langs)} is by a model that judges without references."] if langs else []


def _licences(statistics: Sequence[Mapping[str, Any]]) -> list[str]:
    cards = [card for one in statistics for card in one.get("translators", {}).values() if isinstance(card, Mapping)]
    bound = {str(_translator(card)): card.get("license") for card in cards if card.get("non_commercial")}
    return [f"{name} is licensed {licence}: not for commercial use." for name, licence in sorted(bound.items())]


def refusal_table(statistics: Sequence[Mapping[str, Any]], data_mark: str = "") -> Table:
    """Why pairs were refused: a row a language and source, a column a reason."""
    reasons: Counter[str] = Counter()
    for one in statistics:
        reasons.update({reason: count for reason, count in one["reasons"].items() if reason != _ACCEPTED})
    names = [reason for reason, _ in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    rows = [
        [
            Cell(one["lang"]),
            Cell(source),
            Cell(part["pairs"]),
            Cell(part["accepted"]),
            Cell(part["accepted"] / part["pairs"] if part["pairs"] else None),
            *(Cell(part["reasons"].get(reason, 0)) for reason in names),
        ]
        for one in statistics
        for source, part in sorted(one["sources"].items())
    ]
    return Table(
        name="refusals",
        title="Why translated pairs were refused",
        caption="Translated pairs by language and source; a refused pair counts once, under the first rule it fails.",
        columns=[
            text_column("lang", "language"),
            text_column("source", "source"),
            Column("pairs", "pairs"),
            Column(_ACCEPTED, "accepted"),
            Column("keep_rate", "kept", digits=1, percent=True),
            *(Column(f"reason.{reason}", reason.replace("_", " "), "Refused because") for reason in names),
        ],
        rows=rows,
        data_mark=data_mark,
    )


def read_compositions(paths: Iterable[Path | str]) -> list[tuple[str, dict[str, Any]]]:
    """(run, what its sampler drew); the run is the file's folder below `models/`."""
    found = []
    for path in map(Path, paths):
        value = read_json(path)
        missing = [key for key in ("steps", "batches", "directions") if key not in value]
        if missing:
            raise DataError("A composition lacks a key.", where=path, expected=", ".join(missing))
        found.append((run_of(path), value))
    return found


def run_of(path: Path) -> str:
    """The run whose model a file lies with: its folder below `models/`."""
    folders = path.parent.parts
    start = len(folders) - folders[::-1].index("models") if "models" in folders else max(0, len(folders) - 5)
    return "/".join(folders[start:])


def steps_of(paths: Iterable[Path | str]) -> dict[str, int]:
    """ "encoder/training", as run names spell it -> the optimiser steps of its trainings.

    Those that took different numbers are left out.
    """
    found: dict[str, set[int]] = {}
    for run, composition in read_compositions(paths):
        found.setdefault("/".join(run.split("/")[:2]), set()).add(composition["steps"])
    return {name: steps.pop() for name, steps in found.items() if len(steps) == 1}


def composition_table(runs: Sequence[tuple[str, Mapping[str, Any]]], data_mark: str = "") -> Table:
    """What each training drew: monolingual and cross-lingual batches, and languages of queries and passages."""
    langs = sorted({lang for _, one in runs for direction in one["directions"] for lang in direction.split("-")})
    langs = [*(["en"] if "en" in langs else []), *(lang for lang in langs if lang != "en")]
    sources = sorted({name for _, one in runs for name in one.get("sources", {})})
    sources = sources if len(sources) > 1 else []  # of a single source every share is 1
    rows = []
    for run, one in runs:
        monolingual = sum(count for kind, count in one["batches"].items() if kind in ("en-en", "x-x-mono"))
        cross = one["batches"].get("x-y", 0)
        drawn = sum(one["directions"].values())
        same = sum(count for direction, count in one["directions"].items() if len(set(direction.split("-"))) == 1)
        shares = [_language_shares(one["directions"], place, drawn) for place in (0, 1)]
        rows.append(
            [
                Cell(run),
                Cell(one["steps"]),
                Cell(one.get("distinct_pairs")),
                Cell(_share(monolingual, one["steps"])),
                Cell(_share(one["steps"] - monolingual - cross, one["steps"])),
                Cell(_share(cross, one["steps"])),
                Cell(_share(same, drawn)),
                *(Cell(share.get(lang, 0.0)) for share in shares for lang in langs),
                *(Cell(_source_share(one, name)) for name in sources),
            ]
        )
    return Table(
        name="batches",
        title="What the batch samplers drew",
        caption="Counted from the batches of each training up to its last step, not from the configuration. "
        "Monolingual: whole batches in one language; mixed: rows of several languages, each row in one; "
        "cross-lingual: every row pairs two languages. Rows in one language: pairs whose query and passage share "
        "their language." + (" Sources: shares of the rows really drawn." if sources else ""),
        columns=[
            text_column("run", "run"),
            Column("steps", "batches"),
            Column("distinct_pairs", "distinct pairs"),
            Column("monolingual_batches", "monolingual", "Batches", digits=1, percent=True),
            Column("mixed_batches", "mixed", "Batches", digits=1, percent=True),
            Column("cross_lingual_batches", "cross-lingual", "Batches", digits=1, percent=True),
            Column("same_language_rows", "in one language", "Rows", digits=1, percent=True),
            *(
                Column(f"{part}.{lang}", lang, f"{part.capitalize()} languages", digits=1, percent=True)
                for part in ("query", "passage")
                for lang in langs
            ),
            *(Column(f"source.{name}", name, "Sources", digits=1, percent=True) for name in sources),
        ],
        rows=rows,
        data_mark=data_mark,
    )


def _source_share(composition: Mapping[str, Any], name: str) -> float | None:
    """The share of a source among the rows drawn; None where the composition does not tell of sources."""
    sources = composition.get("sources")
    if not sources:
        return None
    return _share(sources.get(name, {}).get("rows", 0), sum(one["rows"] for one in sources.values()))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _language_shares(directions: Mapping[str, int], place: int, drawn: int) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for direction, rows in directions.items():
        counts[direction.split("-")[place]] += rows
    return {lang: rows / drawn for lang, rows in counts.items()} if drawn else {}


def read_timings(folder: Path | str | None) -> dict[str, list[dict[str, float]]]:
    """stage -> one record a job, from the benchmark files below `folder/<stage>/`.

    A record holds `seconds`, and `peak_mb` and `cpu_seconds` where Snakemake could measure them (it writes NA for
    jobs that end before its first look). A job that ran again since its timing has another name counts once.
    """
    stages: dict[str, list[dict[str, float]]] = {}
    root = Path(folder) if folder else None
    for path in sorted(root.rglob("*.tsv")) if root and root.is_dir() else []:
        relative = path.relative_to(root) if root else path
        if any((root / later).is_file() for later in _later_names(relative) if root):
            continue
        stage = relative.parts[0] if len(relative.parts) > 1 else relative.stem
        with open(path, encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                stages.setdefault(stage, []).append(_timing(row, path))
    return stages


def _later_names(timing: Path) -> list[str]:
    """What the timing of a source or of a benchmark is called now, if this is one of an earlier version of Polybatch.

    `collect/mmarco.tsv` is `collect/sources/mmarco.tsv`. A benchmark's job was called `<benchmark>-<lang>` or, where
    there is one job, `<benchmark>`, which may have a hyphen of its own.
    """
    stage, name = timing.parent.as_posix(), timing.stem
    if stage == "collect" and name != "en":
        return [f"collect/sources/{name}.tsv"]
    if stage == "benchmark":
        benchmark, _, part = name.rpartition("-")
        return [f"benchmark/{name}/whole.tsv", *([f"benchmark/{benchmark}/{part}.tsv"] if benchmark else [])]
    return []


def _timing(row: Mapping[str, str], path: Path) -> dict[str, float]:
    names = {"seconds": "s", "peak_mb": "max_rss", "cpu_seconds": "cpu_time"}
    record = {}
    for name, column in names.items():
        text = row.get(column) or "NA"
        if text not in ("NA", "-"):
            try:
                record[name] = float(text)
            except ValueError as error:
                raise DataError("A benchmark file holds no number where one is due.", where=path, found=text) from error
    if "seconds" not in record:
        raise DataError("A benchmark file lacks its seconds.", where=path, remedy="delete it and run that job again")
    return record


def timing_table(stages: Mapping[str, Sequence[Mapping[str, float]]], data_mark: str = "") -> Table:
    """Wall time and memory a stage, the longest stage first."""
    order = sorted(stages, key=lambda stage: -sum(job["seconds"] for job in stages[stage]))
    rows = [[Cell(stage), Cell(len(stages[stage])), *_timing_cells(stages[stage])] for stage in order]
    every = [job for jobs in stages.values() for job in jobs]
    if rows:
        rows.append([Cell("all stages"), Cell(len(every)), *_timing_cells(every)])
    unmeasured = sum("peak_mb" not in job for job in every)
    notes = [] if rows else ["No timings were recorded: the stages ran outside Snakemake."]
    if unmeasured:
        notes.append(f"{unmeasured} of {len(every)} jobs ended before Snakemake could measure their memory.")
    return Table(
        name="timings",
        title="Wall time and memory by stage",
        caption="Last run of every job of this collection, as Snakemake measured it. Jobs run side by side, so the "
        "total is longer than the time that passed. Memory is the largest resident set of a single job.",
        columns=[
            text_column("stage", "stage"),
            Column("jobs", "jobs"),
            Column("seconds", "total", "Wall seconds", digits=1),
            Column("longest_seconds", "longest job", "Wall seconds", digits=1),
            Column("cpu_seconds", "CPU seconds", digits=1),
            Column("peak_mb", "peak MB", digits=0),
        ],
        rows=rows,
        notes=notes,
        data_mark=data_mark,
        volatile=True,
    )


def _timing_cells(jobs: Sequence[Mapping[str, float]]) -> list[Cell]:
    seconds = [job["seconds"] for job in jobs]
    cpu = [job["cpu_seconds"] for job in jobs if "cpu_seconds" in job]
    peaks = [job["peak_mb"] for job in jobs if "peak_mb" in job]
    return [
        Cell(math.fsum(seconds)),
        Cell(max(seconds)),
        Cell(math.fsum(cpu) if cpu else None),
        Cell(max(peaks) if peaks else None),
    ]
