"""Keys in parts: the same answers as all at once."""

from __future__ import annotations

import numpy as np
import pytest

from polybatch.collect.cleaning import passages_per_query
from polybatch.collect.split import Rows, _one_a_passage
from polybatch.core import streams
from polybatch.core.streams import is_first, parts, scrambled


@pytest.fixture
def keys() -> np.ndarray:
    return scrambled(np.random.default_rng(0).integers(0, 300, 1_000).astype(np.uint64))


def test_parts_hold_every_row_once_and_equal_keys_together(keys: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_KEYS_AT_ONCE", 50)
    among = np.arange(1_000) % 3 > 0
    found = list(parts(keys, among))
    assert len(found) > 10
    assert sorted(np.concatenate(found).tolist()) == np.flatnonzero(among).tolist()
    assert sum(len(np.unique(keys[rows])) for rows in found) == len(np.unique(keys[among]))
    assert all((np.diff(rows) > 0).all() for rows in found)


def test_parts_change_no_answer(keys: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    among, passages = np.arange(1_000) % 5 > 0, scrambled(np.arange(1_000, dtype=np.uint64) % np.uint64(7))
    whole = is_first(keys), is_first(keys, among), passages_per_query(keys, passages, among)
    assert len(np.unique(whole[2])) > 3
    monkeypatch.setattr(streams, "_KEYS_AT_ONCE", 50)
    for before, now in zip(
        whole, (is_first(keys), is_first(keys, among), passages_per_query(keys, passages, among)), strict=True
    ):
        assert (before == now).all()


def test_the_first_passages_to_hold_out_are_those_of_the_whole_order() -> None:
    draw = np.random.default_rng(1)
    passages = draw.integers(0, 4_000, 9_000).astype(np.uint64)
    place = draw.random(4_000)[passages.astype(np.int64)]
    ids = scrambled(np.arange(9_000, dtype=np.uint64))
    rows = Rows(
        ids, ids, passages, passages, place, np.zeros(9_000, dtype=bool), np.zeros(9_000, dtype=np.int32), passages
    )
    fit = draw.random(9_000) < 0.9
    order = np.flatnonzero(fit)
    order = order[np.lexsort((ids[order], passages[order], place[order]))]
    order = order[is_first(passages[order])]
    for wanted in (0, 10, 1_500, len(order), len(order) + 5):
        assert _one_a_passage(rows, fit, wanted)[:wanted].tolist() == order[:wanted].tolist()
    assert len(_one_a_passage(rows, fit, len(order) + 5)) == len(order)
