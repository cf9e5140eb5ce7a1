"""Files that are either whole or absent, and Parquet that is checked against its contract when read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_GROUP = 50_000
_TEMPORARY = re.compile(r"\..+\.([\w-]+)\.(\d+)\.partial")


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Gives a temporary path beside `target` and renames it there if the block ends well.

    A job killed at any moment leaves nothing under the final name; what it leaves under the temporary one goes when the
    next run starts (leftovers.py). Works for a file and for a folder (an existing folder of that name is replaced).
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_path(target)
    _remove(partial)  # of a killed process that had the same number
    try:
        yield partial
        if partial.is_dir() and target.is_dir():
            shutil.rmtree(target)
        os.replace(partial, target)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def temporary_path(target: Path) -> Path:
    """A name beside `target` that is this process's alone, and says so: `.en.parquet.node7.4321.partial`."""
    return target.with_name(f".{target.name}.{this_host()}.{os.getpid()}.partial")


def parse_temporary(name: str) -> tuple[str, int] | None:
    """The machine and the process that a name of `temporary_path` names; None for other names."""
    match = _TEMPORARY.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def this_host() -> str:
    """This machine's name as it stands in file names."""
    return re.sub(r"[^\w-]", "-", os.uname().nodename)


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path | str) -> Any:
    """Reads JSON; a missing or broken file is a DataError that names it."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError("A file is missing.", where=path, remedy="run the stage that makes it") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError("A JSON file cannot be read.", where=path, found=str(error)) from error


def sha256_file(path: Path | str) -> str:
    """The file's SHA-256, in hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(*parts: str) -> str:
    """The SHA-256 of several strings, unambiguous about where one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8")
        digest.update(f"{len(raw)}:".encode())
        digest.update(raw)
    return digest.hexdigest()


def write_parquet(path: Path | str, batches: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Streams tables into one zstd Parquet file, atomically; returns the number of rows written."""
    import pyarrow.parquet as pq

    rows = 0
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for table in batches:
            writer.write_table(table.cast(schema), row_group_size=_ROWS_PER_GROUP)
            rows += table.num_rows
    return rows


def write_rows(path: Path | str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> int:
    """Writes a list of records that fits in memory; see `write_parquet` for streams."""
    import pyarrow as pa

    return write_parquet(path, [pa.Table.from_pylist(list(rows), schema=schema)], schema)


def read_parquet(path: Path | str, schema: pa.Schema | None = None) -> pa.Table:
    """Reads a whole Parquet file and checks its columns.

    Args:
        path: The file.
        schema: The contract. Its columns must be there with castable types; others are dropped.

    Raises:
        DataError: The file is missing, truncated, or lacks a column.
    """
    import pyarrow.parquet as pq

    with told_parquet(path):
        table = pq.read_table(path)
    if schema is None:
        return table
    require_columns(path, schema.names, table.column_names, schema)
    return table.select(schema.names).cast(schema)


@contextmanager
def told_parquet(path: Path | str) -> Iterator[None]:
    """Turns what pyarrow raises on a missing, truncated or foreign file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise DataError("A file is missing.", where=path, remedy="run the stage that makes it") from error
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise DataError(
            "A Parquet file cannot be read: it is truncated or not Parquet.",
            where=path,
            found=str(error).splitlines()[0],
            remedy="delete the file and run the same command again",
        ) from error


def require_columns(path: Path | str, wanted: Sequence[str], found: Sequence[str], schema: pa.Schema) -> None:
    """Raises a DataError unless a file has the wanted columns of its contract."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"A Parquet file lacks {len(missing)} column(s): {', '.join(missing)}.",
            where=path,
            expected=", ".join(schema.names),
            found=", ".join(found),
        )
