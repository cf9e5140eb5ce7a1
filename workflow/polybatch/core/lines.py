"""Lines of text files, with their numbers: what cannot be read is told with its place.

inputs: text files in UTF-8, plain or compressed with gzip
outputs: (number from 1, line), as a stream

A line ends with a line feed, a carriage return, or both. It is at most MAX_LINE_BYTES long, so that a file without line
ends does not fill the memory.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from polybatch.core.errors import DataError

MAX_LINE_BYTES = 16 << 20
_BLOCK = 1 << 18
_GZIP = b"\x1f\x8b"
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# How files begin that are no text, whatever their name says.
_NO_TEXT = {
    b"PAR1\x15": "Parquet",
    b"PK\x03\x04": "a ZIP archive, as spreadsheets are",
    b"\xd0\xcf\x11\xe0": "a file of an older office program",
    b"%PDF-": "PDF",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"BZh91AY&SY": "compressed by bzip2",
    _GZIP: "compressed by gzip twice",
}


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Streams (number from 1, line with its end); a mark of byte order at the start is left out.

    Raises:
        DataError: The file is missing, a folder, or in another encoding; a line is not UTF-8 or too long; or a .gz is
            damaged or cut short there.
    """
    number = 0
    with reading(path):
        try:
            for number, raw in enumerate(_raw_lines(path), start=1):
                yield number, _decoded(raw, number, path)
        except _DAMAGED as error:
            raise _damaged(f"{path}, line {number + 1}", error) from error


def _decoded(raw: bytes, number: int, path: Path) -> str:
    if number == 1:
        require_utf8(raw, f"{path}, line 1")
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        found = f"{error.reason} at column {column}: byte {raw[error.start]:#04x}"
        # Latin-1 has controls where Windows has quotes and dashes, and controls are taken out of texts.
        guess = "windows-1252" if 0x80 <= raw[error.start] < 0xA0 else "latin-1"
        raise _not_utf8(f"{path}, line {number}", found, guess) from error


def require_utf8(start: bytes, where: str) -> None:
    """Raises a DataError if a file begins as one of another encoding does, or as one that is no text."""
    if kind := next((kind for mark, kind in _NO_TEXT.items() if start.startswith(mark)), ""):
        raise DataError(
            "A text file was expected.",
            where=where,
            found=kind,
            remedy="name the file that it was made of, or unpack it",
        )
    mark = next((mark for mark in _OTHER_ENCODINGS if start.startswith(mark)), None)
    if mark:
        raise _not_utf8(where, f"the mark of {_OTHER_ENCODINGS[mark]}", _OTHER_ENCODINGS[mark])
    for first, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):
        if start[first:4:2] == b"\0\0":
            raise _not_utf8(where, f"a null in every second byte, as of {name}", name)


def _not_utf8(where: str, found: str, guess: str) -> DataError:
    return DataError(
        "A text file is not UTF-8.",
        where=where,
        found=found,
        remedy=f"convert it, for example with `iconv -f {guess} -t utf-8`",
    )


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Lines with their ends, as bytes."""
    number, rest = 0, b""
    with opened(path) as handle:
        while block := handle.read(_BLOCK):
            lines = (rest + block).splitlines(keepends=True)
            # The last may go on, and a carriage return may be half of an end.
            rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
            number += len(lines)
            yield from lines
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(
                    "A line is too long to be read.",
                    where=f"{path}, line {number + 1}",
                    expected=f"at most {MAX_LINE_BYTES} bytes",
                    found="a longer one",
                    remedy="a file of JSON lines has an object a line; one document of JSON is no such file",
                )
    if rest:
        yield rest


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what Python raises on a file that cannot be read into a DataError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            "A file is missing.", where=path, remedy="correct its path in the config, or make it"
        ) from error
    except IsADirectoryError as error:
        raise DataError("A folder stands where a file was expected.", where=path, remedy="name a file in it") from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise DataError("A file cannot be read.", where=path, found=f"{type(error).__name__}: {error}") from error


def _damaged(where: object, error: Exception) -> DataError:
    return DataError(
        "A compressed file is damaged.",
        where=where,
        found=f"{type(error).__name__}: {error}",
        remedy="fetch or copy it again; `gzip -t` tests it",
    )


def opened(path: Path) -> BufferedIOBase:
    """The file for reading bytes, decompressed where its name or its first bytes say that it is gzip."""
    handle = path.open("rb")
    if path.suffix == ".gz" or handle.peek(2)[:2] == _GZIP:
        handle.close()
        return gzip.open(path, "rb")
    return handle
