"""Scores one retriever on one benchmark: monolingual, cross-lingual and multilingual retrieval.

inputs: embeddings/<run>/<name>/, index/<run>/<name>/, benchmarks/<name>/
outputs: scores/<run>/<name>.parquet (contracts.SCORES, means over queries), <name>.per_query.parquet
(contracts.PER_QUERY), runs/<run>/<name>.parquet (contracts.RUN, the top of every ranked list); on demand a folder
with TREC run and qrels files. With an index that is not exact, the metadata `index_recall` of the scores' file says
which share of the exact lists it finds in each language, as JSON.

The pairs of query and corpus language of a setting are those that the benchmark has by design: with queries in de,
en and fr over an English corpus, monolingual is en-en and cross-lingual is de-en and fr-en. Shares of languages
(`language_share@k`, and `pool_share` of the whole pool) have a row for each language of the passages, named as
corpus_lang; all other scores of the multilingual setting have corpus_lang "all".

How rankings are made and judged: judging.py. A query without a relevant passage in the searched corpus counts neither
as a hit nor as a miss: it is left out of the mean, and `num_queries` says how many were not. With `-l2` in a metric's
name, passages of relevance 1 are not relevant to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from polybatch.benchmarks.benchmark import Benchmark
from polybatch.core import contracts, made_from, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, write_parquet, write_rows
from polybatch.retrieval import by_ranx, faiss_builds, trec
from polybatch.retrieval.judging import Cell, score
from polybatch.retrieval.keys import numbers_of, scores_of
from polybatch.retrieval.metrics import PADDING, POOL_SHARE, ranx_metrics
from polybatch.retrieval.options import ScoreOptions
from polybatch.retrieval.searchable import Collection, open_collection

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
INDEX_RECALL = "index_recall"


def score_rows(cell: Cell, grid: dict[str, Any], collection: Collection) -> list[dict[str, Any]]:
    """A cell's rows of contracts.SCORES: means over the queries that have a value.

    A metric that no query of the cell has a value of (token_f1 where no answer is in the corpus's language,
    own_language_first where no query has a choice of languages) gets no row.
    """
    import numpy as np

    place = {"benchmark": collection.benchmark.name, "setting": cell.setting, "query_lang": cell.query_lang}
    rows = [
        (cell.corpus_lang, metric, float(np.nanmean(values)), int(np.isfinite(values).sum()))
        for metric, values in cell.values.items()
        if np.isfinite(values).any()
    ]
    for metric, shares in cell.shares.items():
        queries = int(np.isfinite(shares[:, 0]).sum())
        means = np.nanmean(shares, axis=0)
        rows += [(lang, metric, float(mean), queries) for lang, mean in zip(collection.shards, means, strict=True)]
    if cell.shares:
        pool = collection.pool.shares
        rows += [(lang, POOL_SHARE, float(share), queries) for lang, share in zip(collection.shards, pool, strict=True)]
    return [
        {**grid, **place, "corpus_lang": corpus_lang, "metric": metric, "value": value, "num_queries": queries}
        for corpus_lang, metric, value, queries in rows
    ]


def per_query_table(cell: Cell, benchmark: Benchmark) -> pa.Table:
    """A cell's rows of contracts.PER_QUERY: its judged queries; none where all metrics are of other settings."""
    import numpy as np
    import pyarrow as pa

    texts, tables = benchmark.queries[cell.query_lang], [contracts.PER_QUERY.empty_table()]
    for metric, values in cell.values.items():
        rows = pa.array(np.flatnonzero(np.isfinite(values)))
        columns = [
            *(pa.repeat(word, len(rows)) for word in (cell.setting, cell.query_lang, cell.corpus_lang, metric)),
            texts.ids.take(rows),
            texts.groups.take(rows),
            pa.array(values[rows.to_numpy()], pa.float32()),
        ]
        tables.append(pa.table(columns, schema=contracts.PER_QUERY))
    return pa.concat_tables(tables)


def run_table(cell: Cell, collection: Collection) -> pa.Table:
    """The top of a cell's ranked lists, as contracts.RUN; ranks from 1."""
    import numpy as np
    import pyarrow as pa

    numbers = numbers_of(cell.top)
    queries, places = np.nonzero(numbers != PADDING)
    columns = [
        collection.benchmark.queries[cell.query_lang].ids.take(pa.array(queries)),
        collection.passage_ids.take(pa.array(numbers[queries, places])),
        pa.array(scores_of(cell.top[queries, places])),
        pa.array((places + 1).astype(np.int32)),
        pa.repeat(cell.setting, len(queries)),
    ]
    return pa.table(columns, schema=contracts.RUN)


def read_grid(text: str) -> dict[str, Any]:
    """Reads the grid point that the scores belong to: exactly the keys of contracts.GRID_COLUMNS, as JSON.

    Those that contracts.GRID_DEFAULTS has may be left out.
    """
    names = [name for name, _ in contracts.GRID_COLUMNS]
    try:
        grid = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError("The grid point is no JSON.", expected="a JSON object", found=str(error)) from error
    grid = {**contracts.GRID_DEFAULTS, **grid} if isinstance(grid, dict) else grid
    if not isinstance(grid, dict) or sorted(grid) != sorted(names):
        found = ", ".join(map(str, grid)) if isinstance(grid, dict) else text
        raise ConfigError("The grid point has other keys than it should.", expected=", ".join(names), found=found)
    numbers = ("num_pairs", "num_translated")
    return {**grid, **{name: str(grid[name]) for name in numbers}, "alpha": _alpha(grid["alpha"])}


def _alpha(value: Any) -> str | None:
    """A constant alpha as its shortest text, so that 0.5 and "0.50" name the same grid point."""
    try:
        return None if value is None else f"{float(value):g}"
    except ValueError:
        return str(value)  # a schedule such as "1to0.5"


@dataclass(frozen=True)
class Job:
    """One benchmark to score: the folders that are read, the options, and the files that are written."""

    embeddings: Path
    index: Path
    benchmark: Path
    options: ScoreOptions
    scores: Path
    per_query: Path
    run: Path


def score_benchmark(job: Job, grid: dict[str, Any], trec_folder: Path | None = None) -> None:
    """Scores one benchmark and writes its files; the scores come last, so that they stand for all of them."""
    options = job.options
    collection = open_collection(
        job.embeddings, job.index, job.benchmark, options.search_parameters, depth=options.depth
    )
    by_ranx.get_ready(ranx_metrics(options.metrics))
    rows: list[Mapping[str, Any]] = []
    per_query: list[pa.Table] = []

    with atomic_path(trec_folder) if trec_folder else contextlib.nullcontext() as trec_partial:

        def runs() -> Iterator[pa.Table]:
            for cell in score(collection, options):
                rows.extend(score_rows(cell, grid, collection))
                per_query.append(per_query_table(cell, collection.benchmark))
                if not cell.top.shape[1]:
                    continue
                run = run_table(cell, collection)
                if trec_partial:
                    trec.write(trec_partial, run, cell, collection)
                yield run

        ahead = len(collection.shards) + 1
        write_parquet(job.run, made_ahead(runs(), ahead), contracts.RUN)
    if not rows:
        raise DataError(
            "No metric has a value on this benchmark.",
            where=job.benchmark,
            expected=f"a value of one of {', '.join(options.metrics)} in {', '.join(options.settings)}",
            found="none: of other settings, or of relevances that nothing was judged with",
            remedy="name other scoring.metrics, or other scoring.settings",
        )
    write_parquet(job.per_query, per_query, contracts.PER_QUERY)
    record = made_from.record(
        {"grid": grid, "scoring": options.given()},
        embeddings=job.embeddings / "embeddings.json",
        index=job.index / "index.json",
        qrels=job.benchmark / "qrels.parquet",
    )
    write_rows(job.scores, rows, made_from.with_record(_schema_of(collection), record))
    stage.log.info("%s: %d scores of %d queries", job.scores, len(rows), sum(map(len, collection.queries.values())))


def _schema_of(collection: Collection) -> pa.Schema:
    """contracts.SCORES; where an index is not exact, with what it finds, as metadata, which is logged too."""
    recall = collection.index_recall()
    for lang, shares in recall.items():
        told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
        stage.log.info("%s: the index in %s finds, of the exact lists: %s", collection.benchmark.name, lang, told)
    return contracts.SCORES.with_metadata({INDEX_RECALL: json.dumps(recall)}) if recall else contracts.SCORES


def made_ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """Yields what an iterator makes, which a thread does meanwhile, up to `most` items ahead.

    Writing the ranked lists takes a third of the time, and neither numpy nor Arrow keeps the other waiting.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(1) as maker:
        coming: deque[Future[T | None]] = deque()
        try:
            coming.extend(maker.submit(next, items, None) for _ in range(most))
            while (item := coming.popleft().result()) is not None:
                coming.append(maker.submit(next, items, None))
                yield item
        finally:
            for future in coming:
                future.cancel()


def jobs_of(args: argparse.Namespace) -> list[Job]:
    """One job a benchmark; a ConfigError unless every flag names as many."""
    names = [entry.name for entry in fields(Job)]
    columns = [getattr(args, name) for name in names]
    if len({len(column) for column in columns}) != 1:
        raise ConfigError(
            "Each benchmark needs one value of every flag.",
            found=", ".join(f"--{name}: {len(column)}" for name, column in zip(names, columns, strict=True)),
        )
    return [Job(*values) for values in zip(*columns, strict=True)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.retrieval.score", description=__doc__.split("\n")[0])
    for name in ("embeddings", "index", "benchmark"):
        parser.add_argument(f"--{name}", required=True, type=Path, nargs="+", help="one for each benchmark")
    parser.add_argument("--grid", required=True, type=read_grid, help="encoder, sampling, alpha, ... as JSON")
    parser.add_argument("--options", required=True, type=ScoreOptions.from_json, nargs="+", help="ScoreOptions")
    for name in ("scores", "per-query", "run"):
        parser.add_argument(f"--{name}", required=True, type=Path, nargs="+", help="one file for each benchmark")
    parser.add_argument("--trec", type=Path, help="also write TREC files below this folder, a folder a benchmark")
    args = parser.parse_args(argv)
    faiss_builds.require()
    for job in jobs_of(args):
        score_benchmark(job, args.grid, args.trec / job.benchmark.name if args.trec else None)


if __name__ == "__main__":
    stage.run(main)
