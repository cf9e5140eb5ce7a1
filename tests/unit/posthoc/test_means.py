"""Means of languages are those of the texts that were chosen, each embedded once, in whatever parts it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_projections import LANGUAGES, by_hand, make_model, make_parallel, means_file, projected, projected_from

from polybatch.core import contracts
from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json, read_parquet, sha256_file, write_rows
from polybatch.core.made_from import read_record
from polybatch.embedding.embedder import Embedder
from polybatch.posthoc import means
from polybatch.posthoc.texts import choose, texts_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("means")
    make_model(folder / "model")
    make_parallel(folder)
    return folder


@pytest.fixture(scope="module")
def parallel(base: Path) -> dict[str, Path]:
    return {lang: base / f"{lang}.parquet" for lang in LANGUAGES}


def rows_of(file: Path) -> dict[tuple[str, str], tuple[int, np.ndarray]]:
    rows = read_parquet(file, contracts.LANGUAGE_MEANS).to_pylist()
    return {(row["lang"], row["part"]): (row["texts"], np.array(row["mean"])) for row in rows}


def expected_of(base: Path, parallel: dict[str, Path], column: str, limit: int) -> dict[tuple[str, str], list[str]]:
    """(language, part) -> its texts, as often as they count."""
    chosen = {lang: choose(path, column, limit) for lang, path in parallel.items()}
    found = {(lang, "all"): [text.text for text in texts] for lang, texts in chosen.items()}
    for lang in ("de", "tr") if column == "passage" else ():
        english = texts_of(parallel["en"], column, [text.pair_id for text in chosen[lang]])
        both = [text for text in chosen[lang] if text.pair_id in english]
        found[lang, "with_english"] = [text.text for text in both]
        found[lang, "english"] = [english[text.pair_id] for text in both]
    return found


@pytest.mark.parametrize("limit", [500, 25])
@pytest.mark.parametrize(("side", "column"), [("queries", "query"), ("corpus", "passage")])
def test_they_are_plain_means(base: Path, parallel: dict, tmp_path: Path, side: str, column: str, limit: int) -> None:
    found = rows_of(means_file(base / "model", parallel, side, tmp_path / "m.parquet", limit))
    expected = expected_of(base, parallel, column, limit)
    assert found.keys() == expected.keys()
    for key, texts in expected.items():
        number, mean = found[key]
        assert number == len(texts)
        plain = by_hand(base / "model", texts, column).astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(mean, plain, atol=2e-7)


def test_pairs_without_english_count_for_their_language_alone(base: Path, parallel: dict, tmp_path: Path) -> None:
    files = {**parallel, "en": parallel["tr"]}  # English that lacks every third pair
    found = rows_of(means_file(base / "model", files, "corpus", tmp_path / "m.parquet"))
    assert (found["de", "all"][0], found["de", "with_english"][0], found["de", "english"][0]) == (60, 40, 40)
    assert np.abs(found["de", "all"][1] - found["de", "with_english"][1]).max() > 1e-5


def test_chunks_do_not_change_them(base: Path, parallel: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows_of(means_file(base / "model", parallel, "corpus", tmp_path / "whole.parquet"))
    monkeypatch.setattr(means, "_TEXTS_AT_A_TIME", 7)
    for key, (number, mean) in rows_of(means_file(base / "model", parallel, "corpus", tmp_path / "m.parquet")).items():
        assert number == whole[key][0]
        np.testing.assert_allclose(mean, whole[key][1], atol=2e-7)


def test_each_text_is_embedded_once(
    base: Path, parallel: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    prepare = Embedder.prepare

    def noted(self: Embedder, ids: pa.Array, texts: pa.Array) -> object:
        seen.extend(texts.to_pylist())
        return prepare(self, ids, texts)

    monkeypatch.setattr(Embedder, "prepare", noted)
    means_file(base / "model", parallel, "corpus", tmp_path / "m.parquet")
    assert len(seen) == len(set(seen)) == 48 + 60 + 40


def test_projections_from_one_file_are_those_from_files_of_their_own(
    base: Path, parallel: dict, tmp_path: Path
) -> None:
    files = [means_file(base / "model", parallel, side, tmp_path / f"{side}.parquet") for side in ("corpus", "queries")]
    for name in ("lir", "lir-r1", "centring", "shift"):
        given = files if name == "centring" else files[:1]
        one = projected_from(base / "model", given, name, tmp_path / "shared" / name)
        other = projected(base / "model", parallel, name, tmp_path / name)
        for path in one.rglob("*.safetensors"):
            assert sha256_file(path) == sha256_file(other / path.relative_to(one))
        record = read_json(one / "projection.json")["made_from"]
        assert record["inputs"].keys() == {"model", "means"} and len(record["inputs"]["means"]) == len(given)


def test_the_file_says_what_it_was_made_from_and_is_the_same_again(base: Path, parallel: dict, tmp_path: Path) -> None:
    first, again = (means_file(base / "model", parallel, "queries", tmp_path / f"{n}.parquet") for n in "ab")
    record = read_record(first)
    assert record and record["options"] == {"texts": 500, "encoding": {}}
    assert record["inputs"].keys() == {"model", "parallel"} and record["inputs"]["parallel"].keys() == set(LANGUAGES)
    assert sha256_file(first) == sha256_file(again)


def test_a_language_without_text_is_counted(base: Path, parallel: dict, tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    write_rows(empty, [], contracts.PARALLEL)
    found = rows_of(means_file(base / "model", {**parallel, "th": empty}, "corpus", tmp_path / "m.parquet"))
    assert found["th", "all"][0] == found["th", "english"][0] == len(found["th", "all"][1]) == 0


def test_cut_embeddings_are_refused(base: Path, parallel: dict, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whole embeddings"):
        means_file(base / "model", parallel, "corpus", tmp_path / "m", truncate_dim=8)
