"""Cleaning of English pairs: what a pair must be to be kept, every step counted.

Steps, in this order: text without anything invisible (`text.clean_text`); empty sides; queries without letters;
a query that is its own passage; length limits; another language than English (optional); exact duplicates; near
duplicates (optional); queries with too many passages.

inputs: pairs of one source, as a stream
outputs: the pairs kept, as tables of contracts.SOURCE_PAIRS, and a count for every step
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polybatch.collect.near_duplicates import NearDuplicates
from polybatch.collect.options import CleaningOptions
from polybatch.collect.source import Pair
from polybatch.core import contracts
from polybatch.core.columns import Column, first_rows, rows_of_many
from polybatch.core.streams import BATCH_ROWS, batches, combined, id_keys
from polybatch.core.text import clean_text, hash64, same_key, text_key, word_count

if TYPE_CHECKING:
    import pyarrow as pa

_LANGUAGE_MIN_LETTERS = 24  # below, no identifier of languages is to be trusted

NEGATIVES_GIVEN, NEGATIVES_KEPT = "hard negatives given", "hard negatives kept"
DUPLICATE, NEAR_DUPLICATE, AMBIGUOUS = "duplicate", "near duplicate", "query with too many passages"


class RowKeys:
    """What is remembered of rows to find duplicates, in files.

    Args:
        folder: An existing folder for the files, which the caller removes.

    Attributes:
        ids: Keys of ids (`streams.id_key`).
        queries, passages: `text.hash64` of the texts' `text.text_key`s.
        pairs: `streams.combined` of these two.
    """

    def __init__(self, folder: Path) -> None:
        names = ("ids", "queries", "passages", "pairs")
        self.ids, self.queries, self.passages, self.pairs = (Column(folder / f"{name}.u64") for name in names)

    def add(self, ids: Iterable[str], query_keys: Iterable[str], passage_keys: Iterable[str]) -> np.ndarray:
        """Remembers rows: their ids, and their texts given as `text_key`s. Returns the keys of the passages."""
        self.ids.append(id_keys(ids))
        queries, passages = (hashed(keys) for keys in (query_keys, passage_keys))
        self.queries.append(queries)
        self.passages.append(passages)
        self.pairs.append(combined(queries, passages))
        return passages


def hashed(texts: Iterable[str]) -> np.ndarray:
    """`text.hash64` of each text, (n,) uint64."""
    return np.frombuffer(array("Q", map(hash64, texts)), dtype=np.uint64)


def clean(
    pairs: Iterable[Pair], options: CleaningOptions, source: str, license: str, folder: Path
) -> tuple[Iterator[pa.Table], dict[str, int]]:
    """Cleans a stream of pairs.

    Args:
        pairs: English pairs; the same one may come several times.
        options: What to keep.
        source, license: For the table's columns.
        folder: An existing folder for temporary files. They are needed until the tables have been read; the
            caller removes it.

    Returns:
        Tables of contracts.SOURCE_PAIRS in the order of `pairs`, split and kind empty, to be read once; and the counts:
        "collected", each step, "kept"; of the rows without a fault of their own NEGATIVES_GIVEN and NEGATIVES_KEPT.
    """
    from polybatch.core.files import write_parquet

    counts: Counter[str] = Counter(collected=0)
    keys = RowKeys(folder)
    near = _near_duplicates(options, folder)
    path = folder / "rows.parquet"
    tables = _row_tables(pairs, options, (source, license), counts=counts, keys=keys, near=near)
    write_parquet(path, tables, contracts.SOURCE_PAIRS)
    kept = _distinct(keys, options, near, counts)
    counts["kept"] = int(kept.sum())
    return _kept_tables(path, kept), dict(counts)


def _near_duplicates(options: CleaningOptions, folder: Path) -> NearDuplicates | None:
    if not options.near_duplicate_threshold:
        return None
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix="near-"))
    return NearDuplicates(options.near_duplicate_threshold, scratch)


def _row_tables(
    pairs: Iterable[Pair],
    options: CleaningOptions,
    origin: tuple[str, str],
    *,
    counts: Counter[str],
    keys: RowKeys,
    near: NearDuplicates | None,
) -> Iterator[pa.Table]:
    """Rows that have no fault of their own; fills `counts`, `keys` and `near` on the way."""
    import pyarrow as pa

    is_english = english_check(options.language_confidence)
    source, license = origin
    rows: list[tuple[str, str, str, list[str], str]] = []
    texts: list[tuple[str, str]] = []

    def flush() -> pa.Table:
        query_keys, passage_keys = ([pair[side] for pair in texts] for side in (0, 1))
        keys.add([row[0] for row in rows], query_keys, passage_keys)
        if near is not None:
            near.add(query_keys, passage_keys)
        names = ("pair_id", "query", "passage", "hard_negatives", "document")
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=False)) or {name: [] for name in names}
        same = {"source": source, "license": license, "split": "", "kind": ""}
        columns |= {name: [value] * len(rows) for name, value in same.items()}
        rows.clear()
        texts.clear()
        return pa.table({name: columns[name] for name in contracts.SOURCE_PAIRS.names}, schema=contracts.SOURCE_PAIRS)

    for pair in pairs:
        counts["collected"] += 1
        query, passage = clean_text(pair.query), clean_text(pair.passage)
        query_key, passage_key = text_key(query), text_key(passage)
        if fault := _fault(query, passage, query_key, passage_key, options) or is_english(passage):
            counts[fault] += 1
            continue
        texts.append((query_key, passage_key))
        negatives = clean_negatives(pair.hard_negatives, passage) if pair.hard_negatives else []
        if pair.hard_negatives:
            counts[NEGATIVES_GIVEN] += len(pair.hard_negatives)
            counts[NEGATIVES_KEPT] += len(negatives)
        rows.append((pair.pair_id, query, passage, negatives, pair.document))
        if len(rows) >= BATCH_ROWS:
            yield flush()
    yield flush()


def clean_negatives(negatives: Sequence[str], passage: str = "", *, keep_places: bool = False) -> list[str]:
    """Hard negatives with clean text, each once, none empty, none that is the passage itself (`text.same_key`).

    With `keep_places` the others leave an empty text behind, so that the k-th of a translation still translates the
    k-th English one.
    """
    seen = {same_key(passage), ""}
    kept: list[str] = []
    for text in map(clean_text, negatives):
        if (key := same_key(text)) not in seen:
            seen.add(key)
            kept.append(text)
        elif keep_places:
            kept.append("")
    return kept


def _fault(query: str, passage: str, query_key: str, passage_key: str, options: CleaningOptions) -> str:
    if not query_key or not passage_key:
        return "empty"
    if not (query_key[0].isalpha() or any(map(str.isalpha, query_key))):
        return "query without letters"
    if query_key.replace(" ", "") == passage_key.replace(" ", ""):
        return "query equals passage"
    words = word_count(query)
    if words < options.min_query_words or (options.max_query_words and words > options.max_query_words):
        return "query too short or too long"
    if not options.min_words <= word_count(passage) <= options.max_words:
        return "passage too short or too long"
    return ""


def english_check(confidence: float) -> Callable[[str], str]:
    """A function text -> "", or the fault that it is not English with this confidence."""
    if not confidence:
        return lambda text: ""
    from polybatch.collect.language_identification import language_confidence

    sure = language_confidence("en")

    def fault(text: str) -> str:
        long_enough = sum(map(str.isalpha, text)) >= _LANGUAGE_MIN_LETTERS
        return "another language than English" if long_enough and sure(text) < confidence else ""

    return fault


def _distinct(keys: RowKeys, options: CleaningOptions, near: NearDuplicates | None, counts: Counter[str]) -> np.ndarray:
    """Which rows stay once duplicates and ambiguous queries are gone, (rows,) bool."""
    kept = first_rows(keys.ids)
    kept &= first_rows(keys.pairs, kept)
    counts[DUPLICATE] = len(kept) - int(np.count_nonzero(kept))
    if near is not None:
        gone = near.removed(kept)
        counts[NEAR_DUPLICATE] = int(np.count_nonzero(gone))
        np.greater(kept, gone, out=kept)  # and not gone, without a third byte a row
        del gone
    ambiguous = rows_of_many(keys.queries, keys.pairs, kept, options.max_passages_per_query)
    counts[AMBIGUOUS] = int(np.count_nonzero(ambiguous))
    return np.greater(kept, ambiguous, out=kept)


def _kept_tables(path: Path, kept: np.ndarray) -> Iterator[pa.Table]:
    import pyarrow as pa

    start = 0
    for table in batches(path, contracts.SOURCE_PAIRS):
        yield table.filter(pa.array(kept[start : start + len(table)]))
        start += len(table)
