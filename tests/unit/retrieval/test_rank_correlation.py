"""MRC@k: against values worked out by hand, scipy, and a plain computation from the vectors of a benchmark on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from small_benchmark import random_embeddings, unit, write_embeddings, write_parallel, write_qrels, write_side

from polybatch.benchmarks.benchmark import excluded_schema
from polybatch.core import contracts
from polybatch.core.files import read_parquet, write_rows
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.metrics import PADDING
from polybatch.retrieval.options import IndexOptions
from polybatch.retrieval.rank_correlation import average_ranks, parallel_queries, rank_correlations, spearman
from polybatch.retrieval.score import main
from polybatch.retrieval.searchable import open_collection

LANGUAGES = ["en", "de", "tr"]
NAN = float("nan")


def scored(folder: Path, benchmark: Path, *metrics: str, **options: object) -> pd.DataFrame:
    """The stage's per-query values of MRC, of a benchmark with embeddings and index in `folder`."""
    grid = {name: 1 if name == "seed" else "1" for name, _ in contracts.GRID_COLUMNS}
    flags = {
        "embeddings": folder / "embeddings",
        "index": folder / "index",
        "benchmark": benchmark,
        "grid": json.dumps(grid),
        "options": json.dumps({"metrics": ["map", *metrics], **options}),
        "scores": folder / "scores.parquet",
        "per-query": folder / "per_query.parquet",
        "run": folder / "run.parquet",
    }
    main([word for flag, value in flags.items() for word in (f"--{flag}", str(value))])
    values = read_parquet(folder / "per_query.parquet", contracts.PER_QUERY).to_pandas()
    return values[values["metric"].str.startswith("mrc@")]


def test_ties_get_the_mean_of_their_ranks() -> None:
    found = average_ranks(np.array([[3.0, 1.0, 3.0, 3.0], [2.0, 2.0, 1.0, np.inf]]))
    assert found.tolist() == [[3, 1, 3, 3], [2.5, 2.5, 1, 4]]


def test_a_correlation_worked_out_by_hand() -> None:
    # Ranks 1 2 3 and 1 3 2: 1 - 6 (0 + 1 + 1) / (3 (9 - 1)) = 0.5. Of 1 2 3 and 3 2 1: -1.
    one, other = np.array([[0.1, 0.2, 0.9]] * 2), np.array([[5.0, 8.0, 7.0], [3.0, 2.0, 1.0]])
    assert spearman(one, other).tolist() == pytest.approx([0.5, -1.0])


def test_without_two_columns_or_two_numbers_there_is_no_correlation() -> None:
    one = np.array([[1.0, NAN, NAN], [1.0, 2.0, 3.0], [NAN, NAN, NAN]])
    other = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [1.0, 2.0, 3.0]])
    assert np.isnan(spearman(one, other)).all()


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 6, (200, 15)).astype(float) for _ in range(2))  # ties in every row
    one[rng.random(one.shape) < 0.2] = NAN
    for a, b, found in zip(one, other, spearman(one, other), strict=True):
        there = ~np.isnan(a)
        assert found == pytest.approx(spearmanr(a[there], b[there]).statistic)


def test_lists_that_share_nothing_do_not_come_out_at_zero() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.random((4000, 10)) + 1, rng.random((4000, 10))
    one, other = np.hstack([high, low]), np.hstack([rng.random((4000, 10)), rng.random((4000, 10)) + 1])
    assert spearman(one, other).mean() == pytest.approx(-0.75, abs=0.01)


def test_questions_are_joined_by_their_group() -> None:
    groups = {"en": ["a", "b", "", "c"], "de": ["c", "", "a"], "tr": ["d", "a"]}
    questions, owner = parallel_queries({lang: pa.array(names) for lang, names in groups.items()})
    assert questions.tolist() == [[0, 2, 1], [3, 0, PADDING]]
    assert owner.tolist() == [[True, True, True], [True, True, False]]


def test_a_second_query_of_a_group_has_a_value_and_stands_beside_no_other() -> None:
    questions, owner = parallel_queries({"en": pa.array(["a", "a"]), "de": pa.array(["a"])})
    assert questions.tolist() == [[0, 0], [1, 0]]
    assert owner.tolist() == [[True, True], [True, False]]


def by_scipy(vectors: dict, k: int) -> dict[str, float]:
    """query id -> RC@k as the paper defines it, from all inner products."""
    pool = np.concatenate([vectors["corpus"][lang] for lang in LANGUAGES])
    scores = {lang: (vectors["queries"][lang] @ pool.T).astype(float) for lang in LANGUAGES}
    found = {}
    for a in LANGUAGES:
        for i, mine in enumerate(scores[a]):
            pairs = []
            for b in set(LANGUAGES) - {a}:
                union = sorted({*np.argsort(-mine)[:k], *np.argsort(-scores[b][i])[:k]})
                pairs.append(spearmanr(mine[union], scores[b][i][union]).statistic)
            found[f"q{i}-{a}"] = float(np.mean(pairs))
    return found


@pytest.mark.parametrize("factory", ["Flat", "HNSW8"])
@pytest.mark.parametrize("depth", ["all", 12])
def test_values_are_those_of_a_plain_computation(tmp_path: Path, factory: str, depth: str | int) -> None:
    benchmark = write_parallel(tmp_path / "test", LANGUAGES, 7, 30)
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    build_indexes(tmp_path / "embeddings", LANGUAGES, factory, IndexOptions(), tmp_path / "index")
    values = scored(tmp_path, benchmark, "mrc@3", "mrc@10", depth=depth, top_k=5, block=3)
    assert set(values["setting"]) == {"multilingual"}
    for k in (3, 10):
        of_k = values[values["metric"] == f"mrc@{k}"]
        assert dict(zip(of_k["query_id"], of_k["value"], strict=True)) == pytest.approx(by_scipy(vectors, k), abs=1e-6)
    means = read_parquet(tmp_path / "scores.parquet", contracts.SCORES).to_pandas()
    means = means[means["metric"] == "mrc@3"].set_index("query_lang")
    assert means["value"].to_dict() == pytest.approx(
        values[values["metric"] == "mrc@3"].groupby("query_lang")["value"].mean().to_dict(), abs=1e-6
    )
    assert set(means["num_queries"]) == {7}
    assert set(means["corpus_lang"]) == {"all"}


def test_the_size_of_blocks_changes_nothing(tmp_path: Path) -> None:
    benchmark = write_parallel(tmp_path / "test", LANGUAGES, 7, 30)
    random_embeddings(tmp_path, benchmark, LANGUAGES)
    collection = open_collection(tmp_path / "embeddings", tmp_path / "index", benchmark)
    first = {
        lang: np.random.default_rng(1).permuted(np.tile(np.arange(90), (7, 1)), axis=1)[:, :4] for lang in LANGUAGES
    }
    whole, parts = (rank_correlations(collection, first, [2, 4], most) for most in (2**20, 1))
    for k in (2, 4):
        assert all(whole[k][lang].tolist() == parts[k][lang].tolist() for lang in LANGUAGES)


def test_queries_without_translations_get_no_value(tmp_path: Path) -> None:
    benchmark = tmp_path / "test"
    for lang in ("en", "de"):
        write_side(benchmark, "queries", lang, [(f"q{i}-{lang}", f"{lang} {i}", "") for i in range(3)])
        write_side(benchmark, "corpus", lang, [(f"p{i}-{lang}", f"{lang} {i}", "") for i in range(4)])
    write_qrels(benchmark, [(f"q{i}-{lang}", f"p{i}-{lang}", 1) for lang in ("en", "de") for i in range(3)])
    random_embeddings(tmp_path, benchmark, ["en", "de"])
    assert scored(tmp_path, benchmark, "mrc@2", settings=["multilingual"]).empty


def test_passages_taken_out_of_a_query_do_not_count_for_its_pairs(tmp_path: Path) -> None:
    """In English p2 p0 p1, in German p0 p1 p2: 1 - 6 (1 + 1 + 4) / (3 (9 - 1)) = -0.5. Without p2 the orders agree."""
    vectors = {
        "queries": {"en": np.array([[1.0, 0.0, 0.3]]), "de": np.array([[1.0, 0.0, -0.3]])},
        "corpus": {"en": np.array([[1, 0, 0], [0.9, 0.3, 0], [0.9, 0, 0.2]]), "de": np.array([[-1.0, 0, 0]])},
    }
    benchmark = write_two_queries(tmp_path, vectors, [["zero", "one", "two"], ["far"]])
    assert scored(tmp_path, benchmark, "mrc@2", settings=["multilingual"])["value"].tolist() == [-0.5, -0.5]
    write_rows(benchmark / "excluded.parquet", [{"query_id": "q-en", "passage_id": "p2-en"}], excluded_schema())
    assert scored(tmp_path, benchmark, "mrc@2", settings=["multilingual"])["value"].tolist() == [1.0, 1.0]


def test_copies_of_a_text_tie_in_every_language(tmp_path: Path) -> None:
    """Ranks from below 3.5 3.5 2 1 and 3.5 3.5 1 2: 3.5 / 4.5, with sums of 384 products each."""
    one, other = np.eye(384)[:2]
    copy = np.random.default_rng(3).standard_normal(384) * (one + other == 0)
    vectors = {
        "queries": {"en": (copy + 4 * one + 2 * other)[None], "de": (copy + 2 * one + 4 * other)[None]},
        "corpus": {"en": np.stack([copy, one]), "de": np.stack([copy, other])},
    }
    benchmark = write_two_queries(tmp_path, vectors, [["the same", "one"], ["the same", "other"]])
    values = scored(tmp_path, benchmark, "mrc@4", settings=["multilingual"])
    assert values["value"].tolist() == pytest.approx([7 / 9, 7 / 9])


def write_two_queries(folder: Path, vectors: dict, texts: list[list[str]]) -> Path:
    """A question in English and German, passages p0-en, p1-en, ... and p0-de, ..., with embeddings and index."""
    for lang, of_lang in zip(("en", "de"), texts, strict=True):
        write_side(folder / "test", "queries", lang, [(f"q-{lang}", "query", "g")])
        write_side(folder / "test", "corpus", lang, [(f"p{i}-{lang}", text, "") for i, text in enumerate(of_lang)])
    write_qrels(folder / "test", [(f"q-{lang}", "p0-en", 1) for lang in ("en", "de")])
    units = {side: {lang: unit(array) for lang, array in of_side.items()} for side, of_side in vectors.items()}
    write_embeddings(folder / "embeddings", folder / "test", units)
    build_indexes(folder / "embeddings", ["en", "de"], "Flat", IndexOptions(), folder / "index")
    return folder / "test"


def test_unjudged_queries_are_left_out_and_still_stand_beside_others(tmp_path: Path) -> None:
    benchmark = write_parallel(tmp_path / "test", LANGUAGES, 3, 8)
    write_qrels(
        benchmark,
        [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in LANGUAGES for b in LANGUAGES for i in range(2)],
    )
    vectors = random_embeddings(tmp_path, benchmark, LANGUAGES)
    values = scored(tmp_path, benchmark, "mrc@3")
    wanted = {query: value for query, value in by_scipy(vectors, 3).items() if not query.startswith("q2")}
    assert dict(zip(values["query_id"], values["value"], strict=True)) == pytest.approx(wanted, abs=1e-6)
