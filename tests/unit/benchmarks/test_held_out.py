"""A benchmark from a held-out split: groups that two languages share, and no pair that a ranking could not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.held_out import main
from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import write_rows

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


def test_a_split_without_text_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    words = ["--benchmark", str(tmp_path / "dev"), "--collected", str(files["en"]), "--split", "dev", "--lang", "en"]
    with pytest.raises(DataError, match="no text in en"):
        main(words)
