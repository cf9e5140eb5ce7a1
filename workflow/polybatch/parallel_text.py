"""Human translations of one language, with everything held out kept apart from what may be trained on.

inputs: a source, collected/en.parquet
outputs: human/<lang>.parquet (contracts.PARALLEL; every split) or strings/<lang>.parquet (contracts.STRINGS)

Text of the test and dev splits reaches no training, in any language: a training row is dropped when its
English or its translated text equals a held-out one (`text.text_key`). Translators, which also train on
interface strings beyond the pairs, additionally see nothing of the English-only pairs, whose translations are
the references that score them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polybatch import contracts, stage
from polybatch.files import read_parquet, sha256_text, write_rows
from polybatch.sources import Pair, open_source
from polybatch.text import has_placeholder, text_key, unit_interval, word_count

_STRING_TEST_WORDS = 4  # a translator is scored on strings of at least this many English words


def texts(pairs: Iterable[Pair | dict[str, Any]]) -> set[str]:
    """The keys of all queries and passages."""
    keys: set[str] = set()
    for pair in pairs:
        row = pair if isinstance(pair, dict) else {"query": pair.query, "passage": pair.passage}
        keys |= {text_key(row["query"]), text_key(row["passage"])}
    return keys


def human_rows(collected: list[dict], translations: Iterable[Pair]) -> list[dict]:
    """The translated pairs, in the order of `collected`, without training rows that repeat held-out text."""
    found = {pair.pair_id: pair for pair in translations}
    split_of = {row["pair_id"]: row["split"] for row in collected}
    held_out = texts(pair for pair in found.values() if split_of.get(pair.pair_id) in ("dev", "test"))
    rows = []
    for row in collected:
        pair = found.get(row["pair_id"])
        if pair is None:
            continue
        if row["split"] == "train" and {text_key(pair.query), text_key(pair.passage)} & held_out:
            continue
        rows.append({"pair_id": pair.pair_id, "query": pair.query, "passage": pair.passage})
    return rows


def string_rows(
    collected: list[dict],
    translations: Iterable[Pair],
    strings: Iterable[tuple[str, str]],
    held_out_share: float,
) -> Iterator[dict]:
    """Distinct parallel strings for training translators, each in train, dev or test.

    What pairs hold out, and the English-only pairs, are left out on both sides. Of the rest a share is held
    out by its English text, and no training string equals one of those in either language.
    """
    secret_ids = {r["pair_id"] for r in collected if r["split"] in ("dev", "test") or r["kind"] == "english_only"}
    secret_english = texts(r for r in collected if r["pair_id"] in secret_ids)
    secret_text = texts(p for p in translations if p.pair_id in secret_ids)
    distinct: dict[tuple[str, str], tuple[str, str]] = {}
    for english, text in strings:
        keys = (text_key(english), text_key(text))
        if keys[0] not in secret_english and keys[1] not in secret_text:
            distinct.setdefault(keys, (english, text))
    split_of = {keys: _string_split(english, held_out_share) for keys, (english, _) in distinct.items()}
    held = [keys for keys, name in split_of.items() if name != "train"]
    held_english, held_text = {keys[0] for keys in held}, {keys[1] for keys in held}
    for keys, (english, text) in distinct.items():
        name = split_of[keys]
        if name == "train" and (keys[0] in held_english or keys[1] in held_text):
            continue
        yield {"string_id": sha256_text(*keys)[:16], "english": english, "text": text, "split": name}


def _string_split(english: str, share: float) -> str:
    """Held out are strings of some length without placeholders: what a user's text looks like."""
    if word_count(english) < _STRING_TEST_WORDS or has_placeholder(english):
        return "train"
    at = unit_interval("string", text_key(english))
    if at < share:
        return "test"
    return "dev" if at < 2 * share else "train"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.parallel_text", description=__doc__.split("\n")[0])
    parser.add_argument("--source", required=True, type=json.loads, help="the config's source entry, as JSON")
    parser.add_argument("--file", required=True, type=Path, help="the source's file")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--held-out-share", type=float, default=0.04, help="of strings, for dev and for test")
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("--human", type=Path, help="write the translated pairs here")
    output.add_argument("--strings", type=Path, help="write the strings that train translators here")
    args = parser.parse_args(argv)

    source = open_source(args.source, args.file)
    collected = read_parquet(args.collected, contracts.COLLECTED).to_pylist()
    translations = list(source.translations(args.lang))
    if args.human:
        rows = human_rows(collected, translations)
        write_rows(args.human, rows, contracts.PARALLEL)
        stage.log.info("%s: %d of %d pairs translated by people", args.lang, len(rows), len(collected))
    else:
        strings = list(string_rows(collected, translations, source.strings(args.lang), args.held_out_share))
        write_rows(args.strings, strings, contracts.STRINGS)
        stage.log.info("%s: %d distinct strings for translators", args.lang, len(strings))


if __name__ == "__main__":
    stage.run(main)
