"""Evaluation text in training: any text, in any script, wrapped in markup or full of invisible characters, is found."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from polybatch.collect.cleaning import clean_negatives
from polybatch.core.markup import strip_html, strip_markdown
from polybatch.core.text import clean_text, same_key, text_key, word_count
from polybatch.core.unicode_sets import INVISIBLE_RANGES, ranges
from polybatch.decontaminate.overlap import DOCUMENT, PASSAGE, QUERY, Index, IndexBuilder, OverlapOptions, write_record

INVISIBLE = [chr(c) for first, last in ranges(INVISIBLE_RANGES) for c in range(first, min(last, first + 16) + 1)]
WRAPPINGS = ("<b>{}</b>", "<p class='x'>{}</p>", "**{}**", "[{}](https://x.org/a_(b)?c=d)", "<!-- note -->{}", "`{}`")
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
SCRIPTS = (
    "ម៉ាស៊ីនបូមទឹកនៅក្នុងបន្ទប់",
    "ປັ໊ມນ້ຳຢູ່ໃສ",
    "ရေစုပ်စက်ဘယ်မှာလဲ",
    "ཆུ་འཐེན་འཕྲུལ་འཁོར",
    "ꦥꦺꦴꦩ꧀ꦥ",
    "ปั๊มน้ำ",
    "打开",
    "पंप कहाँ है",
    "المضخة أين؟",
    "sort List<String>",
    "Ja",
    "😀",
)
quick = settings(max_examples=80, derandomize=True, deadline=None)


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same with markup around it, invisible characters within it, and in another form of Unicode."""
    text = draw(st.one_of(st.sampled_from(SCRIPTS), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
    assume(any(c.isalnum() for c in clean_text(strip_markdown(text)[0])))  # there is more to it than markup
    assume(not unicodedata.category(text.strip()[:1] or " ").startswith("M"))  # a mark would join the markup before it
    assume(not set("<>&[]()`*_\\") & set(text) or text in SCRIPTS)  # the text's own marks and ours would make others
    other = unicodedata.normalize(draw(st.sampled_from(FORMS)), text)
    places = draw(st.lists(st.integers(0, len(other)), max_size=8))
    for place in places:
        other = other[:place] + draw(st.sampled_from(INVISIBLE)) + other[place:]
    for wrapping in draw(st.lists(st.sampled_from(WRAPPINGS), max_size=2)):
        other = wrapping.format(other)
    return text, other


@quick
@given(disguised())
def test_a_disguised_text_has_the_same_key(pair: tuple[str, str]) -> None:
    text, other = pair
    assert same_key(text) == same_key(other)


@quick
@given(st.text())
def test_cleaning_changes_no_key(text: str) -> None:
    assert text_key(clean_text(text)) == text_key(text)


@quick
@given(st.text(st.sampled_from("ab <>/&;p=\"'#x[]()")))
@example("<p>a&amp;lt;b&amp;gt;</p>")
def test_taking_markup_out_changes_no_key(text: str) -> None:
    plain = strip_html(text)[0]
    assume(any(c.isalnum() for c in clean_text(plain)))
    assert same_key(plain) == same_key(text)


@settings(quick, max_examples=40)
@given(disguised(), st.sampled_from([QUERY, PASSAGE, DOCUMENT]), st.sampled_from([QUERY, PASSAGE]))
def test_a_planted_text_is_found(pair: tuple[str, str], side: str, planted_as: str) -> None:
    """Whichever of the two is trained on, and on whichever side either stands."""
    for evaluated, trained in (pair, pair[::-1]):
        with TemporaryDirectory() as folder:
            options = OverlapOptions()
            with IndexBuilder(Path(folder), "km", options) as builder:
                builder.add("bench", side, ["other", "planted"], ["Some other text.", evaluated], [True, True])
            write_record(Path(folder), options, {"km": {}})
            # Of three words or more also among texts of another language.
            languages = ("km", "de") if word_count(text_key(trained)) >= options.min_words else ("km",)
            matches = [Index.read(Path(folder), lang).find(trained, planted_as) for lang in languages]
        assert [match and match.text_id for match in matches] == ["planted"] * len(languages)


@quick
@given(disguised())
def test_a_passage_in_disguise_is_no_hard_negative_of_itself(pair: tuple[str, str]) -> None:
    text, other = pair
    assert clean_negatives([other, "something else"], text) == ["something else"]


@pytest.mark.parametrize("short", ["Ja", "?", "ok"])
def test_short_texts_are_compared_as_wholes(tmp_path: Path, short: str) -> None:
    with IndexBuilder(tmp_path, "de", OverlapOptions()) as builder:
        builder.add("bench", PASSAGE, ["p"], [short], [True])
    write_record(tmp_path, OverlapOptions(), {"de": {}})
    index = Index.read(tmp_path, "de")
    assert index.find(short, PASSAGE) is not None
    assert index.find(f"{short} {short}", PASSAGE) is None
