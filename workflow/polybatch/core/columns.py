"""Numbers of rows that do not fit in memory: a file a column, read in order or with rows of equal keys together.

inputs: numbers of rows, in the order of the rows
outputs: answers about each row, as (rows,) bool: what alone is in memory of all rows

Rows of equal keys come together by a distribution sort (Knuth, The Art of Computer Programming, volume 3, 5.2.5 and
5.4): one reading counts the keys of each range, the next writes each row to its range's place in one file, and each
range is small enough for memory. Keys are spread evenly, as hashes are.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.core.streams import is_first, is_in, scrambled

_ROWS_AT_ONCE = 100_000  # that are read, or sorted, in memory
_MAX_BITS = 12  # 4,096 ranges, of more than 100,000 rows each from 400 million rows on
_BIN_BITS = 16


class Column:
    """A number for each row, in a file. An existing file of that name is emptied; the caller removes it.

    Args:
        path: The file.
        dtype: Of the numbers.
    """

    def __init__(self, path: Path, dtype: Any = np.uint64) -> None:
        self.path, self.dtype, self._rows = path, np.dtype(dtype), 0
        path.write_bytes(b"")

    def __len__(self) -> int:
        return self._rows

    def append(self, values: np.ndarray | array[Any] | Sequence[Any]) -> None:
        """Adds the numbers of the rows that come next."""
        numbers = np.asarray(values, dtype=self.dtype)
        with self.path.open("ab") as file:
            numbers.tofile(file)
        self._rows += len(numbers)

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """(which rows, their numbers), in order, some 100,000 at a time."""
        with self.path.open("rb") as file:
            for start in range(0, self._rows, _ROWS_AT_ONCE):
                values = np.fromfile(file, self.dtype, _ROWS_AT_ONCE)
                yield slice(start, start + len(values)), values

    def whole(self) -> np.ndarray:
        """All numbers, in memory."""
        return np.fromfile(self.path, self.dtype)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of some rows, in the order in which these are given."""
        values = np.empty(len(rows), dtype=self.dtype)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for here, chunk in self.chunks() if len(rows) else ():
            inside = slice(*np.searchsorted(ordered, [here.start, here.stop]).tolist())
            values[order[inside]] = chunk[ordered[inside] - here.start]
        return values

    def of_few(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of a few rows, in the order in which these are given; of the file, little more is read."""
        return np.asarray(np.memmap(self.path, self.dtype, "r")[rows])

    def where(self, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Which rows pass a test of their numbers, (rows,) bool."""
        passed = np.zeros(self._rows, dtype=bool)
        for here, chunk in self.chunks():
            passed[here] = test(chunk)
        return passed

    def is_in(self, known: np.ndarray) -> np.ndarray:
        """Which rows have one of the numbers `known`, which are sorted: (rows,) bool."""
        return self.where(lambda chunk: is_in(chunk, known))


def parts(*columns: Column, among: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows in parts of some 100,000, those of equal keys in the same part.

    Args:
        columns: Of uint64 and equal length; the first one is the keys, spread evenly over all 64 bits.
        among: (rows,) bool; other rows are left out. It may be changed once the first part is given.

    Yields:
        Numbers of rows, int64, ascending within a part; and of each column the numbers of these rows.
    """
    keys = columns[0]
    rows = len(keys) if among is None else int(np.count_nonzero(among))
    bits = min((rows // _ROWS_AT_ONCE).bit_length(), _MAX_BITS)
    if not bits:
        pieces = [np.zeros((0, 1 + len(columns)), dtype=np.uint64), *_pieces(columns, among)]
        yield _split(np.concatenate(pieces))
        return
    shift = np.uint64(64 - bits)
    sizes = np.zeros(2**bits, dtype=np.int64)
    for here, chunk in keys.chunks():
        sizes += np.bincount(_range_of(chunk if among is None else chunk[among[here]], shift), minlength=2**bits)
    with tempfile.TemporaryFile(dir=keys.path.parent) as file:
        width = (1 + len(columns)) * keys.dtype.itemsize
        ends = np.cumsum(sizes) - sizes  # of what is written of each range
        for piece in _pieces(columns, among):
            ranges = _range_of(piece[:, 1], shift)
            ordered = piece[np.argsort(ranges, kind="stable")]
            start = 0
            for number, size in enumerate(np.bincount(ranges, minlength=2**bits).tolist()):
                if size:
                    file.seek(int(ends[number]) * width)
                    file.write(ordered[start : start + size].data)  # faster than numpy's tofile, for so few rows
                    ends[number] += size
                    start += size
        file.seek(0)
        for size in sizes.tolist():
            yield _split(np.fromfile(file, np.uint64, size * (1 + len(columns))).reshape(size, -1))


def _range_of(keys: np.ndarray, shift: np.uint64) -> np.ndarray:
    return (keys >> shift).astype(np.uint16)


def _pieces(columns: Sequence[Column], among: np.ndarray | None) -> Iterator[np.ndarray]:
    """(n, 1 + columns) uint64: numbers of rows, and what the columns have of them; some 100,000 rows at a time."""
    for chunks in zip(*(column.chunks() for column in columns), strict=True):
        here = chunks[0][0]
        piece = np.stack([np.arange(here.start, here.stop, dtype=np.uint64), *(chunk for _, chunk in chunks)], axis=1)
        yield piece if among is None else piece[among[here]]


def _split(part: np.ndarray) -> tuple[np.ndarray, ...]:
    return part[:, 0].astype(np.int64), *part.T[1:]


def first_rows(keys: Column, among: np.ndarray | None = None) -> np.ndarray:
    """Whether a row is the first with its key, (rows,) bool; rows outside the mask `among` do not count."""
    first = np.zeros(len(keys), dtype=bool)
    for rows, own in parts(keys, among=among):
        first[rows[is_first(own)]] = True
    return first


def rows_of_many(keys: Column, values: Column, among: np.ndarray, most: int) -> np.ndarray:
    """Which rows of the mask `among` have a key that more than `most` distinct values go with there, (rows,) bool."""
    many = np.zeros(len(keys), dtype=bool)
    for rows, own, others in parts(keys, values, among=among):
        (
            _,
            key_of,
        ) = np.unique(own, return_inverse=True)
        order = np.lexsort((others, key_of))
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (np.diff(key_of[order]) != 0) | (others[order][1:] != others[order][:-1])
        numbers = np.bincount(key_of[order][new])
        many[rows[numbers[key_of] > most]] = True
    return many


def lowest(keys: Column, among: np.ndarray, count: int) -> np.ndarray:
    """Which rows of the mask `among` are the first `count` in the order of their `scrambled` keys, (rows,) bool.

    Of equal keys the earlier row comes first. All of them if there are no more.
    """
    shift = np.uint64(64 - _BIN_BITS)
    bins = np.zeros(2**_BIN_BITS, dtype=np.int64)
    for here, chunk in keys.chunks():
        bins += np.bincount((scrambled(chunk[among[here]]) >> shift).astype(np.int64), minlength=len(bins))
    ends = np.cumsum(bins)
    if count >= ends[-1]:
        return among.copy()
    last = int(np.searchsorted(ends, count))  # the bin that some are taken of, and others not
    taken = np.zeros(len(keys), dtype=bool)
    doubtful = [np.zeros((0, 2), dtype=np.uint64)]
    for here, chunk in keys.chunks():
        order = scrambled(chunk)
        bin_of = order >> shift
        taken[here] = among[here] & (bin_of < last)
        rows = np.flatnonzero(among[here] & (bin_of == last))
        doubtful.append(np.stack([rows.astype(np.uint64) + np.uint64(here.start), order[rows]], axis=1))
    rows, order = np.concatenate(doubtful).T
    left = count - int(taken.sum())
    taken[rows[np.argsort(order, kind="stable")[:left]].astype(np.int64)] = True
    return taken
