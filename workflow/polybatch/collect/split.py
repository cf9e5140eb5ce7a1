"""Which of the English pairs are held out for test and dev, and how each reaches other languages.

inputs: what is remembered of the rows of all sources (`Rows`), and which of them are taken
outputs: the split and the kind of every row (contracts.COLLECTED)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polybatch.collect.cleaning import passages_per_query
from polybatch.collect.options import SplitOptions
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
        ids, queries, passages: (n,) uint64 keys.
        documents: (n,) uint64 keys of what is held out together: its document; its passage, where it has none. The same
            array as `passages` where no row has a document.
        place: (n,) float64 in [0, 1): where its document stands in the order of holding out.
        use: (n,) int8: FOR_ENCODERS, FOR_REFERENCE or FOR_TRANSLATORS, what its translations would be for if it is
            trained on; the same for its whole document.
        source: (n,) int32: which file it is of.
        same: (n,) uint64: `text.same_hash` of the passage, which does not tell spaces apart as `passages` does.
    """

    ids: np.ndarray
    queries: np.ndarray
    passages: np.ndarray
    documents: np.ndarray
    place: np.ndarray
    use: np.ndarray
    source: np.ndarray
    same: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


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
    fate = np.where(kept, TRAIN, DROPPED).astype(np.int8)
    fit = kept & translated & (passages_per_query(rows.queries, rows.passages, kept) == 1)
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
        fate[kept & is_in(keys, np.sort(keys[held]))] = DROPPED
    fate[np.array(has_translations, dtype=bool)[rows.source] & (rows.use == FOR_TRANSLATORS)] = DROPPED
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


def _held_out(rows: Rows, fit: np.ndarray, options: SplitOptions) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows for test and for dev, of the rows `fit`; fewer than are wanted only if there are no more.

    No document is in both: what the last one of test has beyond the wanted number is in neither.
    """
    wanted = asked = options.test_passages + options.dev_passages
    while True:
        numbers = _one_a_passage(rows, fit, asked)
        test, rest = np.split(numbers, [options.test_passages])
        dev = rest[~is_in(rows.documents[rest], np.sort(rows.documents[test]))][: options.dev_passages]
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
            near = fit & (rows.place <= np.partition(rows.place[fit], most)[most])
        numbers = np.flatnonzero(near)
        numbers = numbers[np.lexsort((rows.ids[numbers], rows.passages[numbers], rows.place[numbers]))]
        numbers = numbers[is_first(rows.same[numbers])]
        if len(numbers) >= wanted or most >= available:
            return numbers
        most *= 4


def kinds(rows: Rows, fate: np.ndarray, has_translations: Sequence[bool], is_translated: Sequence[bool]) -> np.ndarray:
    """How each row reaches other languages, (n,) int8, a place in KINDS: `kind` of contracts.COLLECTED.

    Args:
        rows, fate: The rows and their splits.
        has_translations: Of each source, whether translations come with it.
        is_translated: Of each source, whether it may be machine-translated.
    """
    supplied, machine = (np.array(flags, dtype=bool)[rows.source] for flags in (has_translations, is_translated))
    parallel = supplied & ~((fate == TRAIN) & (rows.use == FOR_REFERENCE))
    return np.where(parallel, 0, np.where(machine, 1, 2)).astype(np.int8)  # in the order of KINDS
