"""Names of metrics, the rank distance and macro averages against values worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.retrieval.metrics import (
    METRICS,
    PADDING,
    cells_of,
    is_metric,
    macro_average,
    metric_fault,
    rank_distance,
    ranx_metrics,
    relevant_ranks,
)


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
    assert all(
        map(is_metric, [*METRICS, "ndcg@100", "mrr", "hit_rate@5", "token_f1", "language_share@5", "ndcg@10-l2"])
    )
    assert not any(
        map(
            is_metric,
            [
                "MAP",
                "ndcg@0",
                "recall",
                "f1",
                "recall@",
                "accuracy",
                "rank_distance@10",
                "own_language_first@10",
                "own_language_ndcg",
                "tlr",
                "mrc",
                "last_relevant_rank@10",
                "map-l0",
            ],
        )
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ndcg@10", None),
        ("recall", "'recall' needs a cut-off, as in recall@10"),
        ("MAP", "'MAP' is no metric; known are dcg@k, dcg_burges@k"),
        ("bpref", "'bpref' is no metric"),
        (10, "10 is no metric"),
        ("lpr", "'lpr' is called own_language_first now"),
        ("lang_ndcg@5", "'lang_ndcg@5' is called own_language_ndcg@5 now"),
    ],
)
def test_a_fault_of_a_name_says_which_names_there_are(name: object, words: str | None) -> None:
    found = metric_fault(name)
    assert found is None if words is None else words in str(found)


def test_language_aware_ndcg_is_asked_of_ranx_as_its_ndcg() -> None:
    assert ranx_metrics(["map", "own_language_first", "own_language_ndcg@10", "ndcg@10", "own_language_ndcg@5"]) == [
        "map",
        "ndcg@10",
        "ndcg@5",
    ]
