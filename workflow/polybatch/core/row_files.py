"""Rows of the user's files, whatever the format: JSON lines, CSV, TSV, Parquet, SQuAD's JSON.

inputs: a file, its format, and for CSV and TSV how fields are told apart
outputs: (where, row) in the file's order, a row being column -> value as the format has it, or a `values.Fault`

All but SQuAD's JSON, which is one document, are streamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polybatch.core import json_text
from polybatch.core.delimited import CSV, TSV, Dialect, delimited_rows
from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet
from polybatch.core.lines import numbered_lines
from polybatch.core.values import Fault, identifier, is_missing, shown

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".json": "squad"}
UNANSWERED = "unanswered"  # a column of SQuAD's rows: whether the question is marked as having no answer
_ROWS_AT_ONCE = 1_000  # of Parquet

Row = dict[str, Any]


def format_of(path: Path) -> str | None:
    """The format that a file's name tells, `.gz` aside; None if it tells none."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return FORMATS.get(name.suffix.lower())


def file_rows(
    path: Path, form: str, columns: Sequence[str], *, delimiter: str = "", quote: str = ""
) -> Iterator[tuple[str, Row | Fault]]:
    """Streams the rows of a file.

    Args:
        path: The file. Text may be compressed with gzip.
        form: One of the values of FORMATS.
        columns: Those that are read of Parquet, if they are there.
        delimiter, quote: Of CSV and TSV, "" for those of the format; see `delimited.Dialect`.

    Raises:
        DataError: The file cannot be read, or not any further.
    """
    if form == "jsonl":
        return _json_lines(path)
    if form == "parquet":
        return _parquet(path, columns)
    if form == "squad":
        return _squad(path)
    usual = TSV if form == "tsv" else CSV
    return delimited_rows(path, Dialect(delimiter or usual.delimiter, quote or usual.quote))


def _json_lines(path: Path) -> Iterator[tuple[str, Row | Fault]]:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            value = json_text.parse(line)
        except Fault as fault:
            yield where, fault
            continue
        yield where, value if isinstance(value, dict) else Fault(f"no JSON object: {shown(line.strip())}")


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row | Fault]]:
    import pyarrow as pa

    number = 0
    try:
        parquet = open_parquet(path)
        names = parquet.schema_arrow.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError("The file has two columns of one name.", where=path, found=", ".join(map(shown, twice)))
        wanted = [name for name in columns if name in names]
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=wanted or names[:1]):
            for row in batch.to_pylist():
                number += 1
                # The first row tells of all columns, for the message that one of ours is missing.
                yield f"row {number}", row if number > 1 else {**dict.fromkeys(names), **row}
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(
            "The source cannot be read: it is truncated or damaged, or holds values that Python has no type for.",
            where=f"{path}, after row {number}" if number else path,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error


def _squad(path: Path) -> Iterator[tuple[str, Row | Fault]]:
    """The context is the passage of each of its questions."""
    document = json_text.read_document(path)
    for where, paragraph, questions in squad_paragraphs(document, path):
        for number, question in enumerate(questions):
            place = f"{where}.qas[{number}]"
            if not isinstance(question, dict):
                yield place, Fault(f"no object: {shown(question)}")
                continue
            try:
                name, unanswered = identifier(question.get("id"), "id"), is_unanswered(question)
            except Fault as fault:
                yield place, fault
                continue
            yield (
                f"{place} ({name})",
                {
                    "query": question.get("question"),
                    "passage": paragraph.get("context"),
                    "group": name,
                    UNANSWERED: unanswered,
                },
            )


def is_unanswered(question: dict[str, Any]) -> bool:
    """Whether SQuAD 2 marks a question as having no answer in its context, or lists no answer.

    Raises:
        Fault: What should say so is of another type, such as "true" or 1: nothing else tells these questions apart.
    """
    marked, answers = question.get("is_impossible"), question.get("answers")
    if not is_missing(marked) and not isinstance(marked, bool):
        raise Fault(f"is_impossible is neither true nor false: {shown(marked)}")
    if "answers" in question and not isinstance(answers, list):
        raise Fault(f"answers is no list of objects: {shown(answers)}")
    return marked is True or answers == []


def squad_paragraphs(document: Any, path: object) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """(where, paragraph, its questions) of a document in SQuAD's layout.

    Raises:
        DataError: The layout is another one.
    """
    articles = document.get("data") if isinstance(document, dict) else None
    for i, article in enumerate(_list(articles, "data", path)):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for j, paragraph in enumerate(_list(paragraphs, f"data[{i}].paragraphs", path)):
            where = f"data[{i}].paragraphs[{j}]"
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            yield where, paragraph, _list(questions, f"{where}.qas", path)


def _list(value: Any, place: str, path: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise DataError(
        "A file is not in SQuAD's layout.",
        where=path,
        expected='{"data": [{"paragraphs": [{"context": ..., "qas": [{"id", "question", ...}]}]}]}',
        found=f"no {place}" if is_missing(value) else f"{place} is no list: {shown(value)}",
    )
