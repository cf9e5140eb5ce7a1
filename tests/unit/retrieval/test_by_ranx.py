"""ranx's metrics against values worked out by hand, plain formulas, and ranx itself on whole ranked lists."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from math import log2
from pathlib import Path

import numpy as np
import pytest

from polybatch.retrieval import by_ranx
from polybatch.retrieval.by_ranx import rank_values
from polybatch.retrieval.metrics import METRICS, PADDING, RANX_METRICS, is_metric, is_rank_metric, relevant_ranks

BY_RANK = [metric for metric in METRICS if is_rank_metric(metric)]
# Every name of ranx that a config may hold, at a cut-off within and beyond the lists of `some_rankings`.
ALL_METRICS = [
    f"{name}{cut}" for name in RANX_METRICS for cut in ("@5", "@1000", "", "@10-l2") if is_metric(name + cut)
]


def rank_and_judge(
    rankings: np.ndarray, relevant: np.ndarray, relevance: np.ndarray, metrics: list[str]
) -> dict[str, np.ndarray]:
    return rank_values(relevant_ranks(rankings, relevant), relevant, relevance, metrics)


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
    for i in range(40):
        wanted = set(relevant[i].tolist()) - {PADDING}
        ranking = rankings[i].tolist()
        for metric in BY_RANK:
            assert values[metric][i] == pytest.approx(plain(metric, ranking, wanted)), metric


def some_rankings(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rankings with gaps at their ends; up to thirty relevant passages of several grades, some not retrieved."""
    rng = np.random.default_rng(seed)
    queries, passages, most = 60, 400, 30
    rankings = np.stack([rng.permutation(passages) for _ in range(queries)])[:, :300]
    relevant, relevance = np.full((queries, most), PADDING), np.zeros((queries, most), np.int64)
    for row, count in enumerate(rng.integers(1, most + 1, queries)):
        relevant[row, :count] = rng.choice(passages, count, replace=False)
        relevance[row, :count] = np.sort(rng.integers(1, 4, count))[::-1]
        rankings[row, rng.integers(1, 300) :] = PADDING
    return rankings, relevant, relevance


@pytest.mark.parametrize("seed", range(2))
def test_lists_without_the_other_passages_have_the_values_of_whole_ones_to_the_last_bit(seed: int) -> None:
    """Whole lists hold every id and score; padding there is a number that no passage has."""
    from ranx import evaluate

    rankings, relevant, relevance = some_rankings(seed)
    scores = np.broadcast_to(-np.arange(rankings.shape[1]), rankings.shape)
    qrels, run = (np.stack(pair, axis=2).astype(float) for pair in ((relevant, relevance), (rankings, scores)))
    wanted = evaluate(qrels, run, ALL_METRICS, return_mean=False, threads=1)
    found = rank_and_judge(rankings, relevant, relevance, ALL_METRICS)
    for metric in ALL_METRICS:
        assert np.array_equal(found[metric], wanted[metric]), metric


def test_the_names_are_those_of_ranx_with_a_cut_off() -> None:
    from ranx.metrics import metric_switch

    tree = ast.parse(inspect.getsource(metric_switch))
    compared = [node.comparators[0] for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    offered = {node.value for node in compared if isinstance(node, ast.Constant)}
    assert offered == {*RANX_METRICS, "r-precision", "bpref", "rbp"}


def test_one_metric_alone_has_its_values() -> None:
    assert values_of([9, 3], {3: 1}, ["mrr@10"]) == [0.5]


def test_a_query_without_relevant_passages_has_zeros() -> None:
    none = rank_and_judge(np.array([[1, 2]]), np.array([[PADDING]]), np.array([[0]]), BY_RANK)
    assert all(values.tolist() == [0.0] for values in none.values())


def test_few_places_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rankings, relevant, relevance = some_rankings(5)
    whole = rank_and_judge(rankings, relevant, relevance, BY_RANK)
    monkeypatch.setattr(by_ranx, "_MOST_PLACES", 500)
    for metric, values in rank_and_judge(rankings, relevant, relevance, BY_RANK).items():
        assert np.array_equal(values, whole[metric]), metric


def test_lists_are_bounded_by_places_and_end_with_the_last_relevant_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_ranx, "_MOST_PLACES", 1000)
    ranks = np.array([[3], [900], [2], [0], [400]])
    shapes = {tuple(sorted(rows.tolist())): run.shape for rows, run in by_ranx._lists(ranks, ranks * 10, None)}
    assert shapes == {(1,): (1, 900, 1), (0, 4): (2, 400, 1), (2, 3): (2, 2, 1)}
    ((rows, run),) = by_ranx._lists(ranks, ranks * 10, 10)
    assert run.shape == (5, 10, 1)
    assert dict(zip(rows.tolist(), run[:, :, 0].max(axis=1), strict=True)) == {0: 30, 1: -1, 2: 20, 3: -1, 4: -1}


IN_ITS_OWN_PROCESS = """
import os, sys
import numpy as np
from polybatch.retrieval import by_ranx
rng = np.random.default_rng(0)
ranks = np.stack([rng.permutation(5000)[:4] + 1 for _ in range(200)])
relevant, relevance = ranks * 7, np.ones_like(ranks)
found = []
for threads in (3, 1, 2):
    os.environ["OMP_NUM_THREADS"] = str(threads)
    found.append(by_ranx.rank_values(ranks, relevant, relevance, ["map", "ndcg@10"]))
    import numba
    assert numba.get_num_threads() == threads, (numba.get_num_threads(), threads)
assert all(np.array_equal(one[name], found[0][name]) for one in found for name in one)
unwanted = {"scipy.stats", "matplotlib", "seaborn", "ir_datasets"} & set(sys.modules)
assert not unwanted, unwanted
"""


def test_threads_are_those_of_the_job_and_change_nothing_and_no_home_is_needed(tmp_path: Path) -> None:
    """ir_datasets, which ranx imports, makes folders in the home folder, and fails where it has none."""
    from polybatch.retrieval.numba_cache import config

    rank_values(*[np.ones((1, 1), np.int64)] * 3, ["map", "ndcg@10"])  # compiled, so that the process need not
    cache = config.CACHE_DIR or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "polybatch/numba"
    environ = {**os.environ, "OMP_NUM_THREADS": "3", "HOME": "/dev/null/nobody", "NUMBA_CACHE_DIR": str(cache)}
    environ.pop("NUMBA_NUM_THREADS", None)
    subprocess.run([sys.executable, "-c", IN_ITS_OWN_PROCESS], env=environ, check=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_ranx_is_imported_where_it_is_needed_alone() -> None:
    code = "import sys, polybatch.retrieval.score; print(sorted({'ranx', 'numba', 'pandas'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "[]\n"
