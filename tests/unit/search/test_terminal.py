"""Answers in the terminal: one line a passage, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from small_study import HYBRID, UNTRAINED

from polybatch.search.answers import Answer, Answers
from polybatch.search.questions import Own
from polybatch.search.terminal import render, visible


def test_the_models_stand_below_one_another_with_what_is_relevant(answers: Answers) -> None:
    told = render(answers.ask(query_id="q1-ar", top=24))
    assert "query q1-ar of the benchmark, in ar" in told
    assert told.index(UNTRAINED) < told.index(HYBRID)
    assert told.count("✓") == 1 + 2 * 4
    assert told.count("languages of the first 10: ") == 2
    assert told.count("relevant passages at ranks ") == 2


def test_what_a_passage_holds_does_not_steer_the_terminal(answers: Answers) -> None:
    told = render(answers.ask("\x1b[2J door 4", top=24))
    assert "taken" in told
    assert {unicodedata.category(character) for character in told if character != "\n"} & {"Cc", "Cs"} == set()


def test_what_a_query_is_called_does_not_steer_the_terminal() -> None:
    """Ids come from the benchmark's files, as passages do."""
    own = Own("\x1b]0;title\x07q1", "en", 0, "where")
    told = render(Answer("where", own, "2 queries read so: \x1b[2J\r (en).", []))
    assert "query �]0;title�q1 of the benchmark" in told
    assert {unicodedata.category(character) for character in told if character != "\n"} & {"Cc", "Cs"} == set()


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 20, "short"),
        ("a\nb\tc", 20, "a b c"),
        ("01234567", 8, "01234567"),
        ("0123456789", 8, "0123456…"),
        ("红色的房子在这里", 9, "红色的房…"),
        ("\x1b[31m\x9b\x00", 20, "�[31m��"),
        ("สวัสดี", 6, "สวัสดี"),
    ],
)
def test_lines_are_cut_by_the_columns_that_they_take(text: str, width: int, shown: str) -> None:
    assert visible(text, width) == shown
