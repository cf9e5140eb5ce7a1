"""TREC's text files of a ranking, for tools outside Polybatch.

inputs: a cell's ranked lists and judgements
outputs: <folder>/<setting>/<query_lang>-<corpus_lang>.run and .qrels; one pair of files for each corpus, because a
query has another ranking, and other relevant passages, in each of them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import PADDING

if TYPE_CHECKING:
    import pyarrow as pa

    from polybatch.retrieval.judging import Cell
    from polybatch.retrieval.searchable import Collection

TAG = "polybatch"


def write(folder: Path, run: pa.Table, cell: Cell, collection: Collection) -> None:
    """Writes a cell's run (as deep as the run table is) and the judgements that hold in its corpus.

    Raises:
        DataError: An id holds white space, which separates the columns of these files.
    """
    query_ids = collection.benchmark.queries[cell.query_lang].ids.to_pylist()
    require_ids((*query_ids, *collection.passage_ids.to_pylist()))
    place = folder / cell.setting
    place.mkdir(parents=True, exist_ok=True)
    name = f"{cell.query_lang}-{cell.corpus_lang}"
    with open(place / f"{name}.run", "w", encoding="utf-8") as handle:
        handle.writelines(run_lines(run))
    with open(place / f"{name}.qrels", "w", encoding="utf-8") as handle:
        handle.writelines(_qrels_lines(query_ids, cell, collection))


def require_ids(ids: Iterable[str]) -> None:
    """Raises a DataError if an id cannot stand in these files: white space separates their columns."""
    bad = [i for i in ids if any(ch.isspace() for ch in i)]
    if bad:
        raise DataError(
            "TREC files cannot hold ids with white space.",
            found=f"{len(bad)} such id(s): {', '.join(map(repr, bad[:3]))}",
            remedy="do without these files, or make the benchmark with other ids",
        )


def run_lines(run: pa.Table) -> Iterator[str]:
    """The lines of a run: query, Q0, passage, rank, score, tag."""
    columns = (run[name].to_pylist() for name in ("query_id", "passage_id", "rank", "score"))
    for query, passage, rank, score in zip(*columns, strict=True):
        yield f"{query} Q0 {passage} {rank} {score:.9g} {TAG}\n"


def _qrels_lines(query_ids: list[str], cell: Cell, collection: Collection) -> Iterator[str]:
    relevant, relevance = collection.judged[cell.query_lang, cell.corpus_lang]
    absent = [passage for ids in collection.benchmark.absent.values() for passage in ids.to_pylist()]
    known = len(collection.passage_ids)
    for query, passages, grades in zip(query_ids, relevant.tolist(), relevance.tolist(), strict=True):
        for passage, grade in zip(passages, grades, strict=True):
            if passage != PADDING:
                # Behind the passages stand those that no corpus holds: relevant, and never found.
                name = collection.passage_ids[passage].as_py() if passage < known else absent[passage - known]
                yield f"{query} 0 {name} {grade}\n"
