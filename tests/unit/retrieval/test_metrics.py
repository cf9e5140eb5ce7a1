"""Metrics against values worked out by hand and against plain re-computation, ties and short lists included."""

from __future__ import annotations

import itertools
from math import log2

import numpy as np
import pytest

from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.retrieval.metrics import (
    METRICS,
    PADDING,
    cells_of,
    is_metric,
    is_rank_metric,
    macro_average,
    rank_distance,
    rank_values,
    relevant_ranks,
)

BY_RANK = [metric for metric in METRICS if is_rank_metric(metric)]


def rank_and_judge(
    rankings: np.ndarray, relevant: np.ndarray, relevance: np.ndarray, metrics: list[str]
) -> dict[str, np.ndarray]:
    return rank_values(relevant_ranks(rankings, relevant), relevance, metrics)


def values_of(ranking: list[int], grades: dict[int, int], metrics: list[str]) -> list[float]:
    """Values of one query; `grades` maps relevant passages to their relevance."""
    order = sorted(grades, key=lambda passage: -grades[passage])
    relevance = np.array([[grades[passage] for passage in order]])
    values = rank_and_judge(np.array([ranking]), np.array([order]), relevance, metrics)
    return [float(values[metric][0]) for metric in metrics]


def test_by_hand() -> None:
    # relevant: 3 (rank 2), 5 (rank 4), 8 (not retrieved)
    values = values_of([9, 3, 1, 5, 0], {3: 1, 5: 1, 8: 1}, BY_RANK)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    expected = {
        "map": (1 / 2 + 2 / 4) / 3,
        "ndcg@10": (1 / log2(3) + 1 / log2(5)) / ideal,
        "mrr@10": 1 / 2,
        "recall@1": 0.0,
        "recall@10": 2 / 3,
        "recall@100": 2 / 3,
        "f1@10": 2 * (2 / 10) * (2 / 3) / (2 / 10 + 2 / 3),
    }
    assert values == pytest.approx([expected[metric] for metric in BY_RANK])


def test_mrr_and_ndcg_stop_at_their_depth() -> None:
    assert values_of([*range(10, 20), 3], {3: 1}, ["mrr@10", "ndcg@10", "recall@10", "map"]) == [0, 0, 0, 1 / 11]


def test_ndcg_with_grades() -> None:
    (value,) = values_of([1, 2, 3], {1: 1, 3: 3}, ["ndcg@10"])
    assert value == pytest.approx((1 + 3 / log2(4)) / (3 + 1 / log2(3)))


def test_a_precision_over_too_few_passages_still_divides_by_ten() -> None:
    assert values_of([1, 2], {1: 1, 2: 1}, ["f1@10", "precision@10"]) == pytest.approx([2 * 0.2 / 1.2, 0.2])


def test_padding_is_no_passage() -> None:
    short = rank_and_judge(
        np.array([[4, PADDING, PADDING], [4, 7, 2]]),
        np.array([[2, PADDING], [2, 7]]),
        np.array([[1, 0], [1, 1]]),
        BY_RANK,
    )
    assert [short[metric][0] for metric in BY_RANK] == [0.0] * len(BY_RANK)
    assert short["map"][1] == pytest.approx((1 / 2 + 2 / 3) / 2)


def plain(metric: str, ranking: list[int], relevant: set[int]) -> float:
    """The textbook's formula, for binary relevance."""
    name, _, depth = metric.partition("@")
    hits = [passage in relevant for passage in ranking]
    top = hits[: int(depth)] if depth else hits
    if name == "map":
        return sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / len(relevant)
    if name == "mrr":
        return next((1 / (i + 1) for i, hit in enumerate(top) if hit), 0.0)
    if name == "ndcg":
        ideal = sum(1 / log2(i + 2) for i in range(min(len(relevant), int(depth))))
        return sum(1 / log2(i + 2) for i, hit in enumerate(top) if hit) / ideal
    if name == "recall":
        return sum(top) / len(relevant)
    precision, recall = sum(top) / int(depth), sum(top) / len(relevant)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_against_plain_formulas_on_random_rankings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    passages, most = 150, 5
    rankings = np.stack([rng.permutation(passages) for _ in range(40)])
    relevant = np.full((40, most), PADDING)
    for row in relevant:
        count = rng.integers(1, most + 1)
        row[:count] = rng.choice(passages, count, replace=False)
    values = rank_and_judge(rankings, relevant, (relevant != PADDING).astype(int), BY_RANK)
    distances = rank_distance(rankings, relevant)
    for i in range(40):
        wanted = set(relevant[i].tolist()) - {PADDING}
        ranking = rankings[i].tolist()
        for metric in BY_RANK:
            assert values[metric][i] == pytest.approx(plain(metric, ranking, wanted)), metric
        ranks = [ranking.index(passage) + 1 for passage in wanted]
        assert distances[i] == max(ranks) - min(ranks)


@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_ranx_to_the_last_bit(seed: int) -> None:
    """With up to thirty relevant passages of several grades, some of them not retrieved, in rankings with gaps."""
    from ranx import evaluate

    rng = np.random.default_rng(seed)
    queries, passages, most = 60, 400, 30
    rankings = np.stack([rng.permutation(passages) for _ in range(queries)])[:, :300]
    relevant, relevance = np.full((queries, most), PADDING), np.zeros((queries, most), np.int64)
    for row, count in enumerate(rng.integers(1, most + 1, queries)):
        relevant[row, :count] = rng.choice(passages, count, replace=False)
        relevance[row, :count] = np.sort(rng.integers(1, 4, count))[::-1]
        rankings[row, rng.integers(1, 300) :] = PADDING
    metrics = [*BY_RANK, "ndcg", "mrr", "map@100", "precision@5", "hit_rate@3", "hit_rate", "ndcg@1000"]
    qrels, run = np.stack([relevant, relevance], axis=2).astype(float), rankings[:, :, None].astype(float)
    wanted = evaluate(qrels, run, metrics, return_mean=False)
    found = rank_and_judge(rankings, relevant, relevance, metrics)
    for metric in metrics:
        assert np.array_equal(found[metric], wanted[metric]), metric


def test_rank_distance_by_hand() -> None:
    ranking = np.array([[5, 3, 1, 0, 2, 4], [0, 1, 2, 3, 4, 5]])
    assert rank_distance(ranking, np.array([[4, 5, 0], [2, PADDING, PADDING]])).tolist() == [5.0, 0.0]
    assert relevant_ranks(ranking, np.array([[4, 5, 0], [2, 9, PADDING]])).tolist() == [[6, 1, 4], [3, 0, 0]]


def test_rank_distance_is_never_taken_from_a_part_of_the_ranking() -> None:
    with pytest.raises(DataError, match="1 of 2 queries"):
        rank_distance(np.array([[1, 2, PADDING], [3, 1, 2]]), np.array([[1, 3], [1, 3]]))


def test_macro_averages() -> None:
    languages = ["en", "de", "tr"]
    values = {pair: 10.0 * i for i, pair in enumerate(itertools.product(languages, languages))}
    values |= {("en", "all"): 1.0, ("de", "all"): 2.0, ("tr", "all"): 6.0}
    means = {s: macro_average(s, values, cells_of(s, languages, languages)) for s in SETTINGS}
    assert means == {
        "monolingual": (0 + 40 + 80) / 3,
        "cross_lingual": (10 + 20 + 30 + 50 + 60 + 70) / 6,
        "multilingual": 3.0,
    }


@pytest.mark.parametrize(
    ("queries", "corpora", "cells"),
    [
        (["en", "de", "fr"], ["en"], [[("en", "en")], [("de", "en"), ("fr", "en")], []]),
        (["en"], ["en"], [[("en", "en")], [], []]),
        (["en"], ["fa", "ru"], [[], [("en", "fa"), ("en", "ru")], [("en", "all")]]),
    ],
)
def test_a_benchmark_has_the_cells_of_its_languages_and_no_others(queries: list, corpora: list, cells: list) -> None:
    assert [cells_of(setting, queries, corpora) for setting in SETTINGS] == cells


@pytest.mark.parametrize("damage", ["missing", "nan"])
def test_no_macro_average_over_fewer_languages(damage: str) -> None:
    values = {("en", "en"): 0.5, ("de", "de"): float("nan")}
    if damage == "missing":
        del values["de", "de"]
    with pytest.raises(DataError, match="no value for de-de"):
        macro_average("monolingual", values, [("en", "en"), ("de", "de")])


def test_an_average_without_cells_or_over_cells_of_another_setting_is_refused() -> None:
    with pytest.raises(DataError):
        macro_average("cross_lingual", {("en", "en"): 1.0}, [])
    with pytest.raises(ConfigError, match="en-all"):
        macro_average("monolingual", {}, [("en", "all")])
    with pytest.raises(ConfigError, match="bilingual"):
        cells_of("bilingual", ["en"], ["en"])


def test_metric_names() -> None:
    assert all(map(is_metric, [*METRICS, "ndcg@100", "mrr", "hit_rate@5", "token_f1", "language_share@5"]))
    assert not any(
        map(
            is_metric,
            ["MAP", "ndcg@0", "recall", "f1", "recall@", "accuracy", "rank_distance@10", "lpr@10", "lang_ndcg"],
        )
    )
