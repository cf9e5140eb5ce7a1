"""A benchmark's queries, by how much two models differ on them.

inputs: two `Retriever`s of one benchmark
outputs: a `Difference` for each query: what stands among the first ten passages of either model
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polybatch.core.contracts import POOL
from polybatch.core.errors import ConfigError
from polybatch.retrieval.keys import best, merge, numbers_of, without
from polybatch.retrieval.metrics import PADDING
from polybatch.search.questions import Own
from polybatch.search.retriever import Retriever

if TYPE_CHECKING:
    import numpy as np

DEPTH = 10
# Comparisons of a query with a passage, for each model: some seconds on one core. Of more queries, some are taken.
_MOST_COMPARISONS = 400_000_000
_QUERIES_AT_A_TIME = 64

# By what the list is sorted: what is said of it, and what is large where a query stands first.
ORDERS: dict[str, tuple[str, Callable[[Difference], float]]] = {
    "passages": ("most passages differ", lambda query: query.other),
    "second": ("the second model finds more", lambda query: query.found[1] - query.found[0]),
    "first": ("the first model finds more", lambda query: query.found[0] - query.found[1]),
    "language": ("the share of the query's own language differs", lambda query: abs(query.own[0] - query.own[1])),
}


@dataclass(frozen=True)
class Difference:
    """How far two models differ on a query, among the first ten passages of the pool.

    Attributes:
        query: The query.
        other: Passages of the first model that the second has not.
        found: Relevant passages that each has there.
        relevant: Relevant passages that there are.
        own: Passages in the query's own language that each has there.
    """

    query: Own
    other: int
    found: tuple[int, int]
    relevant: int
    own: tuple[int, int]


def differences(models: Sequence[Retriever], queries: Sequence[Own], told: Callable[[float], None]) -> list[Difference]:
    """Compares two models on a benchmark's queries, or on some of them where all would take minutes.

    Args:
        models: Two.
        queries: All queries of the benchmark.
        told: Is told the share that is done.

    Returns:
        In the order of the queries. Where queries times passages exceed 400 million, of as many queries as that
        allows, evenly taken.
    """
    chosen = _some(queries, len(models[0].collection.passage_ids))
    found: list[Difference] = []
    for block in _blocks(chosen):
        tops = [_first(model, block) for model in models]
        found += [_difference(models, query, [top[row] for top in tops]) for row, query in enumerate(block)]
        told(len(found) / len(chosen))
    return found


def ordered(found: Sequence[Difference], by: str, lang: str = "") -> list[Difference]:
    """The list, the greatest difference first; of queries in one language, or in all.

    Raises:
        ConfigError: There is no such order.
    """
    if by not in ORDERS:
        raise ConfigError("The list has no such order.", expected=" ".join(ORDERS), found=by)
    size = ORDERS[by][1]
    some = [query for query in found if lang in ("", query.query.lang)]
    return sorted(some, key=lambda query: (-size(query), -query.other, query.query.query_id))


def _some(queries: Sequence[Own], passages: int) -> list[Own]:
    most = max(1, _MOST_COMPARISONS // passages)
    if len(queries) <= most:
        return list(queries)
    return [queries[place * len(queries) // most] for place in range(most)]


def _blocks(queries: Sequence[Own]) -> Iterator[list[Own]]:
    """Queries of one language, some at a time."""
    block: list[Own] = []
    for query in queries:
        if block and (len(block) == _QUERIES_AT_A_TIME or query.lang != block[0].lang):
            yield block
            block = []
        block.append(query)
    if block:
        yield block


def _first(model: Retriever, block: Sequence[Own]) -> np.ndarray:
    """(queries, at most DEPTH) the numbers of the first passages, PADDING where there are none."""
    import numpy as np

    collection, asked_in = model.collection, block[0].lang
    rows = np.array([query.row for query in block])
    vectors, excluded = collection.queries[asked_in][rows], collection.excluded.get(asked_in)
    deep = DEPTH + (0 if excluded is None else excluded.shape[1])
    scores = collection.scores(vectors, list(collection.shards))
    lists = [best(scores[lang], shard.numbers, deep) for lang, shard in collection.shards.items()]
    keys = merge(lists, deep)
    return numbers_of(keys[:, :DEPTH] if excluded is None else without(keys, excluded[rows], DEPTH))


def _difference(models: Sequence[Retriever], query: Own, tops: Sequence[np.ndarray]) -> Difference:
    passages, relevance = models[0].collection.judged[query.lang, POOL]
    relevant = set(passages[query.row][relevance[query.row] > 0].tolist())
    first, second = (set(top[top != PADDING].tolist()) for top in tops)
    place = models[0].languages.index(query.lang) if query.lang in models[0].languages else -1
    own = [int((models[0].language_of[list(top)] == place).sum()) if top else 0 for top in (first, second)]
    found = (len(first & relevant), len(second & relevant))
    return Difference(query, len(first - second), found, len(relevant), (own[0], own[1]))
