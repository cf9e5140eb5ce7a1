"""Joins the English pairs of all sources, and splits them before anything is trained.

inputs: collected/sources/<name>.parquet and .json of every source (polybatch.collect.one_source), and the sources'
files
outputs: collected/en.parquet (contracts.COLLECTED, in the order of pair ids) and collected/en.json: what was removed at
    each step for each source, sizes, licences

A pair that two sources hold counts for the first. The split goes by distinct English passage: test and dev passages
have exactly one query, that query belongs to no other passage, and they are translated into every language of
`--parallel-in`, so that all languages are scored on the same queries. Where a source names the documents that its pairs
were taken from, a document is held out whole, for test or for dev, and what is not fit for that is dropped. The
languages of a study do not enter: adding one moves no pair to another split. Row limits and the mixture go by a hash of
the pair: a larger limit keeps what a smaller one kept.

The files are read twice: for what is remembered of each row (about 40 bytes), then for the texts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.collect.adapters.registry import open_source
from polybatch.collect.cleaning import AMBIGUOUS, RowKeys, passages_per_query
from polybatch.collect.near_duplicates import NearDuplicates
from polybatch.collect.options import CleaningOptions, MixtureOptions, SplitOptions
from polybatch.collect.source import Source
from polybatch.core import contracts, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_json, write_parquet
from polybatch.core.streams import batches, combined, id_key, id_keys, is_first, is_in, scrambled, sorted_by_id
from polybatch.core.text import hash64, text_key, unit_interval

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, DEV, TEST, DROPPED = range(4)
SPLITS = ("train", "dev", "test")
KINDS = ("parallel", "english_only", "english")


@dataclass
class Rows:
    """What is remembered of the rows of all sources, in the order of the files.

    Attributes:
        ids, queries, passages: (n,) uint64 keys.
        documents: (n,) uint64 keys of what is held out together: its document; its passage, where it has none. The same
            array as `passages` where no row has a document.
        place: (n,) float64 in [0, 1): where its document stands in the order of holding out.
        aside: (n,) bool: its translations would be set aside, as those of its whole document are.
        source: (n,) int32: which file it is of.
    """

    ids: np.ndarray
    queries: np.ndarray
    passages: np.ndarray
    documents: np.ndarray
    place: np.ndarray
    aside: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Counts:
    """Rows that each step removed, by source."""

    steps: list[list[dict[str, Any]]]

    def remove(self, kept: np.ndarray, gone: np.ndarray, rows: Rows, step: str) -> np.ndarray:
        """Counts the rows of `kept` that are `gone`; returns what is left."""
        removed = np.bincount(rows.source[kept & gone], minlength=len(self.steps))
        for steps, number in zip(self.steps, removed.tolist(), strict=True):
            steps.append({"step": step, "removed": number})
        return kept & ~gone


def read_rows(paths: Sequence[Path], options: SplitOptions, near: NearDuplicates | None = None) -> Rows:
    """The first reading of the sources' files; fills `near` on the way."""
    keys, place, aside = RowKeys(), array("d"), array("b")
    documents: array[int] | None = None
    sizes = []
    for path in paths:
        before = len(keys.ids)
        for table in batches(path, contracts.SOURCE_PAIRS, ["pair_id", "document", "query", "passage"]):
            texts = [[text_key(text) for text in table.column(side).to_pylist()] for side in ("query", "passage")]
            named = [table.column(name).to_pylist() for name in ("pair_id", "document")]
            for pair_id, document, query, passage in zip(*named, *texts, strict=True):
                keys.add(id_key(pair_id), query, passage)
                if document and documents is None:
                    documents = keys.passages[:-1]
                if documents is not None:
                    documents.append(hash64("document", document) if document else keys.passages[-1])
                place.append(unit_interval(str(options.seed), "passage", document or passage))
                aside.append(unit_interval(str(options.seed), "kind", document or passage) < options.english_only)
            if near is not None:
                near.add(*texts)
        sizes.append(len(keys.ids) - before)
    ids, queries, passages = keys.arrays()
    source = np.repeat(np.arange(len(paths), dtype=np.int32), sizes)
    together = passages if documents is None else np.frombuffer(documents, dtype=np.uint64)
    return Rows(ids, queries, passages, together, np.frombuffer(place), np.frombuffer(aside, dtype=bool), source)


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
        repeated = ~is_first(combined(rows.queries, rows.passages))
        kept = counts.remove(kept, repeated, rows, "duplicate of another source")
        if near is not None:
            kept = counts.remove(kept, near.removed(kept), rows, "near duplicate of another source")
        ambiguous = passages_per_query(rows.queries, rows.passages, kept) > cleaning.max_passages_per_query
        kept = counts.remove(kept, ambiguous, rows, AMBIGUOUS)
    limits = [spec.get("max_pairs") or 0 for spec in specs]
    if any(limits):
        kept = counts.remove(kept, _beyond(rows, kept, [limit or len(rows) for limit in limits]), rows, "row limit")
    if mixture.max_pairs:
        available = np.bincount(rows.source[kept], minlength=len(specs)).tolist()
        kept = counts.remove(kept, _beyond(rows, kept, shares(sizes, available, mixture)), rows, "mixture")
    return kept


def _beyond(rows: Rows, kept: np.ndarray, limits: Sequence[int]) -> np.ndarray:
    """Rows of `kept` over their source's limit, in an order that the pair alone decides; (n,) bool."""
    order = scrambled(rows.ids)
    beyond = np.zeros(len(rows), dtype=bool)
    for source, limit in enumerate(limits):
        own = np.flatnonzero(kept & (rows.source == source))
        beyond[own[np.argsort(order[own], kind="stable")[limit:]]] = True
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


def split(rows: Rows, kept: np.ndarray, translated: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Assigns every row to a split.

    Args:
        rows, kept: The rows, and which of them are taken.
        translated: (n,) bool: has translations into all languages that a held-out passage must have.
        options: See SplitOptions.

    Returns:
        (n,) int8: TRAIN, DEV, TEST, or DROPPED (not taken, or another pair of a held-out passage or document).

    Raises:
        DataError: Too few passages can be held out, or no training row is left.
    """
    fate = np.where(kept, TRAIN, DROPPED).astype(np.int8)
    fit = kept & translated & (passages_per_query(rows.queries, rows.passages, kept) == 1)
    test, dev = _held_out(rows, fit, options)
    if len(test) < options.test_passages or len(dev) < options.dev_passages:
        raise DataError(
            "The sources hold too few passages to hold out.",
            expected=f"{options.test_passages} test and {options.dev_passages} dev passages, each with a query of its "
            "own and translated into all languages of split.parallel_in",
            found=f"{options.test_passages - len(test)} test and "
            f"{options.dev_passages - len(dev)} dev passages are missing",
            remedy="lower split.test_passages and split.dev_passages, or name fewer languages in split.parallel_in",
        )
    held = np.concatenate([test, dev])
    for keys in (rows.passages, rows.documents):
        fate[kept & is_in(keys, np.sort(keys[held]))] = DROPPED
    fate[test] = TEST
    fate[dev] = DEV
    if not (fate == TRAIN).any():
        raise DataError(
            "After cleaning and splitting, no training pair is left.",
            found=f"{int(kept.sum())} clean pairs, all held out" if kept.any() else "no clean pair",
            remedy="hold out fewer passages (config: split), or loosen the limits (config: cleaning)",
        )
    return fate


def _held_out(rows: Rows, fit: np.ndarray, options: SplitOptions) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows for test and for dev, of the rows `fit`; fewer than are wanted only if there are no more.

    No document is in both: what the last one of test has beyond the wanted number is in neither.
    """
    wanted = asked = options.test_passages + options.dev_passages
    while True:
        numbers = _one_a_passage(rows, fit, asked)
        test, rest = np.split(numbers, [options.test_passages])
        dev = rest[~is_in(rows.documents[rest], np.sort(rows.documents[test]))][: options.dev_passages]
        if len(test) + len(dev) == wanted or len(numbers) < asked:
            return test, dev
        asked *= 2


def _one_a_passage(rows: Rows, fit: np.ndarray, wanted: int) -> np.ndarray:
    """Of the rows `fit` one a passage, the one of the lowest id; documents in their order of holding out.

    There may be more than are wanted; fewer only if there are no more.
    """
    most, available = max(1_000, 2 * wanted), int(fit.sum())
    while True:
        near = fit
        if most < available:  # rows of a document share its place: all of them are below the limit, or none
            near = fit & (rows.place <= np.partition(rows.place[fit], most)[most])
        numbers = np.flatnonzero(near)
        numbers = numbers[np.lexsort((rows.ids[numbers], rows.passages[numbers], rows.place[numbers]))]
        numbers = numbers[is_first(rows.passages[numbers])]
        if len(numbers) >= wanted or most >= available:
            return numbers
        most *= 4


def kinds(rows: Rows, fate: np.ndarray, has_translations: Sequence[bool], is_translated: Sequence[bool]) -> np.ndarray:
    """How each row reaches other languages, (n,) int8, a place in KINDS: `kind` of contracts.COLLECTED.

    Args:
        rows, fate: The rows and their splits.
        has_translations: Of each source, whether translations come with it.
        is_translated: Of each source, whether it may be machine-translated.
    """
    supplied, machine = (np.array(flags, dtype=bool)[rows.source] for flags in (has_translations, is_translated))
    parallel = supplied & ~((fate == TRAIN) & rows.aside)
    return np.where(parallel, 0, np.where(machine, 1, 2)).astype(np.int8)  # in the order of KINDS


def translatable(spec: dict[str, Any]) -> bool:
    """Whether a source may be machine-translated: unless its entry says `translate: false`."""
    return bool(spec.get("translate", True))


def has_all_translations(rows: Rows, sources: Sequence[Source], languages: Sequence[str]) -> np.ndarray:
    """Which rows have a translation from their source into each language, (n,) bool."""
    complete = np.ones(len(rows), dtype=bool)
    for lang in languages:
        able = [source for source in sources if lang in source.languages]
        found = [id_keys(pair.pair_id for pair in source.translations(lang)) for source in able]
        complete &= is_in(rows.ids, np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64))
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
    """The first reading and what follows from it, of which no more is kept than two bytes a row.

    Args:
        paths, specs, files, parallel_in, options: As for `collect`.
        sizes: Of each source, for the mixture.
        counts: Takes in what each step removes.
        folder: Where temporary files may go.

    Returns:
        (n,) int8 each, the split and the kind of every row; and how many rows are taken of each source.
    """
    splitting, cleaning, mixture = options
    sources = [open_source(spec, file) for spec, file in zip(specs, files, strict=True)]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".en-") as scratch:
        across = cleaning.near_duplicate_threshold if len(paths) > 1 else 0.0
        near = NearDuplicates(across, Path(scratch)) if across else None
        rows = read_rows(paths, splitting, near)
        kept = select(rows, specs, sizes, cleaning=cleaning, mixture=mixture, near=near, counts=counts)
    held_out = splitting.test_passages + splitting.dev_passages
    translated = has_all_translations(rows, sources, parallel_in if held_out else [])
    fate = split(rows, kept, translated, splitting)
    _count_dropped(rows, kept, fate, counts)
    kind = kinds(rows, fate, [bool(source.languages) for source in sources], [translatable(spec) for spec in specs])
    by_source = np.bincount(rows.source[fate != DROPPED], minlength=len(paths)).tolist()
    return fate, kind, by_source


def _count_dropped(rows: Rows, kept: np.ndarray, fate: np.ndarray, counts: Counts) -> None:
    """Counts what the split left out."""
    passages = np.sort(rows.passages[(fate == TEST) | (fate == DEV)])
    same_passage = (fate == DROPPED) & is_in(rows.passages, passages)
    kept = counts.remove(kept, same_passage, rows, "another query of a held-out passage")
    if rows.documents is not rows.passages:
        counts.remove(kept, fate == DROPPED, rows, "another passage of a held-out document")


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
) -> dict[str, Any]:
    """Writes collected/en.parquet; returns the record that goes beside it.

    Args:
        paths: The collected file of each source.
        specs, files: The config's entry and the file of each source.
        parallel_in: Languages that held-out pairs are translated into.
        options: How to split, which near duplicates to drop, how much of each source to take.
        output: The file.
    """
    records = [read_json(path.with_suffix(".json")) for path in paths]
    sizes = [spec.get("weight") or record["examples"] for spec, record in zip(specs, records, strict=True)]
    counts = Counts([[{k: step[k] for k in ("step", "removed")} for step in record["counts"]] for record in records])
    output.parent.mkdir(parents=True, exist_ok=True)
    fate, kind, by_source = decide(
        paths, specs, files, sizes, parallel_in=parallel_in, options=options, counts=counts, folder=output.parent
    )
    tables = sorted_by_id(_tables(paths, fate, kind), contracts.COLLECTED, sum(by_source), output.parent)
    write_parquet(output, tables, contracts.COLLECTED)
    return {
        "sources": {
            record["source"]: {
                "license": record["license"],
                "examples": record["examples"],
                "weight": size,
                "collected": record["collected"],
                "steps": steps,
                "kept": number,
            }
            for record, size, steps, number in zip(records, sizes, counts.steps, by_source, strict=True)
        },
        "splits": {
            **{name: int((fate == number).sum()) for number, name in enumerate(SPLITS)},
            "train, english_only": int(((fate == TRAIN) & (kind == KINDS.index("english_only"))).sum()),
        },
    }


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
    )
    write_json(args.output.with_suffix(".json"), record)
    kept = {name: source["kept"] for name, source in record["sources"].items()}
    stage.log.info("collected: %s %s", kept, record["splits"])


if __name__ == "__main__":
    stage.run(main)
