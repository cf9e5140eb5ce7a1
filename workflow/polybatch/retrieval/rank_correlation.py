"""Whether a question gets the same passages in the same order in whatever language it is asked: MRC@k.

inputs: a Collection, and the first passages of every query in the pool of all languages
outputs: one value a query

Mean rank correlation. Let q_a and q_b be a query in the languages a and b, U the union of the first k passages of both,
and s(q, U) the scores that a query gives to U. Then

    RC@k(q_a) = mean over the other languages b of Spearman's correlation of s(q_a, U) and s(q_b, U)
    MRC@k(a)  = mean over the queries in a of RC@k

From -1 to 1, higher is better: 1 says that no language changes the order. Two lists without a passage in common give
about -0.75, not 0, because each query puts its own list above the other's.

Source: Yang et al., "Language Bias in Multilingual Information Retrieval: The Nature of the Beast and Mitigation
Methods" (MRL 2024), as MIMO computes it (arXiv 2605.31171; `compute_mrc` of its metrics.py, commit b36c40f5, which
prints it times 100). As there, a pair without a correlation (one passage in U, or equal scores for all of it) is left
out of the mean over languages.

Scores are inner products of the embeddings, also where an approximate index made the lists. They are summed in float64
and rounded to float32, so that copies of one text tie wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from polybatch.retrieval.metrics import PADDING, RANK_CORRELATION

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from polybatch.retrieval.searchable import Collection

# Numbers of passage vectors that are held at a time, in float64: 32 MB.
_MOST_NUMBERS = 2**22


def correlation_depths(metrics: Sequence[str]) -> list[int]:
    """The cut-offs of MRC@k among the metrics."""
    return [int(name.partition("@")[2]) for name in metrics if name.startswith(f"{RANK_CORRELATION}@")]


def parallel_queries(groups: Mapping[str, pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Which queries ask the same in several languages.

    Args:
        groups: Language -> (queries,) the group of each query, "" for one that belongs to none.

    Returns:
        (P, L) int64, a row for each question: the number of its query in each language, PADDING where there is none;
        and (P, L) bool, whether the row gives that query its value. Where a language has several queries of a group,
        the first stands for it beside other languages, and each of the others has a row of its own.
    """
    import numpy as np
    import pyarrow as pa

    encoded = pa.chunked_array(list(groups.values()), pa.string()).combine_chunks().dictionary_encode()
    codes = np.split(encoded.indices.to_numpy(), np.cumsum([len(of_lang) for of_lang in groups.values()])[:-1])
    named = np.array([bool(name) for name in encoded.dictionary.to_pylist()], bool)
    first = np.full((len(named), len(groups)), PADDING, np.int64)
    for column, of_lang in enumerate(codes):
        rows = np.flatnonzero(named[of_lang])[::-1]
        first[of_lang[rows], column] = rows
    parts, owners = [first], [first != PADDING]
    for column, of_lang in enumerate(codes):
        rows = np.flatnonzero(named[of_lang] & (first[of_lang, column] != np.arange(len(of_lang))))
        further = first[of_lang[rows]]
        further[:, column] = rows
        parts.append(further)
        owners.append(np.tile(np.arange(len(groups)) == column, (len(rows), 1)))
    together, owner = np.concatenate(parts), np.concatenate(owners)
    several = (together != PADDING).sum(axis=1) > 1
    return together[several], owner[several]


def rank_correlations(
    collection: Collection, first: Mapping[str, np.ndarray], depths: Sequence[int], most: int = _MOST_NUMBERS
) -> dict[int, dict[str, np.ndarray]]:
    """RC@k of every query, for several k.

    Memory does not grow with the corpus; time grows with queries, languages squared and k.

    Args:
        collection: Whose queries and passages they are.
        first: Query language -> (queries, K) numbers of the passages that stand first in the pool, padded with
            PADDING; K is the greatest k.
        depths: Each k.
        most: Numbers of vectors that are held at a time.

    Returns:
        k -> query language -> (queries,) float64; NaN for a query that no other language asks too, or that has no
        correlation with any. Empty where no query is asked in two languages.
    """
    import numpy as np

    languages = list(first)
    questions, owner = parallel_queries({lang: collection.benchmark.queries[lang].groups for lang in languages})
    if not len(questions):
        return {}
    values = {k: {lang: np.full(len(first[lang]), np.nan) for lang in languages} for k in depths}
    deepest, dim = max(depths), next(iter(collection.queries.values())).shape[1]
    size = max(1, most // (len(languages) * deepest * dim))
    for start in range(0, len(questions), size):
        rows, mine = questions[start : start + size], owner[start : start + size]
        lists = np.stack([_rows_of(first[lang], of_lang) for lang, of_lang in zip(languages, rows.T, strict=True)], 1)
        scores = _scores(collection, languages, rows, lists)
        for k in depths:
            found = _mean_over_languages(lists, scores, k)
            for column, lang in enumerate(languages):
                values[k][lang][rows[mine[:, column], column]] = found[mine[:, column], column]
    return values


def _rows_of(lists: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n, K) the lists of some queries, empty where there is no query."""
    import numpy as np

    return np.where((rows != PADDING)[:, None], lists[rows], PADDING)


def _scores(collection: Collection, languages: Sequence[str], rows: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """(n, L, L, K) float32: what a question's query in one language gives to the list of another.

    NaN where there is no query or no passage, and for passages that are taken out of a query's lists.
    """
    import numpy as np

    passages, place = np.unique(lists, return_inverse=True)
    held = passages != PADDING
    vectors = np.zeros((len(passages), next(iter(collection.queries.values())).shape[1]))
    vectors[held] = collection.vectors_of(passages[held])
    asked = np.stack([collection.queries[lang][of_lang] for lang, of_lang in zip(languages, rows.T, strict=True)], 1)
    n, langs, depth = lists.shape
    of_lists = vectors[place.reshape(n, langs * depth)]
    scores = (asked.astype(np.float64) @ of_lists.transpose(0, 2, 1)).astype(np.float32)
    scores = scores.reshape(n, langs, langs, depth)
    scores[rows == PADDING] = np.nan
    scores[np.broadcast_to((lists == PADDING)[:, None], scores.shape)] = np.nan
    for column, lang in enumerate(languages):
        if lang in collection.excluded:
            for out in _rows_of(collection.excluded[lang], rows[:, column]).T:
                taken = (lists == out[:, None, None]) & (out != PADDING)[:, None, None]
                scores[:, column][taken] = np.nan
    return scores


def _mean_over_languages(lists: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """(n, L) float64: RC@k of each question's queries."""
    import numpy as np

    questions, langs = lists.shape[:2]
    total, count = (np.zeros((questions, langs)) for _ in range(2))
    for a, b, one, other in _pairs(lists, scores, k):
        found = spearman(one, other)
        there = ~np.isnan(found)
        for column in (a, b):
            total[there, column] += found[there]
            count[there, column] += 1
    with np.errstate(invalid="ignore"):
        return total / count


def _pairs(lists: np.ndarray, scores: np.ndarray, k: int) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Two languages, and (n, 2k) the scores of each for the union of their lists; NaN where the union is smaller."""
    import numpy as np

    for a in range(lists.shape[1]):
        for b in range(a + 1, lists.shape[1]):
            again = (lists[:, b, :k, None] == lists[:, a, None, :k]).any(axis=2)
            one, other = (np.concatenate([scores[:, c, a, :k], scores[:, c, b, :k]], axis=1) for c in (a, b))
            one[:, k:][again] = np.nan
            yield a, b, one, other


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of rows, as scipy.stats.spearmanr has it: ties get the mean of their ranks.

    Args:
        one, other: (n, m) numbers; columns with NaN in either of them are left out of a row.

    Returns:
        (n,) float64 from -1 to 1; NaN for a row of fewer than two columns, or of equal numbers.
    """
    import numpy as np

    there = ~(np.isnan(one) | np.isnan(other))
    columns = there.sum(axis=1, keepdims=True)
    x, y = (
        np.where(there, average_ranks(np.where(there, part, np.inf)) - (columns + 1) / 2, 0) for part in (one, other)
    )
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return found


def average_ranks(numbers: np.ndarray) -> np.ndarray:
    """(n, m) float64: the rank from 1 of each number in its row, of equal ones the mean of their ranks."""
    import numpy as np

    order = np.argsort(numbers, axis=1, kind="stable")
    rising = np.take_along_axis(numbers, order, axis=1)
    places = np.broadcast_to(np.arange(numbers.shape[1]), numbers.shape)
    edge = np.ones((len(numbers), 1), bool)
    steps = rising[:, 1:] != rising[:, :-1]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, steps], axis=1), places, 0), axis=1)
    after = np.where(np.concatenate([steps, edge], axis=1), places, numbers.shape[1])
    last = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(numbers.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
