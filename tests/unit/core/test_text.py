"""Normalisation that splits and filters rest on."""

from __future__ import annotations

import re
import unicodedata

import pytest

from polybatch.core.text import clean_markup, number_placeholders, text_key, unit_interval, word_count


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("See the [docs](https://x.y/z) **now**", "See the docs now"),
        ("- one\n- two `code`", "one two code"),
        ("<b>Bold</b>  text\n\n here", "Bold text here"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_markup_is_removed(raw: str, shown: str) -> None:
    assert clean_markup(raw) == shown


def test_keys_ignore_case_punctuation_and_width() -> None:
    assert text_key("Turn  ON, the light!") == text_key("turn on the ｌｉｇｈｔ")
    assert text_key("Straße") == text_key("STRASSE")
    assert text_key("!!!") != text_key("???"), "texts without letters must not fall together"


def test_keys_are_those_of_the_definition_for_every_character() -> None:
    marks = "".join(c for c in map(chr, range(0x300, 0xFE30)) if unicodedata.category(c) in ("Mn", "Mc"))
    not_word = re.compile(rf"(?:[^\w{marks}]|_)+")

    def plain(text: str) -> str:
        folded = unicodedata.normalize("NFKC", text).casefold()
        return not_word.sub(" ", folded).strip() or folded.strip()

    for start in range(0, 0x30000, 16):
        characters = [chr(code) for code in range(start, start + 16)]
        for text in ("".join(characters), " A_b".join(characters)):
            assert text_key(text) == plain(text)


def test_placeholders_get_the_same_numbers_in_both_texts() -> None:
    assert number_placeholders("{a} of {b}", "{b} von {a}") == ("{1} of {2}", "{2} von {1}")
    assert number_placeholders("{a} of {b}", "nur {a}") is None


def test_words_of_scripts_without_spaces() -> None:
    assert word_count("turn on the light") == 4
    assert word_count("打开客厅的灯") == 3


def test_unit_interval_is_stable_and_spread() -> None:
    assert unit_interval("a", "b") == unit_interval("a", "b") != unit_interval("ab")
    values = [unit_interval(str(i)) for i in range(2000)]
    assert 0.45 < sum(values) / 2000 < 0.55


def test_vowel_signs_tell_words_apart() -> None:
    assert len({text_key(word) for word in ("की", "कि", "का")}) == 3
    assert text_key("สวัสดี!") == "สวัสดี"
