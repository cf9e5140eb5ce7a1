"""A benchmark from a held-out split: groups that two languages share, and no pair that a ranking could not tell."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path

import pytest

from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.held_out import benchmark_rows, held_out_texts, main
from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_rows

TEXTS = {"a": ("open door", "The door opens."), "b": ("shut door", "The door shuts."), "c": ("light", "The light.")}
GERMAN = {"a": ("tür auf", "Die Tür."), "b": ("tür zu", "Die Tür."), "c": ("licht", "Das Licht.")}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    collected = [
        {"pair_id": i, "source": "s", "query": q, "passage": p, "split": "test", "kind": "parallel"}
        for i, (q, p) in TEXTS.items()
    ]
    collected.append({**collected[0], "pair_id": "t", "split": "train"})
    supplied = [{"pair_id": i, "source": "s", "query": q, "passage": p} for i, (q, p) in GERMAN.items()]
    write_rows(tmp_path / "en.parquet", collected, contracts.COLLECTED)
    write_rows(tmp_path / "de.parquet", supplied, contracts.PARALLEL)
    return {"en": tmp_path / "en.parquet", "de": tmp_path / "de.parquet"}


def test_a_benchmark_of_two_languages(files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "test"
    common = ["--benchmark", str(folder), "--collected", str(files["en"]), "--split", "test"]
    main([*common, "--lang", "en"])
    main([*common, "--lang", "de", "--supplied", str(files["de"])])
    main(["--benchmark", str(folder), "--qrels", "en", "de"])
    benchmark = load(folder, ["en", "de"])
    assert benchmark.queries["en"].groups.to_pylist() == ["a", "b", "c"]
    assert benchmark.queries["de"].ids.to_pylist() == ["c.de.q"]  # a and b have one passage in German
    assert benchmark.queries["de"].answers.to_pylist() == [[]]
    relevant = [(row["query_id"], row["passage_id"]) for row in benchmark.qrels.to_pylist()]
    assert [p for q, p in relevant if q == "c.de.q"] == ["c.en.p", "c.de.p"]
    assert [p for q, p in relevant if q == "a.en.q"] == ["a.en.p"]


def test_what_a_language_lacks_is_told_and_recorded(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "test"
    write_rows(
        tmp_path / "fr.parquet",
        [{"pair_id": "a", "source": "s", "query": "ouvrir", "passage": "La porte."}],
        contracts.PARALLEL,
    )
    common = ["--benchmark", str(folder), "--collected", str(files["en"]), "--split", "test"]
    main([*common, "--lang", "en"])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    main([*common, "--lang", "de", "--supplied", str(files["de"])])
    assert "test de: 2 of 3 pairs left out" in caplog.text
    assert caplog.text.rstrip().endswith("language: a b")
    main([*common, "--lang", "fr", "--supplied", str(tmp_path / "fr.parquet")])
    assert "test fr: 2 of 3 held-out pairs have no text" in caplog.text
    assert read_json(folder / "left_out/de.json")["left_out"] == ["a", "b"]
    main(["--benchmark", str(folder), "--qrels", "en", "de", "fr"])
    card = read_json(folder / "card.json")
    assert card["queries"] == {"en": 3, "de": 1, "fr": 1}
    assert card["held_out"] == {"en": 3, "de": 3, "fr": 3}
    assert (card["left_out"], card["without_text"]) == ({"de": ["a", "b"]}, {"fr": 2})


def test_texts_that_differ_by_spaces_alone_are_the_same() -> None:
    texts = {
        "a": ("如何打开门", "按下 按钮 即可 打开门"),
        "b": ("怎样开门呢", "按下按钮即可打开门"),
        "c": ("灯在哪里", "灯在厨房里"),
    }
    queries, corpus, left_out = benchmark_rows(texts, "test", "zh")
    assert left_out == ["a", "b"]
    assert [row["group"] for row in queries] == [row["group"] for row in corpus] == ["c"]


def test_memory_does_not_grow_with_the_pairs_that_are_not_held_out(tmp_path: Path) -> None:
    def rows(number: int) -> list[dict]:
        base = {"source": "s", "kind": "parallel", "query": "why", "passage": "because of it " * 20}
        return [{**base, "pair_id": f"{i:016x}", "split": "test" if i < 9 else "train"} for i in range(number)]

    peaks = []
    for number in (3_000, 30_000):
        write_rows(tmp_path / f"{number}.parquet", rows(number), contracts.COLLECTED)
        tracemalloc.start()
        texts, _ = held_out_texts(tmp_path / f"{number}.parquet", tmp_path / f"{number}.parquet", "test")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(texts) == 9
    assert peaks[1] < 3 * peaks[0] + 2**20, peaks


def test_a_split_without_text_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    words = ["--benchmark", str(tmp_path / "dev"), "--collected", str(files["en"]), "--split", "dev", "--lang", "en"]
    with pytest.raises(DataError, match="no text in en"):
        main(words)
