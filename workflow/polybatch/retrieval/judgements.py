"""The relevant and the excluded passages of a benchmark's queries, as arrays of passage numbers.

inputs: a Benchmark, the numbers of its passages
outputs: `Collection.judged` and `Collection.excluded`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybatch.benchmarks.benchmark import Benchmark, Texts
from polybatch.core.contracts import POOL
from polybatch.retrieval.metrics import PADDING
from polybatch.retrieval.ranking import Shard

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def judgements(
    benchmark: Benchmark, passage_ids: pa.Array, shards: dict[str, Shard]
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """`Collection.judged`: the relevant passages of every query, in each language's corpus and in the pool."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    qrels = benchmark.qrels
    absent = pa.chunked_array([*benchmark.absent.values()], pa.string())
    passages = pc.index_in(qrels["passage_id"], pa.chunked_array([passage_ids, *absent.chunks])).to_numpy()
    relevance = qrels["relevance"].to_numpy()
    lang_of = np.empty(len(passage_ids) + len(absent), np.int64)
    start = len(passage_ids)
    for code, (lang, shard) in enumerate(shards.items()):
        lang_of[shard.numbers] = code
        missing = len(benchmark.absent.get(lang, ()))
        lang_of[start : start + missing] = code
        start += missing
    judged = {}
    for query_lang, texts in benchmark.queries.items():
        rows = _rows_of(qrels, texts)
        for code, corpus_lang in enumerate([*shards, POOL]):
            mine = (rows >= 0) & ((lang_of[passages] == code) | (corpus_lang == POOL))
            judged[query_lang, corpus_lang] = pad_judgements(rows[mine], passages[mine], relevance[mine], len(texts))
    return judged


def exclusions(benchmark: Benchmark, passage_ids: pa.Array) -> dict[str, np.ndarray]:
    """`Collection.excluded`: the passages that are taken out of a query's rankings."""
    import numpy as np
    import pyarrow.compute as pc

    passages = pc.index_in(benchmark.excluded["passage_id"], passage_ids).to_numpy()
    excluded = {}
    for lang, texts in benchmark.queries.items():
        rows = _rows_of(benchmark.excluded, texts)
        mine = rows >= 0
        if mine.any():
            excluded[lang] = pad_judgements(rows[mine], passages[mine], np.ones(mine.sum(), np.int64), len(texts))[0]
    return excluded


def _rows_of(table: pa.Table, texts: Texts) -> np.ndarray:
    """The rows of `texts` that the column query_id names, PADDING for queries of other languages."""
    import pyarrow.compute as pc

    rows: np.ndarray = pc.fill_null(pc.index_in(table["query_id"], texts.ids), PADDING).to_numpy()
    return rows


def pad_judgements(
    rows: np.ndarray, passages: np.ndarray, relevance: np.ndarray, queries: int
) -> tuple[np.ndarray, np.ndarray]:
    """Turns a list of judgements (query row, passage, relevance) into two (queries, R) arrays, see metrics.py."""
    import numpy as np

    order = np.lexsort((passages, -relevance, rows))
    rows, passages, relevance = rows[order], passages[order], relevance[order]
    counts = np.bincount(rows, minlength=queries)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (queries, max(1, int(counts.max(initial=0))))
    padded, grades = np.full(shape, PADDING, np.int64), np.zeros(shape, np.int64)
    padded[rows, columns], grades[rows, columns] = passages, relevance
    return padded, grades
