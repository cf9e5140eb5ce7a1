"""What any YAML may hold that no option can."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from polybatch.config.shape import plain
from polybatch.config.user_files import path_fault

HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_json_holds_stays() -> None:
    config = {"a": [1, 2.5, "x", None, True, {"b": []}], "c": {}}
    assert plain(config) == (config, [])


@pytest.mark.parametrize(
    ("config", "kept", "text"),
    [
        ({False: 1, "a": 2}, {"a": 2}, "the key false is no text; write 'no' in quotes: YAML reads it as false"),
        ({1: 1}, {}, "the key 1 is no text; write it in quotes"),
        ({None: 1}, {}, "the key null is no text"),
        (
            {datetime.date(2020, 1, 2): 1},
            {},
            "the key 2020-01-02 is no text; write it in quotes: YAML reads it as a date",
        ),
        ({"a": datetime.date(2020, 1, 2)}, {}, "a: is a date, not text, number, list or mapping; write it in quotes"),
        ({"a": [float("nan"), 1]}, {"a": [1]}, "a.0: is no number that can be reckoned with: nan"),
        ({"a": -float("inf")}, {}, "a: is no number that can be reckoned with: -inf"),
        ({"a": 10**30}, {}, "a: is a whole number of more than 64 bits"),
        ({"a": "x\0"}, {}, "a: holds a null character"),
        ({"a": "\ud800"}, {}, "a: holds a null character, or half of one"),
        ({"a": {"b": nested(2000)}}, None, "a.b.0: is nested more than 50 levels deep"),
        ({"a": HOLDS_ITSELF}, None, "a.0.0: is nested more than 50 levels deep, or holds itself"),
    ],
)
def test_what_it_does_not_hold_is_left_out_and_told(config: dict, kept: Any, text: str) -> None:
    left, faults = plain(config)
    assert len(faults) == 1
    assert text in str(faults[0])
    assert kept is None or left == kept


def test_anchors_that_name_one_another_end() -> None:
    value: Any = [1] * 10
    for _ in range(9):
        value = [value] * 10
    _, faults = plain({"a": value})
    assert "holds more than 1,000,000 values" in faults[0].text


def test_a_path_is_looked_at(tmp_path: Any) -> None:
    (tmp_path / "pairs.jsonl").touch()
    file, folder = str(tmp_path / "pairs.jsonl"), str(tmp_path)
    assert path_fault(file, "file") == path_fault(folder, "folder") == path_fault(file, "file or folder") == ""
    assert path_fault(file, "folder").endswith("is a file; a folder is needed")
    assert path_fault(folder, "file").endswith("is a folder; a file is needed")
    assert path_fault(f"{folder}/pairs.json", "file").endswith(f"did you mean {file}?")
    assert "more than 255 bytes" in path_fault("é" * 130, "file")
    assert "there is no file" in path_fault(f"{file}/below", "file")
