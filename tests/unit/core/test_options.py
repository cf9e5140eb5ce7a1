"""Options: one declaration, from which come the checks and the words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from polybatch.core.errors import ConfigError
from polybatch.core.option_types import LanguageCodes, Name, described
from polybatch.core.options import (
    ABSENT,
    REQUIRED,
    Conflict,
    Options,
    Section,
    faults_of,
    names_of,
    one_of,
    option,
)


class Inner(Section):
    start: float = option(REQUIRED, "Where it begins.", alias="from")
    to: float = option(1.0, "Where it ends.")


class Sample(Options):
    count: int = option(3, "How many.", ge=1, le=9)
    rate: float = option(0.5, "How fast.", gt=0, lt=1)
    kind: Literal["fast", "slow"] = option("slow", "How.")
    width: Literal["auto"] | Annotated[int, Ge(1)] | None = option("auto", "How wide.")
    label: str = option("", "A label.")
    swap: bool = option(False, "Whether to swap.")
    span: float | Inner = option(1.0, "From where to where.")
    names: list[Name] = option([], "Names.")
    codes: LanguageCodes = option([], "Codes.")
    of: dict[Name, Inner] = option({}, "By name.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.count > 5 and self.kind == "slow":
            yield Conflict(("count", "kind"), "must not be above 5 where kind is slow")


def told(values: dict[str, Any]) -> list[str]:
    return [str(fault) for fault in faults_of(Sample, values)]


def test_sound_values_are_read_and_the_rest_are_defaults() -> None:
    made = Sample.from_json('{"count": 9, "kind": "fast", "rate": 0.25, "width": 7}')
    assert (made.count, made.kind, made.rate, made.width, made.label) == (9, "fast", 0.25, 7, "")
    assert Sample.from_values({"span": 2}).as_dict()["span"] == 2.0
    assert made.changed(count=4).count == 4
    assert Sample().as_dict() == {name: Sample.default_of(name) for name in names_of(Sample)}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"count": 0}, "count: must be a whole number from 1 to 9, not 0"),
        ({"count": 10}, "count: must be a whole number from 1 to 9, not 10"),
        ({"count": 2.0}, "count: must be a whole number from 1 to 9, not 2.0; write 2"),
        ({"count": True}, "count: must be a whole number from 1 to 9, not true"),
        ({"count": "2"}, "count: must be a whole number from 1 to 9, not '2'; write it without quotes"),
        ({"count": None}, "count: must be a whole number from 1 to 9, not null"),
        (
            {"rate": "1e-2"},
            "rate: must be a number above 0, below 1, not '1e-2'; YAML reads 1e-2 as text: write 1.0e-2",
        ),
        ({"rate": float("nan")}, "rate: must be a number above 0, below 1, not nan"),
        ({"rate": float("inf")}, "rate: must be a number above 0, below 1, not inf"),
        ({"rate": False}, "rate: must be a number above 0, below 1, not false"),
        ({"kind": "slwo"}, "kind: must be fast or slow, not 'slwo'; did you mean 'slow'?"),
        ({"width": 0}, "width: must be auto, a whole number from 1 or null, not 0"),
        ({"width": "wide"}, "width: must be auto, a whole number from 1 or null, not 'wide'"),
        ({"label": False}, "label: must be text, not false; write 'no' in quotes: YAML reads it as false"),
        ({"label": 12}, "label: must be text, not 12; write it in quotes: YAML reads it as a number"),
        ({"swap": "yes"}, "swap: must be true or false, not 'yes'; write it without quotes"),
        ({"span": {"form": 1}}, "span.from: is missing; it must be a number"),
        ({"span": "x"}, "span: must be a number or a mapping, not 'x'"),
        ({"span": {"from": "x"}}, "span.from: must be a number, not 'x'"),
        ({"names": ["a", "B"]}, "names.1: must be a name (lower-case letters, digits, _ . -, at most 150), not 'B'"),
        ({"names": ["a\n"]}, "names.0: must be a name (lower-case letters, digits, _ . -, at most 150), not 'a\\n'"),
        ({"names": "a"}, "names: must be a list of names, not 'a'"),
        ({"codes": ["de", "de"]}, "codes: must not repeat 'de'"),
        ({"codes": ["klingon"]}, "codes.0: unknown language 'klingon'; known ISO 639-1 codes: af"),
        ({"of": {"A b": {"from": 1}}}, "of.A b: the key 'A b' must be a name"),
        ({"of": {"a": 3}}, "of.a: must be a mapping, not 3"),
        ({"coutn": 3}, "coutn: unknown key; did you mean 'count'?"),
        ({"zzz": 3}, "zzz: unknown key; known: count, rate,"),
        ({"count": 6}, "count: must not be above 5 where kind is slow"),
    ],
)
def test_a_fault_says_where_what_is_wanted_what_is_there_and_what_may_be_meant(values: dict, text: str) -> None:
    assert told(values)[0].startswith(text)


def test_all_faults_are_told_at_once_conflicts_among_them() -> None:
    assert told({"count": 6, "rate": 2, "coutn": 1}) == [
        "rate: must be a number above 0, below 1, not 2",
        "coutn: unknown key; did you mean 'count'?",
        "count: must not be above 5 where kind is slow",
    ]
    with pytest.raises(ConfigError, match=r"Sample: 2 option\(s\) cannot be used(.|\n)*rate: .*; label: "):
        Sample.from_json('{"rate": 2, "label": 3}')


def test_a_conflict_with_a_value_that_is_wrong_itself_is_not_told() -> None:
    assert len(told({"count": 6, "kind": "quick"})) == 1


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_what_is_no_json_object_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="The options are no JSON"):
        Sample.from_json(text)


def test_just_one_of_several_options() -> None:
    class Choice(Options):
        a: int = option(ABSENT, "One.")
        b: int = option(ABSENT, "The other.")

        def conflicts(self) -> Iterator[Conflict]:
            yield from one_of(self, "a", "b")

    assert [str(fault) for fault in faults_of(Choice, {})] == ["the configuration: needs one of a, b"]
    assert [fault.text for fault in faults_of(Choice, {"a": 1, "b": 2})] == ["a and b do not go together"]
    assert not faults_of(Choice, {"b": 2})


def test_sections_spell_out_their_own_defaults_and_not_those_of_stages() -> None:
    class Mixed(Section, Sample):
        more: int = option(7, "Of the section.")
        nothing: int = option(ABSENT, "Not there.")

    assert Mixed.spelled_out() == {"more": 7}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (list[str], "a list of texts"),
        (list[Literal["all"] | Annotated[int, Ge(1)]], "a list of all or whole numbers from 1"),
        (dict[str, int], "a mapping"),
        (str | None, "text or null"),
    ],
)
def test_a_type_in_words(annotation: Any, words: str) -> None:
    assert described(annotation) == words
