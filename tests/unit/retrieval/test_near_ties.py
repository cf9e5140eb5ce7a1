"""Near ties: the order of exact scores, also where a list is shorter than others."""

from __future__ import annotations

import numpy as np

from polybatch.retrieval import near_ties
from polybatch.retrieval.keys import NO_PASSAGE, numbers_of, pack


def test_a_list_that_is_shorter_than_the_depth_is_settled_too() -> None:
    """Two copies, of which rounding has the wrong one first: by the rule the smaller number is first."""
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    queries = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    scores = np.array([[1 - 6e-8, 1, 0, 0]] * 2, np.float32)
    keys = pack(scores, np.arange(4))
    keys[1, 2:] = NO_PASSAGE  # excluded
    keys.sort(axis=1)
    assert numbers_of(keys)[:, :2].tolist() == [[1, 0], [1, 0]]
    margin = near_ties.margin(queries)
    reaching = near_ties.reaching(keys, 3, margin)
    settled = near_ties.settled(reaching, queries, lambda numbers: vectors[numbers], margin, 3)
    assert numbers_of(settled)[:, :2].tolist() == [[0, 1], [0, 1]]
    assert settled.shape == (2, 3) and settled[1, 2] == NO_PASSAGE
