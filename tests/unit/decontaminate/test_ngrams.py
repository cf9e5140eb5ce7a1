"""N-grams of batches: the same ones as by splitting strings, in every script."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import numpy as np
import pytest

from polybatch.core.text import text_key
from polybatch.decontaminate.ngrams import runs, units

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31f0-\u9fff\U00020000-\U0003ffff]")
WORDS = ["lamp", "door", "a", "b", "ด้าน", "ก", "灯", "门窗", "x灯", "中a", "한국", "कि", "का", "\U00020001", "é"]
ODD = ["", "...", "\u3000", "...\n!!!", " ", "a", "灯" * 40, "灯 " * 9]


def plain_units(form: str) -> list[str]:
    words = [(word, bool(UNSPACED.search(word))) for word in form.split()]
    return [unit for word, split in words for unit in (word if split else [word])]


def texts() -> list[str]:
    draw = random.Random(0)
    made = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(300)]
    return [text_key(text) for text in made] + ODD


def test_units_are_words_or_characters() -> None:
    found, forms = units(texts()), texts()
    expected = [plain_units(form) for form in forms]
    assert found.counts.tolist() == [len(own) for own in expected]
    names = dict(zip((unit for own in expected for unit in own), found.hashes.tolist(), strict=True))
    assert [names[unit] for own in expected for unit in own] == found.hashes.tolist(), "one hash a unit"
    assert len(set(names.values())) == len(names), "and no two units of one hash"
    lone = units(["门窗 lamp", "lamp 灯 door", "灯 lamp"])
    assert lone.unspaced.tolist() == [True, False, False], "more than half"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_runs_stay_within_their_text(size: int) -> None:
    forms = texts()
    found = units(forms)
    owners, hashes = runs(found.hashes, found.counts, size)
    of: dict[int, list[int]] = defaultdict(list)
    for owner, value in zip(owners.tolist(), hashes.tolist(), strict=True):
        of[owner].append(value)
    names: dict[tuple[str, ...], int] = {}
    for number, form in enumerate(forms):
        own = plain_units(form)
        grams = [tuple(own[i : i + size]) for i in range(len(own) - size + 1)]
        assert len(of[number]) == len(grams)
        assert all(names.setdefault(gram, value) == value for gram, value in zip(grams, of[number], strict=True))
    assert len(set(names.values())) == len(names)


def test_no_text_at_all() -> None:
    for nothing in ([], ["", " "]):
        found = units(nothing)
        assert (len(found.hashes), found.counts.sum(), found.unspaced.any()) == (0, 0, False)
        assert len(runs(found.hashes, found.counts, np.full(len(nothing), 3))[0]) == 0
