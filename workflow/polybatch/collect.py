"""Collects English pairs, cleans them, and splits them before anything is trained.

inputs: a source (a downloaded wheel, or the user's own file)
outputs: collected/en.parquet (contracts.COLLECTED) and collected/en.json (counts per cleaning step)

The split goes by distinct English passage. Test and dev passages have exactly one query, that query belongs
to no other passage, and they are translated into every language of `--parallel-in`, so that all languages are
scored on the same queries. The languages of a study do not enter: adding one moves no pair to another split.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from polybatch import contracts, stage
from polybatch.errors import DataError
from polybatch.files import write_json, write_rows
from polybatch.options import Options, require
from polybatch.sources import Pair, Source, open_source
from polybatch.text import text_key, unit_interval, word_count


@dataclass(frozen=True)
class SplitOptions(Options):
    """How the source is divided.

    Attributes:
        test_passages, dev_passages: Distinct English passages held out.
        english_only: Share of the training pairs whose human translations are set aside.
        max_passages_per_query: A training query with more relevant passages than this is dropped.
        min_words, max_words: Length limits of a passage, in words.
        seed: Another seed, another split.
    """

    test_passages: int = 400
    dev_passages: int = 200
    english_only: float = 0.3
    max_passages_per_query: int = 3
    min_words: int = 3
    max_words: int = 60
    seed: int = 0

    def faults(self) -> Iterator[str]:
        for name in ("test_passages", "dev_passages", "max_passages_per_query", "min_words"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        yield from require(self.max_words >= self.min_words, "max_words must not be below min_words")
        yield from require(0.0 <= self.english_only <= 1.0, "english_only must be within 0 and 1")


def clean(pairs: Iterable[Pair], options: SplitOptions) -> tuple[list[Pair], dict[str, int]]:
    """Drops what no retriever can learn from; returns the pairs kept and the count dropped at each step."""
    counts: Counter[str] = Counter()
    kept: dict[str, Pair] = {}
    for pair in pairs:
        counts["collected"] += 1
        if fault := _fault(pair, options, kept):
            counts[fault] += 1
        else:
            kept[pair.pair_id] = pair
    passages: dict[str, set[str]] = defaultdict(set)
    for pair in kept.values():
        passages[text_key(pair.query)].add(text_key(pair.passage))
    clear = [p for p in kept.values() if len(passages[text_key(p.query)]) <= options.max_passages_per_query]
    counts["ambiguous query"] = len(kept) - len(clear)
    counts["kept"] = len(clear)
    return clear, dict(counts)


def _fault(pair: Pair, options: SplitOptions, kept: dict[str, Pair]) -> str:
    query, passage = text_key(pair.query), text_key(pair.passage)
    if not query or not passage:
        return "empty"
    if not any(ch.isalpha() for ch in query):
        return "query without letters"
    if query == passage:
        return "query equals passage"
    if not options.min_words <= word_count(pair.passage) <= options.max_words:
        return "passage too short or too long"
    if pair.pair_id in kept:
        return "duplicate"
    return ""


def split(pairs: list[Pair], translated: dict[str, set[str]], options: SplitOptions) -> dict[str, str]:
    """Assigns every pair to train, dev or test.

    Args:
        pairs: Cleaned English pairs with distinct ids.
        translated: language -> ids of the pairs that people translated into it. A held-out passage has a
            translation into every one of these languages.
        options: See SplitOptions.

    Returns:
        pair_id -> "train", "dev", "test", or "dropped" (another query of a held-out passage).
    """
    by_passage: dict[str, list[Pair]] = defaultdict(list)
    passages_of_query: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        by_passage[text_key(pair.passage)].append(pair)
        passages_of_query[text_key(pair.query)].add(text_key(pair.passage))

    def can_be_held_out(pair: Pair) -> bool:
        return len(passages_of_query[text_key(pair.query)]) == 1 and all(
            pair.pair_id in ids for ids in translated.values()
        )

    order = sorted(by_passage, key=lambda key: unit_interval(str(options.seed), "passage", key))
    fate: dict[str, str] = {}
    wanted = {"test": options.test_passages, "dev": options.dev_passages}
    for key in order:
        fit = sorted((p for p in by_passage[key] if can_be_held_out(p)), key=lambda p: p.pair_id)
        name = next((n for n, left in wanted.items() if left), "") if fit else ""
        for pair in by_passage[key]:
            fate[pair.pair_id] = "dropped" if name else "train"
        if name:
            fate[fit[0].pair_id] = name
            wanted[name] -= 1
    if any(wanted.values()):
        raise DataError(
            "The source holds too few passages to hold out.",
            expected=f"{options.test_passages} test and {options.dev_passages} dev passages, each with a query "
            f"of its own and translated into {' '.join(translated) or 'no language'}",
            found=f"{wanted['test']} test and {wanted['dev']} dev passages are missing",
            remedy="lower split.test_passages and split.dev_passages, or name fewer languages in split.parallel_in",
        )
    return fate


def rows(pairs: list[Pair], fate: dict[str, str], source: Source, options: SplitOptions) -> list[dict]:
    """The rows of collected/en.parquet, in the order of their ids."""
    table = []
    for pair in sorted(pairs, key=lambda p: p.pair_id):
        if fate[pair.pair_id] == "dropped":
            continue
        aside = unit_interval(str(options.seed), "kind", text_key(pair.passage)) < options.english_only
        kind = "english_only" if fate[pair.pair_id] == "train" and aside else "parallel"
        table.append(
            {
                "pair_id": pair.pair_id,
                "source": source.name,
                "query": pair.query,
                "passage": pair.passage,
                "hard_negatives": pair.hard_negatives,
                "license": source.license,
                "split": fate[pair.pair_id],
                "kind": kind,
            }
        )
    if not any(row["split"] == "train" for row in table):
        raise DataError(
            "After cleaning and splitting, no training pair is left.",
            found=f"{len(pairs)} clean pairs, all held out" if pairs else "no clean pair",
            remedy="hold out fewer passages, or loosen the length limits (config: split)",
        )
    return table


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.collect", description=__doc__.split("\n")[0])
    parser.add_argument("--source", required=True, type=json.loads, help="the config's source entry, as JSON")
    parser.add_argument("--file", required=True, type=Path, help="the source's file")
    parser.add_argument("--split", default="{}", type=SplitOptions.from_json, help="SplitOptions, as JSON")
    parser.add_argument("--parallel-in", nargs="*", default=[], metavar="LANG", help="held-out text is in all of these")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    source = open_source(args.source, args.file)
    pairs, counts = clean(source.english(), args.split)
    translated = {lang: {p.pair_id for p in source.translations(lang)} for lang in args.parallel_in}
    fate = split(pairs, translated, args.split)
    table = rows(pairs, fate, source, args.split)
    counts["another query of a held-out passage"] = sum(f == "dropped" for f in fate.values())
    for name in ("train", "dev", "test"):
        counts[name] = sum(row["split"] == name for row in table)
    counts["train, english_only"] = sum(row["kind"] == "english_only" for row in table)
    write_json(args.output.with_suffix(".json"), {"source": source.name, "license": source.license, "counts": counts})
    write_rows(args.output, table, contracts.COLLECTED)
    stage.log.info("collected: %s", counts)


if __name__ == "__main__":
    stage.run(main)
