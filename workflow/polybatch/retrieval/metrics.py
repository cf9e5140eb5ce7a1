"""Which metrics there are, the ranks of relevant passages, the rank distance, the macro averages.

Metrics that ranx has are ranx's (by_ranx.py); here is what it lacks.

inputs: numeric arrays, see below
outputs: one value a query, or one mean a setting

Shapes: n queries, N ranked passages, R the most relevant passages that a query has. Passages are whole numbers
from 0. A ranking is (n, N), best first, padded at its end with -1 where fewer passages were retrieved. Relevant
passages are (n, R), with relevances (n, R), highest first, padded at the end with -1 and 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polybatch.core.contracts import POOL, SETTINGS
from polybatch.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

RANK_DISTANCE = "rank_distance"
# Measures of language bias, see language_bias.py. Those with a cut-off are written `name@k`.
OWN_FIRST, OWN_NDCG = "own_language_first", "own_language_ndcg"
OTHER_RECALL, LAST_RANK = "tlr", "last_relevant_rank"
RANK_CORRELATION = "mrc"  # see rank_correlation.py
LANGUAGE_SHARE, LANGUAGE_DISTANCE, POOL_SHARE = "language_share", "language_tvd", "pool_share"
FIRST_PASSAGE = ("first_relevant_own", "first_relevant_other", "first_wrong_own", "first_wrong_other")
TOKEN_F1 = "token_f1"
METRICS = (
    *("map", "ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "f1@10"),
    *(RANK_DISTANCE, LAST_RANK, f"{OTHER_RECALL}@10", OWN_FIRST, f"{OWN_NDCG}@10", f"{RANK_CORRELATION}@10"),
    *FIRST_PASSAGE,
    *(f"{name}@{depth}" for depth in (10, 100) for name in (LANGUAGE_SHARE, LANGUAGE_DISTANCE)),
)
# Metrics that need the rank of relevant passages however far down they stand.
FULL_RANKING = (RANK_DISTANCE, LAST_RANK, OWN_FIRST)
PADDING = -1

# The metrics that ranx has at a cut-off. The first mean something over a whole ranking too; the others count relevant
# passages, of which a full ranking holds all. ranx's bpref, r-precision and rbp know no cut-off.
_WHOLE = ("dcg", "dcg_burges", "hit_rate", "map", "mrr", "ndcg", "ndcg_burges")
RANX_METRICS = (*_WHOLE, "f1", "hits", "precision", "recall")
# `-l2` counts passages of relevance 2 and above as relevant, where otherwise 1 is enough.
_RANK_METRIC = re.compile(rf"(({'|'.join(RANX_METRICS)})@[1-9][0-9]*|{'|'.join(_WHOLE)})(-l[1-9][0-9]*)?")
_BIAS_METRIC = re.compile(
    "|".join((*FULL_RANKING, *FIRST_PASSAGE))
    + f"|({OWN_NDCG}|{OTHER_RECALL}|{RANK_CORRELATION}|{LANGUAGE_SHARE}|{LANGUAGE_DISTANCE})@[1-9][0-9]*"
)
# Names that another paper gives to measures of its own: ours follow its description, not its formulas.
_RENAMED = {"lpr": OWN_FIRST, "lang_ndcg": OWN_NDCG}


def is_metric(name: str) -> bool:
    """Whether a score file can hold it."""
    return is_rank_metric(name) or is_bias_metric(name) or name == TOKEN_F1


def is_rank_metric(name: str) -> bool:
    """Whether ranx computes it: a name of RANX_METRICS as ranx spells it, such as ndcg@10 or ndcg@10-l2."""
    return bool(_RANK_METRIC.fullmatch(name))


def cut_off(name: str) -> int:
    """The k of a metric's name, as in ndcg@10 or ndcg@10-l2; 0 where there is none."""
    return int(name.partition("@")[2].partition("-l")[0] or 0)


def least_relevance(name: str) -> int:
    """From which relevance on a passage is relevant to one of ranx's metrics: 2 for ndcg@10-l2, 1 without a suffix."""
    return int(name.partition("-l")[2] or 1)


def metric_fault(name: object) -> str | None:
    """What is wrong with a metric's name, and which names there are; None for a metric."""
    if isinstance(name, str) and is_metric(name):
        return None
    if isinstance(name, str) and name in RANX_METRICS:
        return f"{name!r} needs a cut-off, as in {name}@10"
    former, at, depth = str(name).partition("@")
    if former in _RENAMED:
        return f"{name!r} is called {_RENAMED[former]}{at}{depth} now: its formula was never compared with the paper's"
    ours = (*FULL_RANKING, *FIRST_PASSAGE, TOKEN_F1)
    cut = (*RANX_METRICS, OWN_NDCG, OTHER_RECALL, RANK_CORRELATION, LANGUAGE_SHARE, LANGUAGE_DISTANCE)
    known = f"{', '.join(f'{one}@k' for one in cut)}, {', '.join((*_WHOLE, *ours))}"
    return f"{name!r} is no metric; known are {known}"


def ranx_metrics(metrics: Sequence[str]) -> list[str]:
    """The metrics that ranx is asked for when these are scored: own-language nDCG is one of its metrics too."""
    aware = [f"ndcg{name.removeprefix(OWN_NDCG)}" for name in metrics if name.startswith(OWN_NDCG)]
    return list(dict.fromkeys([*filter(is_rank_metric, metrics), *aware]))


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

    Source: Elmahdy et al., arXiv 2408.10536, "rank distance"; from 0, lower is better, 0 with one relevant passage.

    Args:
        ranking: (n, N), the full ranking of the multilingual pool.
        relevant: (n, R), at least one a query.
        ranks: Of the relevant passages, where they are known already; see `relevant_ranks`.

    Returns:
        (n,) float64.

    Raises:
        DataError: A relevant passage is not in the ranking, so its rank is unknown.
    """
    import numpy as np

    ranks = relevant_ranks(ranking, relevant) if ranks is None else ranks
    _require_all_ranked(ranks, relevant, RANK_DISTANCE)
    best = np.where(ranks == 0, np.iinfo(np.int64).max, ranks).min(axis=1)
    return (ranks.max(axis=1) - best).astype(np.float64)


def last_relevant_rank(ranks: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The rank at which the last of a query's relevant passages is found: (n,) float64.

    From the number of relevant passages, where they all stand first, to the size of the pool; lower is better. In a
    parallel pool these are a passage and its translations. It is the rank behind Max@R of arXiv 2604.05684, given as
    it is: how that paper normalises it is not known to us.

    Args:
        ranks: (n, R) from `relevant_ranks`.
        relevant: (n, R), at least one a query.

    Raises:
        DataError: A relevant passage is not in the ranking, so its rank is unknown.
    """
    import numpy as np

    _require_all_ranked(ranks, relevant, LAST_RANK)
    return ranks.max(axis=1).astype(np.float64)


def _require_all_ranked(ranks: np.ndarray, relevant: np.ndarray, metric: str) -> None:
    unknown = ((ranks == 0) & (relevant != PADDING)).any(axis=1)
    if unknown.any():
        raise DataError(
            f"The {metric.replace('_', ' ')} needs the full ranking.",
            expected="every relevant passage ranked that a corpus holds",
            found=f"{int(unknown.sum())} of {len(ranks)} queries with a relevant passage that was not retrieved",
            remedy="score with depth `all` on a Flat index (an IVF index: probe every list), or leave "
            f"{metric} out of the metrics",
        )


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
