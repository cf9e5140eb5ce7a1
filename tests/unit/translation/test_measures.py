"""What a shard measures of its round trips."""

from __future__ import annotations

import pytest
from sacrebleu.metrics import CHRF

from polybatch.core.languages import language
from polybatch.translation.measures import Measurer, repetition

THERE = {
    "Turn on light": "Licht einschalten",
    "Turns on the light in the living room.": "Schaltet das Licht im Wohnzimmer ein.",
    "A name": "A name",
    "Turn it on now": "Turn it, on now!",
    "Nothing": " ",
    "In short": "Kurz gesagt",
}
BACK = {text: english for english, text in THERE.items()} | {"Licht einschalten": "Switch on the lamp"}
PASSAGES = ("Turns on the light in the living room.", "In short")


@pytest.fixture(scope="module")
def columns() -> dict[str, dict]:
    """English query -> what is measured of its pair with the first passage, whose back-translations came in two parts."""
    with Measurer("de") as measurer:
        measures = measurer.begin(THERE, PASSAGES)
        for some in (list(BACK)[:2], list(BACK)[2:]):
            measures.came_back({text: BACK[text] for text in some})
        found = measures.columns((query, PASSAGES[0]) for query in THERE)
    return dict(zip(THERE, found, strict=True))


def test_faults_that_no_threshold_lets_pass(columns: dict[str, dict]) -> None:
    faults = {query: row["fault"] for query, row in columns.items() if row["fault"]}
    assert faults == {"Turn it on now": "copied source", "Nothing": "empty"}


def test_chrf_is_of_each_side(columns: dict[str, dict]) -> None:
    assert columns["Turn on light"]["passage_chrf"] == 100
    assert (
        columns["Turn on light"]["query_chrf"] == CHRF().sentence_score("Switch on the lamp", ["Turn on light"]).score
    )
    assert columns["A name"]["query_chrf"] == 100


def test_length_and_language_are_of_the_passage(columns: dict[str, dict]) -> None:
    english, text = PASSAGES[0], THERE[PASSAGES[0]]
    assert {row["length_ratio"] for row in columns.values()} == {len(text) / len(english) / language("de").length}
    assert all(row["language_confidence"] > 0.5 for row in columns.values())
    with Measurer("de") as measurer:
        measures = measurer.begin({"In short": "Kurz gesagt"}, ["In short"])
        measures.came_back({"Kurz gesagt": "In short"})
        (row,) = measures.columns([("In short", "In short")])
    assert row["language_confidence"] is None, "too short to be judged"


def test_the_same_text_measures_the_same() -> None:
    """lingua's own numbers for it differ in their last bits from call to call."""
    english, text = PASSAGES[0], THERE[PASSAGES[0]]
    with Measurer("de") as measurer:
        found = {measurer.begin({english: text}, [english])._passages.result()[english] for _ in range(100)}
    assert len(found) == 1


def test_a_language_that_lingua_does_not_know_is_measured_without_it(caplog: pytest.LogCaptureFixture) -> None:
    text = "\u1794\u17be\u1780\u1797\u17d2\u179b\u17be\u1784" * 5
    with Measurer("km") as measurer:
        measures = measurer.begin({"Turn on light": text}, ["Turn on light"])
        measures.came_back({text: "Turn on light"})
        (row,) = measures.columns([("Turn on light", "Turn on light")])
    assert (row["language_confidence"], row["query_chrf"]) == (None, 100)
    assert "lingua does not know" in caplog.text


def test_texts_of_one_translation_are_each_measured() -> None:
    with Measurer("de") as measurer:
        measures = measurer.begin({"lamp": "Lampe", "light": "Lampe"}, ["light"])
        measures.came_back({"Lampe": "lamp"})
        (row,) = measures.columns([("lamp", "light")])
    assert row["query_chrf"] == 100 > row["passage_chrf"]


def test_repetition_of_honest_text_is_low() -> None:
    assert repetition("one two three four five six seven") == 0
    assert repetition("yes yes") == 0
    assert repetition("on and on and on and on and on") > 0.5
