"""Indexes all text that is evaluated on, so that training text can be looked up in it.

inputs: benchmarks/<name>/{queries,corpus}/<lang>.parquet, qrels.parquet; documents/<lang>.parquet where passages were
    cut from longer documents, and bodies/<lang>.parquet where they have titles; every language that the files hold,
    whether a study evaluates it or not
outputs: decontamination/text/, an `overlap.Index` a language and index.json: what went in
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.core import contracts, stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, open_parquet
from polybatch.core.streams import batches, is_in
from polybatch.core.text import hash64
from polybatch.decontaminate.options import OverlapOptions
from polybatch.decontaminate.overlap import DOCUMENT, PASSAGE, QUERY, IndexBuilder, write_record

_SIDES = {
    "queries": (QUERY, "query_id", contracts.QUERIES),
    "corpus": (PASSAGE, "passage_id", contracts.CORPUS),
    "documents": (DOCUMENT, "document_id", contracts.DOCUMENTS),
    "bodies": (DOCUMENT, "document_id", contracts.DOCUMENTS),  # as wholes alone: their n-grams are the passages'
}


def index_benchmarks(folders: Sequence[Path], options: OverlapOptions, output: Path) -> dict[str, Any]:
    """Writes the index of all texts of some benchmarks, a language at a time.

    Args:
        folders: benchmarks/<name>.
        options: See OverlapOptions.
        output: The index's folder.

    Returns:
        language -> benchmark -> {"queries", "passages", "documents", "by_ngrams": texts compared by n-grams too}.

    Raises:
        DataError: A benchmark has no text, or a file cannot be read.
    """
    files = [path for folder in folders for path in _text_files(folder)]
    relevant = {folder: _relevant(folder) for folder in folders}
    counts: dict[str, Any] = {}
    with atomic_path(output) as partial:
        partial.mkdir(parents=True)
        for lang in stage.progress(sorted({path.stem for path in files}), total=None, label="index", unit="languages"):
            counts[lang] = {}
            with IndexBuilder(partial, lang, options) as builder:
                for path in (path for path in files if path.stem == lang):
                    folder = path.parent.parent
                    of_benchmark = counts[lang].setdefault(folder.name, _no_counts())
                    for name, number in _add_file(builder, folder.name, path, relevant[folder], options).items():
                        of_benchmark[name] += number
        write_record(partial, options, counts)
    return counts


def _text_files(folder: Path) -> list[Path]:
    files = [path for side in _SIDES for path in sorted((folder / side).glob("*.parquet"))]
    if not files:
        raise DataError(
            "A benchmark has no text to keep out of the training data.",
            where=folder,
            expected="queries/<lang>.parquet, corpus/<lang>.parquet",
            remedy="make the benchmark first (`snakemake benchmarks`)",
        )
    return files


def _no_counts() -> dict[str, int]:
    return {"queries": 0, "passages": 0, "documents": 0, "by_ngrams": 0}


def _relevant(folder: Path) -> np.ndarray:
    """Sorted keys of the passages that answer some query."""
    keys = [
        np.array([hash64(identity) for identity in table["passage_id"].to_pylist()], dtype=np.uint64)
        for table in batches(folder / "qrels.parquet", contracts.QRELS)
    ]
    return np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *keys]))


def _add_file(
    builder: IndexBuilder, benchmark: str, path: Path, relevant: np.ndarray, options: OverlapOptions
) -> dict[str, int]:
    side, identity, schema = _SIDES[path.parent.name]
    all_by_ngrams = side == QUERY or open_parquet(path).metadata.num_rows <= options.max_ngram_passages
    added = _no_counts()
    for ids, texts in _texts(path, identity, schema):
        if path.parent.name == "bodies":
            by_ngrams = np.zeros(len(ids), dtype=bool)
        elif all_by_ngrams:
            by_ngrams = np.ones(len(ids), dtype=bool)
        else:
            by_ngrams = is_in(np.array([hash64(i) for i in ids], dtype=np.uint64), relevant)
        builder.add(benchmark, side, ids, texts, by_ngrams.tolist())
        added[{QUERY: "queries", PASSAGE: "passages", DOCUMENT: "documents"}[side]] += len(ids)
        added["by_ngrams"] += int(by_ngrams.sum())
    return added


def _texts(path: Path, identity: str, schema: Any) -> Iterator[tuple[list[str], list[str]]]:
    for table in batches(path, schema, [identity, "text"]):
        yield table[identity].to_pylist(), table["text"].to_pylist()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.decontaminate.evaluation_text", description=__doc__.split("\n")[0])
    parser.add_argument("--benchmarks", required=True, nargs="+", type=Path, help="benchmarks/<name> ...")
    parser.add_argument("--options", default="{}", type=OverlapOptions.from_json, help="OverlapOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    for lang, benchmarks in index_benchmarks(args.benchmarks, args.options, args.output).items():
        for name, of in benchmarks.items():
            texts = of["queries"] + of["passages"] + of["documents"]
            stage.log.info("%s, %s: %d texts, %d of them by n-grams too", lang, name, texts, of["by_ngrams"])


if __name__ == "__main__":
    stage.run(main)
