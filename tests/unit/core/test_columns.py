"""Numbers of rows in files, looked through in parts: the same answers as in memory, however small the parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polybatch.core import columns
from polybatch.core.columns import Column, first_rows, lowest, parts, rows_of_many
from polybatch.core.streams import scrambled

ROWS = 1_000


@pytest.fixture(params=[50, 333, ROWS, 100_000])
def rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(columns, "_ROWS_AT_ONCE", request.param)
    return int(request.param)


def column(folder: Path, name: str, values: np.ndarray) -> Column:
    """As a stage writes it: some rows at a time."""
    written = Column(folder / name, values.dtype)
    for start in range(0, len(values), 70):
        written.append(values[start : start + 70])
    return written


def drawn(kinds: int, seed: int) -> np.ndarray:
    return scrambled(np.random.default_rng(seed).integers(0, kinds, ROWS).astype(np.uint64))


def test_a_column_gives_back_what_it_was_given(tmp_path: Path, rows_at_once: int) -> None:
    values = np.random.default_rng(0).random(ROWS)
    written = column(tmp_path, "place", values)
    assert len(written) == ROWS
    assert (written.whole() == values).all()
    chunks = list(written.chunks())
    assert max(len(chunk) for _, chunk in chunks) <= rows_at_once
    assert (np.concatenate([chunk for _, chunk in chunks]) == values).all()
    assert all((values[here] == chunk).all() for here, chunk in chunks)
    rows = np.array([999, 3, 500, 3, 0])
    assert (written.at(rows) == values[rows]).all()
    assert len(written.at(rows[:0])) == 0
    assert (written.where(lambda chunk: chunk < 0.3) == (values < 0.3)).all()
    assert (written.is_in(np.sort(values[rows])) == np.isin(values, values[rows])).all()


def test_an_old_file_of_that_name_is_emptied(tmp_path: Path) -> None:
    column(tmp_path, "keys", drawn(5, 0))
    assert len(list(Column(tmp_path / "keys").chunks())) == 0


def test_parts_hold_every_row_once_and_equal_keys_together(tmp_path: Path, rows_at_once: int) -> None:
    keys, values = drawn(300, 0), drawn(20, 1)
    among = np.arange(ROWS) % 3 > 0
    found = list(parts(column(tmp_path, "keys", keys), column(tmp_path, "values", values), among=among))
    assert (len(found) > 8) == (rows_at_once == 50)
    assert sorted(np.concatenate([rows for rows, *_ in found]).tolist()) == np.flatnonzero(among).tolist()
    assert sum(len(np.unique(keys[rows])) for rows, *_ in found) == len(np.unique(keys[among]))
    for rows, own, others in found:
        assert (np.diff(rows) > 0).all()
        assert (own == keys[rows]).all()
        assert (others == values[rows]).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "values"], "no temporary file is left"


def test_first_rows_are_those_of_the_whole(tmp_path: Path, rows_at_once: int) -> None:
    keys, among = drawn(300, 0), np.arange(ROWS) % 5 > 0
    for mask in (None, among):
        seen: set[int] = set()
        expected = []
        for row, key in enumerate(keys.tolist()):
            counts = mask is None or bool(mask[row])
            expected.append(counts and key not in seen)
            seen |= {key} if counts else set()
        assert first_rows(column(tmp_path, "keys", keys), mask).tolist() == expected


@pytest.mark.parametrize("most", [1, 2, 5])
def test_keys_of_many_distinct_values(tmp_path: Path, rows_at_once: int, most: int) -> None:
    keys, values, among = drawn(200, 0), drawn(4, 1), np.arange(ROWS) % 4 > 0
    distinct: dict[int, set[int]] = {}
    for key, value in zip(keys[among].tolist(), values[among].tolist(), strict=True):
        distinct.setdefault(key, set()).add(value)
    expected = [
        bool(counts) and len(distinct[key]) > most for key, counts in zip(keys.tolist(), among.tolist(), strict=True)
    ]
    assert any(expected) == (most < 4)
    both = column(tmp_path, "keys", keys), column(tmp_path, "values", values)
    assert rows_of_many(*both, among, most).tolist() == expected


def test_the_lowest_rows_are_those_of_a_sort(tmp_path: Path, rows_at_once: int) -> None:
    keys, among = drawn(300, 0), np.arange(ROWS) % 5 > 0
    rows = np.flatnonzero(among)
    order = rows[np.argsort(scrambled(keys[rows]), kind="stable")]
    for count in (0, 1, 2, 399, 799, 800, 5_000):
        taken = np.flatnonzero(lowest(column(tmp_path, "keys", keys), among, count))
        assert taken.tolist() == sorted(order[:count].tolist())
    assert not lowest(column(tmp_path, "keys", keys), np.zeros(ROWS, dtype=bool), 3).any()


def test_no_rows(tmp_path: Path) -> None:
    empty = Column(tmp_path / "keys")
    assert first_rows(empty).tolist() == []
    assert rows_of_many(empty, empty, np.zeros(0, dtype=bool), 1).tolist() == []
    assert lowest(empty, np.zeros(0, dtype=bool), 1).tolist() == []
    assert empty.is_in(np.zeros(0, dtype=np.uint64)).tolist() == []
