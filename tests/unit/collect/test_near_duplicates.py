"""Near duplicates: found where they are, none where they are not, the first kept, whatever the bands."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from polybatch.collect.near_duplicates import PERMUTATIONS, NearDuplicates, band_rows, passage_shingles, query_shingles
from polybatch.core.columns import Column

WORDS = [f"w{i}" for i in range(3_000)]


def jaccard(first: list[str], second: list[str]) -> float:
    return len(set(first) & set(second)) / len(set(first) | set(second))


def removed(rows: list[tuple[str, str]], threshold: float, folder: Path, kept: np.ndarray | None = None) -> np.ndarray:
    near = NearDuplicates(threshold, folder)
    for start in range(0, len(rows), 70):
        part = rows[start : start + 70]
        near.add([query for query, _ in part], [passage for _, passage in part])
    return near.removed(kept)


def test_copies_with_small_changes_are_found_and_nothing_else(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = [(f"question {draw.choice(WORDS)} {i}", " ".join(draw.choices(WORDS, k=80))) for i in range(300)]
    copies = []
    for query, passage in rows[:100]:
        words = passage.split()
        words[draw.randrange(80)] = "changed"
        copies.append((query, " ".join(words)))
    similar = [jaccard(passage_shingles(a), passage_shingles(b)) for (_, a), (_, b) in zip(rows, copies, strict=False)]
    assert min(similar) > 0.9
    gone = removed(rows + copies, 0.85, tmp_path)
    assert not gone[:300].any(), "the first of two is kept, and unlike texts are"
    assert gone[300:].mean() >= 0.95


def test_small_parts_change_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(1)
    rows = [(f"question {draw.choice(WORDS)} {i}", " ".join(draw.choices(WORDS, k=40))) for i in range(200)]
    rows += [(query, f"{passage} more") for query, passage in draw.choices(rows, k=300)]
    kept = np.arange(500) % 7 > 0
    whole = removed(rows, 0.85, tmp_path, kept)
    assert 150 < whole.sum() < 300
    monkeypatch.setattr("polybatch.core.columns._ROWS_AT_ONCE", 31)
    assert (removed(rows, 0.85, tmp_path, kept) == whole).all()


def test_both_sides_must_be_alike(tmp_path: Path) -> None:
    passage = " ".join(WORDS[:80])
    rows = [
        ("who built the old bridge", passage),
        ("when will the market open", passage),
        ("who built the old bridge", "x " + passage),
    ]
    assert removed(rows, 0.8, tmp_path).tolist() == [False, False, True]


def test_a_row_that_went_removes_no_other(tmp_path: Path) -> None:
    rows = [("the same question", " ".join(WORDS[:60]))] * 3
    assert removed(rows, 0.9, tmp_path).tolist() == [False, True, True]
    kept = np.array([False, True, True])
    assert removed(rows, 0.9, tmp_path, kept).tolist() == [False, False, True]


def test_no_rows(tmp_path: Path) -> None:
    assert removed([], 0.9, tmp_path).tolist() == []


def test_texts_shorter_than_a_shingle() -> None:
    assert passage_shingles("two words") == ["two words"]
    assert query_shingles("who") == ["who"]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    width = band_rows(threshold)
    assert 1 - (1 - threshold ** (2 * width)) ** (PERMUTATIONS // width) >= 0.95


def from_a_template(number: int, own_words: int, draw: random.Random) -> list[tuple[str, str]]:
    """Pairs of one question; the answers share 40 words and each has some of its own, in one place."""
    start, end = " ".join(WORDS[:20]), " ".join(WORDS[20:40])
    own = (" ".join(f"own{draw.randrange(number)}x{k}" for k in range(own_words)) for _ in range(number))
    return [("how do i contact you", f"{start} {words} {end}") for words in own]


@pytest.mark.parametrize(("threshold", "own_words"), [(0.9, 1), (0.7, 4), (0.7, 8), (1.0, 1)])
def test_many_rows_of_one_key_are_judged_as_few_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float, own_words: int
) -> None:
    draw = random.Random(3)
    rows = from_a_template(400, own_words, draw)
    rows += [(draw.choice(["how do i reach you", "how do i contact you!"]), passage) for _, passage in rows[:100]]
    with_bits = removed(rows, threshold, tmp_path)
    monkeypatch.setattr("polybatch.collect.near_duplicates._MANY", len(rows))
    one_by_one = removed(rows, threshold, tmp_path)
    assert (with_bits == one_by_one).all()
    assert 0 < with_bits.sum() < len(rows)


def test_bits_spare_most_comparisons_of_texts_from_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared, usual = [], NearDuplicates._are_near
    monkeypatch.setattr(
        NearDuplicates, "_are_near", lambda self, read, first: compared.append(len(read)) or usual(self, read, first)
    )
    rows = from_a_template(1_000, 4, random.Random(4))
    removed(rows, 0.9, tmp_path)
    assert sum(compared) < 20 * len(rows), "all with all would be half of its square, in each band anew"


def test_rows_that_share_a_key_read_little_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole columns once a group would be time with the groups times all rows."""
    near = NearDuplicates(0.9, tmp_path)
    rows = from_a_template(300, 4, random.Random(5))
    near.add([query for query, _ in rows], [passage for _, passage in rows])

    def fail(self: Column, *rows: np.ndarray) -> np.ndarray:
        raise AssertionError("A whole column was read for some rows.")

    monkeypatch.setattr(Column, "at", fail)
    monkeypatch.setattr(Column, "whole", fail)
    asked = []
    usual = Column.of_few
    monkeypatch.setattr(Column, "of_few", lambda self, rows: asked.append(len(rows)) or usual(self, rows))
    near.removed()
    assert asked, "groups of many rows ask whether they were compared in an earlier band"
