"""Parallel files for tests, as the pipeline writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polybatch.core import contracts
from polybatch.core.files import write_rows


def pair_id(number: int) -> str:
    """An id of 16 hexadecimal digits that sorts as the number does."""
    return f"{number:016x}"


def parallel_row(number: int, query: str, passage: str, **changes: Any) -> dict[str, Any]:
    """One row of contracts.PARALLEL."""
    row = {"pair_id": pair_id(number), "source": "src", "origin": "supplied", "query": query, "passage": passage}
    return {**row, "hard_negatives": [], **changes}


def write_parallel(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes parallel/<lang>.parquet."""
    write_rows(path, list(rows), contracts.PARALLEL)
    return path
