"""Embeddings of a projected run are those that its model gives, without a text embedded again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import write_side
from small_projections import (
    LANGUAGES,
    by_hand,
    embed,
    make_benchmark,
    make_model,
    make_parallel,
    project_to,
    projected,
    text,
    texts_in,
    vectors,
)

from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.core.made_from import read_record
from polybatch.embedding.options import EncodeOptions
from polybatch.posthoc.saved import read_projection
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.options import IndexOptions
from polybatch.retrieval.searchable import open_collection


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    parallel = make_parallel(folder)
    make_model(folder / "model")
    for name in ("lir", "centring", "shift"):
        projected(folder / "model", parallel, name, folder / name)
    embed(folder / "model", make_benchmark(folder / "test"), folder / "before")
    return folder


def test_they_equal_what_plain_sentence_transformers_gives(base: Path, tmp_path: Path) -> None:
    output = project_to(base / "lir", base / "test", base / "before", tmp_path / "after")
    for side, prompt in (("queries", "query"), ("corpus", "passage")):
        for lang in (*LANGUAGES, "th"):
            expected = by_hand(base / "lir", texts_in(base / "test", side, lang), prompt)
            np.testing.assert_allclose(vectors(output, side, lang), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["centring", "shift"])
def test_they_are_the_projections_of_those_before(base: Path, tmp_path: Path, name: str) -> None:
    output = project_to(base / name, base / "test", base / "before", tmp_path / "after")
    projection, _ = read_projection(base / name)
    for side in ("queries", "corpus"):
        for lang in (*LANGUAGES, "th"):
            before, after = vectors(base / "before", side, lang), vectors(output, side, lang)
            np.testing.assert_array_equal(after, projection.apply(before, side, lang))
            changed = name == "centring" or (side == "corpus" and lang in ("de", "tr"))
            assert (not np.allclose(before, after, atol=1e-4)) == changed


def test_languages_without_training_text_are_told(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, told in (("shift", "they stay as they are (5 rows)"), ("centring", "mean of all languages is taken off")):
        caplog.clear()
        project_to(base / name, base / "test", base / "before", tmp_path / name)
        assert "no training text in th" in caplog.text and told in caplog.text
    caplog.clear()
    project_to(base / "lir", base / "test", base / "before", tmp_path / "lir")
    assert "no training text" not in caplog.text


def test_a_rerun_keeps_what_is_up_to_date(base: Path, tmp_path: Path) -> None:
    output = project_to(base / "lir", base / "test", base / "before", tmp_path / "after")
    file = output / "corpus/de.npy"
    os.utime(file, ns=(1, 1))
    project_to(base / "lir", base / "test", base / "before", output)
    assert file.stat().st_mtime_ns == 1
    project_to(base / "centring", base / "test", base / "before", output)
    assert file.stat().st_mtime_ns != 1


def test_records_say_what_they_were_made_from(base: Path, tmp_path: Path) -> None:
    output = project_to(base / "lir", base / "test", base / "before", tmp_path / "after")
    record = read_record(output / "embeddings.json")
    assert record and set(record["inputs"]) == {"model", "embeddings"}
    one, before = (read_json(folder / "embeddings.json")["corpus"]["de"] for folder in (output, base / "before"))
    assert one["projected"] == before["sha256"] and one["prompt"] == before["prompt"] == "passage : "


def test_they_can_be_indexed_and_searched(base: Path, tmp_path: Path) -> None:
    output = project_to(base / "lir", base / "test", base / "before", tmp_path / "after")
    build_indexes(output, [*LANGUAGES, "th"], "Flat", IndexOptions(), tmp_path / "index")
    assert len(open_collection(output, tmp_path / "index", base / "test").passage_ids) == 20


def test_half_precision_stays(base: Path, tmp_path: Path) -> None:
    before = embed(base / "model", base / "test", tmp_path / "before", EncodeOptions(dtype="float16"))
    output = project_to(base / "lir", base / "test", before, tmp_path / "after")
    assert vectors(output, "corpus", "de").dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(vectors(output, "corpus", "de").astype(float), axis=1), 1, atol=2e-3)


def test_embeddings_of_other_texts_are_refused(base: Path, tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "test")
    write_side(benchmark, "corpus", "de", [(f"p{i}-de", text("de", i), f"g{i}") for i in range(5)])
    with pytest.raises(DataError, match="not those of the benchmark"):
        project_to(base / "lir", benchmark, base / "before", tmp_path / "after")
