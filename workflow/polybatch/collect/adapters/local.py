"""Adapter: the user's own pairs, from JSON lines, CSV, TSV, Parquet or SQuAD's JSON.

One row a pair: a query and its relevant passage. With a `lang` column the file may hold translations: rows of
equal `group` are translations of one another. Without it every row is English. Faults in rows are told
together, with their line numbers; nothing is dropped silently.

The file is read once to be checked, and again whenever its pairs are asked for: in memory are a few bytes a row, and
only where groups join translations.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polybatch.collect.options import FORMATS
from polybatch.collect.source import Pair, ParallelText, pair_id
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.core.lines import numbered_lines
from polybatch.core.text import clean_markup

_DEFAULT_COLUMNS = {name: name for name in ("query", "passage", "lang", "group", "hard_negatives")}
_SHOWN_FAULTS = 10
_ROWS_AT_ONCE = 5_000  # of Parquet

Row = tuple[str, dict[str, Any]]  # where it stands ("line 7"), and its values by our own column names


class LocalSource:
    """Pairs of one local file (see the module's docstring)."""

    def __init__(self, spec: dict[str, Any], path: Path) -> None:
        self.name, self.license, self.path = spec["name"], spec.get("license", "not stated"), path
        self.columns = {**_DEFAULT_COLUMNS, **spec.get("columns", {})}
        self._named = set(spec.get("columns", {})) | {"query", "passage"}
        if not path.exists():
            raise DataError("The source file is missing.", where=path, remedy="correct source.path in the config")
        form = spec.get("format") or FORMATS.get(path.suffix.lower())
        if form is None:
            raise ConfigError(
                "The format of the source file is not known from its name.",
                where=path,
                expected=f"an ending among {' '.join(FORMATS)}, or source.format in the config",
                found=path.suffix or "no ending",
            )
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self._reader, self._form = {"squad": _squad, "parquet": _parquet, "jsonl": _jsonl}.get(form, _csv), form
        self.languages = tuple(sorted(self._check() - {"en"}))

    def english(self) -> Iterator[Pair]:
        """The English rows, in the file's order."""
        for row in self._rows():
            if row["lang"] == "en":
                yield self._pair(self._identity(row), row)

    def translations(self, lang: str) -> Iterator[Pair]:
        """Rows in `lang` whose group has an English row."""
        ids = {row["group"]: self._identity(row) for row in self._rows() if row["lang"] == "en"}
        for row in self._rows():
            if row["lang"] == lang and row["group"] in ids:
                yield self._pair(ids[row["group"]], row)

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """Queries and passages with their translations: all the parallel text there is."""
        english = {row["group"]: row for row in self._rows() if row["lang"] == "en"}
        for row in self._rows():
            if row["lang"] == lang and row["group"] in english:
                for side in ("query", "passage"):
                    yield ParallelText(english[row["group"]][side], row[side])

    def _identity(self, english: dict[str, Any]) -> str:
        return pair_id(self.name, english["query"], english["passage"])

    def _pair(self, identity: str, row: dict[str, Any]) -> Pair:
        return Pair(identity, row["query"], row["passage"], row["hard_negatives"])

    def _rows(self) -> Iterator[dict[str, Any]]:
        """All rows by our column names; they were checked when the source was opened."""
        for _, raw in self._reader(self.path, self._form):
            yield self._row(raw)

    def _check(self) -> set[str]:
        """The languages of the rows, or a DataError that lists the first faults."""
        faults: list[str] = []
        seen: dict[tuple[str, str], str] = {}
        languages: set[str] = set()
        where = ""
        number = 0
        for where, raw in self._reader(self.path, self._form):
            row = self._row(raw)
            fault = self._fault(raw, row)
            languages.add(row["lang"])
            if row["group"]:
                key = (row["group"], row["lang"])
                if not fault and key in seen:
                    fault = f"group {row['group']!r} comes twice in {row['lang']} (first in {seen[key]})"
                seen.setdefault(key, where)
            if fault:
                number += 1
                if number <= _SHOWN_FAULTS:
                    faults.append(f"{where}: {fault}")
        if faults or not where:
            more = f"; and {number - _SHOWN_FAULTS} more" if number > _SHOWN_FAULTS else ""
            raise DataError(
                f"{number} row(s) of the source cannot be used." if faults else "The source file holds no row.",
                where=self.path,
                expected="in every row a query and a passage that are not empty; with lang, a group for each pair",
                found="; ".join(faults) + more,
                remedy="correct these rows, or name the columns in source.columns",
            )
        return languages

    def _row(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The row by our column names; texts as a person reads them, empty where there are none."""
        columns, lang, group = self.columns, raw.get(self.columns["lang"]), raw.get(self.columns["group"])
        return {
            "query": clean_markup(str(raw.get(columns["query"]) or "")),
            "passage": clean_markup(str(raw.get(columns["passage"]) or "")),
            "lang": str(lang or "en"),
            "group": "" if group is None else str(group),
            "hard_negatives": raw.get(columns["hard_negatives"]) or [],
        }

    def _fault(self, raw: dict[str, Any], row: dict[str, Any]) -> str:
        """What is wrong with a row, "" if nothing."""
        missing = [self.columns[name] for name in sorted(self._named) if self.columns[name] not in raw]
        if missing:
            return f"no column {', '.join(missing)} (there are: {', '.join(map(str, raw))})"
        if not (row["query"] and row["passage"]):
            return f"empty {' and '.join(side for side in ('query', 'passage') if not row[side])}"
        try:
            language(row["lang"])
        except ConfigError:
            return f"unknown language {row['lang']!r}"
        if not isinstance(row["hard_negatives"], list):
            return "hard_negatives is no list (CSV and TSV cannot hold lists; use JSON lines or Parquet)"
        if raw.get(self.columns["lang"]) is not None and not row["group"]:
            return "a language but no group, so its translations cannot be found"
        return ""


def _jsonl(path: Path, form: str) -> Iterator[Row]:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError("A line is no JSON.", where=f"{path}, line {number}", found=str(error)) from error
        if not isinstance(value, dict):
            raise DataError("A line is no JSON object.", where=f"{path}, line {number}", found=line.strip()[:80])
        yield f"line {number}", value


def _csv(path: Path, form: str) -> Iterator[Row]:
    reader = csv.DictReader((line for _, line in numbered_lines(path)), delimiter="\t" if form == "tsv" else ",")
    for row in reader:
        yield f"line {reader.line_num}", {k: v for k, v in row.items() if k is not None}


def _parquet(path: Path, form: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(path, pre_buffer=False)  # else it holds on to every byte that was read
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("The source is truncated or not Parquet.", where=path, found=str(error)) from error
    number = 0
    for batch in parquet.iter_batches(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


def _squad(path: Path, form: str) -> Iterator[Row]:
    """SQuAD's JSON: the context is the passage of each of its questions."""
    try:
        document = json.loads(path.read_bytes().decode("utf-8"))
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    identity = str(question["id"])
                    yield (
                        f"question {identity}",
                        {"query": question["question"], "passage": paragraph["context"], "group": identity},
                    )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            "The source is not SQuAD's JSON.",
            where=path,
            expected='{"data": [{"paragraphs": [{"context": ..., "qas": [{"id", "question", ...}]}]}]} in UTF-8',
            found=repr(error),
        ) from error
