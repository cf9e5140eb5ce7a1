"""What a ranking is worth: metrics of the ranks of its relevant passages, the rank distance, the macro averages.

inputs: numeric arrays, see below
outputs: one value a query, or one mean a setting

Shapes: n queries, N ranked passages, R the most relevant passages that a query has. Passages are whole numbers
from 0. A ranking is (n, N), best first, padded at its end with -1 where fewer passages were retrieved. Relevant
passages are (n, R), with relevances (n, R), highest first, padded at the end with -1 and 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polybatch.core.contracts import POOL, SETTINGS
from polybatch.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

RANK_DISTANCE = "rank_distance"
# Measures of language bias, see language_bias.py. Those with a cut-off are written `name@k`.
PREFERENCE, LANGUAGE_NDCG = "lpr", "lang_ndcg"
LANGUAGE_SHARE, LANGUAGE_DISTANCE, POOL_SHARE = "language_share", "language_tvd", "pool_share"
FIRST_PASSAGE = ("first_relevant_own", "first_relevant_other", "first_wrong_own", "first_wrong_other")
TOKEN_F1 = "token_f1"
METRICS = (
    *("map", "ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "f1@10"),
    *(RANK_DISTANCE, PREFERENCE, f"{LANGUAGE_NDCG}@10", *FIRST_PASSAGE),
    *(f"{name}@{depth}" for depth in (10, 100) for name in (LANGUAGE_SHARE, LANGUAGE_DISTANCE)),
)
# Metrics that need the rank of relevant passages however far down they stand.
FULL_RANKING = (RANK_DISTANCE, PREFERENCE)
PADDING = -1
_NOT_FOUND = 2**62  # in place of a rank: behind every passage

_RANK_METRIC = re.compile(r"(map|mrr|ndcg|recall|precision|f1|hit_rate)(@[1-9][0-9]*)?")
_BIAS_METRIC = re.compile(
    "|".join((RANK_DISTANCE, PREFERENCE, *FIRST_PASSAGE))
    + f"|({LANGUAGE_NDCG}|{LANGUAGE_SHARE}|{LANGUAGE_DISTANCE})@[1-9][0-9]*"
)


def is_metric(name: str) -> bool:
    """Whether a score file can hold it. F1 needs a cut-off: over a whole ranking it is constant."""
    return is_rank_metric(name) or is_bias_metric(name) or name == TOKEN_F1


def is_rank_metric(name: str) -> bool:
    """Whether `rank_values` computes it: the names are ranx's."""
    return bool(_RANK_METRIC.fullmatch(name)) and name not in {"f1", "recall", "precision"}


def is_bias_metric(name: str) -> bool:
    """Whether it measures language bias: such metrics exist in the multilingual setting alone."""
    return bool(_BIAS_METRIC.fullmatch(name))


def is_share(name: str) -> bool:
    """Whether a score file has it once for each language of the passages, in place of one value for their pool."""
    return name == POOL_SHARE or name.startswith(f"{LANGUAGE_SHARE}@")


def setting_of(query_lang: str, corpus_lang: str) -> str:
    """monolingual, cross_lingual or multilingual."""
    if corpus_lang == POOL:
        return "multilingual"
    return "monolingual" if query_lang == corpus_lang else "cross_lingual"


def cells_of(setting: str, query_languages: Sequence[str], corpus_languages: Sequence[str]) -> list[tuple[str, str]]:
    """The (query_lang, corpus_lang) that a benchmark with these languages has in a setting, by its design.

    The list is empty where the setting makes no sense: no language has both queries and a corpus (monolingual),
    there are no two different languages (cross_lingual), or only one language has a corpus (multilingual).
    """
    if setting not in SETTINGS:
        raise ConfigError(f"Unknown setting {setting!r}.", expected=", ".join(SETTINGS))
    corpora = [*corpus_languages, POOL] if len(corpus_languages) > 1 else corpus_languages
    return [(a, b) for a in query_languages for b in corpora if setting_of(a, b) == setting]


def rank_values(ranks: np.ndarray, relevance: np.ndarray, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of the metrics that depend on nothing but the ranks of the relevant passages, one a query.

    Definitions are ranx's (0.3.21), and so is the order of the sums: the tests hold the two together to the last bit.
    ranx itself takes whole rankings, and compiles for 20 s on a new machine. A cut-off beyond the ranking's end counts
    the missing passages as not relevant: F1@10 and precision@10 over four passages divide by ten.

    Args:
        ranks: (n, R) from 1; 0 for passages that were not retrieved and for padding.
        relevance: (n, R); within a row relevances fall, because nDCG takes the order as the ideal one.
        metrics: ranx's names, for example `ndcg@10`.

    Returns:
        metric -> (n,) float64; 0 for a query without relevant passages.
    """
    import numpy as np

    order = np.argsort(np.where(ranks > 0, ranks, _NOT_FOUND), axis=1, kind="stable")
    found = np.take_along_axis(np.where(ranks > 0, ranks, _NOT_FOUND), order, axis=1)
    gains = np.take_along_axis(relevance, order, axis=1)
    there = (relevance > 0).sum(axis=1)
    values = {}
    for metric in metrics:
        name, _, depth = metric.partition("@")
        cut = int(depth) if depth else _NOT_FOUND - 1
        if name == "ndcg":
            values[metric] = _ndcg(found, gains, relevance, cut)
        else:
            values[metric] = _BY_RANK[name](found, np.maximum(there, 1), cut)
    return values


def _average_precision(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    import numpy as np

    return _sum_in_order(np.where(found <= cut, np.arange(1, found.shape[1] + 1) / found, 0.0)) / there


def _ndcg(found: np.ndarray, gains: np.ndarray, relevance: np.ndarray, cut: int) -> np.ndarray:
    import numpy as np

    within = found <= cut
    discounts = _discounts(int(found[within].max(initial=0)))
    gained = _sum_in_order(np.where(within, gains / discounts[np.where(within, found, 1) - 1], 0.0))
    best = relevance[:, : min(cut, relevance.shape[1])]
    ideal = _sum_in_order(best / _discounts(best.shape[1])[: best.shape[1]])
    return gained / np.where(ideal == 0, 1.0, ideal)


def _reciprocal_rank(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    import numpy as np

    return np.where(found[:, 0] <= cut, 1 / found[:, 0], 0.0)


def _recall(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    return _hits(found, cut) / there


def _precision(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    return _hits(found, cut) / cut


def _f1(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    import numpy as np

    precision, recall = _precision(found, there, cut), _recall(found, there, cut)
    either = precision + recall
    return 2 * ((precision * recall) / np.where(either == 0, 1.0, either))


def _hit_rate(found: np.ndarray, there: np.ndarray, cut: int) -> np.ndarray:
    return (_hits(found, cut) > 0).astype(float)


_BY_RANK = {
    "map": _average_precision,
    "mrr": _reciprocal_rank,
    "recall": _recall,
    "precision": _precision,
    "f1": _f1,
    "hit_rate": _hit_rate,
}


def _hits(found: np.ndarray, cut: int) -> np.ndarray:
    hits: np.ndarray = (found <= cut).sum(axis=1)
    return hits


def _discounts(ranks: int) -> np.ndarray:
    """log2(rank + 1) of the ranks from 1, at least of the first. numpy's own differs in the last bit here and there."""
    import numpy as np

    return np.array([math.log2(rank + 1) for rank in range(1, max(ranks, 1) + 1)])


def _sum_in_order(terms: np.ndarray) -> np.ndarray:
    """Sums of rows, term after term; numpy adds in pairs, which differs in the last bit."""
    import numpy as np

    total = np.zeros(len(terms))
    for column in terms.T:
        total += column
    return total


def relevant_ranks(ranking: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The rank, from 1, of every relevant passage: (n, R) int64; 0 for padding and for passages not retrieved."""
    import numpy as np

    ranks = np.zeros(relevant.shape, np.int64)
    for column, passage in enumerate(relevant.T):
        hits = (ranking == passage[:, None]) & (passage != PADDING)[:, None]
        ranks[:, column] = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
    return ranks


def rank_distance(ranking: np.ndarray, relevant: np.ndarray, ranks: np.ndarray | None = None) -> np.ndarray:
    """Language bias of each query: the worst minus the best rank among its relevant passages.

    Source: Elmahdy et al., arXiv 2408.10536, "rank distance"; lower is better, 0 with one relevant passage.

    Args:
        ranking: (n, N), the full ranking of the multilingual pool.
        relevant: (n, R), at least one per query.
        ranks: Their `relevant_ranks`, where they are known already.

    Returns:
        (n,) float64, in ranks.

    Raises:
        DataError: A relevant passage is not in the ranking, so that its rank is unknown.
    """
    import numpy as np

    ranks = relevant_ranks(ranking, relevant) if ranks is None else ranks
    unknown = ((ranks == 0) & (relevant != PADDING)).any(axis=1)
    if unknown.any():
        raise DataError(
            "The rank distance needs the full ranking.",
            expected="every relevant passage ranked",
            found=f"{int(unknown.sum())} of {len(ranks)} queries with a relevant passage that was not retrieved",
            remedy="score with depth `all` on a Flat index (an IVF index: probe every list), or leave "
            f"{RANK_DISTANCE} out of the metrics",
        )
    best = np.where(ranks == 0, np.iinfo(np.int64).max, ranks).min(axis=1)
    return (ranks.max(axis=1) - best).astype(np.float64)


def macro_average(setting: str, values: Mapping[tuple[str, str], float], cells: Sequence[tuple[str, str]]) -> float:
    """The mean of a setting over its cells, as in the paper's tables (arXiv 2408.10536, section 4).

    Args:
        setting: monolingual (a cell is a language), cross_lingual (an ordered pair of different languages), or
            multilingual (a query language, the corpus being the pool of all).
        values: (query_lang, corpus_lang) -> mean over queries; the corpus_lang of a pool is "all".
        cells: What to average over: the cells that the benchmark has by design, see `cells_of`.

    Raises:
        DataError: A value is missing or not a number; a mean over fewer cells would be another quantity.
        ConfigError: The setting is unknown, or a cell is none of that setting.
    """
    foreign = [f"{a}-{b}" for a, b in cells if setting_of(a, b) != setting]
    if foreign:
        raise ConfigError(f"Not all cells are of the setting {setting!r}.", found=", ".join(foreign[:5]))
    missing = [cell for cell in cells if cell not in values or values[cell] != values[cell]]
    if missing or not cells:
        raise DataError(
            f"The {setting} average cannot be formed.",
            expected=f"{len(cells)} value(s), at least one",
            found="no value for " + ", ".join(f"{a}-{b}" for a, b in missing[:5]) if missing else "no language",
        )
    return sum(values[cell] for cell in cells) / len(cells)
