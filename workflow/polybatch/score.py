"""Scores one retriever on one benchmark: monolingual, cross-lingual and multilingual retrieval.

inputs: embeddings/<run>/<name>/, index/<run>/<name>/, benchmarks/<name>/
outputs: scores/<run>/<name>.parquet (contracts.SCORES, means over queries), <name>.per_query.parquet
(contracts.PER_QUERY), runs/<run>/<name>.parquet (contracts.RUN, the top of every ranked list); on demand a folder
with TREC run and qrels files

Every query is searched once in every language's index. Those lists are the monolingual and cross-lingual rankings;
merged by score they are the multilingual one. Passages of equal score stand in the order of their ids. A query
without a relevant passage in the searched corpus counts neither as a hit nor as a miss: it is left out of the mean,
and `num_queries` says how many were not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import contracts, stage, trec
from polybatch.benchmark import Benchmark
from polybatch.collection import Collection, open_collection
from polybatch.contracts import POOL, SETTINGS
from polybatch.errors import ConfigError, DataError
from polybatch.files import atomic_path, write_parquet, write_rows
from polybatch.metrics import METRICS, PADDING, RANK_DISTANCE, is_metric, prepare_ranx, rank_distance, ranx_values
from polybatch.options import Options, require
from polybatch.ranking import ALL, NO_PASSAGE, merge, numbers_of, scores_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class ScoreOptions(Options):
    """What to measure, and how deep to search.

    Attributes:
        settings: Of monolingual, cross_lingual, multilingual.
        metrics: As ranx spells them, and rank_distance (multilingual only).
        depth: Passages in a ranked list: a number, or "all". The paper's mAP is over the full ranking. With a
            number, FAISS decides which of several passages of equal score stand at the cut.
        top_k: Passages of each list that are kept in the run file.
        block: Queries at a time; memory grows with it.
        search_parameters: FAISS parameters, for example "nprobe=16".
    """

    settings: list = field(default_factory=lambda: list(SETTINGS))
    metrics: list = field(default_factory=lambda: list(METRICS))
    depth: int | str = ALL
    top_k: int = 100
    block: int = 128
    search_parameters: str = ""

    def faults(self) -> Iterator[str]:
        for name, known in (("settings", SETTINGS.__contains__), ("metrics", is_metric)):
            values = getattr(self, name)
            yield from require(bool(values), f"{name} must not be empty")
            yield from require(len({str(v) for v in values}) == len(values), f"{name} must not repeat a value")
            for value in values:
                yield from require(isinstance(value, str) and known(value), f"{name} cannot hold {value!r}")
        yield from require(self.top_k >= 1, "top_k must be at least 1")
        yield from require(self.block >= 1, "block must be at least 1")
        full = self.depth == ALL
        yield from require(full or (isinstance(self.depth, int) and self.depth >= 1), 'depth must be "all" or above 0')
        if not full and RANK_DISTANCE in self.metrics and "multilingual" in self.settings:
            yield f'{RANK_DISTANCE} needs depth "all": with depth {self.depth}, name the metrics without it'


@dataclass
class Cell:
    """One setting's rankings and values for one query language and one corpus.

    Attributes:
        setting, query_lang, corpus_lang: As in contracts.SCORES.
        values: metric -> (queries,) float64, NaN for queries without a relevant passage in this corpus.
        top: (queries, top_k) keys, see ranking.py.
    """

    setting: str
    query_lang: str
    corpus_lang: str
    values: dict[str, np.ndarray]
    top: np.ndarray


def score(collection: Collection, options: ScoreOptions) -> Iterator[Cell]:
    """Searches and judges, one query language after the other.

    Yields:
        A Cell for every setting and pair of languages; memory holds the cells of one query language.

    Raises:
        DataError: A setting has no judged query in some pair of languages, or a rank distance cannot be known.
    """
    prepare_ranx()
    for query_lang in collection.queries:
        yield from _score_language(collection, query_lang, options)


def setting_of(query_lang: str, corpus_lang: str) -> str:
    """monolingual, cross_lingual or multilingual."""
    if corpus_lang == POOL:
        return "multilingual"
    return "monolingual" if query_lang == corpus_lang else "cross_lingual"


def _score_language(collection: Collection, query_lang: str, options: ScoreOptions) -> list[Cell]:
    queries = collection.queries[query_lang]
    wanted = [lang for lang in (*collection.shards, POOL) if setting_of(query_lang, lang) in options.settings]
    searched = list(collection.shards) if POOL in wanted else wanted
    cells = {lang: _empty_cell(collection, query_lang, lang, options) for lang in wanted}
    blocks = range(0, len(queries), options.block)
    for start in stage.progress(blocks, total=len(blocks), label=f"queries in {query_lang}", unit="blocks"):
        rows = slice(start, min(start + options.block, len(queries)))
        keys = {lang: collection.shards[lang].search(queries[rows], options.depth) for lang in searched}
        if POOL in wanted:
            keys[POOL] = merge(list(keys.values()), options.depth)
        for lang, cell in cells.items():
            width = min(cell.top.shape[1], keys[lang].shape[1])
            cell.top[rows, :width] = keys[lang][:, :width]
            _judge(cell, rows, keys[lang], collection.judged[query_lang, lang])
    return list(cells.values())


def _empty_cell(collection: Collection, query_lang: str, corpus_lang: str, options: ScoreOptions) -> Cell:
    import numpy as np

    queries, setting = len(collection.queries[query_lang]), setting_of(query_lang, corpus_lang)
    if not collection.judged[query_lang, corpus_lang][1].any():
        raise DataError(
            f"No {setting} score can be computed: no query in {query_lang} has a relevant passage.",
            where=f"queries in {query_lang}, corpus {corpus_lang}, benchmark {collection.benchmark.name}",
            expected="at least one relevant passage",
            remedy=f"leave {setting} out of the settings, or one of the languages out of the evaluation",
        )
    metrics = [name for name in options.metrics if name != RANK_DISTANCE or setting == "multilingual"]
    values = {metric: np.full(queries, np.nan) for metric in metrics}
    return Cell(setting, query_lang, corpus_lang, values, np.full((queries, options.top_k), NO_PASSAGE, np.uint64))


def _judge(cell: Cell, rows: slice, keys: np.ndarray, judged: tuple[np.ndarray, np.ndarray]) -> None:
    """Fills in the values of one block of queries."""
    import numpy as np

    relevant, relevance = judged[0][rows], judged[1][rows]
    has = relevance[:, 0] > 0
    if not has.any():
        return
    ranking = numbers_of(keys[has])
    at = np.arange(rows.start, rows.stop)[has]
    from_ranx = [metric for metric in cell.values if metric != RANK_DISTANCE]
    for metric, values in ranx_values(ranking, relevant[has], relevance[has], from_ranx).items():
        cell.values[metric][at] = values
    if RANK_DISTANCE in cell.values:
        cell.values[RANK_DISTANCE][at] = rank_distance(ranking, relevant[has])


def score_rows(cell: Cell, grid: dict[str, Any], benchmark: str) -> list[dict[str, Any]]:
    """A cell's rows of contracts.SCORES: means over its judged queries."""
    import numpy as np

    place = {"setting": cell.setting, "query_lang": cell.query_lang, "corpus_lang": cell.corpus_lang}
    return [
        {
            **grid,
            "benchmark": benchmark,
            **place,
            "metric": metric,
            "value": float(np.nanmean(values)),
            "num_queries": int(np.isfinite(values).sum()),
        }
        for metric, values in cell.values.items()
    ]


def per_query_table(cell: Cell, benchmark: Benchmark) -> pa.Table:
    """A cell's rows of contracts.PER_QUERY: its judged queries."""
    import numpy as np
    import pyarrow as pa

    texts, tables = benchmark.queries[cell.query_lang], []
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
    """Reads the grid point that the scores belong to: exactly the keys of contracts.GRID_COLUMNS, as JSON."""
    names = [name for name, _ in contracts.GRID_COLUMNS]
    try:
        grid = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError("The grid point is no JSON.", expected="a JSON object", found=str(error)) from error
    if not isinstance(grid, dict) or sorted(grid) != sorted(names):
        found = ", ".join(map(str, grid)) if isinstance(grid, dict) else text
        raise ConfigError("The grid point has other keys than it should.", expected=", ".join(names), found=found)
    return {**grid, "num_pairs": str(grid["num_pairs"])}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.score", description=__doc__.split("\n")[0])
    parser.add_argument("--embeddings", required=True, type=Path)
    parser.add_argument("--index", required=True, type=Path)
    parser.add_argument("--benchmark", required=True, type=Path)
    parser.add_argument("--grid", required=True, type=read_grid, help="encoder, sampling, alpha, ... as JSON")
    parser.add_argument("--options", default="{}", type=ScoreOptions.from_json, help="ScoreOptions, as JSON")
    parser.add_argument("--scores", required=True, type=Path)
    parser.add_argument("--per-query", required=True, type=Path)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--trec", type=Path, help="also write TREC run and qrels files into this folder")
    args = parser.parse_args(argv)

    collection = open_collection(args.embeddings, args.index, args.benchmark, args.options.search_parameters)
    rows: list[Mapping[str, Any]] = []
    per_query: list[pa.Table] = []

    with atomic_path(args.trec) if args.trec else contextlib.nullcontext() as trec_folder:

        def runs() -> Iterator[pa.Table]:
            for cell in score(collection, args.options):
                rows.extend(score_rows(cell, args.grid, collection.benchmark.name))
                per_query.append(per_query_table(cell, collection.benchmark))
                run = run_table(cell, collection)
                if trec_folder:
                    trec.write(trec_folder, run, cell, collection)
                yield run

        write_parquet(args.run, runs(), contracts.RUN)
    write_parquet(args.per_query, per_query, contracts.PER_QUERY)
    write_rows(args.scores, rows, contracts.SCORES)
    stage.log.info("%s: %d scores of %d queries", args.scores, len(rows), sum(map(len, collection.queries.values())))


if __name__ == "__main__":
    stage.run(main)
