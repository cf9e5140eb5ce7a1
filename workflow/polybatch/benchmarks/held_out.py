"""Makes a retrieval benchmark from a held-out split: its queries and passages in every language evaluated.

inputs: collected/en.parquet, supplied/<lang>.parquet
outputs: benchmarks/<split>/queries/<lang>.parquet and corpus/<lang>.parquet; and, by a second call with
         --qrels, benchmarks/<split>/qrels.parquet (contracts.QUERIES, CORPUS, QRELS)

A language's files depend on that language alone. A query's relevant passages are those of its own group, in
whatever language they stand.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from polybatch.core import contracts, stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_parquet, write_rows
from polybatch.core.text import text_key


def benchmark_rows(
    collected: list[dict], translated: dict[str, dict], split: str, lang: str
) -> tuple[list[dict], list[dict]]:
    """Queries and passages of one language.

    Groups that fall together in this language (two English texts with one translation) are left out here: no
    ranking could tell their passages apart.
    """
    pairs = [(row["pair_id"], translated[row["pair_id"]]) for row in collected if row["split"] == split
             and row["pair_id"] in translated]  # fmt: skip
    seen = {side: Counter(text_key(row[side]) for _, row in pairs) for side in ("query", "passage")}
    queries, corpus = [], []
    for group, row in pairs:
        if any(seen[side][text_key(row[side])] > 1 for side in seen):
            continue
        queries.append(
            {"query_id": f"{group}.{lang}.q", "lang": lang, "text": row["query"], "group": group, "answers": []}
        )
        corpus.append({"passage_id": f"{group}.{lang}.p", "lang": lang, "text": row["passage"], "group": group})
    if not queries:
        raise DataError(
            f"The {split} split has no text in {lang}.",
            expected=f"held-out pairs translated into {lang}",
            remedy="remove the language from languages.evaluate",
        )
    return queries, corpus


def qrels_rows(queries: list[dict], corpus: list[dict]) -> list[dict]:
    """One row for every query and every passage of its group."""
    members: dict[str, list[str]] = defaultdict(list)
    for passage in corpus:
        members[passage["group"]].append(passage["passage_id"])
    return [
        {"query_id": query["query_id"], "passage_id": identity, "relevance": 1}
        for query in queries
        for identity in members[query["group"]]
    ]


def _write_language(args: argparse.Namespace) -> None:
    collected = read_parquet(args.collected, contracts.COLLECTED).to_pylist()
    rows = collected if args.lang == "en" else read_parquet(args.supplied, contracts.PARALLEL).to_pylist()
    queries, corpus = benchmark_rows(collected, {row["pair_id"]: row for row in rows}, args.split, args.lang)
    write_rows(args.benchmark / "queries" / f"{args.lang}.parquet", queries, contracts.QUERIES)
    write_rows(args.benchmark / "corpus" / f"{args.lang}.parquet", corpus, contracts.CORPUS)
    stage.log.info("%s %s: %d queries and passages", args.split, args.lang, len(queries))


def _write_qrels(args: argparse.Namespace) -> None:
    queries, corpus = [], []
    for lang in args.qrels:
        queries += read_parquet(args.benchmark / "queries" / f"{lang}.parquet", contracts.QUERIES).to_pylist()
        corpus += read_parquet(args.benchmark / "corpus" / f"{lang}.parquet", contracts.CORPUS).to_pylist()
    write_rows(args.benchmark / "qrels.parquet", qrels_rows(queries, corpus), contracts.QRELS)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.benchmarks.held_out", description=__doc__.split("\n")[0])
    parser.add_argument("--benchmark", required=True, type=Path, help="the benchmark's folder")
    parser.add_argument("--qrels", nargs="+", metavar="LANG", help="write the qrels over these languages' files")
    parser.add_argument("--collected", type=Path)
    parser.add_argument("--supplied", type=Path, help="translations that come with the sources; not for en")
    parser.add_argument("--split", choices=["dev", "test"])
    parser.add_argument("--lang")
    args = parser.parse_args(argv)
    if args.qrels:
        _write_qrels(args)
    else:
        _write_language(args)


if __name__ == "__main__":
    stage.run(main)
