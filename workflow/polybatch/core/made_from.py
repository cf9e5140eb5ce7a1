"""Records of what a file was made from: digests of its inputs, and the options as they were given.

inputs: the files and folders that a stage reads; the options that the configuration gave it
outputs: a record, in the schema's metadata of a Parquet file or under the key `made_from` of a JSON file

A table of results checks the whole chain of these records (tables/chain.py), so that what an earlier configuration
left behind is told, also where Snakemake was told not to look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet, read_json, sha256_file
from polybatch.core.sums import SUMS, sums_of

if TYPE_CHECKING:
    import pyarrow as pa

MADE_FROM = "made_from"
# One file or folder, several in their order, or several by name; None where there is none.
Inputs = Path | str | None | Sequence[Path | str] | Mapping[str, Path | str]


def record(options: Mapping[str, Any], digest_of: Callable[[Path], str] | None = None, **inputs: Inputs) -> dict:
    """Makes the record of a file: what it was made from.

    Args:
        options: JSON values, as the configuration gives them.
        digest_of: Gives a digest of a file or folder; by default `digest`.
        inputs: What was read, by the part that it plays.

    Returns:
        {"inputs": part -> digest, or digests in the same shape, "options": ...}, of JSON values.
    """
    find = digest_of or digest
    digests = {part: _digests(value, find) for part, value in inputs.items()}
    found: dict = json.loads(json.dumps({"inputs": digests, "options": options}))
    return found


def _digests(value: Inputs, find: Callable[[Path], str]) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(name): find(Path(path)) for name, path in value.items()}
    return find(Path(value)) if isinstance(value, (str, Path)) else [find(Path(path)) for path in value]


def digest(path: Path) -> str:
    """The SHA-256 of a file; for a folder that of its checksums, worked out if none lie in it."""
    if not path.is_dir():
        return sha256_file(path)
    if (path / SUMS).is_file():
        return sha256_file(path / SUMS)
    sums = "".join(f"{found}  {name}\n" for name, found in sums_of(path).items())
    return hashlib.sha256(sums.encode("utf-8")).hexdigest()


def with_record(schema: pa.Schema, made_from: Mapping[str, Any]) -> pa.Schema:
    """A schema that carries a record, beside what else its metadata hold."""
    return schema.with_metadata({**(schema.metadata or {}), MADE_FROM: json.dumps(made_from, sort_keys=True)})


def read_record(path: Path | str) -> dict[str, Any] | None:
    """The record of a Parquet or JSON file; None if it has none.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    if Path(path).suffix == ".json":
        found = read_json(path).get(MADE_FROM)
    else:
        raw = (open_parquet(path).schema_arrow.metadata or {}).get(MADE_FROM.encode())
        try:
            found = json.loads(raw) if raw else None
        except ValueError as error:
            raise DataError("The record of what a file was made from is damaged.", where=path) from error
    return found if isinstance(found, dict) and {"inputs", "options"} <= found.keys() else None
