"""CSV and TSV: every row that was meant is read as it was meant, or the line is named at which nobody can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from polybatch.core.delimited import CSV, NO_QUOTES, TSV, Dialect, delimited_rows
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.values import Fault


def read(folder: Path, raw: bytes, dialect: Dialect = CSV) -> list[tuple[str, list[str] | str]]:
    """(where, fields or the words of the fault)."""
    path = folder / "file"
    path.write_bytes(raw)
    return [
        (where, str(row) if isinstance(row, Fault) else list(row.values()))
        for where, row in delimited_rows(path, dialect)
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_and_a_mark_of_byte_order(tmp_path: Path, end: bytes) -> None:
    raw = b"\xef\xbb\xbf" + end.join([b"a,b", b"1,2", b"", b'"x,""y""' + end + b'z",', b""])
    second = f'x,"y"{end.decode()}z'
    assert read(tmp_path, raw) == [("line 2", ["1", "2"]), ("line 4", [second, ""])]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"1,2,3", "3 field(s), the header has 2"),
        (b"1", "1 field(s), the header has 2"),
        (b"a,b", "the header again"),
        (b'1,5" screen', "a quote within a field without quotes at column 4"),
        (b'"a" b,2', "text after the closing quote at column 4"),
        (b'1,"never', "a quote opened at column 3 is never closed"),
    ],
)
def test_a_line_that_may_mean_another_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    found = read(tmp_path, b"a,b\n1,2\n" + line + b"\n")
    assert found[0] == ("line 2", ["1", "2"])
    assert found[1][0] == "line 3"
    assert words in found[1][1]


def test_reading_goes_on_after_a_fault(tmp_path: Path) -> None:
    found = read(tmp_path, b'a,b\n"a"b,2\n3,4\n5,6,7\n8,9\n')
    assert [where for where, _ in found] == ["line 2", "line 3", "line 4", "line 5"]
    assert [row for _, row in found if isinstance(row, list)] == [["3", "4"], ["8", "9"]]


def test_tabs_without_quoting_are_read_as_such(tmp_path: Path) -> None:
    raw = b'a\tb\n5" screen\tsay "hi"\n'
    assert read(tmp_path, raw, TSV) == [("line 2", ['5" screen', 'say "hi"'])]
    stray = b'a\tb\n"hi" he said\tx\n1\t2\n'
    assert "text after the closing quote" in read(tmp_path, stray, TSV)[0][1]
    assert read(tmp_path, stray, Dialect("\t", NO_QUOTES))[0] == ("line 2", ['"hi" he said', "x"])


def test_a_quote_swallows_no_lines_of_tabs(tmp_path: Path) -> None:
    raw = b'a\tb\n"x\ty\n1\t2\nz"\tw\n'
    assert "goes on to line 4" in read(tmp_path, raw, TSV)[0][1]
    assert read(tmp_path, raw, Dialect("\t", '"')) == [("line 2", ["x\ty\n1\t2\nz", "w"])]


def test_other_delimiters_and_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, b"a;b\n'x;y';2,5\n", Dialect(";", "'")) == [("line 2", ["x;y", "2,5"])]


def test_long_fields(tmp_path: Path) -> None:
    long = b"word " * 100_000
    assert read(tmp_path, b"a,b\n" + long + b',"' + long + b'"\n') == [("line 2", [long.decode()] * 2)]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="twice"):
        read(tmp_path, b"a,b,a\n1,2,3\n")


def test_a_delimiter_that_quotes_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be both"):
        read(tmp_path, b"a;b\n1;2\n", Dialect(";", ";"))
