"""CSV and TSV, read strictly: a row has the fields of the header, or it is a fault.

inputs: a text file whose first line names its columns
outputs: (where, row or `Fault`), a row being column -> text

Python's csv parses; what it lets pass is looked at here. A quote that is not closed swallows rows, one within a field
without quotes may be the start of a field that was cut, and a row of other length has lost or gained a delimiter: none
of these can be told from what was meant, so none is read. The rules of quoting are those of RFC 4180.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.lines import MAX_LINE_BYTES, numbered_lines
from polybatch.core.values import Fault, shown

NO_QUOTES, AUTO = "none", "auto"
_HINT = 'if the file has no quoting, set source.quote: none; a quote within quotes is written ""'


@dataclass(frozen=True)
class Dialect:
    """How fields are told apart.

    Attributes:
        delimiter: One character.
        quote: One character, `NO_QUOTES`, or `AUTO`: double quotes where a field of the file begins with one, else
            none; no quoted field then goes over several lines.
    """

    delimiter: str
    quote: str


CSV, TSV = Dialect(",", '"'), Dialect("\t", AUTO)


def delimited_rows(path: Path, dialect: Dialect) -> Iterator[tuple[str, dict[str, str] | Fault]]:
    """Streams the rows below the header; empty lines are passed over.

    Yields:
        ("line 7", the row, or what is wrong with it). After a fault it goes on with the next line.

    Raises:
        ConfigError: Delimiter and quote are the same.
        DataError: A line cannot be read (`lines.numbered_lines`), or the header is missing or names a column twice.
    """
    if dialect.quote == dialect.delimiter:
        raise ConfigError(
            f"{dialect.quote!r} cannot be both what divides fields and what stands around them.",
            where=path,
            remedy="correct source.delimiter or source.quote",
        )
    many_lines = True
    if dialect.quote == AUTO:
        many_lines = False
        begins = re.compile(rf'(?:^|{re.escape(dialect.delimiter)})"')
        quoted = any(begins.search(line) for _, line in numbered_lines(path))
        dialect = Dialect(dialect.delimiter, '"' if quoted else NO_QUOTES)
    records = _plain(path, dialect.delimiter) if dialect.quote == NO_QUOTES else _quoted(path, dialect, many_lines)
    header: list[str] | None = None
    for number, record in records:
        if header is None:
            header = _header(path, number, record)
        elif isinstance(record, Fault):
            yield f"line {number}", record
        elif record == header:
            yield (
                f"line {number}",
                Fault("the header again; where files were joined, leave it out of all but the first"),
            )
        elif len(record) != len(header):
            yield f"line {number}", Fault(f"{len(record)} field(s), the header has {len(header)}")
        else:
            yield f"line {number}", dict(zip(header, record, strict=True))


def _header(path: Path, number: int, record: list[str] | Fault) -> list[str]:
    if isinstance(record, Fault):
        raise DataError("The header cannot be read.", where=f"{path}, line {number}", found=str(record))
    twice = sorted({name for name in record if record.count(name) > 1})
    if twice:
        raise DataError(
            "The header names a column twice.",
            where=f"{path}, line {number}",
            found=", ".join(map(shown, twice)),
            remedy="rename or remove one of them; nothing says which is meant",
        )
    return record


def _plain(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in numbered_lines(path):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split(delimiter)


def _quoted(path: Path, dialect: Dialect, many_lines: bool) -> Iterator[tuple[int, list[str] | Fault]]:
    raw: list[str] = []  # the lines of the record at hand
    last = 0

    def lines() -> Iterator[str]:
        nonlocal last
        for number, line in numbered_lines(path):
            last = number
            raw.append(line)
            yield line

    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(lines(), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
    check = _Quoting(dialect)
    while True:
        raw.clear()
        found: list[str] | Fault
        try:
            found = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            too_long = f", or its field has over {MAX_LINE_BYTES} characters" if "limit" in str(error) else ""
            found = Fault((check.fault(raw) or str(error)) + too_long)
        first = last - len(raw) + 1
        if not isinstance(found, Fault):
            if not found:
                continue
            fault = check.fault(raw)
            if not fault and not many_lines and len(raw) > 1:
                fault = f"a quoted field goes on to line {last}; if that is meant, set source.quote: '\"'; {_HINT}"
            if fault:
                found = Fault(fault)
        yield first, found


class _Quoting:
    """Where the quoting of a record breaks the rules."""

    def __init__(self, dialect: Dialect) -> None:
        quote, delimiter = re.escape(dialect.quote), re.escape(dialect.delimiter)
        field = f"(?:{quote}(?:[^{quote}]|{quote}{quote})*+{quote}|[^{quote}{delimiter}\r\n]*+)"
        self.quote = dialect.quote
        self._record = re.compile(rf"{field}(?:{delimiter}{field})*+[\r\n]*+")
        self._fields = re.compile(rf"(?:{field}{delimiter})*+")
        self._closed = re.compile(rf"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}")

    def fault(self, lines: list[str]) -> str:
        """What is wrong with the record that these lines make up; "" if nothing."""
        record = "".join(lines)
        if self.quote not in record or self._record.fullmatch(record):
            return ""
        at = self._fields.match(record).end()  # type: ignore[union-attr]  # it matches the empty text too
        before = [length for length in accumulate(map(len, lines)) if length <= at]
        line = f"line {len(before) + 1} of the row, " if before else ""
        column = at - (before[-1] if before else 0) + 1
        if not record.startswith(self.quote, at):
            column += record.index(self.quote, at) - at
            return f"a quote within a field without quotes at {line}column {column}; {_HINT}"
        closed = self._closed.match(record, at)
        if closed is None:
            return f"a quote opened at {line}column {column} is never closed; {_HINT}"
        return f"text after the closing quote at column {column + closed.end() - at}; {_HINT}"
