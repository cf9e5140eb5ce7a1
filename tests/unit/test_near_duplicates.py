"""Near duplicates: found where they are, none where they are not, the first kept, whatever the bands."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from polybatch.near_duplicates import (
    PERMUTATIONS,
    NearDuplicates,
    band_rows,
    passage_shingles,
    query_shingles,
    signatures,
)

WORDS = [f"w{i}" for i in range(3_000)]


def trigrams(passage: str) -> list[str]:
    words = passage.split()
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


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
    similar = [jaccard(trigrams(a), trigrams(b)) for (_, a), (_, b) in zip(rows, copies, strict=False)]
    assert min(similar) > 0.9
    gone = removed(rows + copies, 0.85, tmp_path)
    assert not gone[:300].any(), "the first of two is kept, and unlike texts are"
    assert gone[300:].mean() >= 0.95


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


def test_shingles_stay_within_their_text() -> None:
    values, counts = passage_shingles(["two words", "", "one two three four", "two words"])
    assert counts.tolist() == [1, 0, 2, 1]
    assert values[0] == values[3]
    values, counts = query_shingles(["who", "whom", "whose", "who", ""])
    assert counts.tolist() == [1, 1, 2, 1, 0]
    assert values[0] == values[4]
    assert len(set(values.tolist())) == 4


def test_equal_columns_estimate_the_jaccard_similarity() -> None:
    draw, errors = random.Random(1), []
    for _ in range(300):
        first = draw.choices(WORDS, k=draw.randrange(20, 90))
        second = [draw.choice(WORDS) if draw.random() < 0.1 else word for word in first]
        pair = [" ".join(first), " ".join(second)]
        one, other = signatures(*passage_shingles(pair))
        true = jaccard(*map(trigrams, pair))
        errors.append((np.mean(one == other) - true) / np.sqrt(max(true * (1 - true), 0.01) / PERMUTATIONS))
    assert abs(np.mean(errors)) < 0.2, "no bias"
    assert 0.8 < np.std(errors) < 1.2, "and the spread of as many independent permutations"


def test_signatures_do_not_depend_on_the_other_texts() -> None:
    draw = random.Random(2)
    keys = [" ".join(draw.choices(WORDS, k=draw.randrange(0, 40))) for _ in range(600)]
    together = signatures(*passage_shingles(keys))
    assert (together[300:] == signatures(*passage_shingles(keys[300:]))).all()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    width = band_rows(threshold)
    assert 1 - (1 - threshold ** (2 * width)) ** (PERMUTATIONS // width) >= 0.95
