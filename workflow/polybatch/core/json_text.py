"""JSON of the user's, parsed strictly: nothing is lost, and no document is too deep or too long for this machine.

inputs: a line or a whole document, as text; or a document's file, plain or compressed with gzip
outputs: its value

Python's parser takes the last of two equal keys, and its time and memory grow with the depth of what it reads. Here a
repeated key is a fault, and depth and length are looked at before it parses.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.lines import opened, reading, require_utf8
from polybatch.core.values import Fault, shown

MAX_DEPTH = 100
MAX_DOCUMENT_BYTES = 256 << 20  # Python takes some four times as much memory for it
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def parse(source: str) -> Any:
    """The value of a JSON text. NaN is read as JSON's writers in Python mean it: `values.is_missing` knows it.

    Raises:
        Fault: It is no JSON, is nested deeper than MAX_DEPTH, or gives a key twice; with the column (and line, where
            there are several).
    """
    if source.count("[") + source.count("{") > MAX_DEPTH:
        _require_shallow(source)
    try:
        return json.loads(source, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise Fault(f"no JSON: {error.msg.removesuffix(' at')} at {_place(source, error.pos)}") from None
    except ValueError as error:  # a number of thousands of digits
        raise Fault(f"no JSON that can be read: {str(error).split(';')[0]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(f"the key {shown(twice)} is given twice")
    return value


def _require_shallow(source: str) -> None:
    depth = 0
    for found in _STRUCTURE.finditer(source):
        if found[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Fault(f"nested deeper than {MAX_DEPTH} at {_place(source, found.start())}")
        elif found[0] in "]}":
            depth -= 1


def _place(source: str, at: int) -> str:
    line = source.count("\n", 0, at) + 1
    column = at - source.rfind("\n", 0, at)
    return f"column {column}" if "\n" not in source.rstrip() else f"line {line}, column {column}"


def read_document(path: Path) -> Any:
    """The value of a JSON file, plain or .gz.

    Raises:
        DataError: It is missing, a folder, larger than MAX_DOCUMENT_BYTES, damaged, not UTF-8, or no JSON.
    """
    with reading(path), opened(path) as handle:
        raw = handle.read(MAX_DOCUMENT_BYTES + 1)
    return parse_document(raw, path)


def parse_document(raw: bytes, where: object) -> Any:
    """As `read_document`, of a file's bytes."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DataError(
            "A JSON document is too large to be read at once.",
            where=where,
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes",
            remedy="write it as JSON lines",
        )
    require_utf8(raw[:16], str(where))
    try:
        return parse(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            "A JSON file is not UTF-8.",
            where=f"{where}, line {line}",
            found=f"{error.reason} at byte {error.start + 1}",
            remedy="convert it, for example with `iconv -t utf-8`",
        ) from error
    except Fault as fault:
        raise DataError("A JSON file cannot be read.", where=where, found=str(fault)) from fault
