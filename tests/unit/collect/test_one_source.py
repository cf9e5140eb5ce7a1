"""One source, read and cleaned: of none of its pairs is left, and that is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polybatch.collect import one_source
from polybatch.core.errors import DataError


def collect(path: Path) -> None:
    spec = json.dumps({"name": "mine", "adapter": "local", "path": str(path)})
    one_source.main(["--source", spec, "--file", str(path), "--output", str(path.parent / "mine.parquet")])


def test_a_source_whose_questions_all_have_no_answer_is_told(tmp_path: Path) -> None:
    question = {"id": "1", "question": "Why is it so?", "is_impossible": True, "answers": []}
    paragraph = {"context": "Some context that is long enough here.", "qas": [question]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), "utf-8")
    with pytest.raises(DataError, match="No pair of mine is left after cleaning") as told:
        collect(path)
    assert "question without an answer: 1" in str(told.value)
    assert not (tmp_path / "mine.parquet").exists()


def test_a_source_whose_pairs_all_go_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"query": "why", "passage": "because"}\n', "utf-8")
    with pytest.raises(DataError, match="passage too short or too long: 1"):
        collect(path)
