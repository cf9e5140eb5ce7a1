"""Keys of ranked lists: a passage and its score in one number, so that sorting keys ranks passages.

inputs: scores and passage numbers
outputs: keys of ranked lists, their merging and cutting

An entry of a ranked list is one uint64 key: the high half falls as the score rises, the low half is the passage's
number. Sorting keys sorts by score, best first, and equal scores by number; numbers fall as the passage ids rise,
because trec_eval ranks equal scores so, and mteb with it. One vectorised sort of whole blocks does that, and merging
lists is sorting them together. The greatest key stands for "no passage": FAISS fills lists that it could not complete,
and such an entry must never become a passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polybatch.retrieval.metrics import PADDING

if TYPE_CHECKING:
    import numpy as np

ALL = "all"
NO_PASSAGE = 2**64 - 1
_HALF = 32
_SIGN = 0x8000_0000


def pack(scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Keys of the given float32 scores and passage numbers below 2**32 - 1; a negative number is no passage."""
    import numpy as np

    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.uint32)  # adding zero makes -0.0 equal to 0.0
    rising = np.where(bits & _SIGN, ~bits, bits | np.uint32(_SIGN))
    keys = (~rising).astype(np.uint64) << np.uint64(_HALF) | numbers.astype(np.uint32)
    return np.where(numbers < 0, np.uint64(NO_PASSAGE), keys)


def numbers_of(keys: np.ndarray) -> np.ndarray:
    """The passage numbers of keys, int64; PADDING where there is no passage."""
    import numpy as np

    return np.where(keys == NO_PASSAGE, PADDING, (keys & np.uint64(0xFFFF_FFFF)).astype(np.int64))


def scores_of(keys: np.ndarray) -> np.ndarray:
    """The float32 scores of keys; without meaning where there is no passage."""
    import numpy as np

    rising = ~(keys >> np.uint64(_HALF)).astype(np.uint32)
    return np.where(rising & _SIGN, rising ^ np.uint32(_SIGN), ~rising).view(np.float32)


def merge(lists: Sequence[np.ndarray], depth: int | str) -> np.ndarray:
    """The ranking of the union of disjoint corpora, from (n, k) keys of each."""
    import numpy as np

    merged = np.sort(np.concatenate(lists, axis=1), axis=1)
    return merged if depth == ALL else merged[:, : int(depth)]


def best(scores: np.ndarray, numbers: np.ndarray, depth: int) -> np.ndarray:
    """The best passages of each query, from all scores, without sorting them all.

    Args:
        scores: (n, N) float32; minus infinity is no passage.
        numbers: (N,) the passages' numbers.
        depth: Entries a list.

    Returns:
        (n, k) keys, best first; k is at most the depth. Lists of fewer passages end with NO_PASSAGE.
    """
    keys = at_least(scores, numbers, least_of_best(scores, depth))
    keys.sort(axis=1)
    return keys[:, :depth]


def least_of_best(scores: np.ndarray, depth: int) -> np.ndarray | None:
    """(n,) float32: the last of the `depth` greatest scores of each query; None where there are no more."""
    import numpy as np

    passages = scores.shape[1]
    return np.partition(scores, passages - depth, axis=1)[:, passages - depth] if depth < passages else None


def at_least(scores: np.ndarray, numbers: np.ndarray, least: np.ndarray | None) -> np.ndarray:
    """(n, k) keys, in any order, of the scores that are not below (n,) `least`; NO_PASSAGE where there are fewer."""
    import numpy as np

    if least is None:
        return pack(scores, np.where(np.isneginf(scores), PADDING, numbers))
    places = np.flatnonzero(scores >= least[:, None])
    rows, columns = np.divmod(places, scores.shape[1])
    found = scores.ravel()[places] if scores.flags.c_contiguous else scores[rows, columns]
    return _lists(rows, pack(found, np.where(np.isneginf(found), PADDING, numbers[columns])), len(scores))


def _lists(rows: np.ndarray, keys: np.ndarray, queries: int) -> np.ndarray:
    """(queries, longest list) keys, from keys in the order of their rows."""
    import numpy as np

    counts = np.bincount(rows, minlength=queries)
    lists = np.full((queries, int(counts.max(initial=0))), NO_PASSAGE, np.uint64)
    lists[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = keys
    return lists


def without(keys: np.ndarray, numbers: np.ndarray, depth: int | str) -> np.ndarray:
    """Takes passages out of rankings.

    Args:
        keys: (n, k) keys, best first; changed in place.
        numbers: (n, E) passages to take out of each ranking, padded with PADDING.
        depth: Entries a list afterwards, or "all".
    """
    ranked = numbers_of(keys)
    for column in numbers.T:
        keys[(ranked == column[:, None]) & (column != PADDING)[:, None]] = NO_PASSAGE
    keys.sort(axis=1)
    return keys if depth == ALL else keys[:, : int(depth)]
