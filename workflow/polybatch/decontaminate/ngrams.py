"""N-grams of many texts at once, as numbers: of words or of characters.

inputs: texts in their normalised form (`text.text_key`), a batch at a time
outputs: 64-bit hashes of their units (words; characters in scripts without spaces) and of runs of units

A word's hash is the sum of its characters' hashes, each times a power of one number that tells its place, as in the
rolling hash of Karp and Rabin (1987), so that a batch needs a few passes of numpy over its characters and no Python
for a word. Sums and products wrap around at 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from polybatch.core.streams import scrambled
from polybatch.core.unicode_sets import UNSPACED_RANGES, ranges

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CHARACTERS_AT_ONCE = 50_000  # the processor's cache holds some arrays of so many: several times as fast
_LAST_SPACE = 0x3000
_IS_SPACE = np.array([chr(point).isspace() for point in range(_LAST_SPACE + 1)] + [False])


@dataclass(frozen=True)
class Units:
    """The units of some texts, one text after the other.

    Attributes:
        hashes: (units,) uint64.
        counts: (texts,) int64: units of each text.
        unspaced: (texts,) bool: whether most of its units are characters of a script without spaces.
    """

    hashes: np.ndarray
    counts: np.ndarray
    unspaced: np.ndarray


def code_points(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """All characters of all texts, (characters,) uint32, and each text's number of them, (texts,) int64."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return points, np.fromiter(map(len, texts), np.int64, len(texts))


def units(texts: Sequence[str]) -> Units:
    """Splits texts at white space; words with a character of a script without spaces into their characters too."""
    parts = [_units(part) for part in portions(texts, _CHARACTERS_AT_ONCE)] or [_units([])]
    return Units(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("hashes", "counts", "unspaced"))
    )


def portions(texts: Sequence[str], characters: int) -> Iterator[Sequence[str]]:
    """Texts in parts of not many more characters than that, each at least one text."""
    start = length = 0
    for number, text in enumerate(texts, start=1):
        length += len(text)
        if length >= characters:
            yield texts[start:number]
            start, length = number, 0
    if start < len(texts):
        yield texts[start:]


def _units(texts: Sequence[str]) -> Units:
    points, lengths = code_points(texts)
    if not len(points):
        none = np.zeros(len(texts), dtype=np.int64)
        return Units(np.zeros(0, dtype=np.uint64), none, none.astype(bool))
    text_of = np.repeat(np.arange(len(texts)), lengths)
    is_space = _IS_SPACE[np.minimum(points, _LAST_SPACE + 1)]
    begins = ~is_space
    begins[1:] &= is_space[:-1] | (text_of[1:] != text_of[:-1])
    starts = np.flatnonzero(begins)
    characters = scrambled(points.astype(np.uint64) + np.uint64(1))
    characters[is_space] = 0
    if not len(starts):
        counts = np.zeros(len(texts), dtype=np.int64)
        return Units(np.zeros(0, dtype=np.uint64), counts, counts.astype(bool))
    first = int(starts[0])  # before it are spaces only
    spans = np.diff(starts, append=len(points))
    places = np.arange(first, len(points)) - np.repeat(starts, spans)
    hashes = scrambled(np.add.reduceat(characters[first:] * _powers(int(spans.max()))[places], starts - first))
    marked = _unspaced(points) & ~is_space
    if not marked.any():
        return Units(hashes, np.bincount(text_of[starts], minlength=len(texts)), np.zeros(len(texts), dtype=bool))
    split = np.zeros(len(points), dtype=bool)
    split[first:] = np.repeat(np.logical_or.reduceat(marked[first:], starts - first), spans)
    split &= ~is_space
    values = np.zeros(len(points), dtype=np.uint64)
    values[starts] = hashes
    values[split] = scrambled(characters[split])
    kept = np.flatnonzero(begins | split)
    counts = np.bincount(text_of[kept], minlength=len(texts))
    return Units(values[kept], counts, 2 * np.bincount(text_of[split], minlength=len(texts)) > counts)


def _powers(count: int) -> np.ndarray:
    """(count,) uint64: powers of one odd number, which wrap around."""
    return np.cumprod(np.concatenate([[np.uint64(1)], np.full(count - 1, _MULTIPLIER)]), dtype=np.uint64)


def _unspaced(points: np.ndarray) -> np.ndarray:
    """Which characters are of a script without spaces, (characters,) bool."""
    return _unspaced_table()[points]


@cache
def _unspaced_table() -> np.ndarray:
    """(0x110000,) bool: which code points are in `unicode_sets.UNSPACED_RANGES`."""
    table = np.zeros(0x110000, dtype=bool)
    for first, last in ranges(UNSPACED_RANGES):
        table[first : last + 1] = True
    return table


def runs(hashes: np.ndarray, counts: np.ndarray, size: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `size` units within a text.

    Args:
        hashes: (units,) uint64, one text after the other.
        counts: (texts,) units of each text.
        size: Units of a run, at least 1; one number, or (texts,) one for each text.

    Returns:
        (m,) int64 numbers of texts, ascending where `size` is one number, and (m,) uint64 hashes.
    """
    sizes = np.broadcast_to(np.asarray(size), counts.shape)
    ends = np.cumsum(counts)
    owners, found = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
    for own in np.unique(sizes).tolist():
        numbers = np.flatnonzero((sizes == own) & (counts >= own))
        many = counts[numbers] - (own - 1)
        owner = np.repeat(numbers, many)
        offsets = np.arange(len(owner)) - np.repeat(np.cumsum(many) - many, many)
        at = np.repeat((ends - counts)[numbers], many) + offsets
        rolled = np.zeros(len(at), dtype=np.uint64)
        for offset in range(own):
            rolled = rolled * _MULTIPLIER + hashes[at + offset]
        owners.append(owner)
        found.append(scrambled(rolled))
    return np.concatenate(owners), np.concatenate(found)
