"""Tables within a terminal of a given width."""

from __future__ import annotations

import pytest

from polybatch.tables.forms.table import Cell, Column, Table, text_column
from polybatch.tables.forms.terminal import to_terminal

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
