"""Lines of text files, with their numbers: what cannot be read is told with its place.

inputs: text files in UTF-8, plain or .gz
outputs: none
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from polybatch.core.errors import DataError


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Streams (number from 1, line with its end); a mark of byte order at the start is left out.

    Raises:
        DataError: A line is not UTF-8, or a .gz is damaged or cut short there.
    """
    with _opened(path) as handle:
        number = 0
        while True:
            number += 1
            try:
                raw = handle.readline()
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    "A text file is not UTF-8.",
                    where=f"{path}, line {number}",
                    found=str(error),
                    remedy="convert it, for example with `iconv -t utf-8`",
                ) from error
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    "A compressed file is damaged.",
                    where=f"{path}, line {number}",
                    found=f"{type(error).__name__}: {error}",
                    remedy="fetch or copy it again; `gzip -t` tests it",
                ) from error
            if not raw:
                return
            yield number, line


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
