"""The user's own files: every format gives the same pairs, every fault is told with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polybatch.collect.adapters.local import LocalSource
from polybatch.core.errors import DataError, PolybatchError

ROWS = [
    {"id": "1", "lang": "en", "question": "Turn on", "answer": "Turns on the lamp."},
    {"id": "1", "lang": "de", "question": "Einschalten", "answer": "Schaltet die Lampe ein."},
    {"id": "2", "lang": "en", "question": "Turn off, now", "answer": "Turns off the lamp."},
]
COLUMNS = {"query": "question", "passage": "answer", "lang": "lang", "group": "id"}


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [mark.join(rows[0]), *(mark.join(f'"{v}"' for v in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def source(path: Path, **spec: object) -> LocalSource:
    return LocalSource({"name": "mine", "columns": COLUMNS, **spec}, path)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_formats_agree(tmp_path: Path, ending: str) -> None:
    mine = source(write(tmp_path / f"mine.{ending}", ROWS))
    assert [(p.query, p.passage) for p in mine.english()] == [
        ("Turn on", "Turns on the lamp."),
        ("Turn off, now", "Turns off the lamp."),
    ]
    german = list(mine.translations("de"))
    assert mine.languages == ("de",)
    assert [p.query for p in german] == ["Einschalten"]
    assert german[0].pair_id == next(mine.english()).pair_id


def test_squad(tmp_path: Path) -> None:
    question = {"id": "q1", "question": "What turns on?", "answers": [{"text": "lamp", "answer_start": 4}]}
    document = {"data": [{"paragraphs": [{"context": "The lamp turns on.", "qas": [question]}]}]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(document), "utf-8")
    pairs = list(LocalSource({"name": "squad"}, path).english())
    assert [(p.query, p.passage) for p in pairs] == [("What turns on?", "The lamp turns on.")]


def test_english_alone_needs_no_lang_column(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", [{"query": "a", "passage": "b c"}])
    assert len(list(LocalSource({"name": "mine"}, path).english())) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "3", "lang": "en", "question": " ", "answer": "x"}, "line 4: empty query"),
        ({"id": "3", "lang": "en", "question": "x"}, "line 4: no column answer"),
        ({"id": "3", "lang": "xx", "question": "x", "answer": "y"}, "line 4: unknown language 'xx'"),
        ({"id": "1", "lang": "de", "question": "x", "answer": "y"}, "line 4: group '1' comes twice in de"),
        (
            {"id": "3", "lang": "en", "question": "x", "answer": "y", "hard_negatives": "z"},
            "line 4: hard_negatives is no list",
        ),
        ({"id": None, "lang": "de", "question": "x", "answer": "y"}, "line 4: a language but no group"),
    ],
)
def test_faulty_rows_are_named(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        source(write(tmp_path / "mine.jsonl", [*ROWS, row]))
    assert message in str(caught.value)


def test_all_faulty_rows_are_told_at_once(tmp_path: Path) -> None:
    bad = [{"id": str(i), "lang": "en", "question": "", "answer": "x"} for i in range(10, 25)]
    with pytest.raises(DataError, match=r"15 row\(s\)") as caught:
        source(write(tmp_path / "mine.jsonl", ROWS + bad))
    assert "line 4" in str(caught.value)
    assert "and 5 more" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,lang,question,answer\n1,en,caf\xe9,x\n".encode("latin-1"))
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", "utf-8")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(write(tmp_path / "mine.parquet", ROWS).read_bytes()[:-9])
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    cases = {
        latin: "line 2",
        broken: "line 1",
        cut: "truncated",
        empty: "holds no row",
        tmp_path / "no.jsonl": "missing",
    }
    for path, message in cases.items():
        with pytest.raises(PolybatchError, match=message):
            source(path)
    with pytest.raises(PolybatchError, match="format"):
        source(write(tmp_path / "mine.xyz", ROWS))
