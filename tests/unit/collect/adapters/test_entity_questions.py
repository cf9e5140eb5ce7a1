"""Passages for questions: the best that holds an answer, or none."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polybatch.collect.adapters.entity_questions import (
    Bm25,
    EntityQuestions,
    holds_answer,
    mine,
    read_questions,
    stored,
)
from polybatch.collect.adapters.stored_texts import Texts
from polybatch.core.errors import ConfigError, DataError

PASSAGES = [
    "Barado lies on the river Arven and was founded in 1203.",
    "The old town of Calbeck was founded in 877 by monks.",
    "Calbeck has a football club, founded long after the town of Calbeck.",
    "Nothing is known of Dordale.",
]
QUESTIONS = [
    {"question": "When was Calbeck founded?", "answers": ["877", "877 AD"]},
    {"question": "When was Barado founded?", "answers": ["1203"]},
    {"question": "When was Dordale founded?", "answers": ["1500"]},
    {"question": "when was barado founded", "answers": ["1203"]},
]


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    path = tmp_path / "passages.parquet"
    pq.write_table(pa.table({"passage": [*PASSAGES, PASSAGES[0].upper(), "", None]}), path)
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    folder = tmp_path / "q" / "dataset" / "train"
    folder.mkdir(parents=True)
    (folder / "P571.train.json").write_text(json.dumps(QUESTIONS), "utf-8")
    (folder / "P571.train.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS), "utf-8")
    (folder / "P999.train.jsonl").write_text("", "utf-8")
    return tmp_path / "q"


def source(path: Path, *passages: Path, **options: object) -> EntityQuestions:
    return EntityQuestions({"name": "eq", "adapter": "entity_questions", **options}, path, passages)


def test_the_best_passage_with_an_answer_is_taken(questions: Path, passages: Path) -> None:
    mined = source(questions, passages)
    assert [(p.query, p.passage) for p in mined.english()] == [
        ("When was Calbeck founded?", PASSAGES[1]),
        ("When was Barado founded?", PASSAGES[0]),
    ]
    assert mined.dropped == {"no passage holds an answer": 1, "question met before": 1}


def test_answers_count_as_whole_words() -> None:
    assert holds_answer("It was founded in 877.", ["877"])
    assert not holds_answer("It was founded in 1877.", ["877", ""])
    assert holds_answer("In São-Paulo, Brazil", ["sao paulo", "são paulo"])


def test_depth_bounds_the_search(tmp_path: Path) -> None:
    with Texts(tmp_path / "t") as texts:
        index = Bm25(stored(PASSAGES, texts, 10))
        dropped: Counter[str] = Counter()
        assert list(mine([("football club Calbeck town", ["877"])], index, texts, 1, dropped)) == []
        assert dropped == {"no passage holds an answer": 1}
        assert len(list(mine([("football club Calbeck town", ["877"])], index, texts, 2, dropped))) == 1
        assert index.best(["zyzzyva", "calbeck founded"], 9)[0] == []


def test_archives_read_like_folders(questions: Path, tmp_path: Path) -> None:
    archive = tmp_path / "dataset.zip"
    with zipfile.ZipFile(archive, "w") as handle:
        for path in sorted(questions.rglob("*.json*")):
            handle.write(path, path.relative_to(questions))
    assert list(read_questions(archive, "train")) == list(read_questions(questions, "train"))
    assert len(list(read_questions(questions, "train"))) == 4, "of .json and .jsonl of a relation one is read"
    with pytest.raises(DataError, match=r"no questions"):
        list(read_questions(archive, "dev"))


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    archive = tmp_path / "dataset.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as handle:
        handle.writestr("dataset/train/P1.train.json", json.dumps(QUESTIONS * 50))
    whole = archive.read_bytes()
    for at, new in ((60, b"\0" * 30), (whole.rindex(b"PK\1\2") + 46, b"\xff"), (whole.rindex(b"PK\1\2") + 10, b"\x63")):
        archive.write_bytes(whole[:at] + new + whole[at + len(new) :])
        with pytest.raises(DataError):  # bytes of a file, its name, and how it is compressed
            list(read_questions(archive, "train"))
    archive.write_bytes(whole[:60] + b"\0" * 30 + whole[90:])
    with pytest.raises(DataError, match="An archive cannot be read") as caught:
        list(read_questions(archive, "train"))
    assert str(archive) in str(caught.value)


def test_what_cannot_be_used_is_told(questions: Path, passages: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no passages"):
        next(source(questions).english())
    with pytest.raises(ConfigError, match="at most 2 distinct"):
        next(source(questions, passages, max_passages=2).english())
    pq.write_table(pa.table({"title": ["x"]}), tmp_path / "titles.parquet")
    with pytest.raises(DataError, match="passage or text"):
        next(source(questions, tmp_path / "titles.parquet").english())
    broken = questions / "P1.train.json"
    for content in ("[{]", '[{"question": 3, "answers": []}]', '[{"answers": []}]'):
        broken.write_text(content, "utf-8")
        with pytest.raises(DataError, match=r"P1\.train\.json"):
            list(read_questions(questions, "train"))
