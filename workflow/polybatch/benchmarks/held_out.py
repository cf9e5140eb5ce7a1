"""Makes a retrieval benchmark from a held-out split: its queries and passages in every language evaluated.

inputs: collected/en.parquet, supplied/<lang>.parquet
outputs: benchmarks/<split>/queries/<lang>.parquet and corpus/<lang>.parquet, and left_out/<lang>.json: how many pairs
    were held out, the ids of those that are left out in this language, and how many have no text in it; and, by a
    second call with --qrels, benchmarks/<split>/qrels.parquet (contracts.QUERIES, CORPUS, QRELS) and card.json, which
    holds these counts of all languages

A language's files depend on that language alone, so that a language more changes none of the others: pairs whose
translations fall together are left out in that language and stay in the others. A query's relevant passages are those
of its own group, in whatever language they stand.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.core import contracts, stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, read_parquet, write_json, write_rows
from polybatch.core.streams import batches, id_keys, is_in
from polybatch.core.text import same_key

if TYPE_CHECKING:
    import pyarrow as pa

Texts = dict[str, tuple[str, str]]  # pair id -> its query and its passage


def held_out_texts(collected: Path, supplied: Path | None, split: str) -> tuple[Texts, int]:
    """The pairs of a split in one language, read a batch at a time: they alone are in memory.

    Args:
        collected: collected/en.parquet.
        supplied: supplied/<lang>.parquet; None for English.
        split: "dev" or "test".

    Returns:
        Their texts in the order of `collected`, and how many of the pairs have none in this language.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    english: Texts = {}
    for table in batches(collected, contracts.COLLECTED, ["pair_id", "split", "query", "passage"]):
        english |= _texts(table.filter(pc.equal(table["split"], split)))
    if supplied is None:
        return english, 0
    held = np.sort(id_keys(english))
    found: Texts = {}
    for table in batches(supplied, contracts.PARALLEL, ["pair_id", "query", "passage"]):
        found |= _texts(table.filter(pa.array(is_in(id_keys(table["pair_id"]), held))))
    texts = {pair_id: found[pair_id] for pair_id in english if pair_id in found}
    return texts, len(english) - len(texts)


def _texts(table: pa.Table) -> Texts:
    ids, queries, passages = (table[name].to_pylist() for name in ("pair_id", "query", "passage"))
    return dict(zip(ids, zip(queries, passages, strict=True), strict=True))


def benchmark_rows(texts: Texts, split: str, lang: str) -> tuple[list[dict], list[dict], list[str]]:
    """Queries and passages of one language, and the ids of the pairs that are left out of it.

    These are the pairs that fall together in this language (two English texts with one translation, by
    `text.same_key`): no ranking could tell their passages apart.
    """
    seen = [Counter(same_key(pair[side]) for pair in texts.values()) for side in range(2)]
    queries, corpus, left_out = [], [], []
    for group, pair in texts.items():
        if any(of_side[same_key(text)] > 1 for of_side, text in zip(seen, pair, strict=True)):
            left_out.append(group)
            continue
        query, passage = pair
        queries.append({"query_id": f"{group}.{lang}.q", "lang": lang, "text": query, "group": group, "answers": []})
        corpus.append({"passage_id": f"{group}.{lang}.p", "lang": lang, "text": passage, "group": group})
    if not queries:
        raise DataError(
            f"The {split} split has no text in {lang}.",
            expected=f"held-out pairs translated into {lang}, each with a text of its own",
            found=f"{len(texts)} pairs with text, {len(left_out)} of them with the text of another",
            remedy="remove the language from languages.evaluate",
        )
    return queries, corpus, left_out


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
    supplied = None if args.lang == "en" else args.supplied
    texts, without_text = held_out_texts(args.collected, supplied, args.split)
    queries, corpus, left_out = benchmark_rows(texts, args.split, args.lang)
    write_rows(args.benchmark / "queries" / f"{args.lang}.parquet", queries, contracts.QUERIES)
    write_rows(args.benchmark / "corpus" / f"{args.lang}.parquet", corpus, contracts.CORPUS)
    counts = {
        "split": args.split,
        "held_out": len(texts) + without_text,
        "without_text": without_text,
        "left_out": left_out,
        "kept": len(queries),
    }
    write_json(_left_out(args.benchmark, args.lang), counts)
    stage.log.info("%s %s: %d queries and passages", args.split, args.lang, len(queries))
    if left_out:
        stage.log.warning(
            "%s %s: %d of %d pairs left out, whose query or passage is another's too in this language: %s",
            args.split,
            args.lang,
            len(left_out),
            len(texts),
            " ".join(left_out),
        )
    if without_text:
        what = "%s %s: %d of %d held-out pairs have no text in this language"
        stage.log.warning(what, args.split, args.lang, without_text, counts["held_out"])


def _left_out(benchmark: Path, lang: str) -> Path:
    return benchmark / "left_out" / f"{lang}.json"


def _write_qrels(args: argparse.Namespace) -> None:
    queries, corpus = [], []
    for lang in args.qrels:
        queries += read_parquet(args.benchmark / "queries" / f"{lang}.parquet", contracts.QUERIES).to_pylist()
        corpus += read_parquet(args.benchmark / "corpus" / f"{lang}.parquet", contracts.CORPUS).to_pylist()
    qrels = qrels_rows(queries, corpus)
    write_rows(args.benchmark / "qrels.parquet", qrels, contracts.QRELS)
    counts = {lang: read_json(_left_out(args.benchmark, lang)) for lang in args.qrels}
    write_json(args.benchmark / "card.json", card(args.benchmark.name, counts, len(qrels)))


def card(name: str, counts: Mapping[str, Mapping[str, Any]], judgements: int) -> dict[str, Any]:
    """card.json: sizes of all languages, and what each lacks. `counts`: language -> its left_out/<lang>.json."""
    kept = {lang: of["kept"] for lang, of in counts.items()}
    return {
        "name": name,
        "held_out": {lang: of["held_out"] for lang, of in counts.items()},
        "queries": kept,
        "passages": kept,
        "judgements": judgements,
        "left_out": {lang: of["left_out"] for lang, of in counts.items() if of["left_out"]},
        "without_text": {lang: of["without_text"] for lang, of in counts.items() if of["without_text"]},
    }


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
