"""Values of the user's files: what is taken, what is missing, and what is refused."""

from __future__ import annotations

import datetime

import pytest

from polybatch.core.errors import DataError
from polybatch.core.values import Fault, Faults, grade, identifier, is_missing, looks_converted, text, texts

NAN = float("nan")


@pytest.mark.parametrize(("value", "read"), [("a", "a"), (" 1.0 ", " 1.0 "), ("", ""), (None, ""), (NAN, "")])
def test_texts_stay_as_they_are(value: object, read: str) -> None:
    assert text(value, "query") == read


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "query is a number, not text: 1"),
        (True, "query is true or false, not text: True"),
        (["a"], r"query is a list, not text: \['a'\]"),
        ({"a": 1}, "query is an object, not text"),
        (b"a", "query is bytes, not text"),
        (datetime.date(2026, 1, 1), "query is a date, not text"),
        ("so\ud83d", r"query holds half a surrogate pair, \\ud83d, at character 3"),
    ],
)
def test_what_is_no_text_is_refused_with_its_type(value: object, words: str) -> None:
    with pytest.raises(Fault, match=words):
        text(value, "query")


@pytest.mark.parametrize(
    ("value", "read"),
    [("q1 ", "q1 "), (7, "7"), (-7, "-7"), (7.0, "7"), (10**30, "1" + "0" * 30), (None, ""), (NAN, ""), ("007", "007")],
)
def test_ids_are_texts_or_whole_numbers(value: object, read: str) -> None:
    assert identifier(value, "id") == read


@pytest.mark.parametrize("value", [7.5, True, float("inf"), 1e300, [1], {}, b"1", "\udc00"])
def test_other_ids_are_refused(value: object) -> None:
    with pytest.raises(Fault, match="id"):
        identifier(value, "id")


def test_lists_of_texts() -> None:
    assert texts(["a", None, NAN, ""], "negatives") == ["a", "", "", ""]
    assert texts(None, "negatives") == texts("", "negatives") == texts(NAN, "negatives") == []
    with pytest.raises(Fault, match=r"negatives\[1\] is a number, not text: 2"):
        texts(["a", 2], "negatives")
    with pytest.raises(Fault, match="negatives is text, no list"):
        texts("a", "negatives")


@pytest.mark.parametrize(("value", "read"), [("1", 1), ("-12", -12), (0, 0), ("007", 7)])
def test_judgements_are_whole_numbers(value: object, read: int) -> None:
    assert grade(value, "score") == read


@pytest.mark.parametrize("value", ["", "1.0", "--1", "+1", "1_000", "٣", "1" * 10, 1.0, True, None, 10**12])
def test_other_judgements_are_refused(value: object) -> None:
    with pytest.raises(Fault, match="score"):
        grade(value, "score")


def test_missing_is_null_or_nan() -> None:
    assert is_missing(None)
    assert is_missing(NAN)
    assert not any(map(is_missing, ["", "nan", 0, False, []]))


def test_the_first_faults_are_shown_and_all_are_counted() -> None:
    faults = Faults("mine.csv")
    faults.tell("none")
    for number in range(25):
        faults.add(f"line {number}", "empty query")
    with pytest.raises(DataError) as caught:
        faults.tell("{number} rows cannot be used.")
    assert "25 rows cannot be used." in str(caught.value)
    assert "line 9: empty query; and 15 more" in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "None", "<NA>", "['a', 'b']", '["a"]'])
def test_printed_forms_are_noticed(value: str) -> None:
    assert looks_converted(value)


@pytest.mark.parametrize("value", ["none of them", "[a]", "Nanna", "['a'] and more", ""])
def test_other_texts_are_no_printed_forms(value: str) -> None:
    assert not looks_converted(value)
