"""Supplied translations of one language, with everything held out kept apart from what may be trained on.

inputs: the sources, collected/en.parquet
outputs: supplied/<lang>.parquet (contracts.PARALLEL; every split)

Text of the test and dev splits reaches no training, in any language: a training row is dropped when its
English or its translated text equals a held-out one (`text.text_key`). Pairs are streamed.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.collect.adapters.registry import open_sources
from polybatch.collect.cleaning import clean_negatives
from polybatch.collect.collected import Collected, holds
from polybatch.collect.source import Pair, Source
from polybatch.core import contracts, stage
from polybatch.core.files import write_parquet
from polybatch.core.streams import BATCH_ROWS, id_key, id_keys, is_in, sorted_by_id
from polybatch.core.text import clean_text, hash64, text_key

if TYPE_CHECKING:
    import pyarrow as pa


def supplied_tables(translations: Callable[[], Iterator[tuple[str, Pair]]], collected: Collected) -> Iterator[pa.Table]:
    """The translated pairs as tables of contracts.PARALLEL, without training rows that repeat held-out text.

    Args:
        translations: Starts a stream of (source, pair); it is read twice, of equal ids the first counts.
        collected: The English pairs; others are passed over.
    """
    import pyarrow as pa

    held_out_text: set[int] = set()
    for _, pair in translations() if len(collected.held_out) else ():
        if holds(collected.held_out, pair.pair_id):
            held_out_text |= _text_keys(pair)
    seen: set[int] = set()
    stream = translations()
    while chunk := list(itertools.islice(stream, BATCH_ROWS)):
        known = is_in(id_keys(pair.pair_id for _, pair in chunk), collected.ids)
        rows = []
        for (source, pair), is_known in zip(chunk, known.tolist(), strict=True):
            key = id_key(pair.pair_id)
            if not is_known or key in seen:
                continue
            if not holds(collected.held_out, pair.pair_id) and _text_keys(pair) & held_out_text:
                continue
            seen.add(key)
            rows.append(_row(source, pair))
        yield pa.Table.from_pylist(rows, schema=contracts.PARALLEL)


def _row(source: str, pair: Pair) -> dict[str, Any]:
    return {
        "pair_id": pair.pair_id,
        "source": source,
        "origin": "supplied",
        "query": clean_text(pair.query),
        "passage": clean_text(pair.passage),
        "hard_negatives": clean_negatives(pair.hard_negatives, text_key(pair.passage), keep_places=True),
    }


def _text_keys(pair: Pair) -> set[int]:
    return {hash64(text_key(pair.query)), hash64(text_key(pair.passage))}


def write_supplied(sources: Sequence[Source], lang: str, collected: Collected, output: Path) -> int:
    """Writes supplied/<lang>.parquet; returns the number of rows."""

    def translations() -> Iterator[tuple[str, Pair]]:
        for source in sources:
            yield from ((source.name, pair) for pair in source.translations(lang))

    tables = supplied_tables(translations, collected)
    ordered = sorted_by_id(tables, contracts.PARALLEL, collected.rows, output.parent)
    return write_parquet(output, ordered, contracts.PARALLEL)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.collect.supplied", description=__doc__.split("\n")[0])
    parser.add_argument("--sources", required=True, type=json.loads, help="[{name, adapter, ...}, ...], as JSON")
    parser.add_argument("--files", nargs="+", required=True, type=Path, help="the file of each source")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--output", required=True, type=Path, help="supplied/<lang>.parquet")
    args = parser.parse_args(argv)

    sources = open_sources(args.sources, args.files, args.lang)
    if not sources:
        stage.log.warning("%s: no source comes with translations", args.lang)
    collected = Collected(args.collected)
    number = write_supplied(sources, args.lang, collected, args.output)
    stage.log.info("%s: %d of %d pairs come with a translation", args.lang, number, collected.rows)


if __name__ == "__main__":
    stage.run(main)
