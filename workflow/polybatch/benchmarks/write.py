"""Writes a benchmark's folder from streams of rows, and reads it back to check it.

inputs: rows of queries, corpus, judgements and the rest, from whichever data set
outputs: benchmarks/<name>/ as benchmark.py describes it, {documents,bodies}/<lang>.parquet
    (contracts.DOCUMENTS), card.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.benchmarks.benchmark import absent_schema, excluded_schema, is_empty, load
from polybatch.core import contracts, stage
from polybatch.core.files import atomic_path, write_json, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
_ROWS_AT_A_TIME = 10_000


@dataclass
class Parts:
    """What a benchmark is made of, each part an iterable of rows that is read once, in this order.

    A later part may therefore depend on what was met in an earlier one.

    Attributes:
        corpus, queries: language -> rows of contracts.CORPUS, QUERIES, without their lang.
        documents, bodies: language -> rows of contracts.DOCUMENTS, without their lang; no file where there are none.
        qrels: Rows of contracts.QRELS.
        excluded, absent: Rows of benchmark.excluded_schema and absent_schema.
    """

    corpus: Mapping[str, Iterable[Row]]
    queries: Mapping[str, Iterable[Row]]
    qrels: Iterable[Row]
    excluded: Iterable[Row] = ()
    absent: Iterable[Row] = ()
    documents: Mapping[str, Iterable[Row]] = field(default_factory=dict)
    bodies: Mapping[str, Iterable[Row]] = field(default_factory=dict)


def write_benchmark(output: Path, parts: Parts, card: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a benchmark; an earlier one of this name is replaced, and only by one that is whole.

    Args:
        output: benchmarks/<name>.
        parts: See Parts.
        card: Where it comes from; counts are added to it.

    Returns:
        The card as written.

    Raises:
        DataError: The benchmark breaks a rule of benchmark.py.
    """
    with atomic_path(output) as folder:
        empty: dict[str, int] = {}
        passages = {
            lang: _write_side(folder / "corpus" / f"{lang}.parquet", rows, lang, contracts.CORPUS, empty)
            for lang, rows in parts.corpus.items()
        }
        queries = {
            lang: _write_side(folder / "queries" / f"{lang}.parquet", rows, lang, contracts.QUERIES, {})
            for lang, rows in parts.queries.items()
        }
        counts = {
            name: write_parquet(folder / f"{name}.parquet", _tables(rows, schema), schema)
            for name, rows, schema in (
                ("qrels", parts.qrels, contracts.QRELS),
                ("excluded", parts.excluded, excluded_schema()),
                ("absent", parts.absent, absent_schema()),
            )
        }
        for name, of_side in (("documents", parts.documents), ("bodies", parts.bodies)):
            for lang, rows in of_side.items():
                waiting = iter(rows)
                if first := list(islice(waiting, 1)):
                    path = folder / name / f"{lang}.parquet"
                    _write_side(path, chain(first, waiting), lang, contracts.DOCUMENTS, {})
        written = {
            **card,
            "name": output.name,
            "queries": queries,
            "passages": passages,
            "empty_passages": empty,
            "judgements": counts["qrels"],
            "excluded_pairs": counts["excluded"],
            "absent_passages": counts["absent"],
        }
        write_json(folder / "card.json", written)
        load(folder, list(queries), list(passages))
    stage.log.info(
        "%s: %d queries in %s, %d passages in %s, %d judgements",
        output.name,
        sum(queries.values()),
        " ".join(queries),
        sum(passages.values()),
        " ".join(passages),
        counts["qrels"],
    )
    return written


def _write_side(path: Path, rows: Iterable[Row], lang: str, schema: pa.Schema, empty: dict[str, int]) -> int:
    import pyarrow.compute as pc

    def tables() -> Iterator[pa.Table]:
        for table in _tables(({**row, "lang": lang} for row in rows), schema):
            found = pc.sum(is_empty(table["text"])).as_py()
            if found:
                empty[lang] = empty.get(lang, 0) + found
            yield table

    return write_parquet(path, tables(), schema)


def _tables(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    waiting = iter(rows)
    while batch := list(islice(waiting, _ROWS_AT_A_TIME)):
        yield pa.Table.from_pylist(batch, schema=schema)
