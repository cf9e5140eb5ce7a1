"""chrF of many texts at once is sacrebleu's, to the bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from polybatch.translation import chrf

# Few letters, so that n-grams repeat; white space of several kinds, an end-of-string character, and one beyond 16 bits.
TEXTS = st.text(st.sampled_from("aab \t\u3000\n\0\u00e9\u706f\U0001f600"), max_size=40)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS) | TEXTS.map(lambda text: (text, text)), min_size=1, max_size=6)


def sacrebleu(pairs: list[tuple[str, str]]) -> tuple[list[float], float]:
    outputs, references = ([pair[side] for pair in pairs] for side in (0, 1))
    by_text = [CHRF().sentence_score(*pair) for pair in zip(outputs, [[text] for text in references], strict=True)]
    return [score.score for score in by_text], CHRF().corpus_score(outputs, [references]).score


def ours(pairs: list[tuple[str, str]]) -> tuple[list[float], float]:
    found = chrf.counts([output for output, _ in pairs], [reference for _, reference in pairs])
    return chrf.scores(found).tolist(), float(chrf.scores(found.sum(axis=0)))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_scores_are_those_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    assert ours(pairs) == sacrebleu(pairs)


@pytest.mark.parametrize("letters", [100, 600, 1_500])
def test_any_alphabet_is_counted(letters: int) -> None:
    """Of 600 letters in all, the keys of a few pairs alone fit; of 1,500 in a text, not even those of one pair."""
    text = "".join(chr(0x4E00 + i * 7 % letters) for i in range(2 * letters))
    pairs = [(text[i:], text[: len(text) - 3 * i] + text[:i]) for i in range(20)]
    assert ours(pairs) == sacrebleu(pairs)


def test_texts_in_portions_score_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"the lamp {i} of the door", f"the door {i % 3} of a lamp") for i in range(50)]
    at_once = ours(pairs)
    monkeypatch.setattr(chrf, "_CHARACTERS_AT_ONCE", 100)
    assert ours(pairs) == at_once
    assert chrf.counts([], []).shape == (0, 6, 3)
