"""Translations that come with a source: what is no translation is left out, and every one is counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from polybatch.collect.source import Pair
from polybatch.collect.translation_cleaning import EnglishPassages, clean_translations, foreign_check
from polybatch.core.streams import id_keys
from polybatch.core.text import same_hash

ENGLISH = {"one": "Turns on the lamp.", "two": "Turns off the lamp."}
GERMAN = "Schaltet die Lampe in der Küche sofort wieder ein."


def kept(*pairs: Pair, confidence: float = 0.0, lang: str = "de") -> tuple[list[Pair], dict[str, int]]:
    hashes = np.array([same_hash(text) for text in ENGLISH.values()], dtype=np.uint64)
    counts: Counter[str] = Counter()
    english = EnglishPassages(id_keys(ENGLISH), hashes)
    found = list(clean_translations(pairs, english, foreign_check(lang, confidence), counts))
    return found, dict(counts)


@pytest.mark.parametrize(
    ("query", "passage", "step"),
    [
        ("an", "\u200b", "empty"),
        (" ", "Schaltet ein.", "empty"),
        ("an", "Turns on the lamp!", "passage left in English"),
        ("an", "<b>Turns</b> on the\u00adlamp", "passage left in English"),
        ("Schaltet ein", "schaltet ein.", "query equals passage"),
    ],
)
def test_what_is_no_translation_is_counted(query: str, passage: str, step: str) -> None:
    assert kept(Pair("one", query, passage)) == ([], {step: 1})


def test_translations_and_unknown_pairs_pass() -> None:
    pairs = [Pair("one", "Lamp", GERMAN), Pair("two", "aus", "Turns on the lamp."), Pair("other", "x", "y")]
    assert kept(*pairs) == (pairs, {})  # a query may stay English, and another pair's English passage is not its own


def test_another_language_is_told_where_it_is_asked_for() -> None:
    foreign = Pair("one", "an", "This sentence is not German at all, as anybody can see.")
    german = Pair("two", "an", GERMAN)
    assert kept(foreign, german) == ([foreign, german], {})
    assert kept(foreign, german, confidence=0.5) == ([german], {"another language": 1})
    assert kept(Pair("one", "an", "Too short"), confidence=0.5)[1] == {}
    assert kept(foreign, confidence=0.5, lang="km")[1] == {}  # which lingua does not know
