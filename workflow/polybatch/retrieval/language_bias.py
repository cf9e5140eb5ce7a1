"""Whether a retriever prefers passages for their language: measures on the pool of all languages' passages.

inputs: rankings of the pool, the relevant passages, the language of every passage
outputs: one value a query: whether the query's language comes first, own-language nDCG, how much of the other
languages is found, what stands first, and the shares of languages at the top

Shapes are those of metrics.py: n queries, N ranked passages, R relevant ones, L languages. A language is a whole
number from 0, its place in the corpus; `own` is the query's, -1 where the pool holds none of its language.

The measures make sense where the pool is parallel, that is where the relevant passages of a query say the same in
several languages. A language preference rate (LPR), a language-aware nDCG (Lang-nDCG) and four cases of the first
passage are named in Jang et al., MLAIRE (arXiv 2605.07249, abstract). That paper's formulas are not at hand, so
the measures here have names of their own, and each function says what it computes.

MRC@k, which compares the lists of a query's translations, is in rank_correlation.py. PEER (hltcoe/peer_measure), a
Kruskal-Wallis test over the languages of the relevant passages, is left out: where a query has one relevant passage a
language, it is constant whatever the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polybatch.core.errors import DataError
from polybatch.retrieval.by_ranx import rank_values
from polybatch.retrieval.metrics import (
    FIRST_PASSAGE,
    LANGUAGE_DISTANCE,
    LANGUAGE_SHARE,
    LAST_RANK,
    OTHER_RECALL,
    OWN_FIRST,
    OWN_NDCG,
    PADDING,
    RANK_DISTANCE,
    last_relevant_rank,
    rank_distance,
    relevant_ranks,
)

if TYPE_CHECKING:
    import numpy as np

# Gains of a relevant passage in the query's language, and in another.
OWN_GAIN, OTHER_GAIN = 2, 1


@dataclass(frozen=True)
class Pool:
    """The languages of a pool.

    Attributes:
        languages: (passages,) whole numbers, the language of each passage; passages that are judged but held by no
            corpus may stand behind the others.
        shares: (L,) float64, the share of each language among the passages that can be retrieved.
    """

    languages: np.ndarray
    shares: np.ndarray


def bias_values(
    ranking: np.ndarray,
    relevant: np.ndarray,
    relevance: np.ndarray,
    pool: Pool,
    *,
    own: int,
    metrics: Sequence[str],
    ranks: np.ndarray | None = None,
    lost: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """All bias metrics of one block of queries, but for the shares.

    Args:
        ranking, relevant, relevance: As in metrics.py; at least one relevant passage a query. With `ranks`, the
            ranking may end at the greatest cut-off.
        pool: The languages of its passages.
        own: The queries' language, or -1.
        metrics: Names among those that `is_bias_metric` knows; shares are passed over.
        ranks: (n, R) of the relevant passages in the full ranking, where they are known; see `relevant_ranks`.
        lost: (n, R) bool, relevant passages that no ranking of their query can hold. They count as never found. A rank
            distance and a last rank are not known then, and whether the own language comes first is a matter of the
            others.

    Returns:
        metric -> (n,) float64, NaN where there is no value. Metrics that ask for passages in the query's own language
        are left out where `own` is -1.
    """
    import numpy as np

    languages, values = pool.languages, {}
    ranks = relevant_ranks(ranking, relevant) if ranks is None else ranks
    lost = np.zeros(relevant.shape, bool) if lost is None else lost
    whole = np.logical_not(np.any(lost, axis=1))

    def of_whole(found: np.ndarray) -> np.ndarray:
        column = np.full(len(whole), np.nan)
        column[whole] = found
        return column

    if RANK_DISTANCE in metrics:
        values[RANK_DISTANCE] = of_whole(rank_distance(ranking[whole], relevant[whole], ranks[whole]))
    for metric in metrics:
        name, _, depth = metric.partition("@")
        if name == LANGUAGE_DISTANCE:
            values[metric] = distance_from_pool(ranking, pool, int(depth))
        elif name == LAST_RANK:
            values[metric] = of_whole(last_relevant_rank(ranks[whole], relevant[whole]))
        elif name == OTHER_RECALL:
            values[metric] = other_language_recall(ranks, relevant, languages, own=own, depth=int(depth))
        elif name == OWN_NDCG and own >= 0:
            values[metric] = own_language_ndcg(ranks, relevant, relevance, languages, own=own, depth=int(depth))
        elif name == OWN_FIRST and own >= 0:
            values[metric] = own_language_first(ranks, np.where(lost, PADDING, relevant), languages, own)
    if own >= 0 and set(FIRST_PASSAGE) & set(metrics):
        found = first_passage(ranking, relevant, languages, own)
        values |= {name: found[name] for name in FIRST_PASSAGE if name in metrics}
    return values


def own_language_first(ranks: np.ndarray, relevant: np.ndarray, languages: np.ndarray, own: int) -> np.ndarray:
    """1 where the best placed relevant passage is in the query's language, else 0.

    Its mean over queries is a share from 0 to 1. Chance gives the share of the query's language among the relevant
    passages; 1 is a retriever that puts the query's own language first, and neither end is better in itself. Taken is
    the best placed of the relevant passages, however far down. Source: ours, after the description of the language
    preference rate in arXiv 2605.07249; whether it is that paper's LPR is not known.

    Args:
        ranks: (n, R) from `relevant_ranks`.

    Returns:
        (n,) float64; NaN where the relevant passages are not in the query's language and in another one too, so that
        there is nothing to prefer.

    Raises:
        DataError: A query has no relevant passage in its ranking, which was cut.
    """
    import numpy as np

    there = relevant != PADDING
    mine = there & (languages[relevant] == own)
    choice = mine.any(axis=1) & (there & ~mine).any(axis=1)
    unknown = choice & ~(ranks > 0).any(axis=1)
    if unknown.any():
        raise DataError(
            "Whether the own language comes first cannot be told without the full ranking.",
            expected="one relevant passage or more ranked for every query",
            found=f"{int(unknown.sum())} of {len(ranks)} queries without one",
            remedy=f'score with depth "all" on a Flat index, or leave {OWN_FIRST} out of the metrics',
        )
    best = np.where(ranks > 0, ranks, np.iinfo(np.int64).max).argmin(axis=1)
    first_is_mine = mine[np.arange(len(ranks)), best]
    return np.where(choice, first_is_mine.astype(np.float64), np.nan)


def own_language_ndcg(
    ranks: np.ndarray,
    relevant: np.ndarray,
    relevance: np.ndarray,
    languages: np.ndarray,
    *,
    own: int,
    depth: int,
) -> np.ndarray:
    """ranx's nDCG@depth where relevant passages in other languages than the query's gain less: (n,) float64.

    Sum over the first `depth` places i of gain(i) / log2(i + 1), divided by that sum for the best order. A relevant
    passage in the query's language gains twice its relevance, one in another language its relevance. From 0 to 1,
    higher is better. Source: ours, after the description of Lang-nDCG in arXiv 2605.07249; whether its gains are these
    is not known.

    Args:
        ranks: (n, R) from `relevant_ranks`.
    """
    import numpy as np

    weight = np.where(languages[relevant] == own, OWN_GAIN, OTHER_GAIN)
    gains = np.where(relevant != PADDING, relevance * weight, 0)
    order = np.argsort(-gains, axis=1, kind="stable")
    metric = f"ndcg@{depth}"
    ranks, relevant, gains = (np.take_along_axis(part, order, axis=1) for part in (ranks, relevant, gains))
    return rank_values(ranks, relevant, gains, [metric])[metric]


def other_language_recall(
    ranks: np.ndarray, relevant: np.ndarray, languages: np.ndarray, *, own: int, depth: int
) -> np.ndarray:
    """TLR@depth: the share of a query's relevant passages in other languages that stand among the first `depth`.

    |first k and R'| / |R'|, where R' are the relevant passages in other languages than the query's; from 0 to 1, higher
    is better. With fewer places than passages in R' it cannot reach 1. Source: target-languages recall of SHIFT
    (arXiv 2606.18801, section 4.3).

    Args:
        ranks: (n, R) from `relevant_ranks`.
        own: The queries' language; with -1 all relevant passages are in other languages.

    Returns:
        (n,) float64; NaN where no relevant passage is in another language.
    """
    import numpy as np

    abroad = (relevant != PADDING) & (languages[relevant] != own)
    found = (abroad & (ranks > 0) & (ranks <= depth)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return found / abroad.sum(axis=1)


def first_passage(ranking: np.ndarray, relevant: np.ndarray, languages: np.ndarray, own: int) -> dict[str, np.ndarray]:
    """What the first passage is: relevant or wrong, in the query's own language or in another.

    Source: the four cases of arXiv 2605.07249; a secondary description of it says that the first passage decides.

    Returns:
        Each of FIRST_PASSAGE -> (n,) float64, 1 in one of the four and 0 in the others; all 0 where nothing was
        retrieved.
    """
    first = ranking[:, 0]
    found = first != PADDING
    right = found & (relevant == first[:, None]).any(axis=1)
    mine = found & (languages[first] == own)
    cases = (right & mine, right & ~mine, found & ~right & mine, found & ~right & ~mine)
    return {name: case.astype(float) for name, case in zip(FIRST_PASSAGE, cases, strict=True)}


def language_shares(ranking: np.ndarray, pool: Pool, depth: int) -> np.ndarray:
    """The share of each language among a query's first `depth` passages: (n, L) float64, rows add up to 1.

    Args:
        ranking: (n, N).
        pool: The languages of its passages.
        depth: Passages to look at; fewer where fewer were retrieved. A query without any gets NaN.
    """
    import numpy as np

    top = ranking[:, :depth]
    there = top != PADDING
    codes = range(len(pool.shares))
    counts = np.stack([(there & (pool.languages[top] == code)).sum(axis=1) for code in codes], axis=1)
    with np.errstate(invalid="ignore"):
        return counts / there.sum(axis=1, keepdims=True)


def distance_from_pool(ranking: np.ndarray, pool: Pool, depth: int) -> np.ndarray:
    """Total variation distance between the languages of a query's first passages and those of the pool.

    Half the sum over languages of |share of the top - share of the pool|. 0: the top holds every language as the pool
    does. 1: the top holds only what the pool lacks. The comparison of a ranking's top with the shares that it is drawn
    from is that of Geyik et al. (KDD 2019), whose divergence is infinite for a language that is absent; the total
    variation distance is bounded and symmetric. It is taken query by query, so that opposite preferences of two queries
    do not cancel; hence a top of k passages rarely reaches 0.

    Returns:
        (n,) float64, from 0 to 1; lower is less biased.
    """
    import numpy as np

    return np.abs(language_shares(ranking, pool, depth) - pool.shares).sum(axis=1) / 2


def share_depths(metrics: Sequence[str]) -> list[int]:
    """The cut-offs of the language shares among the metrics."""
    return [int(name.partition("@")[2]) for name in metrics if name.startswith(f"{LANGUAGE_SHARE}@")]
