"""The tables about the training text: where it is from, what was taken out of it, what encoders had seen before.

inputs: collected/en.json (polybatch.collect.english), supplied/<lang>.json (polybatch.collect.supplied),
    decontamination/pairs.json (polybatch.decontaminate.contaminated), decontamination/exposure.json
    (polybatch.decontaminate.exposure)
outputs: `Table`s named data, supplied, contamination, contamination_examples, exposure
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.decontaminate.overlap import OVERLAPS
from polybatch.decontaminate.statuses import STATUSES
from polybatch.tables.forms.table import Cell, Column, Table, text_column

_ALL = "all"
_COUNTED = ("source", "benchmark", "lang", "side", "overlap")
_EXAMPLE = (*_COUNTED, "pair_id", "text_id", "share", "training_text", "evaluation_text")
_EXPOSED = ("encoder", "model", "benchmark", "task", "status", "evidence")


def read_cleaning(path: Path | str) -> dict[str, Any]:
    """collected/en.json, checked to add up.

    Raises:
        DataError: A key is missing, or what a source's steps removed is not what it lost.
    """
    value = _read(path, "Counts of the collected pairs", ("sources", "splits"))
    for name, source in value["sources"].items():
        where = f"{path}, {name}"
        _require(source, "Counts of the collected pairs", ("license", "examples", "collected", "steps", "kept"), where)
        removed = sum(step["removed"] for step in source["steps"])
        if source["collected"] - removed != source["kept"]:
            raise DataError(
                "Counts of the collected pairs do not add up.",
                where=where,
                expected=f"{source['collected']} collected, {removed} removed: {source['collected'] - removed} kept",
                found=f"{source['kept']} kept",
            )
    return value


def _read(path: Path | str, what: str, keys: Iterable[str]) -> dict[str, Any]:
    value = read_json(path)
    _require(value, what, keys, str(path))
    return value


def _require(value: Any, what: str, keys: Iterable[str], where: str) -> None:
    missing = [key for key in keys if not isinstance(value, Mapping) or key not in value]
    if missing:
        raise DataError(
            f"{what} lack a key.",
            where=where,
            expected=", ".join(missing),
            remedy="delete the file and run the stage that makes it again",
        )


def cleaning_table(counts: Mapping[str, Any], data_mark: str = "") -> Table:
    """Sources against the pairs that each step removed, in the order of the steps.

    A step that a source did not go through is a missing value, not 0.
    """
    sources = counts["sources"]
    steps = list(dict.fromkeys(step["step"] for source in sources.values() for step in source["steps"]))
    rows = [[Cell(name), Cell(of["license"]), *_cleaning_cells(of, steps)] for name, of in sources.items()]
    if len(sources) > 1:
        rows.append([Cell("all sources"), Cell(None), *_cleaning_cells(_total(sources.values()), steps)])
    return Table(
        name="data",
        title="Sources of the training text and their cleaning",
        caption="English pairs of each source: those read, those that each step removed, in the order of the steps, "
        "and those kept, held-out pairs among them. Examples: the size that the source counts for in the mixture. "
        "A dash: the source does not go through the step.",
        columns=[
            text_column("source", "source"),
            text_column("license", "licence"),
            Column("examples", "examples"),
            Column("collected", "read"),
            *(Column(f"removed.{step}", step, "Removed") for step in steps),
            Column("kept", "kept"),
            Column("keep_rate", "kept, of all", digits=1, percent=True),
        ],
        rows=rows,
        notes=[f"Pairs of the splits: {_listed(counts['splits'])}.", *_notes_on_texts(sources)],
        data_mark=data_mark,
    )


def _notes_on_texts(sources: Mapping[str, Any]) -> list[str]:
    """What was taken out of texts, and of lists of hard negatives, without a pair's going."""
    marked = {name: of["markup"]["rows"] for name, of in sources.items() if of.get("markup")}
    negatives = {name: of.get("hard_negatives", {"given": 0, "kept": 0}) for name, of in sources.items()}
    gone = {name: of["given"] - of["kept"] for name, of in negatives.items() if of["given"]}
    notes = [f"Rows with markup that was taken out: {_listed(marked)}."] if marked else []
    if gone:
        notes.append(f"Hard negatives left out, because empty, repeated or the passage itself: {_listed(gone)}.")
    return notes


def _cleaning_cells(source: Mapping[str, Any], steps: Sequence[str]) -> list[Cell]:
    removed: Counter[str] = Counter()
    for step in source["steps"]:  # a step may come twice: within a source, and across them
        removed[step["step"]] += step["removed"]
    read, kept = source["collected"], source["kept"]
    cells = [Cell(removed[step]) if step in removed else Cell(None) for step in steps]
    return [Cell(source["examples"]), Cell(read), *cells, Cell(kept), Cell(kept / read if read else None)]


def _total(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    every = list(sources)
    sums = {key: sum(source[key] for source in every) for key in ("examples", "collected", "kept")}
    return {**sums, "steps": [step for source in every for step in source["steps"]]}


def read_supplied(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """supplied/<lang>.json of some languages, checked to add up.

    Raises:
        DataError: A key is missing, or what a source's steps removed is not what it lost.
    """
    what = "Counts of the supplied translations"
    values = [_read(path, what, ("lang", "sources")) for path in paths]
    for path, value in zip(paths, values, strict=True):
        for name, source in value["sources"].items():
            _require(source, what, ("read", "steps", "kept"), f"{path}, {name}")
            removed = sum(step["removed"] for step in source["steps"])
            if source["read"] - removed != source["kept"]:
                raise DataError(
                    f"{what} do not add up.",
                    where=f"{path}, {name}",
                    expected=f"{source['read']} read, {removed} removed: {source['read'] - removed} kept",
                    found=f"{source['kept']} kept",
                )
    return values


def supplied_table(counts: Sequence[Mapping[str, Any]], data_mark: str = "") -> Table:
    """Sources and languages against the translations that each step removed."""
    found = [(name, of["lang"], source) for of in counts for name, source in of["sources"].items()]
    steps = list(dict.fromkeys(step["step"] for *_, source in found for step in source["steps"]))
    rows = []
    for name, lang, source in found:
        removed = {step["step"]: step["removed"] for step in source["steps"]}
        cells = [Cell(removed.get(step, 0)) for step in steps]
        read, kept = source["read"], source["kept"]
        rows.append([Cell(name), Cell(lang), Cell(read), *cells, Cell(kept), Cell(kept / read if read else None)])
    return Table(
        name="supplied",
        title="Translations that come with the sources and their cleaning",
        caption="Translated pairs of each source in each language that is trained on: those read, those that each step "
        "removed, and those kept, held-out pairs among them. English pair left out: its English text was cleaned out "
        "or not taken. Held-out text: a training pair that repeats a text of a held-out one.",
        columns=[
            text_column("source", "source"),
            text_column("lang", "language"),
            Column("read", "read"),
            *(Column(f"removed.{step}", step, "Removed") for step in steps),
            Column("kept", "kept"),
            Column("keep_rate", "kept, of all", digits=1, percent=True),
        ],
        rows=rows,
        notes=[] if rows else ["No source comes with translations into a language that is trained on."],
        data_mark=data_mark,
    )


def read_contamination(path: Path | str) -> dict[str, Any]:
    """decontamination/pairs.json.

    Raises:
        DataError: A key is missing, or more pairs of a source were removed than looked up.
    """
    what = "Statistics of the decontamination"
    value = _read(path, what, ("checked", "removed", "looked_up", "without_evaluation_text", "counts", "examples"))
    for row in value["counts"]:
        _require(row, what, (*_COUNTED, "texts"), f"{path}, counts")
    for row in value["examples"]:
        _require(row, what, _EXAMPLE, f"{path}, examples")
    odd = [name for name, number in value["removed"].items() if number > value["checked"].get(name, 0)]
    odd += [row["source"] for row in value["counts"] if not value["removed"].get(row["source"])]
    if odd:
        raise DataError(
            "Statistics of the decontamination do not add up.",
            where=path,
            expected="of each source at most as many pairs removed as looked up, and some where a text overlaps",
            found=", ".join(dict.fromkeys(odd)),
        )
    return value


def contamination_table(statistics: Mapping[str, Any], data_mark: str = "") -> Table:
    """For each source the pairs that went out, then the texts that overlap by benchmark, language and side."""
    rows = []
    for source, checked in statistics["checked"].items():
        counts = [row for row in statistics["counts"] if row["source"] == source]
        removed = statistics["removed"].get(source, 0)
        pairs = [Cell(checked), Cell(removed), Cell(removed / checked if checked else None)]
        rows.append([Cell(source), *[Cell(_ALL)] * 3, *pairs, *_overlap_cells(counts)])
        for place in dict.fromkeys((row["benchmark"], row["lang"], row["side"]) for row in counts):
            here = [row for row in counts if (row["benchmark"], row["lang"], row["side"]) == place]
            rows.append([Cell(source), *map(Cell, place), *[Cell(None)] * 3, *_overlap_cells(here)])
    return Table(
        name="contamination",
        title="Training text that overlaps with evaluation text",
        caption="Training pairs looked up among all evaluation text, in every language in which they have text. "
        "A pair with one text that overlaps leaves the training data in all languages. Texts: how many overlap, "
        "counted once each, as the closest kind; exact: the same text; normalised: the same letters and digits; "
        "n-grams: a large share in common. Benchmarks, languages and sides without overlap have no row.",
        columns=[
            text_column("source", "source"),
            text_column("benchmark", "benchmark"),
            text_column("lang", "language"),
            text_column("side", "side"),
            Column("checked", "looked up", "Pairs"),
            Column("removed", "removed", "Pairs"),
            Column("removed_rate", "removed, of all", "Pairs", digits=2, percent=True),
            *(Column(f"texts.{kind}", "n-grams" if kind == "ngram" else kind, "Texts") for kind in OVERLAPS),
        ],
        rows=rows,
        notes=[*_nothing(statistics), *_languages(statistics)],
        data_mark=data_mark,
    )


def _nothing(statistics: Mapping[str, Any]) -> list[str]:
    return [] if statistics["counts"] else ["No training text overlaps with evaluation text."]


def _languages(statistics: Mapping[str, Any]) -> list[str]:
    """Where there was something to look up, and where not: no overlap there is no finding."""
    without = statistics["without_evaluation_text"]
    looked_up = {lang: number for lang, number in statistics["looked_up"].items() if lang not in without}
    notes = [f"Pairs looked up by language: {_listed(looked_up)}."] if looked_up else []
    if without:
        notes.append(
            f"No evaluation text is in {', '.join(without)}: only whole texts of others were to be found there."
        )
    return notes


def _listed(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {number:,}" for name, number in counts.items())


def _overlap_cells(counts: Sequence[Mapping[str, Any]]) -> list[Cell]:
    return [Cell(sum(row["texts"] for row in counts if row["overlap"] == kind)) for kind in OVERLAPS]


def contamination_examples_table(statistics: Mapping[str, Any], data_mark: str = "") -> Table:
    """Some of the texts that overlap, beside the evaluation text."""
    return Table(
        name="contamination_examples",
        title="Examples of training text that overlaps with evaluation text",
        caption="The first few of each source, benchmark and kind of overlap, both texts shortened. Share: of "
        "n-grams in common.",
        columns=[
            *(text_column(key, label) for key, label in (("source", "source"), ("benchmark", "benchmark"))),
            text_column("lang", "language"),
            text_column("side", "side"),
            text_column("overlap", "overlap"),
            Column("share", "share", digits=2),
            text_column("training_text", "training text"),
            text_column("evaluation_text", "evaluation text"),
            text_column("pair_id", "pair"),
            text_column("text_id", "text"),
        ],
        rows=[
            [
                *(Cell(row[key]) for key in ("source", "benchmark", "lang", "side", "overlap", "share")),
                *(Cell(" ".join(row[key].split()) or None) for key in ("training_text", "evaluation_text")),
                *(Cell(row[key]) for key in ("pair_id", "text_id")),
            ]
            for row in statistics["examples"]
        ],
        notes=_nothing(statistics),
        data_mark=data_mark,
    )


def read_exposure(path: Path | str) -> dict[str, Any]:
    """decontamination/exposure.json.

    Raises:
        DataError: A key is missing, or a status is none of `polybatch.decontaminate.statuses.STATUSES`.
    """
    what = "Statements on the encoders' training data"
    value = _read(path, what, ("mteb", "exposure"))
    for row in value["exposure"]:
        _require(row, what, _EXPOSED, f"{path}, exposure")
    odd = sorted({str(row["status"]) for row in value["exposure"]} - set(STATUSES))
    if odd:
        raise DataError(f"{what} have an unknown status.", where=path, expected=", ".join(STATUSES), found=str(odd))
    return value


def exposure_table(statements: Mapping[str, Any], data_mark: str = "") -> Table:
    """Encoders and benchmarks against what is said about them."""
    version = statements["mteb"]
    return Table(
        name="exposure",
        title="Evaluation sets in the encoders' own training data",
        caption="Whether an encoder's makers declare a benchmark, a version of it, or a set that it was made from, "
        "among the encoder's training data. “Not declared” is no proof of absence. Scores of an encoder on data that "
        "it has seen are not zero-shot.",
        columns=[
            text_column("encoder", "encoder"),
            text_column("model", "model"),
            text_column("benchmark", "benchmark"),
            text_column("task", "task in mteb"),
            text_column("status", "status"),
            text_column("evidence", "evidence"),
        ],
        rows=[[Cell(row[key]) for key in _EXPOSED] for row in statements["exposure"]],
        notes=[f"By the metadata of mteb {version}, and what an entry names besides."] if version else [],
        data_mark=data_mark,
    )
