"""Files that were made one language at a time, each with a record beside it of what it was made from.

A record is a JSON file with the array's or index's name. It decides what a rerun may keep: not the file that lists
all records, because a killed run has not written that one, and Snakemake may have deleted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import stage
from polybatch.errors import DataError
from polybatch.files import read_json, sha256_file

if TYPE_CHECKING:
    import numpy as np


def up_to_date_record(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a file that was made from just this and is still whole, else None."""
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return None
    record = read_json(path.with_suffix(".json"))
    same = all(record.get(key) == value for key, value in wanted.items())
    return record if same and record.get("sha256") == sha256_file(path) else None


def remove_other_languages(folder: Path, languages: Sequence[str], suffixes: Sequence[str]) -> None:
    """Deletes files of languages that are no longer asked for, lest someone takes them for current ones."""
    for path in folder.glob("*"):
        if path.suffix in suffixes and path.stem not in languages:
            path.unlink()
            stage.log.info("removed %s: this language is not asked for", path)


def read_vectors(path: Path, record: dict[str, Any]) -> np.ndarray:
    """Reads an embedding array and checks that it is the one its record describes.

    Returns:
        (rows, dim) float32, C-contiguous, as FAISS takes it.
    """
    import numpy as np

    fault = "" if path.is_file() else "no such file"
    if not fault and sha256_file(path) != record["sha256"]:
        fault = "another content than was written"
    if not fault:
        vectors = np.load(path, allow_pickle=False)
        if vectors.shape == (record["rows"], record["dim"]):
            return np.ascontiguousarray(vectors, np.float32)
        fault = f"shape {vectors.shape}"
    raise DataError(
        "An embedding file is not the one that its record describes.",
        where=path,
        expected=f"{record['rows']} rows of {record['dim']}, SHA-256 {record['sha256']}",
        found=fault,
        remedy="run polybatch.encode again; it replaces damaged files",
    )
