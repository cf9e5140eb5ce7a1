"""The texts of one parallel file, kept on disk: what a training reads at random without holding it in memory.

inputs: parallel/<lang>.parquet or parallel/paraphrase.parquet (contracts.PARALLEL)
outputs: a folder that is made once and then mapped into memory: `texts.arrow` (uncompressed Arrow, so that any row
can be read alone), the numbers that sampling needs, as .npy, and their checksums. It takes about as much disk as the
plain text. A training reads it all once, at its start, to check it; a damaged one is set aside and made again.

A Parquet file is read a compressed page at a time, which random access cannot afford; in a mapped file the system
keeps the pages in memory that are read often, shares them among processes, and drops them when memory is short.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import missing, read_json, sha256_text, temporary_path, write_json
from polybatch.core.stage import log
from polybatch.core.streams import batches, id_keys
from polybatch.core.sums import SUMS, SummedFolder, check_sums, set_aside
from polybatch.core.text import same_hash

if TYPE_CHECKING:
    import pyarrow as pa

_LAYOUT = "3"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_ROWS = 50_000
_ARRAYS = ("ids", "source", "machine", "listed", "negatives", "query_key", "passage_key", "negative_keys")


@dataclass(frozen=True)
class Texts:
    """One parallel file of n rows, in its own order. Make it with `open_texts`.

    Attributes:
        path: The Parquet file.
        sources: Names of the data sources.
        ids: (n,) uint64, of the pairs (`streams.id_keys`).
        source: (n,) int16, places in `sources`.
        machine: (n,) bool, whether the pipeline's translators wrote the row.
        listed: (n,) int32, places of the row's whole list of hard negatives, those beyond what was asked for and those
            whose text is missing ("") among them.
        negatives: (n, bytes) uint8, a bit for each hard negative asked for: whether there is one (`pack_places`).
        query_key, passage_key: (n,) uint64, equal for equal texts (`text.same_key`); empty unless `keyed`.
        negative_keys: (n, hard negatives) uint64, likewise, 0 where there is none.
    """

    path: Path
    sources: tuple[str, ...]
    ids: np.ndarray
    source: np.ndarray
    machine: np.ndarray
    listed: np.ndarray
    negatives: np.ndarray
    query_key: np.ndarray
    passage_key: np.ndarray
    negative_keys: np.ndarray
    _columns: dict[str, pa.ChunkedArray]

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, column: str, position: int) -> str:
        """A row's `query`, `passage`, or `negative_1`, `negative_2`... (None where it has none)."""
        return self._columns[column][position].as_py()


def pack_places(there: np.ndarray) -> np.ndarray:
    """(..., places) bool -> (..., bytes) uint8: a bit a place, as flags of 40 million pairs would fill the memory."""
    return np.packbits(there, axis=-1)


def unpack_places(packed: np.ndarray, places: int) -> np.ndarray:
    """The inverse of `pack_places`: (..., bytes) uint8 -> (..., places) bool."""
    return np.unpackbits(packed, axis=-1, count=places).astype(bool)


def open_texts(path: Path | str, folder: Path, *, keyed: bool = False, hard_negatives: int = 0) -> Texts:
    """Maps a parallel file into memory, after converting it if `folder` does not hold it yet.

    Processes that want the same file at the same time wait for the one that converts it. Where locks do not reach
    (other machines, a file system without them) each converts it for itself; the first one's stays, never replaced.

    Args:
        path: The Parquet file.
        folder: Of converted files; may be shared by trainings and kept between them. A file is known by its path, size
            and time of change.
        keyed: Also work out the keys of its texts, which takes a while for millions of rows.
        hard_negatives: Keep this many of a row's hard negatives, the first ones. An empty one ("") keeps its place, and
            counts as missing.

    Raises:
        DataError: The file is missing or breaks its contract, holds no row, or a pair twice, or a blank text.
    """
    target = folder / _name(Path(path), keyed, hard_negatives)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        if not _is_whole(target):
            with _kept_if_first(target) as partial:
                _convert(Path(path), partial, keyed, hard_negatives)
    return _mapped(Path(path), target)


def _is_whole(target: Path) -> bool:
    """Whether the converted file is there; a damaged one is set aside."""
    if not target.exists():
        return False
    try:
        if not target.is_dir() or check_sums(target) is None:
            raise DataError(f"It has no {SUMS}.")
    except DataError as error:
        set_aside(target, error)
        return False
    return True


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Spares processes on one machine the work of another; the file system may have no locks."""
    from filelock import FileLock

    with ExitStack() as held:
        try:
            held.enter_context(FileLock(f"{target}.lock"))
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
                raise
            log.info("%s: the file system has no locks; processes may convert the same texts at a time", target)
        yield


@contextmanager
def _kept_if_first(target: Path) -> Iterator[Path]:
    """Gives a new folder that becomes `target` if there is none by then: another may already be mapped somewhere."""
    partial = temporary_path(target)
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
    partial.mkdir()
    try:
        yield partial
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name(path: Path, keyed: bool, hard_negatives: int) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise missing(path) from error
    parts = (path.resolve(), status.st_size, status.st_mtime_ns, keyed, hard_negatives, _LAYOUT)
    return f"{path.stem}-{sha256_text(*map(str, parts))[:16]}"


def _mapped(path: Path, target: Path) -> Texts:
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(target / "texts.arrow"))).read_all()
    return Texts(
        path,
        tuple(read_json(target / "sources.json", list)),
        **{name: np.load(target / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
        _columns={name: table[name] for name in table.column_names},
    )


def _convert(path: Path, target: Path, keyed: bool, hard_negatives: int) -> None:
    import pyarrow as pa

    columns = ["query", "passage", *(f"negative_{k + 1}" for k in range(hard_negatives))]
    schema = pa.schema([(name, pa.string()) for name in columns])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    sources: dict[str, int] = {}
    folder = SummedFolder(target)
    with folder.open("texts.arrow") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in batches(path, contracts.PARALLEL, rows=_ROWS):
            _require_text(table, path)
            texts = _texts(table.combine_chunks(), hard_negatives)
            writer.write_table(pa.table(texts, schema=schema), max_chunksize=_ROWS)
            for name, values in _numbers(table, texts, sources, keyed).items():
                parts[name].append(values)
    if not sources:
        lang = path.stem
        raise DataError(f"There is no pair in {lang}.", where=path, expected="at least one row", found="none")
    for name in _ARRAYS:
        with folder.open(f"{name}.npy") as sink:
            np.save(sink, np.concatenate(parts.pop(name)))
    _require_distinct(np.load(target / "ids.npy"), path)
    write_json(target / "sources.json", list(sources))
    folder.finish()


def _texts(table: pa.Table, hard_negatives: int) -> dict[str, pa.ChunkedArray]:
    """The texts column by column; hard negative k is null where a row has fewer, or none in that place."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = {name: table[name] for name in ("query", "passage")}
    for k in range(hard_negatives):
        lists = pc.fill_null(table["hard_negatives"], [])
        kth = pc.list_slice(lists, k, k + 1, return_fixed_size_list=True)
        column = pc.list_flatten(kth)
        texts[f"negative_{k + 1}"] = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    return texts


def _numbers(
    table: pa.Table, texts: dict[str, pa.ChunkedArray], sources: dict[str, int], keyed: bool
) -> dict[str, np.ndarray]:
    """The arrays of `Texts` for one batch; new names are added to `sources`."""
    import pyarrow.compute as pc

    rows = table.num_rows
    negatives = [texts[name] for name in texts if name.startswith("negative_")]
    for name in table["source"].unique().to_pylist():
        sources.setdefault(name, len(sources))
    numbers = {
        "ids": id_keys(table["pair_id"]),
        "source": np.fromiter((sources[name] for name in table["source"].to_pylist()), np.int16, rows),
        "machine": pc.equal(table["origin"], "machine").to_numpy(),
        "listed": pc.fill_null(pc.list_value_length(table["hard_negatives"]), 0).to_numpy().astype(np.int32),
        "query_key": np.zeros(0, np.uint64),
        "passage_key": np.zeros(0, np.uint64),
        "negative_keys": np.zeros((rows if keyed else 0, len(negatives)), np.uint64),
    }
    there = np.zeros((rows, len(negatives)), dtype=bool)
    for k, column in enumerate(negatives):
        there[:, k] = column.is_valid().to_numpy(zero_copy_only=False)
    numbers["negatives"] = pack_places(there)
    if keyed:
        numbers["query_key"] = _keys(texts["query"])
        numbers["passage_key"] = _keys(texts["passage"])
        for k, column in enumerate(negatives):
            numbers["negative_keys"][:, k] = _keys(column)
    return numbers


def _keys(column: Any) -> np.ndarray:
    texts = column.to_pylist()
    return np.fromiter((0 if text is None else same_hash(text) for text in texts), np.uint64, len(texts))


def _require_text(table: pa.Table, path: Path) -> None:
    faults = list(_empty_columns(table))
    if faults:
        raise DataError(
            f"A {' and a '.join(name for name, _ in faults)} is empty or missing.",
            where=path,
            expected="text in every row",
            found="; ".join(f"{number} of {table.num_rows} rows without {name}" for name, number in faults),
        )


def _empty_columns(table: pa.Table) -> Iterator[tuple[str, int]]:
    import pyarrow.compute as pc

    for name in contracts.PARALLEL.names:
        column = table[name]
        if name == "hard_negatives":
            flat = pc.list_flatten(column)
            column = flat.filter(pc.fill_null(pc.not_equal(flat, ""), True))  # "" keeps the place of a missing one
        empty = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), True)
        if number := pc.sum(empty).as_py():
            yield name, number


def _require_distinct(ids: np.ndarray, path: Path) -> None:
    distinct = len(np.unique(ids))
    if distinct != len(ids):
        raise DataError(
            "A pair_id occurs more than once.",
            where=path,
            expected="one row a pair",
            found=f"{len(ids)} rows, {distinct} distinct ids",
        )
