"""Decides which machine-translated pairs are good enough to train on, and says why the others are not.

inputs: all shards translated/<lang>/*.parquet, collected/en.parquet, supplied/<lang>.parquet; the evaluation texts'
    index (decontamination/text) and decontamination/pairs.parquet where the data are decontaminated
outputs: translated/<lang>.parquet (contracts.TRANSLATED) and translated/<lang>.json (counts and scores)

A pair is refused for the first of these that holds: a text is empty; it copies its source; it repeats itself;
its length is out of proportion; it is in another language; the round trip lost too much (chrF between the
English text and its back-translation); it overlaps with evaluation text of that language, which the English pair need
not do; or it equals a held-out text of that language. Evaluation text goes before held-out text, because for its sake
the pair leaves the training data in all languages (polybatch.pairs.parallel). A hard negative that is empty or for one
of the last two reasons must not be trained on is replaced by an empty text, which keeps its place, and its pair stays.

The shards have measured what is compared (polybatch.translation.measures); here it meets the thresholds, and the texts
meet those that something is evaluated on. Other thresholds therefore translate and measure nothing again. Rows pass
through in batches, in the order of the collected pairs. The scores of the translators are over the first pairs only,
where there are very many.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.collect.language_identification import require_known
from polybatch.core import contracts, made_from, stage, streams
from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet, write_json, write_parquet
from polybatch.core.languages import language
from polybatch.core.text import same_key, text_key
from polybatch.decontaminate.excluded import EVALUATION_TEXT, contaminated_pairs
from polybatch.translation import comet
from polybatch.translation.options import AcceptOptions
from polybatch.translation.statistics import ACCEPTED, SCORED_PAIRS, Statistics
from polybatch.translation.translator import read_card

if TYPE_CHECKING:
    from polybatch.decontaminate.overlap import Index

HELD_OUT_TEXT = "held-out text"
_BATCH_ROWS = 2_000
_KEPT = (
    *("pair_id", "source", "query", "passage", "query_back", "passage_back"),
    *("query_chrf", "passage_chrf", "hard_negatives"),
)


@dataclass(frozen=True)
class Expected:
    """The English pairs that were to be translated, by their ids.

    Attributes:
        count: Pairs.
        scored: The ids of the first of them, by which the translators are scored.
        held_out: Ids of the pairs of the dev and test splits.
    """

    count: int
    scored: frozenset[str]
    held_out: frozenset[str]


def translated_pairs(collected: Path, excluded: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(position among the English-only training pairs, pair id) of those that are translated."""
    position = -1
    for pair_id, split, kind in _kinds(collected):
        if kind == "english_only" and split == "train":
            position += 1
            if pair_id not in excluded:
                yield position, pair_id


def _kinds(collected: Path) -> Iterator[tuple[str, str, str]]:
    columns = ("pair_id", "split", "kind")
    for table in streams.batches(collected, contracts.COLLECTED, columns):
        yield from zip(*(table[name].to_pylist() for name in columns), strict=True)


def read_expected(collected: Path, excluded: frozenset[str]) -> Expected:
    """Reads which pairs there are, without their texts."""
    count, scored = 0, []
    for _, pair_id in translated_pairs(collected, excluded):
        count += 1
        if count <= SCORED_PAIRS:
            scored.append(pair_id)
    held_out = frozenset(pair_id for pair_id, split, _ in _kinds(collected) if split != "train")
    return Expected(count, frozenset(scored), held_out)


def gather(shards: list[Path], pairs: Iterable[tuple[int, str]], count: int) -> Iterator[dict]:
    """All shards' rows in the order of the pairs, of which every `len(shards)`-th is in each.

    Args:
        shards: In the order of their numbers.
        pairs: As `translated_pairs` gives them.
        count: How many those are.

    Raises:
        DataError: A pair is missing, comes twice, or stands elsewhere. A wrong number is told before the first row.
    """
    found = [open_parquet(path).metadata.num_rows for path in shards]
    if sum(found) != count:
        raise _not_as_expected(shards, count, f"{sum(found)} rows")
    rows = [_rows(path) for path in shards]
    for position, pair_id in pairs:
        row = next(rows[position % len(shards)], None)
        if row is None or row["pair_id"] != pair_id:
            there = "no further row" if row is None else f"the pair {row['pair_id']}"
            raise _not_as_expected(shards, count, f"{there} in {shards[position % len(shards)]}, not {pair_id}")
        yield row


def _rows(path: Path) -> Iterator[dict]:
    for table in streams.batches(path, contracts.ROUND_TRIP):
        yield from table.to_pylist()


def _not_as_expected(shards: list[Path], count: int, found: str) -> DataError:
    return DataError(
        "The translated shards do not hold what was to be translated.",
        where=", ".join(map(str, shards)),
        expected=f"{count} pairs, each once and in order",
        found=found,
        remedy="delete the shards and run the same command again",
    )


def read_supplied(path: Path, expected: Expected) -> tuple[set[str], dict[str, dict]]:
    """The keys of held-out texts, and pair id -> texts that score the translations of the first pairs."""
    held_out: set[str] = set()
    references: dict[str, dict] = {}
    for table in streams.batches(path, contracts.PARALLEL, ["pair_id", "query", "passage"]):
        for row in table.to_pylist():
            if row["pair_id"] in expected.held_out:
                held_out |= {same_key(row["query"]), same_key(row["passage"])}
            elif row["pair_id"] in expected.scored:
                references[row["pair_id"]] = row
    return held_out, references


class Verdict:
    """Judges round trips into one language: `fault` the translation, `leaks` whether it may be trained on."""

    def __init__(
        self, lang: str, held_out: set[str], options: AcceptOptions, evaluation_text: Index | None = None
    ) -> None:
        self.lang, self.options, self.held_out, self.evaluation_text = lang, options, held_out, evaluation_text
        if options.min_language_confidence > 0:
            require_known(lang)

    def fault(self, row: dict) -> str:
        """The first fault of the translation itself, in the order of the module's docstring; empty if it has none."""
        options, confidence = self.options, row["language_confidence"]
        if row["fault"]:
            return str(row["fault"])
        if max(row["query_repetition"], row["passage_repetition"]) > options.max_repetition:
            return "repetition"
        if not options.min_length_ratio <= row["length_ratio"] <= options.max_length_ratio:
            return "length ratio"
        if confidence is not None and confidence < options.min_language_confidence:
            return "language"
        if row["query_chrf"] < options.min_query_chrf or row["passage_chrf"] < options.min_passage_chrf:
            return "round trip"
        return ""

    def leaks(self, texts: Sequence[str], side: str) -> list[str]:
        """Why each text must not be trained on, because something is evaluated on it; empty if it may."""
        found = [HELD_OUT_TEXT if same_key(text) in self.held_out else "" for text in texts]
        if self.evaluation_text is not None:
            matches = self.evaluation_text.find_many(texts, side)
            found = [reason if match is None else EVALUATION_TEXT for reason, match in zip(found, matches, strict=True)]
        return found


def judge(rows: Iterable[dict], verdict: Verdict) -> list[dict]:
    """The rows of translated/<lang>.parquet for a batch of round trips.

    The hard negatives of an accepted pair are as many as its round trip has, "" in the place of each that is left out.
    """
    table = [{**{name: row[name] for name in _KEPT}, "reason": verdict.fault(row)} for row in rows]
    _refuse_leaks([row for row in table if not row["reason"]], verdict)
    for row in table:
        row["accepted"] = row["reason"] == ACCEPTED
        row["hard_negatives"] = row["hard_negatives"] if row["accepted"] else []
    return table


def _refuse_leaks(rows: list[dict], verdict: Verdict) -> None:
    """Sets the reason of the rows whose translation is good, and takes out their hard negatives that leak."""
    sides = [verdict.leaks([row[side] for row in rows], side) for side in ("query", "passage")]
    for row, *leaks in zip(rows, *sides, strict=True):
        row["reason"] = next((leak for leak in (EVALUATION_TEXT, HELD_OUT_TEXT) if leak in leaks), ACCEPTED)
    accepted = [row for row in rows if row["reason"] == ACCEPTED]
    texts = [text for row in accepted for text in row["hard_negatives"]]
    leaks = iter(verdict.leaks(texts, "passage"))
    for row in accepted:
        row["hard_negatives"] = ["" if next(leaks) or not text_key(text) else text for text in row["hard_negatives"]]


def accept(rows: Iterable[dict], verdict: Verdict, statistics: Statistics) -> Iterator[Any]:
    """The tables of translated/<lang>.parquet, a batch at a time; counts them as they pass.

    Raises:
        DataError: There were pairs, and none was accepted. Raised after the last batch.
    """
    import pyarrow as pa

    passing = iter(rows)
    while batch := list(islice(passing, _BATCH_ROWS)):
        table = judge(batch, verdict)
        statistics.add(batch, table)
        yield pa.Table.from_pylist(table, schema=contracts.TRANSLATED)
    reasons = statistics.reasons()
    if reasons and not reasons[ACCEPTED]:
        raise DataError(
            f"The filter refused every machine-translated pair in {language(verdict.lang).name}.",
            found=", ".join(f"{name}: {count}" for name, count in reasons.items()),
            remedy="use better translators, loosen translation.accept, or leave the language out of "
            "translation.languages",
        )


def _evaluation_text(folder: Path | None, lang: str) -> Index | None:
    if folder is None:
        return None
    from polybatch.decontaminate.overlap import Index

    return Index.read(folder, lang)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.accept", description=__doc__.split("\n")[0])
    parser.add_argument("--shards", nargs="+", required=True, type=Path, help="in the order of their numbers")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--contaminated", type=Path, help="decontamination/pairs.parquet, as for the shards")
    parser.add_argument("--evaluation-text", type=Path, help="decontamination/text: what must not be trained on")
    parser.add_argument("--supplied", required=True, type=Path, help="supplied/<lang>.parquet: held out, references")
    parser.add_argument("--lang", required=True)
    parser.add_argument("--forward", required=True, type=Path, help="translator folder, for its card")
    parser.add_argument("--backward", required=True, type=Path, help="translator folder, for its card")
    parser.add_argument("--options", default="{}", type=AcceptOptions.from_json, help="AcceptOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)

    comet_model = Path(args.options.comet_model) if args.options.comet_model else None
    if comet_model:
        comet.require(comet_model)
    translators = {"forward": read_card(args.forward), "backward": read_card(args.backward)}
    excluded = contaminated_pairs(args.contaminated)
    expected = read_expected(args.collected, excluded)
    held_out, references = read_supplied(args.supplied, expected)
    verdict = Verdict(args.lang, held_out, args.options, _evaluation_text(args.evaluation_text, args.lang))
    statistics = Statistics(args.lang)
    rows = gather(args.shards, translated_pairs(args.collected, excluded), expected.count)
    rows = stage.progress(rows, total=expected.count, label=f"filter {args.lang}")
    record = made_from.record(
        {"accept": args.options.given()},
        shards=args.shards,
        collected=args.collected,
        contaminated=args.contaminated,
        supplied=args.supplied,
        evaluation_text=args.evaluation_text,
    )
    write_parquet(args.output, accept(rows, verdict, statistics), made_from.with_record(contracts.TRANSLATED, record))
    result = statistics.result(references, comet_model) | {"translators": translators, "made_from": record}
    write_json(args.output.with_suffix(".json"), result)
    stage.log.info("%s: %d of %d pairs accepted %s", args.lang, result["accepted"], result["pairs"], result["reasons"])


if __name__ == "__main__":
    stage.run(main)
