"""Supplied translations of one language, with everything held out kept apart from what may be trained on.

inputs: the sources, collected/en.parquet
outputs: supplied/<lang>.parquet (contracts.PARALLEL; every split) or strings/<lang>.parquet (contracts.STRINGS)

Text of the test and dev splits reaches no training, in any language: a training row is dropped when its
English or its translated text equals a held-out one (`text.text_key`). Translators, which also train on
interface strings beyond the pairs, additionally see nothing of the English-only pairs, whose translations are
the references that score them.

Pairs are streamed; strings, which only small sources have, are held in memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.collect.cleaning import clean_negatives
from polybatch.collect.source import Pair, Source, open_source
from polybatch.core import contracts, stage
from polybatch.core.errors import ConfigError
from polybatch.core.files import sha256_text, write_parquet, write_rows
from polybatch.core.streams import BATCH_ROWS, batches, id_key, id_keys, is_in, sorted_by_id
from polybatch.core.text import clean_text, has_placeholder, hash64, text_key, unit_interval, word_count

if TYPE_CHECKING:
    import pyarrow as pa

_STRING_TEST_WORDS = 4  # a translator is scored on strings of at least this many English words


def texts(pairs: Iterable[Pair | dict[str, Any]]) -> set[str]:
    """The keys of all queries and passages."""
    keys: set[str] = set()
    for pair in pairs:
        row = pair if isinstance(pair, dict) else {"query": pair.query, "passage": pair.passage}
        keys |= {text_key(row["query"]), text_key(row["passage"])}
    return keys


class Collected:
    """What this stage needs to know of collected/en.parquet: ids by what may be done with them.

    Attributes:
        rows: Number of pairs.
        ids, held_out, secret: Sorted uint64 keys of all pairs; of those of dev and test; of those and the
            English-only ones, which translators must not see.
    """

    def __init__(self, path: Path) -> None:
        every, held_out, secret = array("Q"), array("Q"), array("Q")
        for table in batches(path, contracts.COLLECTED, ["pair_id", "split", "kind"]):
            columns = [table.column(name).to_pylist() for name in ("pair_id", "split", "kind")]
            for pair_id, split, kind in zip(*columns, strict=True):
                key = id_key(pair_id)
                every.append(key)
                if split != "train":
                    held_out.append(key)
                if split != "train" or kind == "english_only":
                    secret.append(key)
        self.rows = len(every)
        self.ids, self.held_out, self.secret = (
            np.sort(np.array(a, dtype=np.uint64)) for a in (every, held_out, secret)
        )


def supplied_tables(translations: Callable[[], Iterator[tuple[str, Pair]]], collected: Collected) -> Iterator[pa.Table]:
    """The translated pairs as tables of contracts.PARALLEL, without training rows that repeat held-out text.

    Args:
        translations: Starts a stream of (source, pair); it is read twice, of equal ids the first counts.
        collected: The English pairs; others are passed over.
    """
    import pyarrow as pa

    held_out_text: set[int] = set()
    for _, pair in translations() if len(collected.held_out) else ():
        if _holds(collected.held_out, pair.pair_id):
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
            if not _holds(collected.held_out, pair.pair_id) and _text_keys(pair) & held_out_text:
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


def _holds(keys: np.ndarray, pair_id: str) -> bool:
    if not len(keys):
        return False
    key = np.uint64(id_key(pair_id))
    at = int(np.searchsorted(keys, key))
    return at < len(keys) and bool(keys[at] == key)


def _text_keys(pair: Pair) -> set[int]:
    return {hash64(text_key(pair.query)), hash64(text_key(pair.passage))}


def string_rows(
    secret_english: set[str],
    secret_text: set[str],
    strings: Iterable[tuple[str, str]],
    held_out_share: float,
) -> Iterator[dict]:
    """Distinct parallel strings for training translators, each in train, dev or test.

    Args:
        secret_english, secret_text: `texts` of what must not be seen, in either language: what pairs hold out, and
            the English-only pairs.
        strings: (English, translation).
        held_out_share: Of the strings, by their English text, for dev and as much for test. No training string
            equals one of those in either language.
    """
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


def secret_english(path: Path, collected: Collected) -> set[str]:
    """`texts` of the English pairs that translators must not see."""
    secret: set[str] = set()
    for table in batches(path, contracts.COLLECTED, ["pair_id", "query", "passage"]):
        is_secret = is_in(id_keys(table.column("pair_id")), collected.secret)
        secret |= texts(row for row, hidden in zip(table.to_pylist(), is_secret.tolist(), strict=True) if hidden)
    return secret


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
    parser.add_argument("--held-out-share", type=float, default=0.04, help="of strings, for dev and for test")
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("--supplied", type=Path, help="write the translated pairs here")
    output.add_argument("--strings", type=Path, help="write the strings that train translators here")
    args = parser.parse_args(argv)
    if len(args.sources) != len(args.files):
        raise ConfigError(
            "Each source has an entry and a file.", found=f"{len(args.sources)} entries, {len(args.files)} files"
        )

    sources = [open_source(spec, file) for spec, file in zip(args.sources, args.files, strict=True)]
    sources = [source for source in sources if args.lang in source.languages]
    collected = Collected(args.collected)
    if not sources:
        stage.log.warning("%s: no source comes with translations", args.lang)
    if args.supplied:
        number = write_supplied(sources, args.lang, collected, args.supplied)
        stage.log.info("%s: %d of %d pairs come with a translation", args.lang, number, collected.rows)
    else:
        every = list(itertools.chain.from_iterable(source.strings(args.lang) for source in sources))
        pairs = itertools.chain.from_iterable(source.translations(args.lang) for source in sources) if every else ()
        secret_text = texts(pair for pair in pairs if _holds(collected.secret, pair.pair_id))
        strings = list(string_rows(secret_english(args.collected, collected), secret_text, every, args.held_out_share))
        write_rows(args.strings, strings, contracts.STRINGS)
        stage.log.info("%s: %d distinct strings for translators", args.lang, len(strings))


if __name__ == "__main__":
    stage.run(main)
