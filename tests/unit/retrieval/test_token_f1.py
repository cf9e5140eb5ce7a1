"""Token F1 against values worked out by hand."""

import pytest

from polybatch.retrieval.token_f1 import token_f1, tokens


@pytest.mark.parametrize(
    ("lang", "text", "wanted"),
    [
        ("en", "The  Quick, brown-fox!", ["quick", "brownfox"]),
        ("de", "Die Quelle des Rheins", ["quelle", "rheins"]),
        ("es", "¿La fuente?", ["fuente"]),
        ("zh", "1998年，柏林 Wall", ["1998", "年", "柏", "林", "wall"]),
        ("th", "กา 7", ["ก", "า", "7"]),
        ("ja", "カラス。", ["カ", "ラ", "ス"]),
        ("hi", "यह घर।", ["यह", "घर"]),
        ("tr", "a the ev", ["a", "the", "ev"]),
    ],
)
def test_normalised_tokens(lang: str, text: str, wanted: list[str]) -> None:
    assert tokens(text, lang) == wanted


def test_the_best_of_the_answers_counts() -> None:
    passage = "The team won in Santa Clara, California."  # six tokens without the article
    assert token_f1(passage, ["Denver", "Santa Clara"], "en") == pytest.approx(2 * 2 / (6 + 2))
    assert token_f1(passage, ["Denver"], "en") == 0.0


def test_repeated_tokens_count_as_often_as_both_have_them() -> None:
    assert token_f1("ha ha ha", ["ha ha"], "tr") == pytest.approx(2 * 2 / 5)


def test_texts_without_tokens_have_nothing_in_common() -> None:
    assert token_f1("", ["the"], "en") == 0.0
