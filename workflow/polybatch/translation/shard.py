"""Translates a shard of the English-only pairs into one language and back into English, and measures the round trips.

inputs: collected/en.parquet, the translators of both directions; decontamination/pairs.parquet if pairs are to be
    left out
outputs: translated/<lang>/<shard>.parquet (contracts.ROUND_TRIP), and beside it <shard>.stats.json: how much was
    translated in what time on what, from which the time of a larger translation is foretold

Every distinct sentence of the shard is translated once, whether it stands in a query, a passage or a hard negative; of
very many, that holds for the first. Hard negatives are not translated back. What the filter compares with its
thresholds is measured here, where the work divides among shards, while CTranslate2 computes
(polybatch.translation.measures). A shard is written whole or not at all, so a killed translation redoes its unfinished
shards only. Its pairs pass through in parts of some thousands, so memory does not grow with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import contracts, made_from, stage, streams
from polybatch.core.files import write_json, write_parquet
from polybatch.decontaminate.excluded import contaminated_pairs
from polybatch.translation.distinct import check_collapse, tell, translate_distinct
from polybatch.translation.measures import Measurer
from polybatch.translation.options import DecodingOptions
from polybatch.translation.translator import Translator

if TYPE_CHECKING:
    import pyarrow as pa

_PAIRS_AT_ONCE = 10_000  # so many texts that batches hold sentences of one length
_CHOSEN_BY = ("pair_id", "split", "kind")
_NEEDED = (*_CHOSEN_BY, "source", "query", "passage", "hard_negatives")


def shard_rows(collected: Iterable[dict], shard: int, shards: int, excluded: frozenset[str]) -> Iterator[dict]:
    """The English-only training pairs of one shard: every `shards`-th, from `shard` on, but for the excluded ones.

    Counted before any is excluded, so that a pair keeps its shard whatever the decontamination finds.
    """
    position = -1
    for row in collected:
        if row["kind"] == "english_only" and row["split"] == "train":
            position += 1
            if position % shards == shard and row["pair_id"] not in excluded:
                yield row


def read_shard(
    path: Path, shard: int, shards: int, excluded: frozenset[str], hard_negatives: int
) -> tuple[int, Iterator[dict]]:
    """How many rows a shard has, and the rows.

    Hard negatives beyond those that are translated are "": they keep their places, so that a translated list is as long
    as the English one, which tells that k translates k (polybatch.pairs.table).
    """
    count = sum(1 for _ in shard_rows(_collected(path, _CHOSEN_BY), shard, shards, excluded))
    rows = shard_rows(_collected(path, _NEEDED), shard, shards, excluded)
    return count, (_without_negatives_from(hard_negatives, row) for row in rows)


def _collected(path: Path, columns: tuple[str, ...]) -> Iterator[dict]:
    for table in streams.batches(path, contracts.COLLECTED, columns):
        yield from table.to_pylist()


def _without_negatives_from(first: int, row: dict) -> dict:
    negatives = row["hard_negatives"] or []
    return row | {"hard_negatives": [text if k < first else "" for k, text in enumerate(negatives)]}


def round_trips(
    rows: Iterable[dict], count: int, forward: Translator, backward: Translator, min_distinct: float
) -> Iterator[pa.Table]:
    """The tables of a shard of `count` rows (contracts.ROUND_TRIP), a part at a time."""
    import pyarrow as pa

    passing, parts = iter(rows), -(-count // _PAIRS_AT_ONCE)
    with Measurer(forward.target_lang) as measurer:
        for part in range(1, parts + 1):
            label = f", part {part} of {parts}" if parts > 1 else ""
            some = list(islice(passing, _PAIRS_AT_ONCE))
            translated = round_trip(some, forward, backward, measurer, min_distinct=min_distinct, part=label)
            yield pa.Table.from_pylist(translated, schema=contracts.ROUND_TRIP)


def round_trip(
    rows: list[dict],
    forward: Translator,
    backward: Translator,
    measurer: Measurer,
    *,
    min_distinct: float,
    part: str = "",
) -> list[dict]:
    """Rows of contracts.ROUND_TRIP: each row with the translation and back-translation of its query and passage, what
    is measured of them, and its translated negatives.
    """
    pairs = [text for row in rows for text in (row["query"], row["passage"])]
    negatives = (text for row in rows for text in row["hard_negatives"] if text)
    there = translate_distinct(forward, [*pairs, *negatives], part)
    check_collapse(there, forward, min_distinct)
    measures = measurer.begin({text: there[text] for text in pairs}, (row["passage"] for row in rows))
    back = translate_distinct(backward, [there[text] for text in pairs], part, each=measures.came_back)
    check_collapse(back, backward, min_distinct)
    columns = measures.columns((row["query"], row["passage"]) for row in rows)
    return [
        {
            "pair_id": row["pair_id"],
            "source": row["source"],
            "english_query": row["query"],
            "english_passage": row["passage"],
            "query": there[row["query"]],
            "passage": there[row["passage"]],
            "query_back": back[there[row["query"]]],
            "passage_back": back[there[row["passage"]]],
            "hard_negatives": [there[text] if text else "" for text in row["hard_negatives"]],
            **found,
        }
        for row, found in zip(rows, columns, strict=True)
    ]


def measured(pairs: int, forward: Translator, backward: Translator) -> dict[str, Any]:
    """The content of <shard>.stats.json: pairs, device, and the `Work` of both directions together and of each."""
    both = [asdict(translator.work) for translator in (forward, backward)]
    return {
        **{name: sum(work[name] for work in both) for name in both[0]},
        "pairs": pairs,
        "device": forward.device,
        "compute_type": forward.compute_type,
        "forward": both[0],
        "backward": both[1],
    }


def _record(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in ("hard_negatives", "shard", "shards", "min_distinct")}
    return made_from.record(
        {**given, "decoding": args.decoding.given()},
        collected=args.collected,
        contaminated=args.contaminated,
        forward=args.forward,
        backward=args.backward,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.shard", description=__doc__.split("\n")[0])
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--contaminated", type=Path, help="decontamination/pairs.parquet: pairs to leave out")
    parser.add_argument("--lang", required=True)
    parser.add_argument("--forward", required=True, type=Path, help="translator folder, English into --lang")
    parser.add_argument("--backward", required=True, type=Path, help="translator folder, --lang into English")
    parser.add_argument("--hard-negatives", type=int, default=0, metavar="K", help="translate the first K of each pair")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--decoding", default="{}", type=DecodingOptions.from_json, help="DecodingOptions, as JSON")
    parser.add_argument("--min-distinct", type=float, default=0.5, help="share of distinct outputs below which to stop")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    excluded = contaminated_pairs(args.contaminated)
    count, rows = read_shard(args.collected, args.shard, args.shards, excluded, args.hard_negatives)
    forward = Translator(args.forward, f"en-{args.lang}", args.decoding, args.threads)
    backward = Translator(args.backward, f"{args.lang}-en", args.decoding, args.threads)
    tables = round_trips(rows, count, forward, backward, args.min_distinct)
    write_parquet(args.output, tables, made_from.with_record(contracts.ROUND_TRIP, _record(args)))
    write_json(args.output.with_suffix(".stats.json"), measured(count, forward, backward))
    tell(forward)
    tell(backward)
    stage.log.info("%s: %d pairs translated and translated back", args.lang, count)


if __name__ == "__main__":
    stage.run(main)
