"""Translates a shard of the English-only pairs into one language, and back into English.

inputs: collected/en.parquet, the translators of both directions; decontamination/pairs.parquet if pairs are to be
    left out
outputs: translated/<lang>/<shard>.parquet (contracts.ROUND_TRIP), and beside it <shard>.stats.json: how much was
    translated in what time on what, from which the time of a larger translation is foretold

Every distinct sentence of the shard is translated once, whether it stands in a query, a passage or a hard negative; of
very many, that holds for the first. Hard negatives are not translated back. A shard is written whole or not at all, so
a killed translation redoes its unfinished shards only; of the collected pairs, no more than the shard's are held in
memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polybatch import contracts, stage, streams
from polybatch.errors import DataError
from polybatch.files import write_json, write_rows
from polybatch.translator import DecodingOptions, Translator

_TEXTS_PER_CALL = 2000
_COLLAPSE_MIN_TEXTS = 50
_NEEDED = ("pair_id", "source", "query", "passage", "hard_negatives", "split", "kind")


def contaminated_pairs(path: Path | None) -> frozenset[str]:
    """The ids of the pairs that the decontamination takes out, in whatever language it found them; none for None."""
    if path is None:
        return frozenset()
    tables = streams.batches(path, contracts.CONTAMINATED, ["pair_id"])
    return frozenset(pair_id for table in tables for pair_id in table["pair_id"].to_pylist())


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


def read_shard(path: Path, shard: int, shards: int, excluded: frozenset[str], hard_negatives: int) -> list[dict]:
    """The rows of one shard. Hard negatives beyond those that are translated are "": they keep their places, so that a
    translated list is as long as the English one, which tells that k translates k (`pairs`)."""
    collected = (row for table in streams.batches(path, contracts.COLLECTED, _NEEDED) for row in table.to_pylist())
    rows = []
    for row in shard_rows(collected, shard, shards, excluded):
        negatives = row["hard_negatives"] or []
        rows.append(row | {"hard_negatives": [t if k < hard_negatives else "" for k, t in enumerate(negatives)]})
    return rows


def translate_distinct(translator: Translator, texts: Iterable[str]) -> dict[str, str]:
    """text -> translation for the distinct texts, with progress."""
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    label = f"{translator.source_lang}-{translator.target_lang}"
    found = dict(
        stage.progress(
            _in_chunks(translator, distinct), total=len(distinct), label=f"{label} translation", unit="texts"
        )
    )
    work = translator.work
    stage.log.info(
        "%s: %d sentences in %.1f s, %.1f sentences/s", label, work.sentences, work.seconds, _rate(work.sentences, work)
    )
    if work.unfinished:
        stage.log.warning(
            "%s: %d translations were cut off at %d tokens (decoding.max_length); the filter judges them as any other",
            label,
            work.unfinished,
            translator.options.max_length,
        )
    return found


def _in_chunks(translator: Translator, texts: list[str]) -> Iterator[tuple[str, str]]:
    for i in range(0, len(texts), _TEXTS_PER_CALL):
        chunk = texts[i : i + _TEXTS_PER_CALL]
        yield from zip(chunk, translator.translate_texts(chunk), strict=True)


def _rate(count: int, work: Any) -> float:
    return count / work.seconds if work.seconds else 0.0


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
    """Adds to each row the translation and back-translation of its query and passage, and its translated negatives."""
    pairs = [text for row in rows for text in (row["query"], row["passage"])]
    there = translate_distinct(forward, [*pairs, *(text for row in rows for text in row["hard_negatives"] if text)])
    check_collapse(there, forward, min_distinct)
    back = translate_distinct(backward, [there[text] for text in pairs])
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
            "hard_negatives": [there[text] if text else "" for text in row["hard_negatives"]],
        }
        for row in rows
    ]


def measured(pairs: int, forward: Translator, backward: Translator) -> dict[str, Any]:
    """What was done: both directions together, and each."""
    both = [asdict(translator.work) for translator in (forward, backward)]
    return {
        **{name: sum(work[name] for work in both) for name in both[0]},
        "pairs": pairs,
        "device": forward.device,
        "compute_type": forward.compute_type,
        "forward": both[0],
        "backward": both[1],
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translate", description=__doc__.split("\n")[0])
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
    rows = read_shard(args.collected, args.shard, args.shards, excluded, args.hard_negatives)
    forward = Translator(args.forward, f"en-{args.lang}", args.decoding, args.threads)
    backward = Translator(args.backward, f"{args.lang}-en", args.decoding, args.threads)
    translated = round_trip(rows, forward, backward, args.min_distinct)
    write_json(args.output.with_suffix(".stats.json"), measured(len(rows), forward, backward))
    write_rows(args.output, translated, contracts.ROUND_TRIP)
    stage.log.info("%s: %d pairs translated and translated back", args.lang, len(rows))


if __name__ == "__main__":
    stage.run(main)
