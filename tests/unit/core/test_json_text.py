"""JSON of the user's: strict, and quick with what is too deep or too long."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from linear_time import require_linear

from polybatch.core import lines
from polybatch.core.errors import DataError
from polybatch.core.json_text import MAX_DEPTH, parse, read_document
from polybatch.core.lines import numbered_lines
from polybatch.core.values import Fault


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' is given twice"),
        ('{"a": 1', "column 8"),
        ('{"a":\n 1,,}', "line 2, column 4"),
        ("[" * (MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} at column {MAX_DEPTH + 1}"),
        ('{"a":' * 200, "nested deeper"),
        ("[" + "9" * 5000 + "]", "digits"),
        ("", "no JSON"),
    ],
)
def test_what_cannot_be_parsed_is_told_with_its_column(source: str, words: str) -> None:
    with pytest.raises(Fault, match=words):
        parse(source)


def test_brackets_within_texts_are_no_depth() -> None:
    assert parse('["' + "[{" * 500 + '\\"' + "[" * 500 + '"]')[0].count("[") == 1000
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert len(parse("[" + ",".join(["[]"] * 1000) + "]")) == 1000


@pytest.mark.parametrize(("begin", "piece"), [("", "["), ("", '{"a":'), ('"', '\\"'), ("[", '"[')])
def test_time_is_linear(begin: str, piece: str) -> None:
    def refused(source: str) -> None:
        with pytest.raises(Fault):
            parse(source)

    require_linear(refused, lambda size: begin + piece * size, 80_000)


def test_documents_are_read_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'{"a": 1}'))
    assert read_document(tmp_path / "a.json") == read_document(tmp_path / "a.json.gz") == {"a": 1}
    (tmp_path / "b.json").write_bytes(b'{"a":\n"\xe9"}')
    for name, words in (("b.json", "line 2"), ("c.json", "missing"), ("", "folder")):
        with pytest.raises(DataError, match=words):
            read_document(tmp_path / name)


def test_lines_end_in_any_way_and_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes("\ufeffa\rb\r\nc\n\nd\u2028é".encode())
    assert list(numbered_lines(path)) == [(1, "a\r"), (2, "b\r\n"), (3, "c\n"), (4, "\n"), (5, "d\u2028é")]


def test_an_end_of_two_characters_at_a_block_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BLOCK", 2)
    path = tmp_path / "lines"
    path.write_bytes(b"a\r\nbc\r\n\r\nd")
    assert [line for _, line in numbered_lines(path)] == ["a\r\n", "bc\r\n", "\r\n", "d"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "long.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n" + b"x" * 1_000_000))
    with pytest.raises(DataError, match=r"too long(.|\n)*line 2"):
        list(numbered_lines(path))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("a".encode("utf-16"), "mark of UTF-16"),
        ("a".encode("utf-32"), "mark of UTF-32"),
        ("xé\n".encode("latin-1"), r"line 1\n.*column 2: byte 0xe9"),
        (gzip.compress(b"abc" * 100, mtime=0)[:-9], "damaged"),
    ],
)
def test_other_encodings_are_told_with_line_and_column(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=words):
        list(numbered_lines(path))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (gzip.compress(b"{}", mtime=0), "gzip twice"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16LE"),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16BE"),
        ('{"a": "\u201cx\u201d"}'.encode("cp1252"), "windows-1252"),
    ],
)
def test_what_is_no_text_of_ours_is_named(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "file.jsonl.gz"
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(DataError, match=words):
        list(numbered_lines(path))
    if words != "windows-1252":
        with pytest.raises(DataError, match=words):
            read_document(path)
