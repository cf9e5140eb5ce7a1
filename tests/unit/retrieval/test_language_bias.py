"""Measures of language bias against values worked out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from polybatch.core.errors import DataError
from polybatch.retrieval.language_bias import Pool, bias_values, distance_from_pool, language_shares
from polybatch.retrieval.metrics import FIRST_PASSAGE, PADDING

# Passages 0, 1, 2 are English (0), 3, 4 German (1), 5 Turkish (2); 6 is German and in no corpus.
POOL = Pool(np.array([0, 0, 0, 1, 1, 2, 1]), np.array([3, 2, 1]) / 6)


def values_of(ranking: list[int], relevant: dict[int, int], own: int, metrics: list[str]) -> list[float]:
    """One query's values; `relevant` maps passages to their relevance."""
    order = sorted(relevant, key=lambda passage: -relevant[passage])
    grades = np.array([[relevant[passage] for passage in order]])
    found = bias_values(np.array([ranking]), np.array([order]), grades, POOL, own=own, metrics=metrics)
    return [float(found[metric][0]) for metric in metrics]


def test_the_preference_is_the_language_of_the_best_placed_relevant_passage() -> None:
    relevant = {0: 1, 3: 1, 5: 1}
    assert values_of([1, 3, 0, 5, 2, 4], relevant, 1, ["own_language_first"]) == [1.0]
    assert values_of([1, 3, 0, 5, 2, 4], relevant, 0, ["own_language_first"]) == [0.0]


def test_a_relevant_passage_that_no_corpus_holds_is_never_the_best_placed() -> None:
    assert values_of([1, 0, 2], {6: 1, 0: 1}, 1, ["own_language_first"]) == [0.0]


def test_without_a_choice_of_languages_there_is_no_preference() -> None:
    assert np.isnan(values_of([1, 3, 0], {0: 1, 1: 1}, 0, ["own_language_first"])[0])
    assert np.isnan(values_of([1, 3, 0], {3: 1, 5: 1}, 0, ["own_language_first"])[0])


def test_a_cut_ranking_that_hides_the_preference_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 1 queries"):
        values_of([1, 2, PADDING], {0: 1, 3: 1}, 0, ["own_language_first"])


def test_relevant_passages_in_other_languages_gain_half() -> None:
    ideal = 1 + 0.5 / log2(3) + 0.5 / log2(4)
    (english,) = values_of([3, 0, 1, 5], {0: 1, 3: 1, 5: 1}, 0, ["own_language_ndcg@10"])
    assert english == pytest.approx((0.5 + 1 / log2(3) + 0.5 / log2(5)) / ideal)
    (german,) = values_of([3, 0, 1, 5], {0: 1, 3: 1, 5: 1}, 1, ["own_language_ndcg@10"])
    assert german == pytest.approx((1 + 0.5 / log2(3) + 0.5 / log2(5)) / ideal)


def test_grades_count_and_a_high_grade_abroad_beats_a_low_one_at_home() -> None:
    (value,) = values_of([0, 3], {3: 4, 0: 1}, 0, ["own_language_ndcg@2"])
    assert value == pytest.approx((1 + 2 / log2(3)) / (2 + 1 / log2(3)))


@pytest.mark.parametrize(("first", "case"), [(0, 0), (3, 1), (1, 2), (4, 3)])
def test_the_first_passage_is_one_of_four(first: int, case: int) -> None:
    ranking = [first, *(passage for passage in range(6) if passage != first)]
    assert values_of(ranking, {0: 1, 3: 1}, 0, list(FIRST_PASSAGE)) == [float(i == case) for i in range(4)]


def test_a_query_language_without_passages_gets_no_value_that_compares_with_it() -> None:
    metrics = ["rank_distance", "own_language_first", "own_language_ndcg@10", "first_relevant_own", "language_tvd@2"]
    found = bias_values(np.array([[3, 0]]), np.array([[3]]), np.array([[1]]), POOL, own=-1, metrics=metrics)
    assert list(found) == ["rank_distance", "language_tvd@2"]


def test_shares_and_their_distance_from_the_pool() -> None:
    rankings = np.array([[0, 3, 1, 5], [5, PADDING, PADDING, PADDING]])
    assert language_shares(rankings, POOL, 2).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert distance_from_pool(rankings, POOL, 2).tolist() == pytest.approx([1 / 6, 5 / 6])
    assert distance_from_pool(np.array([range(6)]), POOL, 6).tolist() == [0.0]


def test_recall_of_other_languages_counts_no_passage_of_the_own_one() -> None:
    relevant = {0: 1, 3: 1, 5: 1, 6: 1}  # three in other languages than English, of which 6 is in no corpus
    assert values_of([0, 3, 1, 5, 2, 4], relevant, 0, ["tlr@2", "tlr@4"]) == pytest.approx([1 / 3, 2 / 3])
    assert values_of([0, 3, 1, 5, 2, 4], relevant, 2, ["tlr@1", "tlr@2"]) == pytest.approx([1 / 3, 2 / 3])
    assert np.isnan(values_of([0, 3], {0: 1, 1: 1}, 0, ["tlr@2"])[0])


def test_the_last_relevant_rank_is_that_of_the_last_translation() -> None:
    assert values_of([1, 3, 0, 5, 2, 4], {0: 1, 3: 1, 5: 1}, 0, ["last_relevant_rank", "rank_distance"]) == [4.0, 2.0]
    with pytest.raises(DataError, match="last relevant rank needs the full ranking"):
        values_of([1, 3, PADDING], {0: 1, 3: 1}, 0, ["last_relevant_rank"])
