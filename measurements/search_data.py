"""What search.py searches: a benchmark of XQuAD-R's size with embeddings and indexes, and vectors of any number.

inputs: none; vectors are drawn here
outputs: <folder>/benchmark, embeddings and index, as the stages before leave them; or <folder>/queries.npy and vectors
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.squad import PUBLISHED
from polybatch.core import contracts
from polybatch.core.files import read_json, sha256_file, write_json, write_rows
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.options import IndexOptions

if TYPE_CHECKING:
    import numpy as np

DIM = 384
QUERIES_OF_GROWTH = 1000


def make(folder: Path, share: float, languages: int) -> None:
    """A benchmark with its embeddings and indexes, as the stages before leave them."""
    import numpy as np

    rng = np.random.default_rng(0)
    sizes = dict(list(PUBLISHED["xquad-r"]["candidates"].items())[:languages])
    queries = int(share * 1190)
    topics = rng.standard_normal((queries, DIM))
    vectors: dict[str, dict[str, np.ndarray]] = {"queries": {}, "corpus": {}}
    answers = {}
    for lang, size in sizes.items():
        passages = int(share * size)
        answers[lang] = rng.integers(0, passages, queries)
        middle, accent = rng.standard_normal((passages, DIM)), 0.7 * rng.standard_normal(DIM)
        np.add.at(middle, answers[lang], topics)
        vectors["corpus"][lang] = unit(middle + accent + 0.5 * rng.standard_normal((passages, DIM)))
        vectors["queries"][lang] = unit(topics + accent + 1.8 * rng.standard_normal((queries, DIM)))
    write_benchmark(folder / "benchmark", vectors, answers)
    write_embeddings(folder, vectors)
    build_indexes(folder / "embeddings", list(sizes), "Flat", IndexOptions(), folder / "index")


def unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_benchmark(folder: Path, vectors: Mapping[str, Mapping[str, np.ndarray]], answers: Mapping[str, Any]) -> None:
    schemas = {"queries": ("query_id", contracts.QUERIES), "corpus": ("passage_id", contracts.CORPUS)}
    for side, (name, schema) in schemas.items():
        for lang, of_lang in vectors[side].items():
            rows = [
                {
                    name: identifier(side, lang, i),
                    "lang": lang,
                    "text": f"text {i} in {lang}",
                    "group": f"g{i}" if side == "queries" else "",
                }
                for i in range(len(of_lang))
            ]
            write_rows(folder / side / f"{lang}.parquet", rows, schema)
    judgements = [
        {"query_id": identifier("queries", a, i), "passage_id": identifier("corpus", b, found), "relevance": 1}
        for a in vectors["queries"]
        for b in vectors["corpus"]
        for i, found in enumerate(answers[b])
    ]
    write_rows(folder / "qrels.parquet", judgements, contracts.QRELS)


def identifier(side: str, lang: str, row: int) -> str:
    return f"{lang}-{'q' if side == 'queries' else 'p'}{row}"


def write_embeddings(folder: Path, vectors: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    import numpy as np

    languages = list(vectors["queries"])
    loaded = load(folder / "benchmark", languages)
    records: dict[str, Any] = {"languages": languages, "queries": {}, "corpus": {}}
    for side, of_side in vectors.items():
        for lang, array in of_side.items():
            path = folder / "embeddings" / side / f"{lang}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
            digest = getattr(loaded, side)[lang].digest()
            shape = {"rows": len(array), "dim": array.shape[1]}
            records[side][lang] = {**shape, "input": digest, "sha256": sha256_file(path)}
    write_json(folder / "embeddings" / "embeddings.json", records)


def languages_of(folder: Path) -> list[str]:
    languages: list[str] = read_json(folder / "embeddings" / "embeddings.json")["languages"]
    return languages


def make_vectors(folder: Path, rows: int, dim: int) -> None:
    """Vectors around some thousand centres, as texts of few topics have, and queries near some of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, dim)).astype(np.float32)

    def some(count: int) -> np.ndarray:
        near = centres[rng.integers(0, len(centres), count)]
        return unit(near + 0.7 * rng.standard_normal((count, dim), np.float32))

    np.save(folder / "queries.npy", some(QUERIES_OF_GROWTH))
    with open(folder / "vectors", "wb") as handle:
        for start in range(0, rows, 100_000):
            some(min(100_000, rows - start)).tofile(handle)


def shard_of(folder: Path, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    from polybatch.embedding.vectors import VectorFile
    from polybatch.retrieval.ranking import Shard

    dim = (folder / "vectors").stat().st_size // rows // 4
    return Shard(None, np.arange(rows), lambda: pa.array([]), vectors=VectorFile(folder / "vectors", rows, dim))
