"""What is held out of many rows, looked for in parts: the same answers as all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polybatch.collect.split import Rows, _one_a_passage
from polybatch.core import columns
from polybatch.core.columns import Column
from polybatch.core.streams import is_first, scrambled


@pytest.mark.parametrize("at_once", [700, 100_000])
def test_the_first_passages_to_hold_out_are_those_of_the_whole_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(columns, "_ROWS_AT_ONCE", at_once)
    draw = np.random.default_rng(1)
    passages = draw.integers(0, 4_000, 9_000).astype(np.uint64)
    place = draw.random(4_000)[passages.astype(np.int64)]
    ids = scrambled(np.arange(9_000, dtype=np.uint64))
    fit = draw.random(9_000) < 0.9
    order = np.flatnonzero(fit)
    order = order[np.lexsort((ids[order], passages[order], place[order]))]
    order = order[is_first(passages[order])]

    def written(values: np.ndarray, name: str) -> Column:
        column = Column(tmp_path / name, values.dtype)
        column.append(values)
        return column

    keys, texts = written(ids, "ids"), written(passages, "passages")
    use = written(np.zeros(9_000, dtype=np.int8), "use")
    rows = Rows(keys, keys, texts, keys, texts, written(place, "place"), use, texts, [9_000], False)
    for wanted in (0, 10, 1_500, len(order), len(order) + 5):
        assert _one_a_passage(rows, fit, wanted)[:wanted].tolist() == order[:wanted].tolist()
    assert len(_one_a_passage(rows, fit, len(order) + 5)) == len(order)
