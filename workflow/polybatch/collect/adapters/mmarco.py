"""Adapter: mMARCO, the passages and questions of MS MARCO in fourteen languages (Bonifacio et al., arXiv 2108.13897).

inputs: the record of a fetched unicamp-dl/mmarco: `data/triples.train.ids.small.tsv` (ids of question, positive and
    negative), and for each language (id, text) in `data/google/collections/<language>_collection.tsv` and
    `data/google/queries/train/<language>_queries.train.tsv`
outputs: a pair for each distinct (question, positive), with its first negatives; the same pairs in other languages

The 39,780,811 triples are what the paper counts as this data set's examples (arXiv 2408.10536, table 1); `examples`
is their number. Texts stay in the files: held in memory are, for each text, where it begins.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.collect.adapters.hub_data import hub_options, snapshot_at
from polybatch.collect.options import MMARCO_NAMES, MMarcoOptions
from polybatch.collect.source import Pair, ParallelText, pair_id
from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.streams import is_in

REPO = "unicamp-dl/mmarco"
REVISION = "b1a2c25def4bd95274199be3fb226ee36b7c8bad"  # its listing was seen
LICENSE = "see the repository's LICENSE file"  # unverified: which
TRIPLES = "data/triples.train.ids.small.tsv"
# MS MARCO's training judgements (qrels.train.tsv): its triples hold at most so many distinct pairs of question and
# positive.
MOST_PAIRS = 532_761
_BLOCK_BYTES = 16 << 20


def request(spec: dict[str, Any]) -> dict[str, Any]:
    """See `adapters.registry.request`."""
    options = hub_options(spec, MMarcoOptions)
    files = [TRIPLES]
    for lang in ("en", *options.languages):
        files += [_collection(lang), _queries(lang)]
    return {"repo": options.repo or REPO, "kind": "dataset", "revision": options.revision or REVISION, "files": files}


def _collection(lang: str) -> str:
    return f"data/google/collections/{MMARCO_NAMES[lang]}_collection.tsv"


def _queries(lang: str) -> str:
    return f"data/google/queries/train/{MMARCO_NAMES[lang]}_queries.train.tsv"


class MMarco:
    """Pairs of mMARCO and their translations (see the module's docstring), as a source.

    Args:
        spec: The entry, `{name, adapter, ...MMarcoOptions}`.
        record: What `hub.write_record` wrote, or a folder with the repository's files.
    """

    def __init__(self, spec: dict[str, Any], record: Path) -> None:
        self.options = hub_options(spec, MMarcoOptions)
        self.name, self.license = spec["name"], self.options.license or LICENSE
        self.languages: tuple[str, ...] = tuple(self.options.languages)
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.markup: dict[str, int] = {}
        self._snapshot = snapshot_at(record)
        self._triples = self._snapshot.files(TRIPLES)[0]
        for lang in ("en", *self.languages):
            self._snapshot.files(_collection(lang))
            self._snapshot.files(_queries(lang))

    def english(self) -> Iterator[Pair]:
        """A pair for each distinct (question, positive), in the order of their first triples.

        Raises:
            DataError: A file is malformed, or an id of the triples has no English text.
        """
        triples = distinct_triples(self._triples, self.options.hard_negatives)
        self.examples = triples.examples
        with self._texts("en") as english:
            for query_id, passage_id, negatives in triples:
                query, passage = english.queries[query_id], english.passages[passage_id]
                if query is None or passage is None:
                    kind, missing = ("question", query_id) if query is None else ("passage", passage_id)
                    raise DataError(
                        f"The triples name a {kind} that has no English text.",
                        where=self._triples,
                        found=f"{kind} {missing}",
                        remedy="the files are not of one revision, or cut short: fetch them again",
                    )
                others = [text for number in negatives if (text := english.passages[number]) is not None]
                yield Pair(pair_id(self.name, query, passage), query, passage, others)

    def translations(self, lang: str) -> Iterator[Pair]:
        """The pairs of `english` with a question and a positive in `lang`; how many have none is logged."""
        if lang not in self.languages:
            raise ConfigError(
                f"The source {self.name} has no {lang}.",
                expected=" ".join(self.languages),
                remedy=f"add it to sources.{self.name}.languages",
            )
        missing = 0
        with self._texts("en") as english, self._texts(lang) as other:
            for query_id, passage_id, negatives in distinct_triples(self._triples, self.options.hard_negatives):
                query, passage = other.queries[query_id], other.passages[passage_id]
                if not query or not passage:
                    missing += 1
                    continue
                identity = pair_id(self.name, english.queries[query_id] or "", english.passages[passage_id] or "")
                others = [other.passages[number] or "" for number in negatives]  # in the places of the English ones
                yield Pair(identity, query, passage, others)
        self.left_out[lang] = {"no text in the language": missing} if missing else {}
        if missing:
            stage.log.warning("%s: %d pairs have no text in %s", self.name, missing, lang)

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """None: these translations are a machine's, and no model for translators."""
        return iter(())

    def _texts(self, lang: str) -> _Texts:
        return _Texts(self._snapshot.files(_queries(lang))[0], self._snapshot.files(_collection(lang))[0])


class _Texts:
    """Questions and passages of one language, open for reading."""

    def __init__(self, queries: Path, passages: Path) -> None:
        self.queries, self.passages = TsvTexts(queries), TsvTexts(passages)

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *error: object) -> None:
        self.queries.close()
        self.passages.close()


class TsvTexts:
    """Texts of a file of "id, tab, text" lines by their number, read where they lie.

    Args:
        path: The file. Numbers may stand in any order.

    Raises:
        DataError: A line has no tab or no number, a number comes twice, or (on reading) a text is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        numbers, starts = array("q"), array("q")
        at = 0
        with path.open("rb") as handle:
            for row, line in enumerate(handle, start=1):
                tab = line.find(b"\t")
                try:
                    numbers.append(int(line[:tab]) if tab > 0 else int(""))
                except ValueError:
                    raise DataError(
                        "A line is no number with a text.",
                        where=f"{path}, line {row}",
                        expected="id, tab, text",
                        found=line[:60].decode("utf-8", "replace").strip(),
                        remedy="the file is damaged: fetch it again",
                    ) from None
                starts.append(at + tab + 1)
                at += len(line)
        order = np.argsort(np.array(numbers, dtype=np.int64), kind="stable")
        self._numbers = np.array(numbers, dtype=np.int64)[order]
        self._starts = np.array(starts, dtype=np.int64)[order]
        twice = self._numbers[1:][self._numbers[1:] == self._numbers[:-1]]
        if len(twice):
            raise DataError("A number comes twice.", where=path, found=str(twice[0]), expected="one line each")
        self._handle = path.open("rb")
        self._bytes = mmap.mmap(self._handle.fileno(), 0, access=mmap.ACCESS_READ) if at else None

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str | None:
        """The text, or None if there is none of that number."""
        at = int(np.searchsorted(self._numbers, number))
        if self._bytes is None or at == len(self._numbers) or self._numbers[at] != number:
            return None
        start = int(self._starts[at])
        end = self._bytes.find(b"\n", start)
        raw = self._bytes[start : end if end >= 0 else len(self._bytes)]
        try:
            return raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError("A text is not UTF-8.", where=f"{self.path}, id {number}", found=str(error)) from error

    def close(self) -> None:
        if self._bytes is not None:
            self._bytes.close()
        self._handle.close()


@dataclass
class Triples:
    """Distinct (question, positive) pairs of a file of triples.

    Attributes:
        examples: Triples in the file.
        queries, passages: (n,) int64, in the order of first occurrence.
        negatives: (n, k) int64, the first k negatives; -1 where there are fewer.
    """

    examples: int
    queries: np.ndarray
    passages: np.ndarray
    negatives: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[tuple[int, int, list[int]]]:
        for query, passage, negatives in zip(self.queries, self.passages, self.negatives, strict=True):
            yield int(query), int(passage), [int(number) for number in negatives if number >= 0]


def distinct_triples(path: Path, negatives: int) -> Triples:
    """Streams a file of (question, positive, negative) ids; memory grows with the distinct pairs only.

    Raises:
        DataError: A line is not three numbers.
    """
    keys = np.zeros(0, dtype=np.int64)  # sorted
    first = np.zeros(0, dtype=np.int64)
    found = np.zeros((0, negatives), dtype=np.int64)
    examples = 0
    for queries, passages, others in _triple_blocks(path):
        block = (queries << 32) | passages
        order = np.argsort(block, kind="stable")
        new, starts, counts = np.unique(block[order], return_index=True, return_counts=True)
        merged = np.union1d(keys, new)
        at_old, at_new = np.searchsorted(merged, keys), np.searchsorted(merged, new)
        is_new = ~is_in(new, keys)
        merged_first = np.zeros(len(merged), dtype=np.int64)
        merged_first[at_old] = first
        merged_first[at_new[is_new]] = examples + order[starts[is_new]]
        merged_found = np.full((len(merged), negatives), -1, dtype=np.int64)
        merged_found[at_old] = found
        filled = (merged_found[at_new] >= 0).sum(axis=1)
        for place in range(negatives):
            # The place-th row of each pair in this block goes after those that earlier blocks filled.
            has = (counts > place) & (filled + place < negatives)
            merged_found[at_new[has], filled[has] + place] = others[order[starts[has] + place]]
        keys, first, found = merged, merged_first, merged_found
        examples += len(block)
    order = np.argsort(first, kind="stable")
    return Triples(examples, keys[order] >> 32, keys[order] & 0xFFFFFFFF, found[order])


def _triple_blocks(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    import pyarrow as pa
    from pyarrow import csv

    names = ["query", "positive", "negative"]
    try:
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64())),
        )
        for batch in reader:
            if any(column.null_count for column in batch.columns):
                raise pa.ArrowInvalid("a number is missing")
            query, positive, negative = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
            yield query, positive, negative
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "The file of triples cannot be read.",
            where=path,
            expected="three numbers a line, with tabs between them",
            found=str(error).splitlines()[0],
            remedy="the file is damaged: fetch it again",
        ) from error
