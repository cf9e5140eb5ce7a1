"""Orders passages whose scores are equal but for rounding: by scores that depend on query and passage alone.

inputs: keys of ranked lists (keys.py) with float32 scores from products of matrices, the vectors
outputs: the same lists, in the order of their exact scores

A product of matrices adds up an inner product in an order that depends on the other rows and columns, so copies of one
text may differ in their last bits. Which of them stands first would be chance, where the rule says that the
greater passage id does. So entries that are closer to a neighbour than rounding can explain away get the score that one
inner product gives, added up in float64 and rounded to float32, and equal scores are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from polybatch.retrieval.keys import numbers_of, pack, scores_of

if TYPE_CHECKING:
    import numpy as np

# Half the distance from 1 to the next float32.
_ROUNDING = 2.0**-24
# The error of a sum of n products is at most n roundings, and hardly ever above this many times sqrt(n) of them: less
# than once in a thousand if each rounding is as bad as it can be, and most are far from that, being of partial sums
# (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019).
_OF_ROOT = 4
# Numbers of vectors that are held at a time, in float64: 1 MB, which stays in the cache.
_MOST_NUMBERS = 2**17


def margin(queries: np.ndarray) -> np.float32:
    """How far apart two float32 inner products may be whose exact values are equal.

    Args:
        queries: (n, dim) float32 of length 1, and so are the passages' vectors.
    """
    import numpy as np

    dim = queries.shape[1]
    # Twice, for two products; two more for the rounding of the exact score and of the comparison.
    return np.float32(2 * (min(dim, _OF_ROOT * math.sqrt(dim)) + 2) * _ROUNDING)


def reaching(keys: np.ndarray, depth: int, margin: np.float32) -> np.ndarray:
    """The lists, (n, k) keys best first, without the columns that hold nothing that may be among the best `depth`."""
    if keys.shape[1] <= depth:
        return keys
    scores = scores_of(keys[:, depth - 1 :])
    return keys[:, : depth + int((scores[:, 1:] >= scores[:, :1] - margin).any(axis=0).sum())]


def settled(
    keys: np.ndarray,
    queries: np.ndarray,
    vectors_of: Callable[[np.ndarray], np.ndarray],
    margin: np.float32,
    depth: int,
) -> np.ndarray:
    """The best of lists, near ties in the order of their exact scores.

    Args:
        keys: (n, k), best first; with all that may be among the best, see `reaching`.
        queries: (n, dim) float32.
        vectors_of: (m,) numbers of passages -> (m, dim) float32.
        margin: Of scores, see `margin`.
        depth: Entries a list.

    Returns:
        (n, k) keys, best first; k is at most the depth.
    """
    import numpy as np

    scores = scores_of(keys)  # NaN where there is no passage, which is near to nothing
    close = scores[:, :-1] - scores[:, 1:] <= margin
    if keys.shape[1] > depth:
        close &= ~(scores[:, 1:] < scores[:, depth - 1 : depth] - margin)  # lists may be shorter than the depth
    near = np.zeros(keys.shape, bool)
    near[:, 1:] |= close
    near[:, :-1] |= close
    rows, columns = np.nonzero(near)
    keys, asked = keys.copy(), queries.astype(np.float64)
    size = max(1, _MOST_NUMBERS // queries.shape[1])
    for start in range(0, len(rows), size):
        at = rows[start : start + size], columns[start : start + size]
        numbers = numbers_of(keys[at])
        products = vectors_of(numbers).astype(np.float64)
        products *= asked[at[0]]
        keys[at] = pack(products.sum(axis=1), numbers)
    keys.sort(axis=1)
    return keys[:, :depth]
