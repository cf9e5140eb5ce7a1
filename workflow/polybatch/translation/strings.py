"""Parallel strings of one language that train a translator.

inputs: the sources, collected/en.parquet
outputs: strings/<lang>.parquet (contracts.STRINGS), and strings/<lang>.json: of each source how many strings were read,
    what each step removed, and how many were kept

Translators also train on interface strings beyond the pairs. They see nothing of what the pairs hold out, in either
language, and nothing of the English-only pairs, which they translate and whose translations are the references that
score them, nor of the documents that either were taken from. What stands word for word on both sides is taken from the
translators. Strings, which only small sources have, are held in memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polybatch.collect.adapters.registry import open_sources
from polybatch.collect.collected import Collected, holds, texts
from polybatch.collect.source import ParallelText, Source
from polybatch.core import contracts, stage
from polybatch.core.files import sha256_text, write_json, write_rows
from polybatch.core.streams import batches, id_keys, is_in
from polybatch.core.text import has_placeholder, same_key, text_key, unit_interval, word_count

_STRING_TEST_WORDS = 4  # a translator is scored on strings of at least this many English words

# Why strings are left out, in this order.
SECRET_DOCUMENT = "document of a held-out or English-only pair"
SECRET_TEXT = "text of such a document or pair, elsewhere"
REPEATED = "repeated"
HELD_OUT_STRING = "text of a string that scores translators"
STEPS = (SECRET_DOCUMENT, SECRET_TEXT, REPEATED, HELD_OUT_STRING)


def string_rows(
    secret_english: set[str],
    secret_text: set[str],
    strings: Mapping[str, Sequence[ParallelText]],
    *,
    held_out_share: float,
    secret_documents: Collection[str],
    removed: Mapping[str, Counter[str]],
) -> Iterator[dict]:
    """Distinct parallel strings for training translators, each in train, dev or test.

    Args:
        secret_english, secret_text: `texts` of what must not be seen, in either language: what pairs hold out, and
            the English-only pairs.
        strings: Source -> all that it has. One that two sources have counts for the first.
        held_out_share: Of the strings, by their English text, for dev and as much for test. No training string
            equals one of those in either language.
        secret_documents: What stands in these, here or elsewhere, must not be seen either.
        removed: Of each source, takes in how many each of STEPS removed.
    """
    hidden = [string for of in strings.values() for string in of if string.document in secret_documents]
    secret_english = secret_english | {same_key(string.english) for string in hidden}
    secret_text = secret_text | {same_key(string.text) for string in hidden}
    distinct: dict[tuple[str, str], tuple[str, ParallelText]] = {}
    for source, string in ((source, string) for source, of in strings.items() for string in of):
        keys = (text_key(string.english), text_key(string.text))
        if string.document in secret_documents:
            removed[source][SECRET_DOCUMENT] += 1
        elif _unspaced(keys[0]) in secret_english or _unspaced(keys[1]) in secret_text:
            removed[source][SECRET_TEXT] += 1
        elif keys in distinct:
            removed[source][REPEATED] += 1
        else:
            distinct[keys] = source, string
    split_of = {keys: _string_split(string.english, held_out_share) for keys, (_, string) in distinct.items()}
    held = [keys for keys, name in split_of.items() if name != "train"]
    held_english, held_text = ({_unspaced(keys[side]) for keys in held} for side in (0, 1))
    for keys, (source, string) in distinct.items():
        name = split_of[keys]
        if name == "train" and (_unspaced(keys[0]) in held_english or _unspaced(keys[1]) in held_text):
            removed[source][HELD_OUT_STRING] += 1
            continue
        identity = sha256_text(*keys)[:16]
        yield {"string_id": identity, "english": string.english, "text": string.text, "split": name}


def _unspaced(key: str) -> str:
    """The `text.same_key` of a `text.text_key`."""
    return key.replace(" ", "")


def _string_split(english: str, share: float) -> str:
    """Held out are strings of some length without placeholders: what a user's text looks like."""
    if word_count(english) < _STRING_TEST_WORDS or has_placeholder(english):
        return "train"
    at = unit_interval("string", text_key(english))
    if at < share:
        return "test"
    return "dev" if at < 2 * share else "train"


def secret_english(path: Path, collected: Collected) -> set[str]:
    """`texts` of the English pairs that translators must not see."""
    secret: set[str] = set()
    for table in batches(path, contracts.COLLECTED, ["pair_id", "query", "passage"]):
        is_secret = is_in(id_keys(table.column("pair_id")), collected.secret)
        secret |= texts(row for row, hidden in zip(table.to_pylist(), is_secret.tolist(), strict=True) if hidden)
    return secret


def secret_documents(sources: Iterable[Source], collected: Collected) -> set[str]:
    """The documents of the pairs that translators must not see."""
    pairs = itertools.chain.from_iterable(source.english() for source in sources)
    return {pair.document for pair in pairs if pair.document and holds(collected.secret, pair.pair_id)}


def strings_of(
    sources: Sequence[Source], lang: str, collected_path: Path, collected: Collected, held_out_share: float
) -> tuple[list[dict], dict[str, Any]]:
    """The rows of strings/<lang>.parquet, and the record beside them; see `string_rows`."""
    every = {source.name: list(source.strings(lang)) for source in sources}
    pairs = itertools.chain.from_iterable(source.translations(lang) for source in sources if any(every.values()))
    secret_text = texts(pair for pair in pairs if holds(collected.secret, pair.pair_id))
    has_documents = any(string.document for of in every.values() for string in of)
    documents = secret_documents(sources, collected) if has_documents else set()
    removed: dict[str, Counter[str]] = {name: Counter() for name in every}
    english = secret_english(collected_path, collected)
    rows = string_rows(
        english, secret_text, every, held_out_share=held_out_share, secret_documents=documents, removed=removed
    )
    kept = list(rows)
    return kept, _record(lang, every, removed, kept)


def _record(
    lang: str, strings: Mapping[str, Sequence[ParallelText]], removed: Mapping[str, Counter[str]], rows: list[dict]
) -> dict[str, Any]:
    """What strings/<lang>.json says."""
    sources = {}
    for name, of in strings.items():
        steps = [{"step": step, "removed": removed[name][step]} for step in STEPS]
        sources[name] = {"read": len(of), "steps": steps, "kept": len(of) - removed[name].total()}
    splits = Counter(row["split"] for row in rows)
    return {"lang": lang, "sources": sources, "splits": {name: splits[name] for name in ("train", "dev", "test")}}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.strings", description=__doc__.split("\n")[0])
    parser.add_argument("--sources", required=True, type=json.loads, help="[{name, adapter, ...}, ...], as JSON")
    parser.add_argument("--files", nargs="+", required=True, type=Path, help="the file of each source")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--held-out-share", type=float, default=0.04, help="of strings, for dev and for test")
    parser.add_argument("--output", required=True, type=Path, help="strings/<lang>.parquet; its counts go beside it")
    args = parser.parse_args(argv)

    sources = open_sources(args.sources, args.files, args.lang)
    if not sources:
        stage.log.warning("%s: no source comes with translations", args.lang)
    rows, record = strings_of(sources, args.lang, args.collected, Collected(args.collected), args.held_out_share)
    write_rows(args.output, rows, contracts.STRINGS)
    write_json(args.output.with_suffix(".json"), record)
    stage.log.info("%s: %d distinct strings for translators", args.lang, len(rows))
    for name, source in record["sources"].items():
        steps = ", ".join(f"{step['removed']} {step['step']}" for step in source["steps"] if step["removed"])
        stage.log.info("%s: of %d strings of %s left out: %s", args.lang, source["read"], name, steps or "none")


if __name__ == "__main__":
    stage.run(main)
