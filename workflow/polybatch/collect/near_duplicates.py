"""Near duplicates: MinHash signatures, bands sorted on disk, candidates verified by their estimated Jaccard similarity.

inputs: (query, passage) texts, in an order that says which of two near duplicates stays: the first
outputs: which rows are near duplicates of an earlier one

Two pairs are near duplicates if their queries are and their passages are: two questions about one passage are two
pairs. Compared are word trigrams of passages and character 4-grams of queries, both of `text.text_key`. MinHash is
Broder's (1997), in the implementation of rensa; the bands are those of locality-sensitive hashing. Signatures (512
bytes a row) and band keys lie in files, and a band is looked up by sorting its keys in parts; in memory are 64 bytes of
each row of the largest group that shares a key.

Time is linear but for rows that share a key and are not near: texts from one template, each with words of its own.
They are compared all with all, by four bits of each number of a signature: 16,000 such texts take 2 s, 64,000 take
26 s.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from polybatch.core.columns import Column, parts
from polybatch.core.text import word_shingles

PERMUTATIONS = 64  # of each side: a similarity of 0.9 is estimated to within 0.04 (one standard deviation)
_SEED = 20210831
_DETECTED = 0.99  # share of the pairs at the threshold that share a band
_QUERY_GRAM, _PASSAGE_GRAM = 4, 3
_ROW = np.dtype((np.uint32, 2 * PERMUTATIONS))
_MANY = 64  # rows that share a key, above which bits are compared before signatures
_BITS = 4  # of each number of a signature: two different ones have the same with 1 in 16
_READ_AT_ONCE = 4_096


def passage_shingles(key: str) -> list[str]:
    """Word trigrams (`text.word_shingles`); the whole text if it has fewer words."""
    return word_shingles(key, _PASSAGE_GRAM)


def query_shingles(key: str) -> list[str]:
    """Character 4-grams; the whole text if it is shorter."""
    return [key[i : i + _QUERY_GRAM] for i in range(max(1, len(key) - _QUERY_GRAM + 1))]


def band_rows(threshold: float) -> int:
    """Columns of each side in a band: the most with which pairs at the threshold still share a band nearly always.

    A pair of similarity s on both sides shares one of b bands of r columns a side with 1 - (1 - s^2r)^b.
    """
    fit = [r for r in range(1, 17) if 1 - (1 - threshold ** (2 * r)) ** (PERMUTATIONS // r) >= _DETECTED]
    return max(fit, default=1)


class NearDuplicates:
    """Collects rows with `add`, then tells with `removed` which repeat an earlier one.

    Args:
        threshold: Estimated Jaccard similarity, on both sides, from which two rows are near duplicates; 0.5 to 1.
        folder: An existing folder for the files, which the caller removes.
    """

    def __init__(self, threshold: float, folder: Path) -> None:
        self.threshold, self.folder = threshold, folder
        self.rows, self._width = 0, band_rows(threshold)
        self._signatures = folder / "signatures.u32"
        self._signatures.write_bytes(b"")
        self._bands = [Column(folder / f"band-{band:02d}.u64") for band in range(PERMUTATIONS // self._width)]

    def add(self, query_keys: Sequence[str], passage_keys: Sequence[str]) -> None:
        """Takes in rows, given as `text.text_key`s of their texts."""
        if not query_keys:
            return
        sides = [_signatures(map(passage_shingles, passage_keys)), _signatures(map(query_shingles, query_keys))]
        self.rows += len(query_keys)
        with self._signatures.open("ab") as file:
            np.concatenate(sides, axis=1).tofile(file)
        for number, band in enumerate(self._bands):
            columns = slice(number * self._width, (number + 1) * self._width)
            band.append(_mixed(np.concatenate([side[:, columns] for side in sides], axis=1)))

    def removed(self, kept: np.ndarray | None = None) -> np.ndarray:
        """Which rows go, (rows,) bool: each is near an earlier row that stays. Rows outside `kept` do not count."""
        alive = np.ones(self.rows, dtype=bool) if kept is None else kept.copy()
        with self._signatures.open("rb") as file:
            for number, band in enumerate(self._bands):
                for rows, keys in parts(band, among=alive):  # reads `alive` before it gives its first part
                    for run in _runs(keys, rows):
                        if not self._were_compared(run, number):
                            alive[self._near_earlier(file.fileno(), run)] = False
        # In place: a byte a row is what a stage's memory grows by.
        return np.logical_not(alive, out=alive) if kept is None else np.greater(kept, alive, out=alive)

    def _were_compared(self, rows: np.ndarray, band: int) -> bool:
        """Whether all of `rows` shared a key of an earlier band too: then none that is still here is near another.

        Asked of many rows alone: for a few, comparing them is faster.
        """
        if len(rows) <= _MANY:
            return False
        return any(_are_all_equal(earlier, rows) for earlier in self._bands[:band])

    def _near_earlier(self, file: int, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` (ascending) that are near an earlier one of them that stays."""
        if len(rows) > _MANY:
            return self._near_of_many(file, rows)
        near, read = [rows[:0]], _rows(file, rows)
        while len(rows) > 1:
            close = self._are_near(read[1:], read[0])
            near.append(rows[1:][close])
            rows, read = rows[1:][~close], read[1:][~close]
        return np.concatenate(near)

    def _are_near(self, read: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Which rows of signatures are near the row `first`, (n,) bool."""
        equal = read == first
        passages, queries = equal[:, :PERMUTATIONS].mean(axis=1), equal[:, PERMUTATIONS:].mean(axis=1)
        near: np.ndarray = np.minimum(passages, queries) >= self.threshold
        return near

    def _near_of_many(self, file: int, rows: np.ndarray) -> np.ndarray:
        """The same as of a few. Most rows that are not near are told by their bits; signatures decide on the others.

        Numbers that differ may have equal bits, never the other way round: no row that is near is missed.
        """
        starts = range(0, len(rows), _READ_AT_ONCE)
        bits = np.concatenate([_bits(_rows(file, rows[at : at + _READ_AT_ONCE])) for at in starts], axis=2)
        most = max(number for number in range(PERMUTATIONS + 1) if 1 - number / PERMUTATIONS >= self.threshold)
        near = [rows[:0]]
        while len(rows) > 1:
            maybe = np.flatnonzero(_differing(bits[0, :, 1:], bits[0, :, :1]) <= most)
            if len(maybe):
                maybe = maybe[_differing(bits[1][:, 1 + maybe], bits[1, :, :1]) <= most]
            found = maybe
            if len(maybe):
                found = maybe[self._are_near(_rows(file, rows[1 + maybe]), _rows(file, rows[:1])[0])]
            near.append(rows[1 + found])
            rows, bits = rows[1:], bits[:, :, 1:]
            if len(found):
                rows, bits = np.delete(rows, found), np.delete(bits, found, axis=2)
        return np.concatenate(near)


def _bits(read: np.ndarray) -> np.ndarray:
    """Four bits of each number of signatures: (2 sides, 4, n) uint64, a bit for each of 64 numbers in every one."""
    mixed = (read * np.uint32(0x9E3779B1)) >> np.uint32(32 - _BITS)  # wraps around, as it should
    words = [
        np.packbits(((side >> np.uint32(bit)) & np.uint32(1)).astype(bool), axis=1).view(np.uint64)[:, 0]
        for side in (mixed[:, :PERMUTATIONS], mixed[:, PERMUTATIONS:])
        for bit in range(_BITS)
    ]
    return np.stack(words).reshape(2, _BITS, len(read))


def _differing(bits: np.ndarray, of_one: np.ndarray) -> np.ndarray:
    """In how many of the 64 numbers any bit differs: (4, n) and (4, 1) to (n,) uint8."""
    found: np.ndarray = np.bitwise_count(np.bitwise_or.reduce(bits ^ of_one, axis=0))
    return found


def _are_all_equal(column: Column, rows: np.ndarray) -> bool:
    """Whether these rows have one number. Two of them mostly tell that they have not."""
    first = column.of_few(rows[:2])
    return bool(first[0] == first[1] and (column.of_few(rows) == first[0]).all())


def _runs(keys: np.ndarray, rows: np.ndarray) -> Iterable[np.ndarray]:
    """Groups of two or more of `rows` with equal `keys`, each in ascending order."""
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    starts, ends = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(order)]])
    for at in np.flatnonzero(ends - starts > 1):
        yield rows[order[starts[at] : ends[at]]]


def _signatures(shingles: Iterable[list[str]]) -> np.ndarray:
    """MinHash signatures, (n, PERMUTATIONS) uint32."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_token_sets(list(shingles), PERMUTATIONS, _SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32)


def _rows(file: int, rows: np.ndarray) -> np.ndarray:
    """Signatures of some rows, (n, 2 * PERMUTATIONS). Read, not mapped: pages that are mapped count as memory."""
    width = _ROW.itemsize
    read = b"".join(os.pread(file, width, row * width) for row in rows.tolist())
    return np.frombuffer(read, dtype=np.uint32).reshape(len(rows), -1)


def _mixed(columns: np.ndarray) -> np.ndarray:
    """One key for each row of columns, (n,) uint64 (FNV-1a over 32-bit words)."""
    keys = np.full(len(columns), 0xCBF29CE484222325, dtype=np.uint64)
    for column in columns.T:
        keys = (keys ^ column.astype(np.uint64)) * np.uint64(0x100000001B3)
    return keys
