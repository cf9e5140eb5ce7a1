"""Sentences of the contexts are the candidates, and the one where the answer starts is relevant in every language."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.squad import PUBLISHED, build, read_counts, split_sentences
from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_parquet

CONTEXTS = {
    "en": "Bees make honey in summer. Ants do not, they store seeds.",
    "de": "Bienen machen im Sommer Honig. Ameisen nicht. Sie lagern Samen.",
}
ANSWERS = {
    "en": {"q1": "honey", "q2": "seeds", "q3": "Ants"},
    "de": {"q1": "Honig", "q2": "Samen", "q3": "Ameisen"},
}


def layout(lang: str, *, breaks: bool = True) -> dict:
    """A file in the layout of LAReQA's, or of MLQA's, which has no sentence breaks."""
    context = CONTEXTS[lang]
    paragraph: dict = {
        "context": context,
        "qas": [
            {
                "id": i,
                "question": f"{i} in {lang}?",
                "answers": [{"text": text, "answer_start": context.index(text)}],
            }
            for i, text in ANSWERS[lang].items()
        ],
    }
    if breaks:
        paragraph["sentence_breaks"] = split_sentences(lang, context)
        paragraph["sentences"] = [context[start:end] for start, end in paragraph["sentence_breaks"]]
    return {"data": [{"title": "Insects", "paragraphs": [paragraph]}], "version": "1.1"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "en.json").write_text(json.dumps(layout("en")), "utf-8")
    (tmp_path / "de.json.gz").write_bytes(gzip.compress(json.dumps(layout("de")).encode()))
    return {"en": tmp_path / "en.json", "de": tmp_path / "de.json.gz"}


def test_a_query_finds_the_sentence_of_its_answer_in_every_language(files: dict[str, Path], tmp_path: Path) -> None:
    counts = read_counts('{"queries": {"en": 3, "fr": 7}, "candidates": {"en": 2, "de": 3}}')
    build(files, tmp_path / "insects", expected=counts)
    benchmark = load(tmp_path / "insects", ["en", "de"])
    texts: dict[str, str] = {}
    for side in benchmark.corpus.values():
        texts.update(zip(side.ids.to_pylist(), side.texts.to_pylist(), strict=True))
    relevant: dict[str, set[str]] = {}
    for row in benchmark.qrels.to_pylist():
        relevant.setdefault(row["query_id"], set()).add(texts[row["passage_id"]])
    assert relevant["de-q3"] == {"Ants do not, they store seeds.", "Ameisen nicht."}
    assert relevant["en-q2"] == relevant["de-q2"] == {"Ants do not, they store seeds.", "Sie lagern Samen."}
    assert benchmark.queries["de"].answers.to_pylist() == [["Honig"], ["Samen"], ["Ameisen"]]
    documents = read_parquet(tmp_path / "insects" / "documents" / "de.parquet", contracts.DOCUMENTS)
    assert documents["text"].to_pylist() == [CONTEXTS["de"]]


def test_a_question_that_a_language_lacks_has_no_passage_there(files: dict[str, Path], tmp_path: Path) -> None:
    data = layout("en")
    del data["data"][0]["paragraphs"][0]["qas"][1]
    files["en"].write_text(json.dumps(data), "utf-8")
    build(files, tmp_path / "insects")
    qrels = load(tmp_path / "insects", ["en", "de"]).qrels.to_pylist()
    assert [row["passage_id"] for row in qrels if row["query_id"] == "de-q2"] == ["de-0.0.2"]


def test_files_without_breaks_are_split_and_read_from_mlqas_archive(tmp_path: Path) -> None:
    path = tmp_path / "MLQA_V1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for lang in CONTEXTS:
            name = f"MLQA_V1/dev/dev-context-{lang}-question-{lang}.json"
            archive.writestr(name, json.dumps(layout(lang, breaks=False)))
    card = build(dict.fromkeys(CONTEXTS, path), tmp_path / "insects", breaks="split")
    assert card["passages"] == {"en": 2, "de": 3}
    with pytest.raises(DataError, match="sentence_breaks"):
        build(dict.fromkeys(CONTEXTS, path), tmp_path / "insects", breaks="given")
    with pytest.raises(DataError, match=r"0 files dev/dev-context-fr-question-fr\.json in the archive"):
        build({"fr": path}, tmp_path / "insects", breaks="split")


def test_other_counts_than_published_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"en: 3 queries instead of 1190; de: .*; en: 2 candidates instead of 1180"):
        build(files, tmp_path / "xquad-r", expected=PUBLISHED["xquad-r"])
    assert not (tmp_path / "xquad-r").exists()
    with pytest.raises(ConfigError):
        read_counts('{"en": [1]}')
    with pytest.raises(ConfigError):
        read_counts("xquad")


def test_answers_that_stand_elsewhere_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    data = layout("en")
    data["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 999
    data["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] = 3
    files["en"].write_text(json.dumps(data), "utf-8")
    with pytest.raises(DataError) as error:
        build(files, tmp_path / "insects")
    assert "q1 (character 999) stands in no sentence; all: 2 answers are not where answer_start says" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{", "no JSON"), (b'{"rows": []}', "no data"), (b'{"data": []}', "no question"), (None, "is missing")],
)
def test_files_of_another_kind_are_told(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "en.json").write_bytes(content)
    with pytest.raises(DataError, match=words):
        build({"en": tmp_path / "en.json"}, tmp_path / "insects")


def changed(path: Path, **question: object) -> None:
    """The English file with another first question."""
    data = layout("en")
    data["data"][0]["paragraphs"][0]["qas"][0] |= question
    path.write_text(json.dumps(data), "utf-8")


def test_numbers_are_ids_and_questions_without_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "en.json"
    changed(path, id=7)
    build({"en": path}, tmp_path / "numbers")
    assert load(tmp_path / "numbers", ["en"]).queries["en"].ids.to_pylist() == ["en-7", "en-q2", "en-q3"]
    for unanswered in ({"answers": []}, {"answers": [], "is_impossible": True}):
        changed(path, **unanswered)
        card = build({"en": path}, tmp_path / "squad-2")
        assert (card["queries"], card["questions_without_answer"]) == ({"en": 2}, {"en": 1})


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"id": 1.5}, r"qas\[0\]: id is a number, not an id"),
        ({"id": None}, r"qas\[0\]: no id"),
        ({"id": "q2"}, r"qas\[1\]: another question has the id 'q2'"),
        ({"question": ["a"]}, r"qas\[0\]: question is a list"),
        ({"question": "\u200b"}, r"qas\[0\]: no question"),
        ({"answers": [{"text": "Honey", "answer_start": "4"}]}, r"qas\[0\]: answer_start is no place"),
        ({"answers": {"text": ["Honey"], "answer_start": [4]}}, r"qas\[0\]: answers is no list"),
    ],
)
def test_values_of_another_type_are_told_with_their_place(tmp_path: Path, question: dict, words: str) -> None:
    changed(tmp_path / "en.json", **question)
    with pytest.raises(DataError, match=words):
        build({"en": tmp_path / "en.json"}, tmp_path / "insects")
