"""Small benchmarks, embeddings and indexes on disk, for the tests of the stages that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polybatch.benchmarks.benchmark import load
from polybatch.core import contracts
from polybatch.core.files import sha256_file, write_json, write_rows
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.options import IndexOptions

Rows = list[tuple[str, str, str]]


def write_side(folder: Path, side: str, lang: str, rows: Rows) -> None:
    """Writes one file of a benchmark from (id, text, group) rows."""
    name, schema = ("query_id", contracts.QUERIES) if side == "queries" else ("passage_id", contracts.CORPUS)
    records: list[Mapping[str, str]] = [
        {name: i, "lang": lang, "text": text, "group": group} for i, text, group in rows
    ]
    write_rows(folder / side / f"{lang}.parquet", records, schema)


def write_qrels(folder: Path, judgements: Sequence[tuple[str, str, int]]) -> None:
    """Writes qrels.parquet from (query_id, passage_id, relevance)."""
    rows: list[Mapping[str, object]] = [
        dict(zip(contracts.QRELS.names, judgement, strict=True)) for judgement in judgements
    ]
    write_rows(folder / "qrels.parquet", rows, contracts.QRELS)


def write_parallel(folder: Path, languages: Sequence[str], queries: int = 4, passages: int = 6) -> Path:
    """A fully parallel benchmark: query i asks for passage i, in every language; further passages answer nothing."""
    for lang in languages:
        write_side(
            folder, "queries", lang, [(f"q{i}-{lang}", f"query {i} {lang} house", f"g{i}") for i in range(queries)]
        )
        write_side(folder, "corpus", lang, [(f"p{i}-{lang}", f"passage {i} {lang}", f"g{i}") for i in range(passages)])
    write_qrels(folder, [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in languages for b in languages for i in range(queries)])
    return folder


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_embeddings(folder: Path, benchmark: Path, vectors: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Writes embeddings as the encode stage does: side -> language -> (rows, dim)."""
    languages, corpus_languages = list(vectors["queries"]), list(vectors["corpus"])
    loaded = load(benchmark, languages, corpus_languages)
    records: dict = {"corpus_languages": corpus_languages, "queries": {}, "corpus": {}}
    for side, of_lang in vectors.items():
        (folder / side).mkdir(parents=True, exist_ok=True)
        for lang, array in of_lang.items():
            path = folder / side / f"{lang}.npy"
            np.save(path, array.astype(np.float32))
            records[side][lang] = {
                "rows": len(array),
                "dim": array.shape[1],
                "input": getattr(loaded, side)[lang].digest(),
                "sha256": sha256_file(path),
            }
    write_json(folder / "embeddings.json", {"languages": languages, **records})
    return folder


def random_embeddings(
    folder: Path, benchmark: Path, languages: Sequence[str], *, dim: int = 8, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Writes random embeddings of a benchmark, with an exact index beside them in `folder`/index."""
    rng = np.random.default_rng(seed)
    loaded = load(benchmark, languages)
    vectors = {
        side: {lang: unit(rng.standard_normal((len(texts), dim))) for lang, texts in getattr(loaded, side).items()}
        for side in ("queries", "corpus")
    }
    write_embeddings(folder / "embeddings", benchmark, vectors)
    build_indexes(folder / "embeddings", languages, "Flat", IndexOptions(), folder / "index")
    return vectors
