"""Files that are either whole or absent, and Parquet that is checked against its contract when read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError, made_again

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_GROUP = 50_000
_SMALL_PAGE = 1 << 24
_SEAL = "~sha256"
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


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` for temporary files of the stage that makes it; gone when the block ends.

    What a killed job leaves of it goes when the next run starts, by its name (leftovers.py).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = f".{this_host()}.{os.getpid()}.partial"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=ending) as folder:
        yield Path(folder)


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


def write_json(path: Path | str, value: Any, *, sealed: bool = True, compact: bool = False) -> None:
    """Writes `value` as indented JSON with sorted keys, atomically; a `compact` list has a line a member.

    An object gets one key more, `~sha256`: the digest of all others, by which `read_json` tells damage. Give
    `sealed=False` for a file of another program's format.
    """
    if sealed and isinstance(value, Mapping):
        value = json.loads(json.dumps(value))  # keys as they are read back: a number is text then
        value[_SEAL] = _seal(value)
    if compact and isinstance(value, list):
        lines = (json.dumps(one, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for one in value)
        text = "[\n" + ",\n".join(lines) + "\n]"
    else:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    write_text(path, text + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, "utf-8")


def _seal(value: Mapping[str, Any]) -> str:
    return sha256_text(json.dumps(value, sort_keys=True))


class JsonObject(dict[str, Any]):
    """An object as read from a file: a key that is not there is a DataError that names the file."""

    where: Path | str = ""

    def __missing__(self, key: str) -> Any:
        raise DataError(
            f"A JSON file lacks the key {key!r}.",
            where=self.where,
            found=", ".join(map(str, self)) or "no key",
            remedy=made_again(self.where),
        )


def read_json(path: Path | str, shape: type = dict) -> Any:
    """Reads JSON, without the seal of `write_json`.

    Args:
        path: The file.
        shape: dict or list, whichever it must hold; object for any. Objects, also within others, are `JsonObject`s.

    Raises:
        DataError: The file is missing, unreadable, no JSON, of another shape, or not as it was written.
    """

    def named(value: dict[str, Any]) -> JsonObject:
        found = JsonObject(value)
        found.where = path
        return found

    try:
        value = json.loads(Path(path).read_bytes().decode("utf-8"), object_hook=named)
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("A JSON file cannot be read.", where=path, found=str(error), remedy=made_again(path)) from error
    if not isinstance(value, shape):
        raise DataError(
            "A JSON file holds something else than it should.",
            where=path,
            expected="a list" if shape is list else "an object",
            found=type(value).__name__,
            remedy=made_again(path),
        )
    if isinstance(value, dict) and (seal := value.pop(_SEAL, None)) is not None and seal != _seal(value):
        raise DataError(
            "A JSON file was changed after it was written, or is damaged.",
            where=path,
            expected=f"content of the digest {seal}, its key {_SEAL}",
            found="another content",
            remedy=made_again(path),
        )
    return value


def missing(path: Path | str) -> DataError:
    """What is told of a file that is not there."""
    return DataError(
        "A file is missing.", where=path, remedy="run the same `snakemake` command again: it makes what is missing"
    )


def sha256_file(path: Path | str) -> str:
    """The file's SHA-256, in hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise missing(path) from error
    except IsADirectoryError as error:
        raise DataError("A folder lies where a file should.", where=path, remedy=made_again(path)) from error
    return digest.hexdigest()


def sha256_text(*parts: str) -> str:
    """The SHA-256 of several strings, unambiguous about where one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8")
        digest.update(f"{len(raw)}:".encode())
        digest.update(raw)
    return digest.hexdigest()


def write_parquet(path: Path | str, batches: Iterable[pa.Table], schema: pa.Schema, *, small: bool = False) -> int:
    """Streams tables into one zstd Parquet file, atomically; returns the number of rows written.

    Each page carries a checksum: without it, a damaged page is read as other text as often as not. A `small` file is
    one that is kept: it takes some seconds a million rows more to write, and fewer bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Numbers that hardly repeat are longer with a dictionary; long pages let zstd find what lies far back.
    named = [field.name for field in schema if not pa.types.is_floating(field.type)]
    options = {"compression_level": 19, "use_dictionary": named, "data_page_size": _SMALL_PAGE} if small else {}
    rows = 0
    with (
        atomic_path(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True, **options) as writer,
    ):
        for table in batches:
            group = max(1, table.num_rows) if small else _ROWS_PER_GROUP
            writer.write_table(table.cast(schema), row_group_size=group)
            rows += table.num_rows
            del table  # before the next one is made
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
    parquet = open_parquet(path)
    names = parquet.schema_arrow.names if schema is None else schema.names
    require_columns(path, names, parquet.schema_arrow.names, schema or parquet.schema_arrow)
    with told_parquet(path):
        table = parquet.read(columns=names)
        require_rows(path, parquet.metadata.num_rows, table.num_rows)
        return table if schema is None else table.select(names).cast(schema)


def open_parquet(path: Path | str) -> Any:
    """A pyarrow ParquetFile that checks the pages it reads; whoever reads them does so within `told_parquet`.

    Raises:
        DataError: The file is missing, truncated or no Parquet.
    """
    import pyarrow.parquet as pq

    with told_parquet(path):
        # With its default pre_buffer, pyarrow holds on to every byte of the file that was read.
        parquet = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
        # The footer has no checksum; its counts stand in it twice.
        groups = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        require_rows(path, parquet.metadata.num_rows, sum(groups))
        return parquet


def require_rows(path: Path | str, expected: int, found: int) -> None:
    """Raises a DataError unless a Parquet file has the number of rows that it says."""
    if expected != found:
        raise DataError(
            "A Parquet file is damaged: it holds another number of rows than it says.",
            where=path,
            expected=str(expected),
            found=str(found),
            remedy=made_again(path),
        )


@contextmanager
def told_parquet(path: Path | str) -> Iterator[None]:
    """Turns what pyarrow raises on a missing, damaged or foreign file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise missing(path) from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise DataError(
            "A Parquet file cannot be read: it is truncated, damaged, or not Parquet.",
            where=path,
            found=(str(error).splitlines() or [type(error).__name__])[0],
            remedy=made_again(path),
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
            remedy=made_again(path),
        )
