"""Ranked lists and judgements of a run as TREC's text files, and its indexes with the ids of their rows.

inputs: runs/<run>/<benchmark>.parquet, index/<run>/<benchmark>/, benchmarks/<benchmark>/
outputs: trec/<benchmark>/<setting>/<query_lang>-<corpus_lang>.run and .qrels, the same lines as
`polybatch.retrieval.score --trec` writes; faiss/<benchmark>/<lang>.faiss as the study made it, with <lang>.ids.parquet
(row, lang, passage_id) and index.json
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.benchmark import Benchmark, Texts, load
from polybatch.core import contracts
from polybatch.core.contracts import POOL, SETTINGS
from polybatch.core.errors import DataError
from polybatch.core.files import missing, read_json, sha256_file, write_json, write_parquet
from polybatch.core.streams import batches
from polybatch.export.source import Source
from polybatch.retrieval import trec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ROWS_AT_A_TIME = 200_000


def write_trec(source: Source, benchmark: str, folder: Path) -> dict[str, int]:
    """Writes the TREC files of one benchmark.

    Returns:
        {"runs": files of ranked lists, "lines": in them, "judgements": lines of qrels}.

    Raises:
        DataError: The ranked lists or the benchmark are not there or damaged, do not fit each other, or hold ids with
            white space.
    """
    path = Path(source.paths.ranked(source.run.name, benchmark))
    if not path.is_file():
        raise missing(path)
    texts = _Ids(load(source.benchmark_folder(benchmark), *source.languages(benchmark)))
    trec.require_ids(texts.all)
    counts, written = {"runs": 0, "lines": 0, "judgements": 0}, set[str]()
    for place, rows in _cells(path, texts):
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target.with_name(f"{target.name}.run"), "a", encoding="utf-8") as handle:
            handle.writelines(trec.run_lines(rows))
        counts["lines"] += rows.num_rows
        if place not in written:
            written.add(place)
            counts["judgements"] += _write_qrels(texts, target)
    return {**counts, "runs": len(written)}


@dataclass(frozen=True)
class _Ids:
    """The ids of a benchmark, and in which language each of them stands."""

    benchmark: Benchmark

    @cached_property
    def all(self) -> list[str]:
        sides = (*self.benchmark.queries.values(), *self.benchmark.corpus.values())
        return [name for texts in sides for name in texts.ids.to_pylist()]

    @cached_property
    def _queries(self) -> tuple[pa.ChunkedArray, np.ndarray]:
        return _joined(self.benchmark.queries)

    @cached_property
    def _passages(self) -> tuple[pa.ChunkedArray, np.ndarray]:
        return _joined(self.benchmark.corpus)

    def query_languages(self, ids: pa.ChunkedArray) -> np.ndarray:
        """(ids,) int64: the place of each query's language among those of the queries, -1 for unknown ids."""
        return _places(ids, *self._queries)

    def passage_languages(self, ids: pa.ChunkedArray) -> np.ndarray:
        """The same of passages."""
        return _places(ids, *self._passages)


def _joined(side: dict[str, Texts]) -> tuple[pa.ChunkedArray, np.ndarray]:
    import numpy as np
    import pyarrow as pa

    ids = pa.chunked_array([texts.ids for texts in side.values()])
    return ids, np.repeat(np.arange(len(side)), [len(texts) for texts in side.values()])


def _places(ids: pa.ChunkedArray, known: pa.ChunkedArray, languages: np.ndarray) -> np.ndarray:
    import numpy as np
    import pyarrow.compute as pc

    rows = pc.fill_null(pc.index_in(ids, known), -1).to_numpy()
    return np.where(rows >= 0, languages[rows], -1)


def _cells(path: Path, texts: _Ids) -> Iterator[tuple[str, pa.Table]]:
    """`<setting>/<query_lang>-<corpus_lang>` and consecutive rows of the ranked lists that belong there."""
    import numpy as np

    queries, corpora = list(texts.benchmark.queries), [*texts.benchmark.corpus, POOL]
    for rows in batches(path, contracts.RUN, rows=_ROWS_AT_A_TIME):
        asked, found = texts.query_languages(rows["query_id"]), texts.passage_languages(rows["passage_id"])
        if (asked < 0).any() or (found < 0).any():
            raise DataError(
                "Ranked lists hold ids that the benchmark does not have.",
                where=path,
                expected=f"ids of {texts.benchmark.name} in {' '.join(texts.benchmark.languages)}",
                found=f"{int((asked < 0).sum() + (found < 0).sum())} other id(s)",
                remedy="the benchmark was made anew since: run the study again",
            )
        setting = np.array([SETTINGS.index(name) for name in rows["setting"].to_pylist()])
        found[setting == SETTINGS.index("multilingual")] = len(corpora) - 1
        key = (setting * len(queries) + asked) * len(corpora) + found
        edges = [0, *(np.flatnonzero(np.diff(key)) + 1).tolist(), len(key)]
        for start, stop in itertools.pairwise(edges):
            name = f"{SETTINGS[setting[start]]}/{queries[asked[start]]}-{corpora[found[start]]}"
            yield name, rows.slice(start, stop - start)


def _write_qrels(texts: _Ids, target: Path) -> int:
    """Writes the judgements that hold for a cell, `<setting>/<query_lang>-<corpus_lang>`; returns their number."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    query_lang, corpus_lang = target.name.split("-")
    benchmark = texts.benchmark
    mine = pc.is_in(benchmark.qrels["query_id"], benchmark.queries[query_lang].ids)
    if corpus_lang != POOL:
        absent = benchmark.absent.get(corpus_lang, pa.array([], pa.string()))
        there = pa.chunked_array([benchmark.corpus[corpus_lang].ids, absent])
        mine = pc.and_(mine, pc.is_in(benchmark.qrels["passage_id"], there))
    rows = benchmark.qrels.filter(mine)
    # In the order of the queries; within a query the most relevant first.
    places = pc.index_in(rows["query_id"], benchmark.queries[query_lang].ids).to_numpy()
    rows = rows.take(pa.array(np.lexsort((-rows["relevance"].to_numpy(), places))))
    with open(target.with_name(f"{target.name}.qrels"), "w", encoding="utf-8") as handle:
        columns = (rows[name].to_pylist() for name in ("query_id", "passage_id", "relevance"))
        handle.writelines(f"{query} 0 {passage} {grade}\n" for query, passage, grade in zip(*columns, strict=True))
    return rows.num_rows


def copy_indexes(source: Source, benchmark: str, folder: Path) -> dict[str, Any]:
    """Copies the indexes of one benchmark, and writes the ids of their rows.

    Returns:
        {"factory", "dim", "rows": language -> vectors}.

    Raises:
        DataError: The indexes or the benchmark are not there, damaged, or do not fit each other.
    """
    there = source.index_folder(benchmark)
    described = read_json(there / "index.json")
    languages = described["languages"]
    corpus = load(source.benchmark_folder(benchmark), source.languages(benchmark)[0], languages).corpus
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for lang in languages:
        record, path = described["corpus"][lang], there / f"{lang}.faiss"
        if not path.is_file() or sha256_file(path) != record["sha256"] or record["rows"] != len(corpus[lang]):
            raise DataError(
                "An index is not there, is damaged, or was made from another corpus.",
                where=path,
                expected=f"{len(corpus[lang])} vectors, SHA-256 {record['sha256']}",
                found=f"{record['rows']} vectors by its record" if path.is_file() else "no file",
                remedy="run the study again: it makes what is missing or outdated",
            )
        shutil.copyfile(path, folder / path.name)
        rows[lang] = write_parquet(folder / f"{lang}.ids.parquet", [_ids_of(lang, corpus[lang])], _ids_schema())
    kept = {name: described["corpus"][languages[0]][name] for name in ("dim", "factory")}
    told = {**kept, "rows": rows, "similarity": "inner product of vectors of length 1: their cosine"}
    write_json(folder / "index.json", {**told, "languages": languages}, sealed=False)
    return told


def _ids_schema() -> pa.Schema:
    """<lang>.ids.parquet: the row of the index, as FAISS numbers it, and whose vector stands there."""
    import pyarrow as pa

    return pa.schema([("row", pa.int64()), ("lang", pa.string()), ("passage_id", pa.string())])


def _ids_of(lang: str, texts: Texts) -> pa.Table:
    import pyarrow as pa

    rows = pa.array(range(len(texts)), pa.int64())
    return pa.table([rows, pa.repeat(lang, len(texts)), texts.ids], schema=_ids_schema())
