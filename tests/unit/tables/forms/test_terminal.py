"""Tables within a terminal of a given width."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.forms.terminal import terminal_width, to_terminal, wrapped

NAME = "trained within and across (hybrid, alpha 0.5)"


def wide(columns: int, group: str = "") -> Table:
    named = [Column(f"v{i}", f"a rather long label {i}", group, digits=3, better="higher") for i in range(columns)]
    cells = [Cell(0.5, difference=0.25, mark="better"), Cell(None)]
    return Table("t", "T", "", [text_column("m", "model"), *named], [[Cell(NAME), *[cell] * columns] for cell in cells])


@pytest.mark.parametrize("columns", [1, 4, 5, 20])
@pytest.mark.parametrize("group", ["", "A group with a name that is long"])
def test_no_line_is_wider_than_the_terminal_and_no_value_is_lost(columns: int, group: str) -> None:
    text = to_terminal(wide(columns, group), bold=False, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("0.500 +0.250 ▲") == columns
    assert text.count("–") == columns


def test_words_are_wrapped_before_a_table_is_cut() -> None:
    text = to_terminal(wide(4), bold=False, width=100)
    assert "\n\n" not in text
    assert NAME not in text
    assert "across (hybrid," in text


def test_what_fits_is_left_as_it_is() -> None:
    assert NAME in to_terminal(wide(1), bold=False, width=100)


def test_blocks_repeat_the_words_on_the_left() -> None:
    blocks = to_terminal(wide(20), bold=False, width=100).split("\n\n")
    assert len(blocks) > 1
    assert all("trained within and" in block for block in blocks)


def test_a_table_of_words_alone_is_wrapped() -> None:
    columns = [text_column(str(i), f"column {i}") for i in range(5)]
    table = Table("t", "T", "", columns, [[Cell("word " * 30)] * 5])
    assert max(map(len, to_terminal(table, bold=False, width=100).splitlines())) <= 100


def test_words_behind_the_numbers_are_printed_once_and_no_word_of_theirs_is_broken() -> None:
    said = text_column("said", "said", "Ours")
    columns = [text_column("m", "model"), *[Column(f"v{i}", f"value {i}", "", digits=3) for i in range(12)], said]
    table = Table("t", "T", "", columns, [[Cell(NAME), *[Cell(0.5)] * 12, Cell("not significant")]])
    text = to_terminal(table, bold=False, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("significant") == 1


def test_a_group_that_fits_into_a_block_stays_whole() -> None:
    named = [Column(f"{g}{i}", f"label {i}", f"Group {g}", digits=3) for g in "ab" for i in range(6)]
    table = Table("t", "T", "", [text_column("m", "model"), *named], [[Cell("x" * 20), *[Cell(0.5)] * 12]])
    first, second = to_terminal(table, bold=False, width=100).split("\n\n")
    assert ("Group a" in first, "Group b" in first, "Group b" in second) == (True, False, True)


def test_characters_of_two_columns_are_counted_as_two() -> None:
    columns = [text_column(str(i), name) for i, name in enumerate(("查询", "passage", "คำถาม"))]
    table = Table("t", "T", "", columns, [[Cell("你好世界" * 20), Cell("a word " * 20), Cell("คำถามที่" * 30)]])
    text = to_terminal(table, bold=False, width=60)
    assert max(map(terminal_width, text.splitlines())) <= 60
    assert text.count("你") == 20
    assert terminal_width("你好 abc คำ") == 4 + 1 + 3 + 1 + 2


@pytest.mark.parametrize("width", [1, 5, 80])
def test_wrapping_loses_nothing_but_spaces(width: int) -> None:
    text = "A sentence with a-very-long-run/name/n1000/en+de+el, 中文 and an end."
    lines = wrapped(text, width, "  " if width > 3 else "")
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert max(map(terminal_width, lines)) <= max(width, 2)  # one character is the least


_TEXTS = st.sampled_from(["", "a", "some words of a label", "中文的查询", "unbroken" * 5, "a/long+path " * 7])


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    columns=st.lists(st.tuples(st.booleans(), _TEXTS, _TEXTS), min_size=1, max_size=9),
    text=_TEXTS,
    width=st.integers(60, 120),
)
def test_any_table_of_some_columns_stays_within_the_terminal(columns: list, text: str, width: int) -> None:
    made = [
        text_column(str(i), label, group) if is_text else Column(str(i), label, group, digits=3)
        for i, (is_text, label, group) in enumerate(columns)
    ]
    row = [Cell(text) if column.is_text else Cell(0.25, spread=0.125) for column in made]
    printed = to_terminal(Table("t", "T", "", made, [row]), bold=False, width=width)
    assert max(map(terminal_width, printed.splitlines())) <= width
