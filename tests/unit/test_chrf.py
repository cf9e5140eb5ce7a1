"""chrF of many pairs against sacrebleu, pair by pair and as a corpus."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from polybatch import chrf

EDGES = [
    ("", ""),
    ("", "a word"),
    ("a word", ""),
    (" \t\n", "a"),
    ("a", "a"),
    ("a", "b"),
    ("ab", "abcdefgh"),
    ("abcdefgh", "ab"),
    ("aaaa aaaa aaaa", "aaa"),
    ("the light turns on", "the light turns on"),
    ("the light turns on", "The lights turn on."),
    ("灯を付ける。", "灯を消す。"),
    ("𝒳𝒴 😀 a\u0301", "😀 \u00e1\u00a0𝒴"),
    ("a\x00b", "a\x00c"),
]


def random_pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(5)
    alphabets = ["ab", "abc def ghi", "aäбв灯 😀 xyz", "the of a to "]
    return [
        ("".join(draw.choices(alphabet, k=draw.randrange(60))), "".join(draw.choices(alphabet, k=draw.randrange(60))))
        for alphabet in alphabets
        for _ in range(count)
    ]


@pytest.mark.parametrize("at_once", [1, 200, 10**6])
def test_every_pair_scores_as_in_sacrebleu_to_the_bit(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chrf, "_CHARACTERS_AT_ONCE", at_once)
    pairs = EDGES + random_pairs(100)
    hypotheses, references = [a for a, _ in pairs], [b for _, b in pairs]
    peer = CHRF()
    counts = chrf.statistics(hypotheses, references)
    assert chrf.scores(counts).tolist() == [peer.sentence_score(a, [b]).score for a, b in pairs]
    assert chrf.corpus_score(counts) == peer.corpus_score(hypotheses, [references]).score


def test_no_pairs_are_no_fault() -> None:
    counts = chrf.statistics([], [])
    assert counts.shape == (0, 6, 3)
    assert chrf.scores(counts).shape == (0,)
    assert chrf.corpus_score(counts) == 0.0


def test_lists_of_different_lengths_are_a_fault() -> None:
    with pytest.raises(ValueError, match="shorter"):
        chrf.statistics(["a", "b"], ["a"])


def test_scores_are_floats_of_their_own() -> None:
    counts = chrf.statistics(["a b"], ["a b"])
    assert counts.dtype == np.int64
    assert chrf.scores(counts).dtype == np.float64
