"""Joins supplied and accepted machine translations into the training text of one language.

inputs: collected/en.parquet; for another language supplied/<lang>.parquet and, where machine translation is used,
    translated/<lang>.parquet; decontamination/pairs.parquet; the judged translations of all languages; for paraphrases
    the evaluation texts' index (decontamination/text)
outputs: parallel/<lang>.parquet (contracts.PARALLEL, in the order of pair ids): the training split only. Or
    parallel/paraphrase.parquet, or validation.parquet (English)

Equal pair_ids across languages are translations of each other. A supplied translation is used for the pairs whose
kind is "parallel"; the English-only pairs come through machine translation or not at all. A pair that overlaps with
evaluation text is left out in every language, whether its English or a supplied text does (pairs.parquet) or what a
machine made of it in any one language. A paraphrase that overlaps, or equals a held-out English text, is left out, and
its pair stays: the English that a translator brought back is nearer to that text than the pair's own is.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polybatch.core import contracts, made_from, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import open_parquet, write_parquet
from polybatch.core.streams import batches, id_keys, is_in, scrambled, sorted_by_id
from polybatch.core.text import same_hash
from polybatch.decontaminate.excluded import excluded_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from polybatch.decontaminate.overlap import Index

_TEXTS = ["query", "passage", "hard_negatives"]


class Pairs:
    """The English pairs that may be used.

    Attributes:
        parallel, english_only, english: Sorted uint64 keys of the training pairs of each kind.
        dev: Those of the dev split.
        excluded: Keys of the pairs that overlap with evaluation text.
    """

    def __init__(self, collected: Path, contaminated: Sequence[Path] = (), translated: Sequence[Path] = ()) -> None:
        import pyarrow.compute as pc

        found: dict[tuple[str, str], list[np.ndarray]] = {}
        for table in batches(collected, contracts.COLLECTED, ["pair_id", "split", "kind"]):
            keys = id_keys(table.column("pair_id"))
            for split, kind in itertools.product(("train", "dev"), ("parallel", "english_only", "english")):
                fit = pc.and_(pc.equal(table.column("split"), split), pc.equal(table.column("kind"), kind))
                found.setdefault((split, kind), []).append(keys[fit.to_numpy()])
        self.excluded = excluded_keys(contaminated, translated)
        self.parallel = self._usable(found.get(("train", "parallel"), []))
        self.english_only = self._usable(found.get(("train", "english_only"), []))
        self.english = self._usable(found.get(("train", "english"), []))
        self.dev = self._usable([k for (split, _), keys in found.items() if split == "dev" for k in keys])

    def _usable(self, parts: list[np.ndarray]) -> np.ndarray:
        keys = np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)
        return keys[~is_in(keys, self.excluded)]

    @property
    def train(self) -> np.ndarray:
        """Sorted keys of all training pairs, whatever their kind: (n,) uint64."""
        return np.sort(np.concatenate([self.parallel, self.english_only, self.english]))


def english_tables(path: Path, wanted: np.ndarray) -> Iterator[pa.Table]:
    """The English texts of the wanted pairs (sorted keys)."""
    for table in batches(path, contracts.COLLECTED, ["pair_id", "source", *_TEXTS]):
        yield _with_origin(_only(table, wanted), "english")


def supplied_tables(path: Path, wanted: np.ndarray) -> Iterator[pa.Table]:
    """The supplied translations of the wanted pairs."""
    for table in batches(path, contracts.PARALLEL):
        yield _only(table, wanted)


def machine_tables(path: Path, wanted: np.ndarray) -> Iterator[pa.Table]:
    """The accepted machine translations of the wanted pairs."""
    for table in batches(path, contracts.TRANSLATED, ["pair_id", "source", "accepted", *_TEXTS]):
        yield _with_origin(_only(table.filter(table.column("accepted")), wanted), "machine")


def held_out_keys(collected: Path) -> np.ndarray:
    """Sorted keys (`text.same_hash`) of the English texts of the dev and test splits."""
    import pyarrow.compute as pc

    keys: set[int] = set()
    for table in batches(collected, contracts.COLLECTED, ["split", "query", "passage"]):
        held_out = table.filter(pc.not_equal(table.column("split"), "train"))
        for side in ("query", "passage"):
            keys.update(same_hash(text) for text in held_out.column(side).to_pylist())
    return np.sort(np.fromiter(keys, np.uint64, len(keys)))


def paraphrase_tables(
    path: Path, wanted: np.ndarray, held_out: np.ndarray, evaluation_text: Index | None = None
) -> Iterator[pa.Table]:
    """What came back in English of the wanted pairs whose translation was accepted: a second English text of each.

    Args:
        path: translated/<lang>.parquet.
        wanted: Sorted keys of pairs.
        held_out: `held_out_keys`. A paraphrase whose query or passage is among them is left out.
        evaluation_text: English evaluation text; a paraphrase that overlaps with it is left out. None looks up nothing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ["pair_id", "source", "accepted", "query_back", "passage_back"]
    for table in batches(path, contracts.TRANSLATED, names):
        accepted = _only(table.filter(table.column("accepted")), wanted)
        filled = (pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(accepted.column(n))), 0) for n in names[3:])
        texts = accepted.filter(pc.and_(*filled)).rename_columns([*names[:3], "query", "passage"])
        leaks = _leaks(texts, "query", held_out, evaluation_text) | _leaks(texts, "passage", held_out, evaluation_text)
        if leaks.any():
            stage.log.info("%d paraphrases are left out: they are evaluated on, or near to it", leaks.sum())
        texts = texts.filter(pa.array(~leaks))
        yield _with_origin(texts.append_column("hard_negatives", _empty_lists(len(texts))), "machine")


def _leaks(table: pa.Table, side: str, held_out: np.ndarray, evaluation_text: Index | None) -> np.ndarray:
    """(rows,) bool: whether the English text of that side is one that something is evaluated on."""
    texts = table.column(side).to_pylist()
    leaks = is_in(np.fromiter((same_hash(text) for text in texts), np.uint64, len(texts)), held_out)
    if evaluation_text is not None and texts:
        leaks |= np.array([match is not None for match in evaluation_text.find_many(texts, side)])
    return leaks


def validation_tables(path: Path, excluded: np.ndarray, max_pairs: int) -> Iterator[pa.Table]:
    """English pairs of one whole source, for validation: `max_pairs` of them (0: all), none that is excluded.

    Which ones depends on the pairs alone, and a larger number keeps what a smaller one kept.
    """
    parts = [id_keys(table.column("pair_id")) for table in batches(path, contracts.COLLECTED, ["pair_id"])]
    keys = np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)
    keys = keys[~is_in(keys, excluded)]
    keys = keys[np.argsort(scrambled(keys), kind="stable")[: max_pairs or None]]
    return english_tables(path, np.sort(keys))


def _only(table: pa.Table, wanted: np.ndarray) -> pa.Table:
    import pyarrow as pa

    return table.filter(pa.array(is_in(id_keys(table.column("pair_id")), wanted)))


def _with_origin(table: pa.Table, origin: str) -> pa.Table:
    import pyarrow as pa

    table = table.append_column("origin", pa.array([origin] * len(table), pa.string()))
    return table.select(contracts.PARALLEL.names)


def _empty_lists(rows: int) -> pa.Array:
    import pyarrow as pa

    return pa.array([[]] * rows, pa.list_(pa.string()))


def write(tables: Iterable[pa.Table], rows: int, output: Path, schema: pa.Schema = contracts.PARALLEL) -> int:
    """Writes tables of contracts.PARALLEL in the order of their ids; returns the number of rows.

    `schema` may carry a record (`made_from.with_record`).
    """
    return write_parquet(output, sorted_by_id(tables, contracts.PARALLEL, rows, output.parent), schema)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.pairs.parallel", description=__doc__.split("\n")[0])
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--lang", required=True)
    parser.add_argument("--split", default="train", choices=["train", "dev"], help="dev: English only, for validation")
    parser.add_argument("--supplied", type=Path, help="supplied/<lang>.parquet")
    parser.add_argument("--machine", type=Path, help="translated/<lang>.parquet")
    parser.add_argument("--contaminated", nargs="*", default=[], type=Path, help="decontamination/pairs.parquet")
    parser.add_argument(
        "--translated-all", nargs="*", default=[], type=Path, help="translated/*.parquet, all languages"
    )
    parser.add_argument("--paraphrase", type=Path, help="write what came back in this translated/<lang>.parquet")
    parser.add_argument("--evaluation-text", type=Path, help="decontamination/text: keeps it out of --paraphrase")
    parser.add_argument("--validation-source", type=Path, help="write the pairs of this collected source")
    parser.add_argument("--max-pairs", type=int, default=0, help="of --validation-source; 0 takes all")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    if args.lang != "en" and (args.split == "dev" or args.paraphrase or args.validation_source):
        raise ConfigError("Validation and paraphrases are English.", expected="--lang en", found=args.lang)
    if args.evaluation_text and not args.paraphrase:
        raise ConfigError(
            "Only paraphrases are looked up here.",
            expected="--evaluation-text with --paraphrase",
            found="--evaluation-text alone",
            remedy="give --contaminated and --translated-all: all other text was looked up before",
        )

    record = made_from.record(
        {"split": args.split, "max_pairs": args.max_pairs},
        collected=args.collected,
        supplied=args.supplied,
        machine=args.machine,
        contaminated=args.contaminated,
        translated_all=args.translated_all,
        paraphrase=args.paraphrase,
        evaluation_text=args.evaluation_text,
        validation_source=args.validation_source,
    )
    tables, limit = _wanted(args)
    if not (rows := write(tables, limit, args.output, made_from.with_record(contracts.PARALLEL, record))):
        args.output.unlink()
        if args.paraphrase:
            raise DataError(
                "No paraphrase is left.",
                where=args.paraphrase,
                found="no accepted translation, or none that came back without overlapping with evaluation text",
                remedy="name another language in translation.paraphrases, or leave the key out",
            )
        raise DataError(
            f"There is no {args.split} text in {args.lang}.",
            found="neither a supplied nor an accepted machine translation" if args.lang != "en" else "no pair",
            remedy="remove the language from languages.train, or add it to translation.languages with translators"
            if args.lang != "en"
            else "see collected/en.json and decontamination/pairs.json for where pairs were removed",
        )
    stage.log.info("%s: %d pairs in %s", args.lang, rows, args.output.name)


def _wanted(args: argparse.Namespace) -> tuple[Iterator[pa.Table], int]:
    """The tables that the arguments ask for, and how many rows they have at most."""
    if args.validation_source:
        excluded = excluded_keys(args.contaminated, args.translated_all)
        rows = args.max_pairs or open_parquet(args.validation_source).metadata.num_rows
        return validation_tables(args.validation_source, excluded, args.max_pairs), rows
    pairs = Pairs(args.collected, args.contaminated, args.translated_all)
    if args.paraphrase:
        return _paraphrases(args, pairs.english_only), len(pairs.english_only)
    if args.lang == "en":
        wanted = pairs.train if args.split == "train" else pairs.dev
        return english_tables(args.collected, wanted), len(wanted)
    supplied = supplied_tables(args.supplied, pairs.parallel) if args.supplied else iter(())
    machine = machine_tables(args.machine, pairs.english_only) if args.machine else iter(())
    return itertools.chain(supplied, machine), len(pairs.parallel) + len(pairs.english_only)


def _paraphrases(args: argparse.Namespace, wanted: np.ndarray) -> Iterator[pa.Table]:
    from polybatch.decontaminate.overlap import Index

    evaluation_text = Index.read(args.evaluation_text, "en") if args.evaluation_text else None
    return paraphrase_tables(args.paraphrase, wanted, held_out_keys(args.collected), evaluation_text)


if __name__ == "__main__":
    stage.run(main)
