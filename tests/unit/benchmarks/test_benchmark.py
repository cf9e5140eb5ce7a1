"""A benchmark is either whole or refused, with everything that is wrong with it in one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmark import random_embeddings, write_parallel, write_qrels, write_side

from polybatch.benchmarks.benchmark import absent_schema, excluded_schema, load
from polybatch.core.errors import DataError
from polybatch.core.files import write_json, write_rows
from polybatch.retrieval.keys import numbers_of
from polybatch.retrieval.searchable import open_collection

LANGUAGES = ["en", "de", "tr"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_parallel(tmp_path / "test", LANGUAGES)


def judgements(languages: list[str] = LANGUAGES) -> list[tuple[str, str, int]]:
    return [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in languages for b in languages for i in range(4)]


def test_keeps_the_order_of_the_files(folder: Path) -> None:
    write_side(folder, "queries", "de", [(f"q{i}-de", f"query {i}", f"g{i}") for i in (2, 0, 3, 1)])
    benchmark = load(folder, LANGUAGES)
    assert benchmark.languages == LANGUAGES
    assert benchmark.queries["de"].ids.to_pylist() == ["q2-de", "q0-de", "q3-de", "q1-de"]
    assert benchmark.name == "test"


def test_fewer_languages_keep_only_their_qrels(folder: Path) -> None:
    benchmark = load(folder, ["en", "tr"])
    assert benchmark.qrels.num_rows == 4 * 2 * 2
    assert not any(i.endswith("-de") for i in benchmark.qrels["passage_id"].to_pylist())


def test_judged_not_relevant_is_not_relevant(folder: Path) -> None:
    write_qrels(folder, [*judgements(), ("q0-en", "p5-en", 0)])
    assert load(folder, LANGUAGES).qrels.num_rows == len(judgements())


def test_a_language_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(DataError, match=r"queries/el.parquet, corpus/el.parquet") as error:
        load(folder, ["en", "el"])
    assert "de en tr" in str(error.value)


def test_all_faults_come_at_once_with_their_ids(folder: Path) -> None:
    write_side(folder, "queries", "en", [("q0-en", "  ", "g0"), ("q0-en", "query 0", "g0"), ("q1-de", "query 1", "g1")])
    write_side(folder, "corpus", "de", [("p0-de", "", "g0")])
    write_qrels(folder, [*judgements(["tr"]), ("q9-en", "p0-tr", 1), ("q0-tr", "p77-tr", 1), ("q0-tr", "p0-tr", 1)])
    with pytest.raises(DataError) as error:
        load(folder, LANGUAGES)
    for words in (
        "queries/en.parquet: empty text (1: q0-en)",
        "corpus/de.parquet: empty text (1: p0-de)",
        "query ids that stand twice (2: ",
        "query_id not in queries (1: q9-en)",
        "passage_id not in corpus (1: p77-tr)",
        "judged twice (1: q0-tr p0-tr)",
    ):
        assert words in str(error.value)


def test_an_id_in_two_languages_is_refused(folder: Path) -> None:
    write_side(folder, "corpus", "de", [(f"p{i}-{'en' if i == 3 else 'de'}", f"text {i}", f"g{i}") for i in range(6)])
    with pytest.raises(DataError, match=r"passage ids that stand twice \(1: p3-en\)"):
        load(folder, LANGUAGES)


def test_a_row_in_another_languages_file_is_refused(folder: Path) -> None:
    (folder / "corpus" / "de.parquet").write_bytes((folder / "corpus" / "tr.parquet").read_bytes())
    with pytest.raises(DataError, match=r"corpus/de.parquet: lang is not 'de' \(6: p0-tr, p1-tr, p2-tr, \.\.\.\)"):
        load(folder, LANGUAGES)


def test_a_translation_of_a_relevant_passage_must_be_relevant(folder: Path) -> None:
    write_qrels(folder, [row for row in judgements() if row[:2] != ("q2-en", "p2-tr")])
    with pytest.raises(DataError, match=r"only some passages of a group are relevant \(1: q2-en -> g2\)"):
        load(folder, LANGUAGES)


def test_translations_of_a_query_must_have_the_same_relevant_groups(folder: Path) -> None:
    write_qrels(folder, [row for row in judgements() if row[0] != "q2-de"])
    with pytest.raises(DataError, match=r"differ in what is relevant \(1: g2\)"):
        load(folder, LANGUAGES)


def test_queries_of_one_group_find_the_same_passages_where_passages_have_none(tmp_path: Path) -> None:
    """As in LAReQA: two English queries share a sentence, whose translations are two sentences in German."""
    write_side(tmp_path, "queries", "en", [("q0-en", "one", "q0"), ("q1-en", "two", "q1")])
    write_side(tmp_path, "queries", "de", [("q0-de", "eins", "q0"), ("q1-de", "zwei", "q1")])
    write_side(tmp_path, "corpus", "en", [("s0-en", "one and two", "")])
    write_side(tmp_path, "corpus", "de", [("s0-de", "eins", ""), ("s1-de", "zwei", "")])
    pairs = [(f"q{i}-{lang}", passage, 1) for lang in ("en", "de") for i in (0, 1) for passage in ("s0-en", f"s{i}-de")]
    write_qrels(tmp_path, pairs)
    assert load(tmp_path, ["en", "de"]).qrels.num_rows == 8
    write_qrels(tmp_path, [pair for pair in pairs if pair[:2] != ("q1-en", "s1-de")])
    with pytest.raises(DataError, match=r"differ in what is relevant \(1: q1\)"):
        load(tmp_path, ["en", "de"])
    assert load(tmp_path, ["de"], ["en", "de"]).qrels.num_rows == 4


def test_queries_and_corpus_may_stand_in_other_languages(folder: Path, tmp_path: Path) -> None:
    (folder / "corpus" / "de.parquet").unlink()
    write_qrels(folder, [row for row in judgements() if not row[1].endswith("-de")])
    benchmark = load(folder, ["en", "de"], ["tr"])
    assert (list(benchmark.queries), list(benchmark.corpus), benchmark.languages) == (
        ["en", "de"],
        ["tr"],
        ["en", "de", "tr"],
    )
    assert benchmark.qrels.num_rows == 4 * 2


def test_excluded_passages_are_in_no_ranking_and_absent_ones_are_never_found(folder: Path, tmp_path: Path) -> None:
    write_rows(folder / "excluded.parquet", [{"query_id": "q1-en", "passage_id": "p4-de"}], excluded_schema())
    write_rows(folder / "absent.parquet", [{"passage_id": "gone", "lang": "de"}], absent_schema())
    write_qrels(folder, [*judgements(), *((f"q2-{lang}", "gone", 1) for lang in LANGUAGES)])
    random_embeddings(tmp_path, folder, LANGUAGES)
    collection = open_collection(tmp_path / "embeddings", tmp_path / "index", folder)
    excluded = collection.passage_ids.index("p4-de").as_py()
    for depth, size in (("all", 5), (3, 3)):
        ranked = numbers_of(collection.search("en", slice(0, 4), "de", depth))
        assert (ranked[1] >= 0).sum() == size
        assert excluded not in ranked[1]
    assert excluded in numbers_of(collection.search("en", slice(0, 4), "de", "all"))[0]
    assert (collection.judged["en", "de"][0] == len(collection.passage_ids)).sum() == 1
    assert (collection.judged["en", "tr"][0] < len(collection.passage_ids)).all()
    assert (collection.judged["tr", "all"][0] == len(collection.passage_ids)).any(axis=1).tolist() == [0, 0, 1, 0]


def test_empty_passages_are_accepted_only_where_the_card_counts_them(folder: Path) -> None:
    write_side(folder, "corpus", "de", [(f"p{i}-de", "" if i == 5 else f"text {i}", f"g{i}") for i in range(6)])
    with pytest.raises(DataError, match=r"corpus/de.parquet: empty text \(1: p5-de\)"):
        load(folder, LANGUAGES)
    write_json(folder / "card.json", {"empty_passages": {"de": 1}})
    assert load(folder, LANGUAGES).corpus["de"].texts[5].as_py() == ""


def test_texts_without_a_group_are_parallel_to_nothing(tmp_path: Path) -> None:
    write_side(tmp_path, "queries", "en", [("q0", "one", ""), ("q1", "two", "")])
    write_side(tmp_path, "corpus", "en", [("p0", "one", ""), ("p1", "two", "")])
    write_qrels(tmp_path, [("q0", "p0", 1), ("q1", "p1", 2)])
    assert load(tmp_path, ["en"]).qrels.num_rows == 2


def test_the_digest_sees_texts_and_their_order(folder: Path) -> None:
    rows = [(f"q{i}-de", f"query {i}", f"g{i}") for i in range(4)]
    digests = set()
    for change in (rows, rows[::-1], [("q0-de", "query  0", "g0"), *rows[1:]]):
        write_side(folder, "queries", "de", change)
        digests.add(load(folder, LANGUAGES).queries["de"].digest())
    assert len(digests) == 3
