"""Translates a shard of the English-only pairs into one language, and back into English.

inputs: collected/en.parquet, the translators of both directions
outputs: translated/<lang>/<shard>.parquet (contracts.ROUND_TRIP)

Every distinct sentence of the shard is translated once, whether it stands in a query or a passage. A shard is
written whole or not at all, so a killed translation redoes its unfinished shards only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polybatch import contracts, stage
from polybatch.errors import DataError
from polybatch.files import read_parquet, write_rows
from polybatch.translator import DecodingOptions, Translator

_TEXTS_PER_CALL = 2000
_COLLAPSE_MIN_TEXTS = 50


def shard_rows(collected: list[dict], shard: int, shards: int) -> list[dict]:
    """The English-only training pairs of one shard: every `shards`-th, from `shard` on."""
    pairs = [row for row in collected if row["kind"] == "english_only" and row["split"] == "train"]
    return pairs[shard::shards]


def translate_distinct(translator: Translator, texts: list[str], label: str) -> dict[str, str]:
    """text -> translation for the distinct texts, with progress."""
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    chunks = [distinct[i : i + _TEXTS_PER_CALL] for i in range(0, len(distinct), _TEXTS_PER_CALL)]
    translations: dict[str, str] = {}
    for chunk in stage.progress(chunks, total=len(chunks), label=label, unit="chunks"):
        translations.update(zip(chunk, translator.translate_texts(chunk), strict=True))
    return translations


def check_collapse(translations: dict[str, str], translator: Translator, min_distinct: float) -> None:
    """Raises a DataError if many inputs share few outputs: such a translator teaches a retriever nonsense."""
    if len(translations) < _COLLAPSE_MIN_TEXTS:
        return
    distinct = len(set(translations.values()))
    if distinct < min_distinct * len(translations):
        raise DataError(
            f"The translator {translator.source_lang}-{translator.target_lang} has collapsed.",
            where=translator.folder,
            expected=f"at least {min_distinct:.0%} distinct translations",
            found=f"{distinct} distinct translations of {len(translations)} distinct texts",
            remedy="train it longer (translator_training.options.max_steps), or name another one in "
            "translation.translators",
        )


def round_trip(rows: list[dict], forward: Translator, backward: Translator, min_distinct: float) -> list[dict]:
    """Adds translation and back-translation of query and passage to each row."""
    texts = [text for row in rows for text in (row["query"], row["passage"])]
    there = translate_distinct(forward, texts, f"en-{forward.target_lang}")
    check_collapse(there, forward, min_distinct)
    back = translate_distinct(backward, list(there.values()), f"{forward.target_lang}-en")
    check_collapse(back, backward, min_distinct)
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
        }
        for row in rows
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translate", description=__doc__.split("\n")[0])
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--forward", required=True, type=Path, help="translator folder, English into --lang")
    parser.add_argument("--backward", required=True, type=Path, help="translator folder, --lang into English")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--decoding", default="{}", type=DecodingOptions.from_json, help="DecodingOptions, as JSON")
    parser.add_argument("--min-distinct", type=float, default=0.5, help="share of distinct outputs below which to stop")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    rows = shard_rows(read_parquet(args.collected, contracts.COLLECTED).to_pylist(), args.shard, args.shards)
    forward = Translator(args.forward, f"en-{args.lang}", args.decoding, args.threads)
    backward = Translator(args.backward, f"{args.lang}-en", args.decoding, args.threads)
    write_rows(args.output, round_trip(rows, forward, backward, args.min_distinct), contracts.ROUND_TRIP)
    stage.log.info("%s: %d pairs translated and translated back", args.lang, len(rows))


if __name__ == "__main__":
    stage.run(main)
