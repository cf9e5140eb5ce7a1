"""Own data in BEIR's layout, in one language or several."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polybatch.benchmarks.beir import _read_shared, build
from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.retrieval_data import Data
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.decontaminate.evaluation_text import index_benchmarks
from polybatch.decontaminate.options import OverlapOptions
from polybatch.decontaminate.overlap import Index


def write(folder: Path, passages: dict[str, str], queries: dict[str, str], title: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [json.dumps({"_id": i, "title": title, "text": text}) for i, text in passages.items()]
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(corpus).encode()))
    asked = [json.dumps({"_id": i, "text": text}) for i, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(asked) + "\n", "utf-8")


def write_qrels(folder: Path, *rows: str, split: str = "test") -> None:
    path = folder / "qrels" / f"{split}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n", "utf-8")


def damage(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))


def latin_1(folder: Path, name: str) -> None:
    rows = '{"_id": "q1", "text": "é"}'.encode() + b"\n" + '{"_id": "q2", "text": "é"}'.encode("latin-1")
    (folder / name).write_bytes(gzip.compress(rows) if name.endswith(".gz") else rows)


@pytest.fixture
def english(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write(folder, {"p1": "one ", "p2": "two", "q1": "three"}, {"q1": "1?", "q2": "2?", "q3": "3?"}, title="A title")
    write_qrels(folder, "q1\tp1\t2", "q1\tp2\t0", "q2\tp2\t1")
    return folder


def test_one_language(english: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    build(english, output, ["en"], exclude_same_ids=True)
    benchmark = load(output, ["en"])
    assert benchmark.corpus["en"].texts.to_pylist() == ["A title one", "A title two", "A title three"]
    assert benchmark.queries["en"].ids.to_pylist() == ["q1", "q2"]
    assert [tuple(row.values()) for row in benchmark.qrels.to_pylist()] == [("q1", "p1", 2), ("q2", "p2", 1)]
    assert benchmark.excluded.to_pylist() == [{"query_id": "q1", "passage_id": "q1"}]


def test_shared_ids_name_translations(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "en", {"p1": "one", "p2": "two"}, {"q1": "1?", "q2": "2?"})
    write(folder / "de", {"p1": "eins", "p3": "drei"}, {"q1": "1 auf Deutsch?"})
    write_qrels(folder, "q1\tp1\t1", "q1\tp3\t1", "q2\tp2\t1")
    build(folder, tmp_path / "mine", ["en", "de"])
    benchmark = load(tmp_path / "mine", ["en", "de"])
    relevant = {(row["query_id"], row["passage_id"]) for row in benchmark.qrels.to_pylist()}
    both = {(f"{lang}-q1", passage) for lang in ("en", "de") for passage in ("en-p1", "de-p1", "de-p3")}
    assert relevant == both | {("en-q2", "en-p2")}
    assert benchmark.corpus["de"].groups.to_pylist() == ["p1", "p3"]
    build(folder, tmp_path / "cross", ["de"], ["en"])
    assert load(tmp_path / "cross", ["de"], ["en"]).qrels["passage_id"].to_pylist() == ["p1"]


def test_ids_of_a_language_alone_name_nothing_elsewhere(tmp_path: Path) -> None:
    for lang in ("en", "de"):
        write(tmp_path / "data" / lang, {"p1": f"one {lang}", "p2": f"two {lang}"}, {"q1": "1?"})
        write_qrels(tmp_path / "data" / lang, f"q1\t{'p1' if lang == 'en' else 'p2'}\t1")
    build(tmp_path / "data", tmp_path / "mine", ["en", "de"])
    relevant = load(tmp_path / "mine", ["en", "de"]).qrels.to_pylist()
    assert [(r["query_id"], r["passage_id"]) for r in relevant] == [("en-q1", "en-p1"), ("de-q1", "de-p2")]
    with pytest.raises(ConfigError, match="put one qrels folder beside theirs"):
        build(tmp_path / "data", tmp_path / "cross", ["de"], ["en"])


def test_a_passage_that_is_nowhere_counts_as_never_found(english: Path, tmp_path: Path) -> None:
    write_qrels(english, "q1\tp1\t1", "q2\tgone\t1")
    build(english, tmp_path / "mine", ["en"])
    assert load(tmp_path / "mine", ["en"]).absent["en"].to_pylist() == ["gone"]
    assert read_json(tmp_path / "mine" / "card.json")["absent_passages"] == 1
    write_qrels(english, "q1\tmissing\t1", "q2\tgone\t1")
    with pytest.raises(DataError, match=r"2 of 2: gone, missing"):
        build(english, tmp_path / "mine", ["en"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "corpus.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "p1"}')), "line 1"),
        (lambda f: (f / "queries.jsonl").unlink(), "queries.jsonl"),
        (lambda f: latin_1(f, "corpus.jsonl.gz"), r"not UTF-8(.|\n)*corpus\.jsonl\.gz, line 2"),
        (lambda f: latin_1(f, "queries.jsonl"), r"not UTF-8(.|\n)*queries\.jsonl, line 2"),
        (lambda f: damage(f, "qrels/test.tsv", lambda b: b + b"q2\t\xff\t1\n"), r"not UTF-8(.|\n)*test\.tsv, line 5"),
        (lambda f: write_qrels(f, "q1\tp1\t--1"), "line 2"),
        (lambda f: damage(f, "corpus.jsonl.gz", lambda b: b[:-12]), r"damaged(.|\n)*line \d+\n.*\n?.*EOFError"),
        (lambda f: damage(f, "corpus.jsonl.gz", lambda b: b[:-8] + bytes(4) + b[-4:]), r"damaged(.|\n)*BadGzipFile"),
        (lambda f: damage(f, "corpus.jsonl.gz", lambda b: b[:10] + b"\xff" * 20), r"line 1\n(.|\n)*error: "),
        (lambda f: damage(f, "corpus.jsonl.gz", lambda b: b"{}"), r"damaged(.|\n)*line 1\n(.|\n)*BadGzipFile"),
        (lambda f: write_qrels(f, "q1\tp1"), "line 2"),
        (lambda f: write_qrels(f, "q1\tp1\t1", "q7\tp1\t1"), "1: q7"),
        (lambda f: (f / "qrels" / "test.tsv").rename(f / "qrels" / "dev.tsv"), r"split\(s\) dev"),
        (lambda f: (f / "queries.jsonl").write_text('{"_id": "q1", "text": ""}\n{"_id": "q2", "text": "2"}'), "empty"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(english: Path, tmp_path: Path, change, words: str) -> None:
    change(english)
    with pytest.raises(DataError, match=words):
        build(english, tmp_path / "mine", ["en"])
    assert not (tmp_path / "mine").exists()


def test_languages_that_are_not_there_are_told(english: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="en/ de/"):
        build(english, tmp_path / "mine", ["en", "de"])


def lines(folder: Path, name: str, *rows: str) -> None:
    (folder / name).write_text("".join(f"{row}\n" for row in rows), "utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: write_qrels(f, "q1\tp1\t1", "q2\tp2\t1", "q1\tp1\t0"), "line 4: .*are judged 0, in line 2 1"),
        (lambda f: write_qrels(f, "q1\tp1\t1", "q1 p1 1", "\tp1\t1"), r"2 line\(s\)(.|\n)*line 3: 1 field.*line 4: an empty id"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": "q1", "text": "\\u200b"}'), "line 1: empty text"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": "q1", "text": ["a"]}'), "line 1: text is a list"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": "q1", "text": null}'), "line 1: no text"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": null, "text": "a"}'), "line 1: no _id"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": 1.5, "text": "a"}', "{"), r"2 line\(s\)(.|\n)*_id is a number, not an id"),
        (lambda f: lines(f, "queries.jsonl", '{"_id": "q1", "text": "a"}', '{"_id": "q1", "text": "b"}'), "line 2: another query has the id 'q1' in line 1"),
        (lambda f: lines(f, "corpus.jsonl", '{"_id": "p1", "text": "a"}'), "there twice"),
    ],
)  # fmt: skip
def test_what_contradicts_or_has_another_type_is_refused(english: Path, tmp_path: Path, change, words: str) -> None:
    change(english)
    with pytest.raises(DataError, match=words):
        build(english, tmp_path / "mine", ["en"])


def test_missing_titles_numbers_as_ids_and_empty_lines_are_no_faults(english: Path, tmp_path: Path) -> None:
    (english / "corpus.jsonl.gz").unlink()
    rows = ['{"_id": 1, "title": NaN, "text": "one"}', "", '{"_id": "2", "title": null, "text": "two"}']
    lines(english, "corpus.jsonl", *rows, '{"_id": 3, "title": "\\u200b", "text": "\\ufeff"}')
    lines(english, "queries.jsonl", '{"_id": 7, "text": "1?"}', '{"_id": 8, "text": "2?"}')
    write_qrels(english, "7\t1\t1", "7\t1\t1", "", "")
    card = build(english, tmp_path / "mine", ["en"])
    benchmark = load(tmp_path / "mine", ["en"])
    assert benchmark.corpus["en"].texts.to_pylist() == ["one", "two", ""]
    assert benchmark.corpus["en"].ids.to_pylist() == ["1", "2", "3"]
    assert (card["empty_passages"], card["queries_not_judged"], card["judgements"]) == ({"en": 1}, {"en": 1}, 1)


def test_judgements_and_passages_stand_in_one_place(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for lang in ("en", "de"):
        write(folder / lang, {"p1": "one"}, {"q1": "1?"})
    write_qrels(folder, "q1\tp1\t1")
    write_qrels(folder / "de", "q1\tp1\t1")
    with pytest.raises(DataError, match=r"two places(.|\n)*de/qrels/test\.tsv"):
        build(folder, tmp_path / "mine", ["en", "de"])
    write(folder, {"p1": "one"}, {"q1": "1?"})
    with pytest.raises(DataError, match="beside its languages' folders"):
        build(folder, tmp_path / "mine", ["en"])


def test_passages_of_one_id_are_told_with_their_lines(english: Path, tmp_path: Path) -> None:
    corpus = english / "corpus.jsonl.gz"
    again = [{"_id": "p1", "text": "other"}, {"_id": 7, "text": "a"}, {"_id": "7", "text": "b"}]
    lines = [gzip.decompress(corpus.read_bytes()).decode(), *map(json.dumps, again)]
    corpus.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(DataError) as caught:
        build(english, tmp_path / "mine", ["en"])
    told = str(caught.value)
    assert told.startswith("2 passage(s) have an id that another one has.")
    assert str(corpus) in told
    assert "line 4: a passage has the id 'p1' in line 1 already; line 6: a passage has the id '7' in line 5" in told


def test_empty_lines_before_the_header_are_no_fault(english: Path, tmp_path: Path) -> None:
    damage(english, "qrels/test.tsv", lambda raw: b"\n\n" + raw)
    assert build(english, tmp_path / "mine", ["en"])["judgements"] == 2


def test_text_under_a_title_is_evaluation_text_without_it_too(english: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    build(english, output, ["en"])
    index_benchmarks([output], OverlapOptions(), tmp_path / "index")
    index = Index.read(tmp_path / "index", "en")
    assert [match and match.text_id for match in index.find_many(["two", "A title two", "A title"], "passage")] == [
        "p2",
        "p2",
        None,
    ]


def test_four_times_the_judgements_take_four_times_as_long(tmp_path: Path) -> None:
    def seconds(number: int) -> float:
        data = Data()
        data.corpora = {lang: lambda: ((f"p{i}", "text") for i in range(number)) for lang in ("en", "de")}
        for side, key in (("queries", "q"), ("corpus", "p")):
            path = tmp_path / f"{number}/en/{side}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f'{{"_id": "{key}{i}", "text": "t"}}\n' for i in range(number)), "utf-8")
        texts = {lang: {f"q{i}": "text" for i in range(number)} for lang in ("en", "de")}
        judgements = {f"q{i}": {f"p{i}": 1} for i in range(number)}
        start = time.process_time()
        _read_shared(data, texts, tmp_path / str(number), judgements, 0.01)
        return time.process_time() - start

    assert seconds(20_000) < 8 * seconds(5_000)  # was 16 times, and more
