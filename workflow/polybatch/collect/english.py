"""Joins the English pairs of all sources, and splits them before anything is trained.

inputs: collected/sources/<name>.parquet and .json of every source (polybatch.collect.one_source), and the sources'
files
outputs: collected/en.parquet (contracts.COLLECTED, in the order of pair ids) and collected/en.json: what was removed at
    each step for each source, sizes, licences

A pair that two sources hold counts for the first. The split goes by distinct English passage: test and dev passages
have exactly one query, that query belongs to no other passage, and they are translated into every language of
`--parallel-in`, so that all languages are scored on translations of the same pairs, but for the few that fall together
in a language (polybatch.benchmarks.held_out, which counts them). Where a source names the documents that its pairs
were taken from, a document is held out whole, for test or for dev, and what is not fit for that is dropped. The
languages of a study do not enter: adding one moves no pair to another split. Row limits and the mixture go by a hash of
the pair: a larger limit keeps what a smaller one kept.

The files are read twice: for what is remembered of each row, then for the texts. What is remembered lies in files
(`split.Rows`, about 60 bytes a row); in memory are a few bytes a row, and of translations that held-out pairs must have
24 more.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.collect.adapters.registry import open_source
from polybatch.collect.cleaning import AMBIGUOUS, RowKeys, hashed
from polybatch.collect.near_duplicates import NearDuplicates
from polybatch.collect.options import CleaningOptions, MixtureOptions, SplitOptions
from polybatch.collect.source import Source
from polybatch.collect.split import DEV, DROPPED, FOR_ENCODERS, KINDS, SPLITS, TEST, TRAIN, Rows, kinds, split, use_of
from polybatch.collect.translation_cleaning import EnglishPassages, clean_translations, foreign_check
from polybatch.core import contracts, made_from, stage
from polybatch.core.columns import Column, first_rows, lowest, rows_of_many
from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json, scratch_folder, write_json, write_parquet
from polybatch.core.streams import batches, id_keys, sorted_by_id
from polybatch.core.text import hash64, text_key, unit_interval

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Counts:
    """Rows that each step removed, by source."""

    steps: list[list[dict[str, Any]]]

    def remove(self, kept: np.ndarray, gone: np.ndarray, rows: Rows, step: str) -> np.ndarray:
        """Counts the rows of `kept` that are `gone`; returns what is left."""
        for steps, number in zip(self.steps, rows.by_source(kept & gone), strict=True):
            steps.append({"step": step, "removed": number})
        return kept & ~gone


def read_rows(paths: Sequence[Path], options: SplitOptions, folder: Path, near: NearDuplicates | None = None) -> Rows:
    """The first reading of the sources' files, into files in `folder`; fills `near` on the way."""
    keys, place, use = RowKeys(folder), Column(folder / "place.f64", np.float64), Column(folder / "use.i8", np.int8)
    documents, same = (Column(folder / f"{name}.u64") for name in ("documents", "same"))
    sizes, have_documents = [], False
    for path in paths:
        before = len(same)
        for table in batches(path, contracts.SOURCE_PAIRS, ["pair_id", "document", "query", "passage"]):
            queries, passages = ([text_key(text) for text in table[side].to_pylist()] for side in ("query", "passage"))
            passage_keys = keys.add(table["pair_id"].to_pylist(), queries, passages)
            named = table["document"].to_pylist()
            have_documents = have_documents or any(named)
            documents.append(_document_keys(named, passage_keys))
            together = [name or passage for name, passage in zip(named, passages, strict=True)]
            place.append([unit_interval(str(options.seed), "passage", name) for name in together])
            use.append(_uses(together, options))
            same.append(hashed(passage.replace(" ", "") for passage in passages))
            if near is not None:
                near.add(queries, passages)
        sizes.append(len(same) - before)
    return Rows(keys.ids, keys.queries, keys.passages, keys.pairs, documents, place, use, same, sizes, have_documents)


def _document_keys(named: Sequence[str], passage_keys: np.ndarray) -> np.ndarray:
    """The key of each document, of the passage where there is none; (n,) uint64."""
    keys = passage_keys.copy()
    given = [row for row, name in enumerate(named) if name]
    keys[given] = np.array([hash64("document", named[row]) for row in given], dtype=np.uint64)
    return keys


def _uses(together: Sequence[str], options: SplitOptions) -> list[int]:
    if not (options.english_only or options.translators_only):
        return [FOR_ENCODERS] * len(together)
    return [use_of(unit_interval(str(options.seed), "kind", name), options) for name in together]


def select(
    rows: Rows,
    specs: Sequence[dict[str, Any]],
    sizes: Sequence[float],
    *,
    cleaning: CleaningOptions,
    mixture: MixtureOptions,
    near: NearDuplicates | None,
    counts: Counts,
) -> np.ndarray:
    """Which rows are taken, (n,) bool: duplicates across sources, row limits, the mixture. Fills `counts`."""
    kept = np.ones(len(rows), dtype=bool)
    if len(specs) > 1:
        repeated = ~first_rows(rows.pairs)
        kept = counts.remove(kept, repeated, rows, "duplicate of another source")
        if near is not None:
            kept = counts.remove(kept, near.removed(kept), rows, "near duplicate of another source")
        ambiguous = rows_of_many(rows.queries, rows.pairs, kept, cleaning.max_passages_per_query)
        kept = counts.remove(kept, ambiguous, rows, AMBIGUOUS)
    limits = [spec.get("max_pairs") or 0 for spec in specs]
    if any(limits):
        kept = counts.remove(kept, _beyond(rows, kept, [limit or len(rows) for limit in limits]), rows, "row limit")
    if mixture.max_pairs:
        available = rows.by_source(kept)
        kept = counts.remove(kept, _beyond(rows, kept, shares(sizes, available, mixture)), rows, "mixture")
    return kept


def _beyond(rows: Rows, kept: np.ndarray, limits: Sequence[int]) -> np.ndarray:
    """Rows of `kept` over their source's limit, in an order that the pair alone decides; (n,) bool."""
    beyond = np.zeros(len(rows), dtype=bool)
    for source, limit in enumerate(limits):
        own = kept & rows.of([number == source for number in range(len(limits))])
        beyond |= own & ~lowest(rows.ids, own, limit)
    return beyond


def shares(sizes: Sequence[float], available: Sequence[int], options: MixtureOptions) -> list[int]:
    """How many pairs of each source are taken, by the method of Sainte-Laguë: with a larger total no share shrinks.

    Args:
        sizes: Of each source, in any unit, above 0.
        available: Pairs that each source has.
        options: How many in all, and the temperature.

    Returns:
        Whole numbers, none above what is available; their sum is `max_pairs`, or all there is.
    """
    weights = np.array(sizes, dtype=np.float64) ** (1 / options.temperature)
    weights /= weights.max()
    room = np.array(available, dtype=np.int64)
    total = min(options.max_pairs, int(room.sum()))

    def rounded(scale: float) -> np.ndarray:
        return np.minimum(np.floor(np.minimum(scale * weights, room + 1.0) + 0.5).astype(np.int64), room)

    low, high = 0.0, float(((room + 1) / weights).max())
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rounded(middle).sum() <= total else (low, middle)
    taken = rounded(low)
    for _ in range(total - int(taken.sum())):  # equal claims to the last places
        taken[np.argmax(np.where(taken < room, weights / (taken + 0.5), -1.0))] += 1
    return taken.tolist()


def translatable(spec: dict[str, Any]) -> bool:
    """Whether a source may be machine-translated: unless its entry says `translate: false`."""
    return bool(spec.get("translate", True))


def has_all_translations(
    rows: Rows, sources: Sequence[Source], languages: Sequence[str], cleaning: CleaningOptions
) -> np.ndarray:
    """Which rows have a translation from their source into each language, one that cleaning keeps; (n,) bool."""
    complete = np.ones(len(rows), dtype=bool)
    if not languages:
        return complete
    english = EnglishPassages(rows.ids.whole(), rows.same.whole())
    for lang in languages:
        is_foreign = foreign_check(lang, cleaning.language_confidence)
        able = [source for source in sources if lang in source.languages]
        kept = (clean_translations(source.translations(lang), english, is_foreign, Counter()) for source in able)
        found = [id_keys(pair.pair_id for pair in pairs) for pairs in kept]
        complete &= rows.ids.is_in(np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64))
    return complete


def decide(
    paths: Sequence[Path],
    specs: Sequence[dict[str, Any]],
    files: Sequence[Path],
    sizes: Sequence[float],
    *,
    parallel_in: Sequence[str],
    options: tuple[SplitOptions, CleaningOptions, MixtureOptions],
    counts: Counts,
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The first reading and what follows from it: two bytes a row.

    Args:
        paths, specs, files, parallel_in, options: As for `collect`.
        sizes: Of each source, for the mixture.
        counts: Takes in what each step removes.
        folder: An existing folder for temporary files, which the caller removes.

    Returns:
        (n,) int8 each, the split and the kind of every row; and how many rows are taken of each source.
    """
    splitting, cleaning, mixture = options
    sources = [open_source(spec, file) for spec, file in zip(specs, files, strict=True)]
    across = cleaning.near_duplicate_threshold if len(paths) > 1 else 0.0
    near = NearDuplicates(across, folder) if across else None
    rows = read_rows(paths, splitting, folder, near)
    kept = select(rows, specs, sizes, cleaning=cleaning, mixture=mixture, near=near, counts=counts)
    held_out = splitting.test_passages + splitting.dev_passages
    translated = has_all_translations(rows, sources, parallel_in if held_out else [], cleaning)
    has_translations = [bool(source.languages) for source in sources]
    fate = split(rows, kept, translated, has_translations, splitting)
    _count_dropped(rows, kept, fate, counts)
    kind = kinds(rows, fate, has_translations, [translatable(spec) for spec in specs])
    return fate, kind, rows.by_source(fate != DROPPED)


def _count_dropped(rows: Rows, kept: np.ndarray, fate: np.ndarray, counts: Counts) -> None:
    """Counts what the split left out."""
    held_out, dropped = (fate == TEST) | (fate == DEV), fate == DROPPED
    same_passage = dropped & rows.same.is_in(_values(rows.same, held_out))
    kept = counts.remove(kept, same_passage, rows, "another query of a held-out passage")
    if rows.have_documents:
        same_document = dropped & rows.documents.is_in(_values(rows.documents, held_out))
        kept = counts.remove(kept, same_document, rows, "another passage of a held-out document")
    if (kept & dropped).any():
        counts.remove(kept, dropped, rows, "left to translators")


def _values(column: Column, chosen: np.ndarray) -> np.ndarray:
    """What the rows of the mask `chosen` have in a column, sorted."""
    return np.sort(column.at(np.flatnonzero(chosen)))


def _tables(paths: Sequence[Path], fate: np.ndarray, kind: np.ndarray) -> Iterator[pa.Table]:
    """The second reading: the rows that are taken, with split and kind."""
    import pyarrow as pa

    names, called, start = np.array([*SPLITS, ""]), np.array(KINDS), 0
    for path in paths:
        for table in batches(path, contracts.COLLECTED):
            here = slice(start, start + len(table))
            start += len(table)
            columns = [
                *table.columns[:-2],
                pa.array(names[fate[here]], pa.string()),
                pa.array(called[kind[here]], pa.string()),
            ]
            yield pa.table(columns, schema=contracts.COLLECTED).filter(pa.array(fate[here] != DROPPED))


def collect(
    paths: Sequence[Path],
    specs: Sequence[dict[str, Any]],
    files: Sequence[Path],
    *,
    parallel_in: Sequence[str],
    options: tuple[SplitOptions, CleaningOptions, MixtureOptions],
    output: Path,
    schema: pa.Schema = contracts.COLLECTED,
) -> dict[str, Any]:
    """Writes collected/en.parquet; returns the record that goes beside it.

    Args:
        paths: The collected file of each source.
        specs, files: The config's entry and the file of each source.
        parallel_in: Languages that held-out pairs are translated into.
        options: How to split, which near duplicates to drop, how much of each source to take.
        output: The file.
        schema: contracts.COLLECTED, which may carry a record (`made_from.with_record`).
    """
    records = [read_json(path.with_suffix(".json")) for path in paths]
    sizes = [spec.get("weight") or record["examples"] for spec, record in zip(specs, records, strict=True)]
    counts = Counts([[{k: step[k] for k in ("step", "removed")} for step in record["counts"]] for record in records])
    with scratch_folder(output) as scratch:
        fate, kind, by_source = decide(
            paths, specs, files, sizes, parallel_in=parallel_in, options=options, counts=counts, folder=scratch
        )
    tables = sorted_by_id(_tables(paths, fate, kind), contracts.COLLECTED, sum(by_source), output.parent)
    write_parquet(output, tables, schema)
    return {
        "sources": {
            record["source"]: {
                "license": record["license"],
                "examples": record["examples"],
                "weight": size,
                "collected": record["collected"],
                "steps": steps,
                "kept": number,
                "markup": record["markup"],
                "hard_negatives": record["hard_negatives"],
            }
            for record, size, steps, number in zip(records, sizes, counts.steps, by_source, strict=True)
        },
        "splits": {
            **{name: int((fate == number).sum()) for number, name in enumerate(SPLITS)},
            "train, english_only": int(((fate == TRAIN) & (kind == KINDS.index("english_only"))).sum()),
        },
    }


def _given(args: argparse.Namespace) -> dict[str, Any]:
    options = {name: getattr(args, name).given() for name in ("cleaning", "mixture", "split")}
    return {**options, "sources": args.sources, "parallel_in": args.parallel_in}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.collect.english", description=__doc__.split("\n")[0])
    parser.add_argument("--collected", nargs="+", required=True, type=Path, help="one file a source")
    parser.add_argument("--sources", required=True, type=json.loads, help="[{name, adapter, ...}, ...], as JSON")
    parser.add_argument("--files", nargs="+", required=True, type=Path, help="the file of each source")
    parser.add_argument("--cleaning", default="{}", type=CleaningOptions.from_json, help="CleaningOptions, as JSON")
    parser.add_argument("--mixture", default="{}", type=MixtureOptions.from_json, help="MixtureOptions, as JSON")
    parser.add_argument("--split", default="{}", type=SplitOptions.from_json, help="SplitOptions, as JSON")
    parser.add_argument("--parallel-in", nargs="*", default=[], metavar="LANG", help="held-out text is in all of these")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    if not len(args.collected) == len(args.sources) == len(args.files):
        raise ConfigError(
            "Each source has an entry, a file and a collected file.",
            found=f"{len(args.sources)} entries, {len(args.files)} files, {len(args.collected)} collected files",
        )
    options = (args.split, args.cleaning, args.mixture)
    record = collect(
        args.collected,
        args.sources,
        args.files,
        parallel_in=args.parallel_in,
        options=options,
        output=args.output,
        schema=made_from.with_record(contracts.COLLECTED, made_from.record(_given(args), collected=args.collected)),
    )
    write_json(args.output.with_suffix(".json"), record)
    kept = {name: source["kept"] for name, source in record["sources"].items()}
    stage.log.info("collected: %s %s", kept, record["splits"])


if __name__ == "__main__":
    stage.run(main)
