"""Places in the user's files, and keys that are given twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch.config.lines import Lines

FIRST = "study:\n  name: a\n  runs:\n    - {sampling: x-y}\n    - sampling: x-x\nno: 3\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(FIRST, "utf-8")
    (tmp_path / "b.yaml").write_text("# more\n\nstudy: {name: b}\n", "utf-8")
    return ["a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("study", "name"), "b.yaml, line 3"),
        (("study", "runs", 1, "sampling"), "a.yaml, line 5"),
        (("study", "runs", 0, "seeds"), "a.yaml, line 4"),
        (("no",), "a.yaml, line 6"),
        ((False,), "a.yaml, line 6"),
        (("source",), "None"),
    ],
)
def test_a_place_is_that_of_the_last_file_that_gives_the_key(files: list[str], path: tuple, place: str) -> None:
    assert str(Lines(files).of(path)) == place


def test_what_an_anchor_stands_for_has_a_place_under_each_of_its_names(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("study: &a\n  name: c\nmore: *a\n", "utf-8")
    assert str(Lines([*files, "c.yaml"]).of(("more", "name"))) == "c.yaml, line 2"


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("a: 1\nb: 2\na: 3\n", [((), "a", 1)]),
        ("a:\n  - {b: 1}\n  - {b: 1, c: 2, b: 3}\n", [(("a", 1), "b", 3)]),
        ('{"a": 1,\n "a": 2}', [((), "a", 1)]),
        ("a: 1\na: 2\na: 3\n", [((), "a", 1), ((), "a", 1)]),
        ("x: &x {a: 1}\ny: {<<: *x, b: 2}\nz: {<<: *x, b: 3}\n", []),
        ("a: 1\n'1': 2\n1: 3\n", []),
    ],
)
def test_keys_that_are_given_twice(tmp_path: Path, text: str, repeated: list) -> None:
    (tmp_path / "c.yaml").write_text(text, "utf-8")
    assert Lines([tmp_path / "c.yaml"]).repeated == repeated


@pytest.mark.parametrize("text", ["a: [", "a: " + "[" * 3000, "\0", "", "- 1", "a: &a [*a]"])
def test_a_file_that_cannot_be_read_has_no_places_and_is_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, "utf-8")
    assert Lines([tmp_path / "c.yaml", tmp_path / "nowhere.yaml"]).repeated == []
