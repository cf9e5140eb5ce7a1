"""Supplied translations of one language, with everything held out kept apart from what may be trained on.

inputs: the sources, collected/en.parquet
outputs: supplied/<lang>.parquet (contracts.PARALLEL; every split) and supplied/<lang>.json: of each source how many
    translations were read, what each step removed, and how many were kept

Text of the test and dev splits reaches no training, in any language: a training row is dropped when its
English or its translated text equals a held-out one (`text.same_key`). Pairs are streamed.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.collect.adapters.registry import open_sources
from polybatch.collect.cleaning import clean_negatives
from polybatch.collect.collected import Collected, holds
from polybatch.collect.options import CleaningOptions
from polybatch.collect.source import ANOTHER, Pair, Source
from polybatch.collect.translation_cleaning import clean_translations, foreign_check
from polybatch.core import contracts, made_from, stage
from polybatch.core.files import write_json, write_parquet
from polybatch.core.streams import BATCH_ROWS, id_key, id_keys, is_in, sorted_by_id
from polybatch.core.text import clean_text, same_hash

if TYPE_CHECKING:
    import pyarrow as pa


class Supplied:
    """The translations of one language that come with the sources, cleaned and counted.

    Args:
        sources: Those that have any.
        lang: The language.
        collected: The English pairs; translations of others are left out.
        cleaning: Which language check to make.
    """

    def __init__(self, sources: Sequence[Source], lang: str, collected: Collected, cleaning: CleaningOptions) -> None:
        self.sources, self.lang, self.collected = sources, lang, collected
        self._is_foreign = foreign_check(lang, cleaning.language_confidence)
        self._steps: dict[str, Counter[str]] = {}
        self._read: Counter[str] = Counter()

    def tables(self) -> Iterator[pa.Table]:
        """Tables of contracts.PARALLEL, without training rows that repeat held-out text.

        The sources are read twice; of equal ids the first translation that can be used counts.
        """
        import pyarrow as pa

        held_out_text = self._held_out_text()
        self._steps, self._read = {source.name: Counter() for source in self.sources}, Counter()
        seen: set[int] = set()
        stream = self._pairs()
        while chunk := list(itertools.islice(stream, BATCH_ROWS)):
            known = is_in(id_keys(pair.pair_id for _, pair in chunk), self.collected.ids)
            rows = []
            for (source, pair), is_known in zip(chunk, known.tolist(), strict=True):
                key = id_key(pair.pair_id)
                if fault := self._fault(pair, key in seen, is_known, held_out_text):
                    self._steps[source][fault] += 1
                else:
                    seen.add(key)
                    rows.append(_row(source, pair))
            yield pa.Table.from_pylist(rows, schema=contracts.PARALLEL)

    def record(self) -> dict[str, Any]:
        """Once `tables` has been read: source -> translations read, what each step removed, and those kept."""
        sources = {}
        for source in self.sources:
            steps = Counter(source.left_out.get(self.lang, {})) + self._steps[source.name]
            read = self._read[source.name] + sum(source.left_out.get(self.lang, {}).values())
            kept = read - steps.total()
            listed = [{"step": step, "removed": number} for step, number in steps.items()]
            sources[source.name] = {"read": read, "steps": listed, "kept": kept}
        return {"lang": self.lang, "sources": sources}

    def _pairs(self, *, only_held_out: bool = False) -> Iterator[tuple[str, Pair]]:
        """(source, pair) of those that cleaning keeps; of held-out pairs alone the others are not even cleaned."""
        for source in self.sources:
            counts = self._steps.setdefault(source.name, Counter())
            pairs = self._counted(source)
            if only_held_out:
                pairs = (pair for pair in pairs if holds(self.collected.held_out, pair.pair_id))
            for pair in clean_translations(pairs, self.collected.passages, self._is_foreign, counts):
                yield source.name, pair

    def _counted(self, source: Source) -> Iterator[Pair]:
        for pair in source.translations(self.lang):
            self._read[source.name] += 1
            yield pair

    def _held_out_text(self) -> set[int]:
        keys: set[int] = set()
        for _, pair in self._pairs(only_held_out=True) if len(self.collected.held_out) else ():
            keys |= _text_keys(pair)
        return keys

    def _fault(self, pair: Pair, is_seen: bool, is_known: bool, held_out_text: set[int]) -> str:
        if not is_known:
            return "English pair left out"
        if is_seen:
            return ANOTHER
        if not holds(self.collected.held_out, pair.pair_id) and _text_keys(pair) & held_out_text:
            return "held-out text"
        return ""


def _row(source: str, pair: Pair) -> dict[str, Any]:
    return {
        "pair_id": pair.pair_id,
        "source": source,
        "origin": "supplied",
        "query": clean_text(pair.query),
        "passage": clean_text(pair.passage),
        "hard_negatives": clean_negatives(pair.hard_negatives, pair.passage, keep_places=True),
    }


def _text_keys(pair: Pair) -> set[int]:
    return {same_hash(pair.query), same_hash(pair.passage)}


def write_supplied(supplied: Supplied, output: Path, schema: pa.Schema = contracts.PARALLEL) -> int:
    """Writes supplied/<lang>.parquet, and beside it .json with its `record`; returns the number of rows.

    `schema` may carry what it was made from (`made_from.with_record`).
    """
    ordered = sorted_by_id(supplied.tables(), contracts.PARALLEL, supplied.collected.rows, output.parent)
    number = write_parquet(output, ordered, schema)
    write_json(output.with_suffix(".json"), supplied.record())
    return number


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.collect.supplied", description=__doc__.split("\n")[0])
    parser.add_argument("--sources", required=True, type=json.loads, help="[{name, adapter, ...}, ...], as JSON")
    parser.add_argument("--files", nargs="+", required=True, type=Path, help="the file of each source")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--cleaning", default="{}", type=CleaningOptions.from_json, help="CleaningOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path, help="supplied/<lang>.parquet; its counts go beside it")
    args = parser.parse_args(argv)

    sources = open_sources(args.sources, args.files, args.lang)
    if not sources:
        stage.log.warning("%s: no source comes with translations", args.lang)
    collected = Collected(args.collected)
    supplied = Supplied(sources, args.lang, collected, args.cleaning)
    given = {"sources": args.sources, "cleaning": args.cleaning.given()}
    record = made_from.record(given, files=args.files, collected=args.collected)
    number = write_supplied(supplied, args.output, made_from.with_record(contracts.PARALLEL, record))
    stage.log.info("%s: %d of %d pairs come with a translation", args.lang, number, collected.rows)
    for name, source in supplied.record()["sources"].items():
        left_out = ", ".join(f"{step['step']}: {step['removed']}" for step in source["steps"]) or "none"
        stage.log.info("%s: of %d translations of %s are left out: %s", args.lang, source["read"], name, left_out)


if __name__ == "__main__":
    stage.run(main)
