"""Tables that do not fit in memory: read in batches, known by 64-bit keys, joined and ordered by pair id.

Texts pass through; what a stage keeps of a row, its keys, lies in `columns`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from polybatch.core.files import open_parquet, require_columns, require_rows, scratch_folder, told_parquet
from polybatch.core.text import hash64

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
BATCH_ROWS = 10_000
_SORTED_AT_ONCE = 50_000  # rows that are put in order in memory; more go through files
_MAX_FILES = 256  # open at once
_BUFFERED = 20_000  # rows that wait in memory until each file gets its own
_HEX = frozenset("0123456789abcdef")


def batches(
    path: Path | str, schema: pa.Schema, columns: Sequence[str] = (), rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Reads a Parquet file a batch at a time, checked like `files.read_parquet`.

    Args:
        path: The file.
        schema: The contract; its columns must be there.
        columns: Those that are wanted; all of the contract if empty.
        rows: Rows of a batch at most.

    Raises:
        DataError: The file is missing, truncated, or lacks a column: raised before the first batch. A page is damaged:
            raised where it is read.
    """
    import pyarrow as pa

    names = list(columns) or schema.names
    parquet = open_parquet(path)
    require_columns(path, names, parquet.schema_arrow.names, schema)
    wanted = pa.schema([schema.field(name) for name in names])

    def counted() -> Iterator[pa.Table]:
        seen = 0
        for batch in parquet.iter_batches(rows, columns=names):
            seen += batch.num_rows
            yield pa.Table.from_batches([batch]).select(names).cast(wanted)
        require_rows(path, parquet.metadata.num_rows, seen)

    return told(counted(), path)


def told(items: Iterator[T], path: Path | str) -> Iterator[T]:
    """Yields what an iterator reads from a Parquet file; what pyarrow raises meanwhile becomes a DataError."""
    while True:
        with told_parquet(path):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def id_key(pair_id: str) -> int:
    """The key of a pair id: the number that it spells in hexadecimal, else a hash of it."""
    return int(pair_id, 16) if len(pair_id) == 16 and _HEX.issuperset(pair_id) else hash64(pair_id)


def id_keys(pair_ids: pa.ChunkedArray | Iterable[str]) -> np.ndarray:
    """Keys of pair ids, (n,) uint64, equal for equal ids."""
    values = pair_ids.to_pylist() if hasattr(pair_ids, "to_pylist") else pair_ids
    return np.frombuffer(array("Q", map(id_key, values)), dtype=np.uint64)


def combined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One key for two, (n,) uint64; the order of the two matters."""
    mixed = first * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as it should
    mixed ^= mixed >> np.uint64(29)
    return (mixed + second) * np.uint64(0xBF58476D1CE4E5B9)


def scrambled(keys: np.ndarray) -> np.ndarray:
    """Other numbers, one for each key, spread evenly: an order of their own that each key alone decides."""
    mixed = keys ^ (keys >> np.uint64(31))
    mixed = mixed * np.uint64(0x7FB5D329728EA185)
    mixed ^= mixed >> np.uint64(27)
    mixed = mixed * np.uint64(0x81DADEF4BC2DD44D)
    return mixed ^ (mixed >> np.uint64(33))


def is_first(keys: np.ndarray) -> np.ndarray:
    """Whether a row is the first with its key, (n,) bool; of many rows see `columns.first_rows`."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def is_in(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether a key is one of `known`, which is sorted: (n,) bool."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return known[at] == keys


def sorted_by_id(tables: Iterable[pa.Table], schema: pa.Schema, rows: int, folder: Path) -> Iterator[pa.Table]:
    """Puts tables in the order of their `pair_id`s (of `id_key`), with flat memory.

    Args:
        tables: With the columns of `schema`, `pair_id` among them; ids are spread evenly, as hashes are.
        schema: Of what comes out.
        rows: How many rows there are, at least roughly: decides on the number of parts.
        folder: Where temporary files may go.

    Yields:
        The same rows, in order.
    """
    parts = min(-(-max(rows, 1) // _SORTED_AT_ONCE), _MAX_FILES)
    if parts == 1:
        yield _in_order(list(tables), schema)
        return
    with scratch_folder(folder / "sort") as scratch:
        for file in _parted(tables, schema, parts, scratch):
            yield _in_order([_read_stream(file)], schema)


def _in_order(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    whole = pa.concat_tables([table.select(schema.names).cast(schema) for table in tables] or [schema.empty_table()])
    return whole.take(np.argsort(id_keys(whole.column("pair_id")), kind="stable"))


def _parted(tables: Iterable[pa.Table], schema: pa.Schema, parts: int, folder: Path) -> list[Path]:
    """Writes each row to the file of its range of keys; returns the files in the order of their keys.

    In Arrow's own format, because each is written in small pieces and read once.
    """
    import pyarrow as pa

    paths = [folder / f"{part:04d}.arrow" for part in range(parts)]
    width = np.uint64(2**64 // parts + 1)
    with ExitStack() as files:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        sinks = [files.enter_context(pa.OSFile(str(path), "wb")) for path in paths]
        writers = [files.enter_context(pa.ipc.new_stream(sink, schema, options=options)) for sink in sinks]
        for table in _gathered(tables, schema):
            part_of = (id_keys(table.column("pair_id")) // width).astype(np.uint16)
            ordered = table.take(np.argsort(part_of, kind="stable")).combine_chunks()
            start = 0
            for part, size in enumerate(np.bincount(part_of).tolist()):
                if size:
                    writers[part].write_table(ordered.slice(start, size))
                    start += size
    return paths


def _gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables joined until they hold some 20,000 rows: what waits in memory is the same however many files there are."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table.select(schema.names).cast(schema))
        if sum(map(len, waiting)) >= _BUFFERED:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)


def _read_stream(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()
