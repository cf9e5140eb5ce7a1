"""A benchmark together with a retriever's embeddings and indexes of it, checked to belong together.

inputs: embeddings/<run>/<name>/, index/<run>/<name>/, benchmarks/<name>/
outputs: a `Collection`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmark import Benchmark, load
from polybatch.contracts import POOL
from polybatch.errors import DataError
from polybatch.files import read_json, sha256_file
from polybatch.metrics import PADDING
from polybatch.ranking import Shard, first_copies, number_passages, set_search_parameters
from polybatch.records import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Collection:
    """A benchmark with its embeddings and indexes, ready to be searched.

    Attributes:
        benchmark: See Benchmark.
        queries: language -> (queries, dim) float32.
        shards: language -> the index of its corpus.
        passage_ids: The ids of the pool's passages by number.
        judged: (query language, corpus language or "all") -> passages and relevances, both (queries, R), highest
            relevance first, padded with -1 and 0.
    """

    benchmark: Benchmark
    queries: dict[str, np.ndarray]
    shards: dict[str, Shard]
    passage_ids: pa.Array
    judged: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]


def open_collection(embeddings: Path, index: Path, benchmark_folder: Path, search_parameters: str = "") -> Collection:
    """Reads everything that is searched, and makes sure that it belongs together.

    Args:
        embeddings, index: embeddings/<run>/<name> and index/<run>/<name>.
        benchmark_folder: benchmarks/<name>; the languages are those of the embeddings.
        search_parameters: See `set_search_parameters`.

    Raises:
        DataError: The embeddings were made from other texts, or the indexes from other embeddings; a file is
            missing or damaged.
    """
    import faiss

    embedded, indexed = read_json(embeddings / "embeddings.json"), read_json(index / "index.json")
    benchmark = load(benchmark_folder, embedded["languages"])
    _require_same_texts(embeddings, embedded, benchmark)
    _require_same_vectors(index, indexed, embedded)
    passage_ids, numbers = number_passages([texts.ids for texts in benchmark.corpus.values()])
    shards = {}
    for (lang, texts), of_lang in zip(benchmark.corpus.items(), numbers, strict=True):
        shard = Shard(faiss.read_index(str(index / f"{lang}.faiss")), of_lang, first_copies(texts.texts))
        if search_parameters:
            set_search_parameters(shard.index, search_parameters)
        shards[lang] = shard
    queries = {
        lang: read_vectors(embeddings / "queries" / f"{lang}.npy", embedded["queries"][lang])
        for lang in benchmark.queries
    }
    return Collection(benchmark, queries, shards, passage_ids, _judgements(benchmark, passage_ids, shards))


def _require_same_texts(folder: Path, embedded: dict[str, Any], benchmark: Benchmark) -> None:
    other = [
        f"{side}/{lang}"
        for side, texts_of in (("queries", benchmark.queries), ("corpus", benchmark.corpus))
        for lang, texts in texts_of.items()
        if embedded[side].get(lang, {}).get("input") != texts.digest()
    ]
    if other:
        raise DataError(
            "The embeddings were made from other texts than the benchmark holds.",
            where=folder,
            expected="embeddings of this benchmark's ids and texts, in their order",
            found="others in " + ", ".join(other),
            remedy="run polybatch.encode on this benchmark again",
        )


def _require_same_vectors(folder: Path, indexed: dict[str, Any], embedded: dict[str, Any]) -> None:
    records = indexed["corpus"]
    other = [
        lang
        for lang in embedded["languages"]
        if records.get(lang, {}).get("vectors") != embedded["corpus"][lang]["sha256"]
        or not (folder / f"{lang}.faiss").is_file()
        or sha256_file(folder / f"{lang}.faiss") != records[lang]["sha256"]
    ]
    if other:
        raise DataError(
            "The indexes were not made from these embeddings, or are damaged.",
            where=folder,
            expected=f"one index for each of {' '.join(embedded['languages'])}",
            found="missing, outdated or damaged: " + " ".join(other),
            remedy="run polybatch.index on these embeddings again",
        )


def _judgements(
    benchmark: Benchmark, passage_ids: pa.Array, shards: dict[str, Shard]
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    import numpy as np
    import pyarrow.compute as pc

    qrels = benchmark.qrels
    passages = pc.index_in(qrels["passage_id"], passage_ids).to_numpy()
    relevance = qrels["relevance"].to_numpy()
    lang_of = np.empty(len(passage_ids), np.int64)
    for code, shard in enumerate(shards.values()):
        lang_of[shard.numbers] = code
    judged = {}
    for query_lang, texts in benchmark.queries.items():
        rows = pc.fill_null(pc.index_in(qrels["query_id"], texts.ids), PADDING).to_numpy()
        for code, corpus_lang in enumerate([*shards, POOL]):
            mine = (rows >= 0) & ((lang_of[passages] == code) | (corpus_lang == POOL))
            judged[query_lang, corpus_lang] = pad_judgements(rows[mine], passages[mine], relevance[mine], len(texts))
    return judged


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
