"""Projections are what a plain computation gives, and models carry them whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_projections import LANGUAGES, by_hand, make_model, make_parallel, means_file, projected, projected_from, text
from tiny_models import save_tiny_model

from polybatch.core import made_from
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.core.sums import check_sums
from polybatch.encoders.load import load_model
from polybatch.posthoc.estimate import estimate
from polybatch.posthoc.options import ProjectionOptions
from polybatch.posthoc.projections import Directions, LanguageVectors, language_directions, normalised
from polybatch.posthoc.saved import read_projection
from polybatch.posthoc.saved_means import LanguageMeans
from polybatch.posthoc.texts import choose, texts_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("estimate")
    make_model(folder / "model")
    make_parallel(folder)
    return folder


@pytest.fixture(scope="module")
def parallel(base: Path) -> dict[str, Path]:
    return {lang: base / f"{lang}.parquet" for lang in LANGUAGES}


def read_means(base: Path, parallel: dict[str, Path], output: Path, min_texts: int = 20) -> LanguageMeans:
    file = means_file(base / "model", parallel, "corpus", output)
    return LanguageMeans.read([file], made_from.digest(base / "model"), min_texts)


def mean(base: Path, lang: str, column: str) -> np.ndarray:
    texts = [chosen.text for chosen in choose(base / f"{lang}.parquet", column, 500)]
    return by_hand(base / "model", texts, column).astype(np.float64).mean(axis=0)


def some(rows: int = 7, dim: int = 16) -> np.ndarray:
    return normalised(np.random.default_rng(0).normal(size=(rows, dim)), "")


def test_lir_is_the_plain_projection(base: Path, parallel: dict, tmp_path: Path) -> None:
    projection, record = read_projection(projected(base / "model", parallel, "lir", tmp_path / "lir"))
    means = np.stack([mean(base, lang, "passage") for lang in LANGUAGES])
    # Everything at right angles to the differences of the means, which a least-squares fit takes away.
    differences = (means - means[0])[1:].T
    vectors = some()
    fitted = differences @ np.linalg.lstsq(differences, vectors.T, rcond=None)[0]
    expected = (vectors.T - fitted).T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(projection.apply(vectors, "queries", "xx"), expected, atol=2e-5)
    left = means @ projection.matrix.T
    np.testing.assert_allclose(left - left[0], 0, atol=1e-5)
    assert record["rank"] == 2 and record["explained"] == pytest.approx(1)
    assert record["texts"] == {"passage.en": 48, "passage.de": 60, "passage.tr": 40}


def test_a_rank_keeps_the_directions_of_most_difference(base: Path, parallel: dict, tmp_path: Path) -> None:
    projection, record = read_projection(projected(base / "model", parallel, "lir-r1", tmp_path / "lir"))
    means = np.stack([mean(base, lang, "passage") for lang in LANGUAGES])
    first = np.linalg.eigh(np.cov(means.T))[1][:, -1]
    np.testing.assert_allclose(projection.matrix, np.eye(16) - np.outer(first, first), atol=1e-4)
    assert record["rank"] == 1 and 0.5 < record["explained"] < 1
    with pytest.raises(DataError, match="fewer directions"):
        estimate(read_means(base, parallel, tmp_path / "m.parquet"), "lir-r3", ProjectionOptions())


def test_centring_takes_the_means_of_each_side_off(base: Path, parallel: dict, tmp_path: Path) -> None:
    projection, record = read_projection(projected(base / "model", parallel, "centring", tmp_path / "centred"))
    vectors, found = some(), {}
    for side, column in (("queries", "query"), ("corpus", "passage")):
        found[side] = {lang: mean(base, lang, column) for lang in LANGUAGES}
        for lang in LANGUAGES:
            expected = vectors - found[side][lang]
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(projection.apply(vectors, side, lang), expected, atol=1e-5)
        of_all = vectors - np.mean(list(found[side].values()), axis=0)
        of_all /= np.linalg.norm(of_all, axis=1, keepdims=True)
        np.testing.assert_allclose(projection.apply(vectors, side, "th"), of_all, atol=1e-5)
    assert not np.allclose(found["queries"]["en"], found["corpus"]["en"], atol=1e-3)
    assert record["texts"]["query.tr"] == 40 and "mean of the languages' means" in record["other_languages"]


def test_shift_takes_the_difference_to_english_off_passages_alone(base: Path, parallel: dict, tmp_path: Path) -> None:
    folder = projected(base / "model", parallel, "shift", tmp_path / "shift", strength=0.6)
    projection, record = read_projection(folder)
    vectors = some()
    for lang in ("de", "tr"):
        chosen = choose(parallel[lang], "passage", 500)
        english = texts_of(parallel["en"], "passage", [one.pair_id for one in chosen])
        pairs = [(one.text, english[one.pair_id]) for one in chosen]
        theirs, ours = (by_hand(base / "model", list(side), "passage") for side in zip(*pairs, strict=True))
        expected = vectors - 0.6 * (theirs - ours).mean(axis=0)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(projection.apply(vectors, "corpus", lang), expected, atol=1e-5)
    for side, lang in (("queries", "de"), ("corpus", "en"), ("corpus", "th")):
        assert projection.apply(vectors, side, lang) is vectors
    assert record["strength"] == 0.6 and record["texts"] == {"passage.de": 60, "passage.tr": 40}
    assert sorted(load_file(folder / "language_vectors.safetensors")) == ["corpus.de", "corpus.tr"]


def test_a_model_with_lir_needs_nothing_of_ours(base: Path, parallel: dict, tmp_path: Path) -> None:
    folder = projected(base / "model", parallel, "lir", tmp_path / "lir")
    assert check_sums(folder)
    projection, _ = read_projection(folder)
    texts = [text(lang, i) for lang in LANGUAGES for i in range(5)]
    for prompt in ("query", "passage"):
        expected = projection.apply(by_hand(base / "model", texts, prompt), "corpus", "en")
        np.testing.assert_allclose(by_hand(folder, texts, prompt), expected, atol=1e-5)
    model = load_model(folder, device="cpu")
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert model.prompts["query"] == "query : "
    card = (folder / "README.md").read_text("utf-8")
    assert "2 directions projected out" in card and "no text's language needs to be known" in card


def test_a_model_that_needs_languages_says_so(base: Path, parallel: dict, tmp_path: Path) -> None:
    folder = projected(base / "model", parallel, "shift", tmp_path / "shift")
    card = (folder / "README.md").read_text("utf-8")
    assert "The language of every text must be known" in card and "| passage.tr | 40 |" in card
    texts = [text("de", i) for i in range(3)]
    np.testing.assert_array_equal(by_hand(folder, texts, "passage"), by_hand(base / "model", texts, "passage"))
    # The lines of the card are lines that run.
    code = card.partition("```python\n")[2].partition("```")[0].replace("path/to/this/folder", str(folder))
    names: dict = {}
    exec(code, names)
    expected = read_projection(folder)[0].apply(by_hand(folder, texts, "passage"), "corpus", "de")
    np.testing.assert_allclose(names["embed"](texts, "de", "corpus"), expected, atol=1e-6)


def test_a_second_projection_comes_after_the_first(base: Path, parallel: dict, tmp_path: Path) -> None:
    once = projected(base / "model", parallel, "lir-r1", tmp_path / "once")
    twice = projected(once, parallel, "lir", tmp_path / "twice")
    record = read_json(twice / "projection.json")
    assert record["before"]["projection"] == "lir-r1" and (record["before"]["module"], record["module"]) == (2, 4)
    model = load_model(twice, device="cpu")
    assert [type(module).__name__ for module in model][2:] == ["Dense", "Normalize"] * 2
    texts = [text("de", i) for i in range(3)]
    expected = read_projection(twice)[0].apply(by_hand(once, texts, "query"), "queries", "de")
    np.testing.assert_allclose(by_hand(twice, texts, "query"), expected, atol=1e-5)


def test_too_few_texts_are_told_for_all_languages(base: Path, parallel: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few training texts") as told:
        estimate(read_means(base, parallel, tmp_path / "m.parquet", 50), "lir", ProjectionOptions())
    assert "en: 48, tr: 40" in str(told.value) and "at least 50" in str(told.value)


def test_what_cannot_be_projected_is_refused(base: Path, parallel: dict, tmp_path: Path) -> None:
    def refused(files: dict, projection: str) -> str:
        with pytest.raises(ConfigError) as told:
            estimate(read_means(base, files, tmp_path / "m.parquet"), projection, ProjectionOptions())
        return str(told.value)

    assert "two languages or more" in refused({"en": parallel["en"]}, "lir")
    assert "moves passages to English" in refused({lang: parallel[lang] for lang in ("de", "tr")}, "shift")


def test_means_of_another_model_or_side_are_refused(base: Path, parallel: dict, tmp_path: Path) -> None:
    passages = means_file(base / "model", parallel, "corpus", tmp_path / "m.parquet")
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(DataError, match="those of another model"):
        projected_from(other, [passages], "lir", tmp_path / "lir")
    with pytest.raises(DataError, match="no means of the queries"):
        projected_from(base / "model", [passages], "centring", tmp_path / "centred")
    assert not (tmp_path / "lir").exists() and not (tmp_path / "centred").exists()


def test_languages_without_a_difference_have_no_direction() -> None:
    with pytest.raises(DataError, match="fewer directions"):
        language_directions({"en": np.ones(4), "de": np.ones(4)}, None)


def test_a_vector_that_is_projected_out_whole_is_told() -> None:
    basis = np.eye(3)[:1]
    with pytest.raises(DataError, match=r"corpus/de(.|\n)*1 of 2, the first in row 1"):
        Directions.from_basis(basis).apply(np.eye(3, dtype=np.float32)[[1, 0]], "corpus", "de")
    same = np.eye(3, dtype=np.float32)
    with pytest.raises(DataError, match="no direction"):
        LanguageVectors({"corpus.de": same[0]}).apply(same, "corpus", "de")


def test_a_damaged_projection_is_told(base: Path, parallel: dict, tmp_path: Path) -> None:
    folder = projected(base / "model", parallel, "centring", tmp_path / "centred")
    (folder / "language_vectors.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match="damaged"):
        read_projection(folder)
    with pytest.raises(DataError, match=r"projection\.json"):
        read_projection(save_tiny_model(tmp_path / "plain"))
