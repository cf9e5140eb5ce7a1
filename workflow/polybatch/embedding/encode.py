"""Embeds the queries and passages of benchmarks with one model, each language once.

inputs: models/<run>/ or encoders/<name>/ (a sentence-transformers folder), benchmarks/<name>/
outputs: embeddings/<run>/<name>/{queries,corpus}/<lang>.npy, rows in the order of the benchmark's file and of length
1, each with <lang>.json (what it was made from); last embeddings.json, which holds these records together

A rerun embeds again only what was made from other texts, model, options, code or libraries: adding a language
costs that language. The records beside the arrays, not embeddings.json, decide that: a killed run, and Snakemake,
which deletes a rule's declared output before it runs, lose nothing.

One call embeds all, or, with --shard and --shards, a share of the rows; then one with --gather puts the shares
together. The arrays and records are the same either way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polybatch.core import stage
from polybatch.core.device import given_cards, tell_torch_device
from polybatch.embedding.benchmark_texts import Job, parse_jobs
from polybatch.embedding.embedder import Model, embed_rows
from polybatch.embedding.options import EncodeOptions
from polybatch.embedding.shards import embed_shard, gather
from polybatch.embedding.vectors import up_to_date_record


def encode(
    model: Model,
    benchmark: Path,
    languages: Sequence[str],
    output: Path,
    corpus_languages: Sequence[str] | None = None,
) -> dict[str, int]:
    """Brings the embeddings of one benchmark up to date.

    Args:
        model: The model and the options to embed with.
        benchmark: benchmarks/<name>.
        languages: Of the queries to embed; arrays of other languages are removed.
        output: embeddings/<run>/<name>.
        corpus_languages: Of the passages to embed; as `languages` if None.

    Returns:
        {"encoded": files written, "kept": files that were up to date}.

    Raises:
        DataError: A file is missing or cannot be read, or holds a row without id or text; the model cannot be
            loaded, or gives vectors that are not finite or zero.
        ConfigError: The model has fewer dimensions than are to be kept.
    """
    job = Job(benchmark, output, languages, languages if corpus_languages is None else corpus_languages)
    files = job.files()
    job.remove_others()
    records, counts = [], {"encoded": 0, "kept": 0}
    for file in files:
        wanted = {**model.made_from, "input": file.digests(file.rows)[0]}
        record = up_to_date_record(file.path, wanted)
        counts["encoded" if record is None else "kept"] += 1
        records.append((file, record or embed_rows(model, file, file.rows, file.path, wanted)))
    job.finish(model.digest, records, model.record)
    return counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.embedding.encode", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="a sentence-transformers folder")
    parser.add_argument(
        "--benchmarks", required=True, help="JSON: a list of {benchmark, output, query_languages, corpus_languages}"
    )
    parser.add_argument("--options", default="{}", help="EncodeOptions, as JSON")
    parser.add_argument("--shard", type=int, metavar="K", help="embed the Kth share alone, from 0")
    parser.add_argument("--shards", type=int, metavar="N", help="how many shares there are")
    parser.add_argument("--summary", type=Path, help="what this share was made from; written when it is whole")
    parser.add_argument("--gather", nargs="+", type=Path, metavar="SUMMARY", help="put these shares together")
    args = parser.parse_args(argv)

    share = (args.shard, args.shards, args.summary)
    if None in share and share != (None, None, None):
        parser.error("--shard, --shards and --summary go together")
    if args.shard is not None and (args.gather or not 0 <= args.shard < args.shards):
        parser.error("--shard is a number from 0, below --shards, and does not go with --gather")

    jobs, options = parse_jobs(args.benchmarks), EncodeOptions.from_json(args.options)
    if not args.gather and given_cards():
        tell_torch_device()  # embedding on the CPU what was meant for a card takes days
    if args.gather:
        gather(args.model, options, jobs, args.gather)
    elif args.shard is not None:
        embed_shard(Model(args.model, options), jobs, args.shard, args.shards, args.summary)
    else:
        _encode_all(Model(args.model, options), jobs)


def _encode_all(model: Model, jobs: list[Job]) -> None:
    for job in jobs:
        counts = encode(model, job.benchmark, job.query_languages, job.output, job.corpus_languages)
        stage.log.info("%s: %d file(s) embedded, %d up to date", job.benchmark.name, counts["encoded"], counts["kept"])


if __name__ == "__main__":
    stage.run(main)
