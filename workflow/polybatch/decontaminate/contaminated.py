"""Finds the training and validation pairs that overlap with evaluation text, in any language that they have text in.

inputs: decontamination/text/ (polybatch.decontaminate.evaluation_text), collected/en.parquet, supplied/<lang>.parquet;
    the collected source of the validation pairs, if they have their own
outputs: decontamination/pairs.parquet (contracts.CONTAMINATED), one row a text that overlaps, and pairs.json: what was
    looked up, what was found, and examples

A pair is looked up in English and in every language whose translation comes with its source; what the pipeline itself
translates is looked up when it is judged (polybatch.translation.accept). A pair that overlaps in one language leaves
the training data in all of them, because later stages drop it by its id: a translation of an evaluation text teaches it
too. Hard negatives are training text as well, and are looked up like passages. The pairs of the dev split choose the
step that is kept, and are looked up too, where they do; but not among the benchmarks of the study's own held-out text,
which come from the same documents. The pairs of the test split are evaluation text themselves.
"""

from __future__ import annotations

import argparse
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.core import contracts, made_from, stage
from polybatch.core.arguments import parse_paths
from polybatch.core.files import read_json, write_json, write_parquet
from polybatch.core.languages import language
from polybatch.core.streams import batches, id_key, id_keys, is_in
from polybatch.decontaminate.overlap import OVERLAPS, PASSAGE, QUERY, Index, Match

if TYPE_CHECKING:
    import pyarrow as pa

_EXAMPLES, _EXAMPLES_IN_ONE_LANGUAGE = 4, 2  # for each source, benchmark and kind of overlap
_SHOWN = 160  # characters of an example's training text
HARD_NEGATIVE = "hard negative"
VALIDATION = "{} (validation)"  # how the dev pairs of a source are counted


@dataclass
class Found:
    """What was looked up and what was found.

    Attributes:
        checked: source -> pairs looked up; those of the dev split stand apart, as VALIDATION says.
        looked_up: language -> pairs looked up in it.
        without_evaluation_text: Languages in which nothing is evaluated: only whole texts of others are found in them.
        pairs: source -> keys of the pairs that overlap (`streams.id_key`), once for each text that does.
        counts: (source, benchmark, lang, side, overlap) -> texts.
        examples: One dictionary an example.
    """

    checked: Counter[str] = field(default_factory=Counter)
    looked_up: Counter[str] = field(default_factory=Counter)
    without_evaluation_text: list[str] = field(default_factory=list)
    pairs: dict[str, array[int]] = field(default_factory=dict)
    counts: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    _shown: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, row: dict[str, Any], text: str, match: Match) -> None:
        """Counts one text that overlaps; keeps the first few of a kind as examples."""
        self.pairs.setdefault(row["source"], array("Q")).append(id_key(row["pair_id"]))
        self.counts[row["source"], row["benchmark"], row["lang"], row["side"], row["overlap"]] += 1
        kind = (row["source"], row["benchmark"], row["overlap"])
        if self._shown[kind] < _EXAMPLES and self._shown[*kind, row["lang"]] < _EXAMPLES_IN_ONE_LANGUAGE:
            self._shown.update([kind, (*kind, row["lang"])])
            evaluation_text = match.snippet or text[:_SHOWN]
            self.examples.append({**row, "training_text": text[:_SHOWN], "evaluation_text": evaluation_text})

    def removed(self) -> dict[str, int]:
        """source -> pairs that overlap, of every source that was looked up."""
        none: array[int] = array("Q")
        return {source: len(np.unique(self.pairs.get(source, none))) for source in sorted(self.checked)}

    def record(self) -> dict[str, Any]:
        """As JSON: see the module's docstring."""
        names = ("source", "benchmark", "lang", "side", "overlap")
        order = sorted(self.counts, key=lambda key: (*key[:4], OVERLAPS.index(key[4])))
        return {
            "checked": dict(sorted(self.checked.items())),
            "looked_up": dict(sorted(self.looked_up.items())),
            "without_evaluation_text": sorted(self.without_evaluation_text),
            "removed": self.removed(),
            "counts": [{**dict(zip(names, key, strict=True)), "texts": self.counts[key]} for key in order],
            "examples": self.examples,
        }


def contaminated(
    folder: Path,
    collected: Path,
    supplied: Mapping[str, Path],
    validation: Path | None,
    found: Found,
    *,
    held_out: Collection[str] = (),
) -> Iterator[pa.Table]:
    """Looks everything up; fills `found` on the way.

    Args:
        folder: decontamination/text.
        collected: collected/en.parquet; its training and dev rows are looked up.
        supplied: language -> supplied/<lang>.parquet.
        validation: A collected source, all of whose rows are looked up.
        held_out: The benchmarks of held-out text, among which dev rows are not looked up.

    Yields:
        Tables of contracts.CONTAMINATED.
    """
    english = _index(folder, "en", found)
    with_dev = validation is None and _has_others(folder, held_out)
    for_dev = english.passing_over(held_out)
    keys: dict[str, list[np.ndarray]] = {"train": [], "dev": []}
    for table in _with_progress(collected, contracts.COLLECTED, "English pairs"):
        train, dev = (table.filter(_equal(table["split"], split)) for split in keys)
        if supplied:
            keys["train"].append(id_keys(train["pair_id"]))
            keys["dev"].append(id_keys(dev["pair_id"]))
        found.checked.update(_counted(train["source"]))
        yield from _look_up(english, train, found)
        if with_dev:
            found.checked.update({VALIDATION.format(name): of for name, of in _counted(dev["source"]).items()})
            yield from _look_up(for_dev, dev, found, VALIDATION)
    if validation is not None:
        for table in _with_progress(validation, contracts.COLLECTED, "validation pairs"):
            found.checked.update(_counted(table["source"]))
            yield from _look_up(english, table, found)
    train_keys, dev_keys = (_sorted(keys.pop(split)) for split in ("train", "dev"))
    for lang, path in supplied.items():
        index = _index(folder, lang, found)
        for_dev = index.passing_over(held_out)
        for table in _with_progress(path, contracts.PARALLEL, f"pairs in {lang}"):
            ids = id_keys(table["pair_id"])
            yield from _look_up(index, table.filter(_mask(is_in(ids, train_keys))), found)
            if with_dev:
                yield from _look_up(for_dev, table.filter(_mask(is_in(ids, dev_keys))), found, VALIDATION)


def _has_others(folder: Path, held_out: Collection[str]) -> bool:
    """Whether there is evaluation text of other benchmarks than these."""
    texts = read_json(folder / "index.json")["texts"]
    return any(set(of) - set(held_out) for of in texts.values())


def _sorted(parts: list[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *parts]))


def _index(folder: Path, lang: str, found: Found) -> Index:
    index = Index.read(folder, lang)
    if index.is_empty:
        found.without_evaluation_text.append(lang)
        stage.log.info(
            "no evaluation text is in %s: only whole texts of other languages are looked for", language(lang).name
        )
    return index


def _with_progress(path: Path, schema: pa.Schema, label: str) -> Iterator[pa.Table]:
    return stage.progress(batches(path, schema), total=None, label=label, unit="batches")


def _equal(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.equal(column, value)


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}


def _mask(flags: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(flags)


def _look_up(index: Index, table: pa.Table, found: Found, counted_as: str = "{}") -> Iterator[pa.Table]:
    """The overlaps of one batch: queries, passages, then hard negatives. `counted_as`: a source's name in counts."""
    import pyarrow as pa

    found.looked_up[index.lang] += len(table)
    rows: list[dict[str, Any]] = []
    for side, numbers, texts in _sides(table):
        for number, text, match in zip(
            numbers, texts, index.find_many(texts, QUERY if side == QUERY else PASSAGE), strict=True
        ):
            if match is None:
                continue
            row = {
                "pair_id": table["pair_id"][number].as_py(),
                "source": table["source"][number].as_py(),
                "lang": index.lang,
                "side": side,
                "overlap": match.overlap,
                "share": match.share,
                "benchmark": match.benchmark,
                "text_id": match.text_id,
            }
            found.add({**row, "source": counted_as.format(row["source"])}, text, match)
            rows.append(row)
    if rows:
        yield pa.Table.from_pylist(rows, schema=contracts.CONTAMINATED)


def _sides(table: pa.Table) -> Iterator[tuple[str, Sequence[int], list[str]]]:
    """(side, row numbers, texts) of a table."""
    everything = range(len(table))
    yield QUERY, everything, table["query"].to_pylist()
    yield PASSAGE, everything, table["passage"].to_pylist()
    negatives = [
        (number, text)
        for number, texts in enumerate(table["hard_negatives"].to_pylist())
        for text in texts or ()
        if text
    ]
    yield HARD_NEGATIVE, [number for number, _ in negatives], [text for _, text in negatives]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.decontaminate.contaminated", description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True, type=Path, help="decontamination/text")
    parser.add_argument("--collected", required=True, type=Path)
    parser.add_argument("--supplied", nargs="*", default=[], metavar="LANG=PATH")
    parser.add_argument("--validation", type=Path, help="collected/sources/<name>.parquet of the validation pairs")
    parser.add_argument(
        "--held-out", nargs="*", default=[], help="benchmarks of held-out text: dev pairs are not looked up in them"
    )
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    found = Found()
    supplied = parse_paths(args.supplied)
    tables = contaminated(args.text, args.collected, supplied, args.validation, found, held_out=args.held_out)
    record = made_from.record(
        {}, text=args.text, collected=args.collected, supplied=supplied, validation=args.validation
    )
    rows = write_parquet(args.output, tables, made_from.with_record(contracts.CONTAMINATED, record))
    write_json(args.output.with_suffix(".json"), {**found.record(), "made_from": record})
    stage.log.info("%d texts of %d pairs overlap with evaluation text", rows, sum(found.removed().values()))


if __name__ == "__main__":
    stage.run(main)
