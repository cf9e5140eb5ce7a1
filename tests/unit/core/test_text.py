"""Normalisation that splits and filters rest on."""

from __future__ import annotations

import re
import unicodedata

import pytest

from polybatch.core.text import (
    clean_markup,
    is_blank,
    number_placeholders,
    same_key,
    text_key,
    unit_interval,
    word_count,
    word_shingles,
    word_units,
)
from polybatch.core.unicode_sets import INVISIBLE_RANGES, character_class


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("كَيْفَ أُعِيدُ ضَبْطَ الْمُوَجِّهِ", "كيف أعيد ضبط الموجه"),
        ("الموجه", "المـــوجه"),
        ("כֵּיצַד לְאַפֵּס", "כיצד לאפס"),
        ("İŞLEM IŞIĞI", "işlem ışığı"),
        ("<![CDATA[<p>Turn it on</p>]]>", "Turn it on"),
        ('<?xml version="1.0"?><p>Turn it on</p>', "Turn it on"),
        ("turn ＜b＞it＜/b＞ on", "turn it on"),
        ("[turn it]\u200b(https://example.org) on", "turn it on"),
        ("turn&#" + "9" * 5000 + ";it on", "turn it on"),
    ],
)
def test_texts_count_as_the_same(one: str, other: str) -> None:
    assert same_key(one) == same_key(other)


@pytest.mark.parametrize(("one", "other"), [("कि", "का"), ("اب", "أب"), ("آ", "ا"), ("\u0640", "\u0640\u0640")])
def test_marks_that_tell_words_apart_stay(one: str, other: str) -> None:
    assert same_key(one) != same_key(other)


def test_keys_are_those_of_the_definition_for_every_character() -> None:
    marks = "".join(c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.category(c) in ("Mn", "Mc"))
    not_word = re.compile(rf"(?:[^\w{marks}]|_)+")
    invisible = re.compile(f"[{character_class(INVISIBLE_RANGES)}]")
    hebrew = [chr(c) for c in range(0x591, 0x5C8) if unicodedata.category(chr(c)) == "Mn"]
    arabic = [chr(c) for c in [*range(0x610, 0x61B), *range(0x64B, 0x653), 0x670, *range(0x6D6, 0x6EE)]]
    syriac = map(chr, range(0x730, 0x74B))
    points = [c for c in [*hebrew, *arabic, *syriac] if unicodedata.category(c) == "Mn"]
    optional = re.compile(f"[{''.join(points)}\u0640\u07fa]")

    def plain(text: str) -> str:
        folded = unicodedata.normalize("NFKC", invisible.sub("", text)).casefold()
        folded = folded.replace("i\u0307", "i").replace("\u0131", "i")
        return not_word.sub(" ", optional.sub("", folded) or folded).strip() or " ".join(folded.split())

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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("what does the <b>red lamp</b> mean", "What does the red lamp mean?"),
        ("<p>Open it.</p><p>Close it.</p>", "Open it. Close it."),
        ("H<sub>2</sub>O", "H2O"),
        ("re\u00adpair of wir\u00ading", "repair of wiring"),
        ("the\u200btime", "the time"),
        ("می\u200cخواهم", "میخواهم"),
        ("[reset](https://x.org/r) it", "reset it"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>"),
        ("<custom id='1'>text</custom>", "text"),
        ("ﬁne \uff21\uff22", "fine AB"),
        ("Cafe\u0301", "CAFÉ"),
    ],
)
def test_the_same_text_has_one_key(one: str, other: str) -> None:
    assert same_key(one) == same_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sort List<String>", "sort List<Integer>"),
        ("i <n holds x> 0", "i 0"),
        ("<br>", "<hr>"),
        ("???", "!!!"),
        ("क", "कि"),
    ],
)
def test_other_texts_have_other_keys(one: str, other: str) -> None:
    assert same_key(one) != same_key(other)


@pytest.mark.parametrize("text", ["", " \t", "\u200b", "\ufeff\u00ad", "\u3164", "\u2800 \u200d", "\x00", "\ufe0f"])
def test_what_cannot_be_seen_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not text_key(text)


@pytest.mark.parametrize("text", ["a", "!", "\u200bx", "๑", "😀\ufe0f", "<br>"])
def test_what_can_be_seen_is_not_blank(text: str) -> None:
    assert not is_blank(text)
    assert text_key(text)


@pytest.mark.parametrize(
    "text",
    ["ម៉ាស៊ីនបូមទឹក", "ປັ໊ມນ້ຳຢູ່ໃສ", "ရေစုပ်စက်ဘယ်မှာလဲ", "ཆུ་འཐེན་འཕྲུལ་འཁོར", "ꦥꦺꦴꦩ꧀ꦥꦧꦚꦸ", "ปั๊มน้ำอยู่ที่ไหน", "打开客厅的灯", "ᬧᭀᬫ᭄ᬧᬬᬾᬄ"],
)
def test_every_script_without_spaces_is_counted_by_characters(text: str) -> None:
    assert word_count(text) >= 2
    assert len(word_units(text)) > 3
    assert len(word_shingles(text_key(text), 1)) > 1


def test_units_of_mixed_text() -> None:
    assert word_units("iPhone 打开 x") == ["iPhone", "打", "开", "x"]
    assert word_shingles("a b c d", 3) == ["a b c", "b c d"]
    assert word_shingles("a b", 3) == ["a b"]
