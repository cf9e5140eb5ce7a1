"""Joins human and accepted machine translations into the training text of one language.

inputs: collected/en.parquet; for another language human/<lang>.parquet and, where machine translation is used,
        translated/<lang>.parquet
outputs: parallel/<lang>.parquet (contracts.PARALLEL): the training split only

Equal pair_ids across languages are translations of each other. A human translation is used for the pairs whose
kind is "parallel"; the English-only pairs come through machine translation or not at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polybatch import contracts, stage
from polybatch.errors import DataError
from polybatch.files import read_parquet, write_rows


def training_rows(collected: list[dict], human: list[dict], machine: list[dict]) -> list[dict]:
    """The training pairs of one language, in the order of `collected`, each once."""
    by_people = {row["pair_id"]: row for row in human}
    by_machine = {row["pair_id"]: row for row in machine if row["accepted"]}
    rows = []
    for pair in collected:
        if pair["split"] != "train":
            continue
        found = (by_people if pair["kind"] == "parallel" else by_machine).get(pair["pair_id"])
        if found:
            rows.append({name: found[name] for name in contracts.PARALLEL.names})
    return rows


def english_rows(collected: list[dict], split: str) -> list[dict]:
    """The English pairs of one split."""
    return [{k: row[k] for k in contracts.PARALLEL.names} for row in collected if row["split"] == split]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.parallel", description=__doc__.split("\n")[0])
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--split", default="train", choices=["train", "dev"], help="dev: English only, for validation")
    parser.add_argument("--human", type=Path)
    parser.add_argument("--machine", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    collected = read_parquet(args.collected, contracts.COLLECTED).to_pylist()
    if args.lang == "en":
        rows = english_rows(collected, args.split)
    else:
        human = read_parquet(args.human, contracts.PARALLEL).to_pylist() if args.human else []
        machine = read_parquet(args.machine, contracts.TRANSLATED).to_pylist() if args.machine else []
        rows = training_rows(collected, human, machine)
    if not rows:
        raise DataError(
            f"There is no {args.split} text in {args.lang}.",
            found="no human translation and no accepted machine translation",
            remedy="remove the language from languages.train, or add it to translation.languages with translators",
        )
    write_rows(args.output, rows, contracts.PARALLEL)
    stage.log.info("%s: %d %s pairs", args.lang, len(rows), args.split)


if __name__ == "__main__":
    stage.run(main)
