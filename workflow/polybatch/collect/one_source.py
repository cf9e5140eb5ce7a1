"""Reads one source and cleans its English pairs.

inputs: a source (a downloaded wheel, the user's own file, or the record of a hub data set), and for questions
    without passages the passages that are looked through
outputs: collected/sources/<name>.parquet (contracts.SOURCE_PAIRS) and <name>.json: licence, size, what each step of the
    cleaning removed, how many rows had markup taken out, and hard negatives given and kept
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.collect.adapters.registry import open_source
from polybatch.collect.cleaning import NEGATIVES_GIVEN, NEGATIVES_KEPT, clean
from polybatch.collect.options import CleaningOptions
from polybatch.collect.source import Source
from polybatch.core import contracts, made_from, stage
from polybatch.core.errors import DataError
from polybatch.core.files import scratch_folder, write_json, write_parquet
from polybatch.core.made_from import with_record

if TYPE_CHECKING:
    import pyarrow as pa


def collect_source(
    source: Source, options: CleaningOptions, output: Path, schema: pa.Schema = contracts.SOURCE_PAIRS
) -> dict[str, Any]:
    """Writes a source's clean pairs to `output`; returns what goes into the JSON file beside it.

    `schema` may carry a record (`made_from.with_record`).

    Raises:
        DataError: No pair is left.
    """
    with scratch_folder(output) as scratch:
        pairs = stage.progress(source.english(), total=None, label=source.name, unit="pairs")
        tables, counts = clean(pairs, options, source.name, source.license, scratch)
        record = _record(source, counts)
        if not counts["kept"]:
            raise DataError(
                f"No pair of {source.name} is left after cleaning.",
                found=", ".join(f"{step['step']}: {step['removed']}" for step in record["counts"]) or "no pair",
                remedy="loosen the limits (config: cleaning), or take the source out of the config",
            )
        write_parquet(output, tables, schema)
    write_json(output.with_suffix(".json"), record)
    return record


def _record(source: Source, counts: dict[str, int]) -> dict[str, Any]:
    collected = counts["collected"] + sum(source.dropped.values())
    steps, left = [], collected
    others = ("collected", "kept", NEGATIVES_GIVEN, NEGATIVES_KEPT)
    removed = {**source.dropped, **{k: v for k, v in counts.items() if k not in others}}
    for step, number in removed.items():
        left -= number
        steps.append({"step": step, "removed": number, "left": left})
    return {
        "source": source.name,
        "license": source.license,
        "examples": source.examples or counts["kept"],
        "collected": collected,
        "counts": steps,
        "kept": counts["kept"],
        "markup": source.markup,
        "hard_negatives": {"given": counts.get(NEGATIVES_GIVEN, 0), "kept": counts.get(NEGATIVES_KEPT, 0)},
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.collect.one_source", description=__doc__.split("\n")[0])
    parser.add_argument("--source", required=True, type=json.loads, help="{name, adapter, ...}, as JSON")
    parser.add_argument("--file", required=True, type=Path, help="the source's file, or a hub repository's record")
    parser.add_argument("--passages", nargs="*", default=[], type=Path, help="what entity_questions are looked up in")
    parser.add_argument("--cleaning", default="{}", type=CleaningOptions.from_json, help="CleaningOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    given = {"source": args.source, "cleaning": args.cleaning.given()}
    schema = with_record(contracts.SOURCE_PAIRS, made_from.record(given, file=args.file, passages=args.passages))
    record = collect_source(open_source(args.source, args.file, args.passages), args.cleaning, args.output, schema)
    stage.log.info("%s: %d of %d pairs kept", record["source"], record["kept"], record["collected"])


if __name__ == "__main__":
    stage.run(main)
