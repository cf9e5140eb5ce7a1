"""Which of the English pairs are held out for test and dev, and how each reaches other languages.

inputs: what is remembered of the rows of all sources (`Rows`), and which of them are taken
outputs: the split and the kind of every row (contracts.COLLECTED)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polybatch.collect.options import SplitOptions
from polybatch.core.columns import Column, rows_of_many
from polybatch.core.errors import DataError
from polybatch.core.streams import is_first, is_in

TRAIN, DEV, TEST, DROPPED = range(4)
SPLITS = ("train", "dev", "test")
KINDS = ("parallel", "english_only", "english")
# What the supplied translations of a training pair are for: training encoders; scoring translators, as references; or
# nothing, for the pair is in no training and its document is left to translators.
FOR_ENCODERS, FOR_REFERENCE, FOR_TRANSLATORS = range(3)


@dataclass
class Rows:
    """What is remembered of the rows of all sources, in the order of the files.

    Attributes:
        ids, queries, passages, pairs: Keys (`cleaning.RowKeys`).
        documents: uint64 keys of what is held out together: its document; its passage, where it has none.
        place: float64 in [0, 1): where its document stands in the order of holding out.
        use: int8: FOR_ENCODERS, FOR_REFERENCE or FOR_TRANSLATORS, what its translations would be for if it is
            trained on; the same for its whole document.
        same: uint64: `text.same_hash` of the passage, which does not tell spaces apart as `passages` does.
        sizes: How many rows each file has, one file after the other.
        have_documents: Whether any row has a document.
    """

    ids: Column
    queries: Column
    passages: Column
    pairs: Column
    documents: Column
    place: Column
    use: Column
    same: Column
    sizes: Sequence[int]
    have_documents: bool

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, sources: Sequence[bool]) -> np.ndarray:
        """Which rows are of one of these sources, given as a flag each; (n,) bool."""
        return np.repeat(np.array(sources, dtype=bool), self.sizes)

    def by_source(self, chosen: np.ndarray) -> list[int]:
        """How many rows of the mask `chosen` each source has."""
        ends = np.cumsum(self.sizes).tolist()
        return [int(chosen[end - size : end].sum()) for end, size in zip(ends, self.sizes, strict=True)]


def use_of(at: float, options: SplitOptions) -> int:
    """What a document's translations would be for (`Rows.use`), by its place in [0, 1) among documents.

    English-only pairs lie at the lower end and the translators' at the upper: either share grows without moving a
    document from the one to the other.
    """
    if at < options.english_only:
        return FOR_REFERENCE
    return FOR_TRANSLATORS if at >= 1 - options.translators_only else FOR_ENCODERS


def split(
    rows: Rows, kept: np.ndarray, translated: np.ndarray, has_translations: Sequence[bool], options: SplitOptions
) -> np.ndarray:
    """Assigns every row to a split.

    Args:
        rows, kept: The rows, and which of them are taken.
        translated: (n,) bool: has translations into all languages that a held-out passage must have.
        has_translations: Of each source, whether translations come with it.
        options: See SplitOptions.

    Returns:
        (n,) int8: TRAIN, DEV, TEST, or DROPPED (not taken, another pair of a held-out passage or document, or left to
        translators).

    Raises:
        DataError: Too few passages can be held out, or no training row is left.
    """
    fate = np.where(kept, np.int8(TRAIN), np.int8(DROPPED))
    fit = kept & translated & ~rows_of_many(rows.queries, rows.pairs, kept, 1)
    test, dev = _held_out(rows, fit, options)
    if len(test) < options.test_passages or len(dev) < options.dev_passages:
        raise DataError(
            "The sources hold too few passages to hold out.",
            expected=f"{options.test_passages} test and {options.dev_passages} dev passages, each with a query of its "
            "own and translated into all languages of split.parallel_in",
            found=f"{options.test_passages - len(test)} test and "
            f"{options.dev_passages - len(dev)} dev passages are missing",
            remedy="lower split.test_passages and split.dev_passages, or name fewer languages in split.parallel_in",
        )
    held = np.concatenate([test, dev])
    for keys in (rows.same, rows.documents):
        fate[kept & keys.is_in(np.sort(keys.at(held)))] = DROPPED
    fate[rows.of(has_translations) & _used(rows, FOR_TRANSLATORS)] = DROPPED
    fate[test] = TEST
    fate[dev] = DEV
    if not (fate == TRAIN).any():
        raise DataError(
            "After cleaning and splitting, no training pair is left.",
            found=f"{int(kept.sum())} clean pairs, all held out or left to translators"
            if kept.any()
            else "no clean pair",
            remedy="hold out fewer passages (config: split), or loosen the limits (config: cleaning)",
        )
    return fate


def _used(rows: Rows, use: int) -> np.ndarray:
    return rows.use.where(lambda chunk: chunk == use)


def _held_out(rows: Rows, fit: np.ndarray, options: SplitOptions) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows for test and for dev, of the rows `fit`; fewer than are wanted only if there are no more.

    No document is in both: what the last one of test has beyond the wanted number is in neither.
    """
    wanted = asked = options.test_passages + options.dev_passages
    while True:
        numbers = _one_a_passage(rows, fit, asked)
        test, rest = np.split(numbers, [options.test_passages])
        dev = rest[~is_in(rows.documents.at(rest), np.sort(rows.documents.at(test)))][: options.dev_passages]
        if len(test) + len(dev) == wanted or len(numbers) < asked:
            return test, dev
        asked *= 2


def _one_a_passage(rows: Rows, fit: np.ndarray, wanted: int) -> np.ndarray:
    """Of the rows `fit` one a passage, the one of the lowest id; documents in their order of holding out.

    There may be more than are wanted; fewer only if there are no more.
    """
    most, available = max(1_000, 2 * wanted), int(fit.sum())
    while True:
        near = fit
        if most < available:  # rows of a document share its place: all of them are below the limit, or none
            limit = _smallest(rows.place, fit, most)
            near = fit & rows.place.where(lambda chunk, limit=limit: chunk <= limit)  # type: ignore[misc]
        numbers = np.flatnonzero(near)
        numbers = numbers[np.lexsort([column.at(numbers) for column in (rows.ids, rows.passages, rows.place)])]
        numbers = numbers[is_first(rows.same.at(numbers))]
        if len(numbers) >= wanted or most >= available:
            return numbers
        most *= 4


def _smallest(column: Column, among: np.ndarray, number: int) -> float:
    """The value before which `number` others come, of the rows of the mask `among`, which are more."""
    lowest = np.zeros(0, dtype=column.dtype)
    for here, chunk in column.chunks():
        lowest = np.concatenate([lowest, chunk[among[here]]])
        if len(lowest) > number:
            lowest = np.partition(lowest, number)[: number + 1]
    return float(lowest[number])


def kinds(rows: Rows, fate: np.ndarray, has_translations: Sequence[bool], is_translated: Sequence[bool]) -> np.ndarray:
    """How each row reaches other languages, (n,) int8, a place in KINDS: `kind` of contracts.COLLECTED.

    Args:
        rows, fate: The rows and their splits.
        has_translations: Of each source, whether translations come with it.
        is_translated: Of each source, whether it may be machine-translated.
    """
    parallel = rows.of(has_translations) & ~((fate == TRAIN) & _used(rows, FOR_REFERENCE))
    parallel_kind, machine, none = np.arange(len(KINDS), dtype=np.int8)
    return np.where(parallel, parallel_kind, np.where(rows.of(is_translated), machine, none))
