"""The values of ranx's metrics, from the ranks of relevant passages.

inputs: ranks, relevant passages and relevances, as in metrics.py
outputs: one value a query and metric

ranx looks for judged passages in a ranked list, place by place, and at nothing else that stands there. It is given the
list of each query with every relevant passage at its rank, up to the last of them or the last cut-off that is wanted;
places of other passages hold OTHER. The values are those of the list with all its ids and scores, to the last bit, and
nobody has to sort a pool of millions for them: `Ranking.ranks` are counted, and of equal scores the greater id stands
first. ranx sorts no arrays, and it computes in float64.

Source: Bassani, "ranx: a blazing-fast Python library for ranking evaluation and comparison" (ECIR 2022).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.retrieval.left_out import left_out

if TYPE_CHECKING:
    import numpy as np

# The place of a passage that is not relevant; no passage has this number.
OTHER = -1.0
# Places of lists that are held at a time, in float64: 8 MB. ranx takes twice as much for each list that it looks at.
_MOST_PLACES = 2**20
# Imported with ranx, and asked by its plots, its tests and its readers of files alone: a third of a second and more
# each. ir_datasets makes folders in the home folder when it is imported, and fails where it cannot.
_UNUSED = ("scipy.stats", "matplotlib", "matplotlib.pyplot", "seaborn", "ir_datasets")
_SLOW_SECONDS = 3


def rank_values(
    ranks: np.ndarray, relevant: np.ndarray, relevance: np.ndarray, metrics: Sequence[str]
) -> dict[str, np.ndarray]:
    """Values of ranx's metrics, one a query.

    A cut-off beyond the end of a list counts the missing passages as not relevant: F1@10 and precision@10 over four
    passages divide by ten. Memory depends on the number of passages, not on that of queries.

    Args:
        ranks: (n, R) from 1, no two of a query equal; 0 for passages that were not retrieved and for padding.
        relevant: (n, R) the passages, padded with -1.
        relevance: (n, R), 0 for padding; within a row relevances fall, because ranx takes their order as the ideal one.
        metrics: Names that `is_rank_metric` knows.

    Returns:
        metric -> (n,) float64; 0 for a query without relevant passages.
    """
    import numpy as np

    if not metrics:
        return {}
    (evaluate, _), threads = _ranx(), _threads()
    qrels = np.stack([relevant, relevance], axis=2).astype(np.float64)
    values = {metric: np.zeros(len(ranks)) for metric in metrics}
    # Values of one metric alone ranx 0.3.21 looks up under its name without the cut-off, and fails.
    asked = [*metrics, *metrics][: max(2, len(metrics))]
    for rows, run in _lists(ranks, relevant, _deepest(metrics)):
        found = evaluate(qrels[rows], run, asked, return_mean=False, threads=threads)
        for metric in metrics:
            values[metric][rows] = found[metric]
    return values


def get_ready(metrics: Sequence[str]) -> None:
    """Imports ranx, and compiles the metrics or reads what was compiled, before there is anything to compute.

    Not to be called beside other threads that import: modules are missing meanwhile.
    """
    import numpy as np

    if not metrics:
        return
    _, folder = _ranx()
    from polybatch.retrieval import numba_cache

    one = np.ones((1, 1), np.int64)
    with numba_cache.one_at_a_time(folder):
        start = time.monotonic()
        rank_values(one, one, one, metrics)
    seconds = time.monotonic() - start
    if seconds > _SLOW_SECONDS:
        stage.log.info("ranx's code for %d metrics was compiled in %.0f s, into %s", len(metrics), seconds, folder)


def _deepest(metrics: Sequence[str]) -> int | None:
    """The last place that a metric looks at; None for the last there is."""
    cuts = [metric.partition("-l")[0].partition("@")[2] for metric in metrics]
    return None if "" in cuts else max(map(int, cuts))


def _lists(ranks: np.ndarray, relevant: np.ndarray, deepest: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of some queries and their (rows, K, 1) ranked lists of passages, which hold no scores: ranx reads none.

    Queries with their last relevant passage near the top go together, so that a few deep lists do not make all long.
    """
    import numpy as np

    last = ranks.max(axis=1, initial=0)
    if deepest is not None:
        last = np.minimum(last, deepest)
    order = np.argsort(last, kind="stable")
    while len(order):
        # At least one place: ranx divides by the length of a list without looking.
        width = max(1, int(last[order[-1]]))
        count = max(1, _MOST_PLACES // width)
        rows, order = order[-count:], order[:-count]
        run = np.full((len(rows), width, 1), OTHER)
        places = ranks[rows]
        queries, columns = np.nonzero((places > 0) & (places <= width))
        run[queries, places[queries, columns] - 1, 0] = relevant[rows[queries], columns]
        yield rows, run


@cache
def _ranx() -> tuple[Callable[..., Any], Path]:
    """ranx.evaluate, and the folder of its compiled code."""
    if "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(_allowed()))  # numba starts so many at the first call
    with stage.importing(), left_out(*_UNUSED):
        from polybatch.retrieval import numba_cache

        with numba_cache.kept() as folder:
            from ranx import evaluate
    return evaluate, folder


def _threads() -> int:
    """Threads that look at lists: what the job was given, which ranx must be told each time."""
    import numba

    config: Any = numba.config
    return int(min(_allowed(), config.NUMBA_NUM_THREADS))


def _allowed() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))
