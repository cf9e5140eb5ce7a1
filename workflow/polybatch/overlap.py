"""Whether a text is, or nearly is, a text that is evaluated on.

inputs: evaluation texts with their benchmark, id and side; or an index of them on disk, one a language
outputs: for a training text the evaluation text that it overlaps with most, if any

Three kinds of overlap, looked for in this order:

| overlap      | the two texts                                                                                   |
|--------------|-------------------------------------------------------------------------------------------------|
| `exact`      | are the same, but for white space at their ends and Unicode's composed forms                     |
| `normalised` | have the same letters and digits (`text.text_key`)                                               |
| `ngram`      | share at least `threshold` of the distinct n-grams of the shorter one                            |

The measure of the last is the containment of Broder (1997, "On the resemblance and containment of documents") in the
shorter text, so that a sentence copied into a long passage, and a passage cut from a long document, both count.
N-grams are of words; in scripts without spaces of characters, and twice as many of them. Queries are compared with
queries (they are short: shorter n-grams, a higher threshold), passages with passages and source documents. Texts of
fewer than `min_words` words overlap with nothing: "Yes" and "Name" stand in every data set.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polybatch.errors import DataError
from polybatch.files import read_json, write_json
from polybatch.options import Options, require
from polybatch.streams import scrambled
from polybatch.text import hash64, text_key, word_count

if TYPE_CHECKING:
    import pyarrow as pa

QUERY, PASSAGE, DOCUMENT = "query", "passage", "document"
OVERLAPS = ("exact", "normalised", "ngram")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_REMEMBERED_WORDS = 1_000_000
_SNIPPET = 160  # characters of an evaluation text that are kept to be shown


@dataclass(frozen=True)
class OverlapOptions(Options):
    """What counts as overlap.

    Attributes:
        ngram, threshold: Words of an n-gram, and the share of shared ones, for passages.
        query_ngram, query_threshold: The same for queries.
        min_ngrams: Texts with fewer distinct n-grams are compared as wholes only.
        min_words: Shorter texts overlap with nothing (`text.word_count`).
        max_ngram_passages: Of a larger corpus, in one language, only the relevant passages are compared by n-grams;
            all of them are compared as wholes.
        max_texts_per_ngram: An n-gram of more evaluation texts than this is a phrase of the trade, and is left out.
    """

    ngram: int = 8
    threshold: float = 0.5
    query_ngram: int = 4
    query_threshold: float = 0.8
    min_ngrams: int = 3
    min_words: int = 3
    max_ngram_passages: int = 200_000
    max_texts_per_ngram: int = 200

    def faults(self) -> Iterator[str]:
        for name in ("ngram", "query_ngram", "min_ngrams", "min_words", "max_ngram_passages", "max_texts_per_ngram"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("threshold", "query_threshold"):
            yield from require(0.0 < getattr(self, name) <= 1.0, f"{name} must be above 0 and at most 1")

    def of(self, side: str) -> tuple[int, float]:
        """n and threshold for a side."""
        return (self.query_ngram, self.query_threshold) if side == QUERY else (self.ngram, self.threshold)


class Match(NamedTuple):
    """The evaluation text that a training text overlaps with; `share` is 1 unless `overlap` is "ngram"."""

    benchmark: str
    text_id: str
    overlap: str
    share: float
    snippet: str


def exact_key(text: str) -> int:
    """Equal for texts that differ in composed forms and white space at their ends alone."""
    return hash64(unicodedata.normalize("NFC", text).strip())


def words(text: str) -> tuple[list[str], bool]:
    """The units of a text's n-grams, and whether most of them are characters of a script without spaces."""
    units: list[str] = []
    characters = 0
    for word in text_key(text).split():
        if word.isascii() or not any(map(_is_unspaced, word)):
            units.append(word)
        else:
            units.extend(word)
            characters += len(word)
    return units, 2 * characters > len(units)


def _is_unspaced(character: str) -> bool:
    """Thai, Lao, Burmese, Khmer; Han, kana."""
    code = ord(character)
    return 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF or 0x2E80 <= code <= 0x9FFF


class Hasher:
    """N-gram hashes of many texts at once."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def ngrams(self, texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
        """The distinct n-grams of each text.

        Args:
            texts: Any texts.
            n: Words of an n-gram; twice as many characters in scripts without spaces.

        Returns:
            (m,) int64 numbers of texts, ascending, and (m,) uint64 hashes, no pair twice.
        """
        owners, hashes = [], []
        for size, chosen in self._by_size(texts, n).items():
            values = np.frombuffer(array("Q", (h for _, units in chosen for h in units)), dtype=np.uint64)
            lengths = np.array([len(units) for _, units in chosen])
            owner = np.repeat(np.array([number for number, _ in chosen]), lengths)
            last = np.repeat(np.cumsum(lengths), lengths)  # where each unit's text ends
            starts = np.flatnonzero(np.arange(len(values)) + size <= last)
            rolled = np.zeros(len(starts), dtype=np.uint64)
            for offset in range(size):
                rolled = rolled * _MULTIPLIER + values[starts + offset]  # wraps around, as it should
            owners.append(owner[starts])
            hashes.append(scrambled(rolled))
        if not owners:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
        owner, hashed = np.concatenate(owners), np.concatenate(hashes)
        order = np.lexsort((hashed, owner))
        owner, hashed = owner[order], hashed[order]
        new = np.ones(len(owner), dtype=bool)
        new[1:] = (owner[1:] != owner[:-1]) | (hashed[1:] != hashed[:-1])
        return owner[new], hashed[new]

    def _by_size(self, texts: Sequence[str], n: int) -> dict[int, list[tuple[int, list[int]]]]:
        """n-gram size -> (number of the text, hashes of its units); texts that are too short are left out."""
        sized: dict[int, list[tuple[int, list[int]]]] = {}
        for number, text in enumerate(texts):
            units, unspaced = words(text)
            size = 2 * n if unspaced else n
            if len(units) >= size:
                sized.setdefault(size, []).append((number, [self._word(unit) for unit in units]))
        return sized

    def _word(self, word: str) -> int:
        if word not in self._known:
            if len(self._known) >= _REMEMBERED_WORDS:
                self._known.clear()
            self._known[word] = hash64(word)
        return self._known[word]


class IndexBuilder:
    """Collects the evaluation texts of one language; see `Index`."""

    def __init__(self, options: OverlapOptions) -> None:
        self.options = options
        self._hasher = Hasher()
        self._names: dict[str, list[str]] = {"benchmark": [], "text_id": [], "side": [], "snippet": []}
        self._exact, self._normalised = array("Q"), array("Q")
        self._owners: dict[str, list[np.ndarray]] = {QUERY: [], PASSAGE: []}
        self._grams: dict[str, list[np.ndarray]] = {QUERY: [], PASSAGE: []}

    def add(
        self, benchmark: str, side: str, ids: Sequence[str], texts: Sequence[str], by_ngrams: Sequence[bool]
    ) -> None:
        """Adds texts of one side; `by_ngrams` says of each whether it is compared by n-grams too."""
        start = len(self._exact)
        for identity, text in zip(ids, texts, strict=True):
            self._exact.append(exact_key(text))
            self._normalised.append(hash64(text_key(text)))
            self._names["text_id"].append(identity)
            self._names["snippet"].append(text[:_SNIPPET])
        self._names["benchmark"] += [benchmark] * len(texts)
        self._names["side"] += [side] * len(texts)
        family = QUERY if side == QUERY else PASSAGE
        long_enough = [
            text if wanted and word_count(text) >= self.options.min_words else ""
            for text, wanted in zip(texts, by_ngrams, strict=True)
        ]
        owner, grams = self._hasher.ngrams(long_enough, self.options.of(family)[0])
        self._owners[family].append(owner + start)
        self._grams[family].append(grams)

    def __len__(self) -> int:
        return len(self._exact)

    def write(self, folder: Path, lang: str) -> None:
        """Writes what `Index.read` reads: <lang>.parquet and <lang>.<side>.{grams,texts}.npy."""
        import pyarrow as pa

        from polybatch.files import write_parquet

        columns = {**self._names, "exact": pa.array(self._exact, pa.uint64())}
        table = pa.table({**columns, "normalised": pa.array(self._normalised, pa.uint64())})
        write_parquet(folder / f"{lang}.parquet", [table], table.schema)
        for side in (QUERY, PASSAGE):
            grams, owners = self._inverted(side)
            np.save(folder / f"{lang}.{side}.grams.npy", grams, allow_pickle=False)
            np.save(folder / f"{lang}.{side}.texts.npy", owners, allow_pickle=False)

    def _inverted(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """N-grams, sorted, and the text of each; without those of too short texts and those that stand everywhere."""
        grams = np.concatenate([np.zeros(0, dtype=np.uint64), *self._grams[side]])
        owners = np.concatenate([np.zeros(0, dtype=np.int64), *self._owners[side]]).astype(np.int32)
        order = np.argsort(grams, kind="stable")
        grams, owners = grams[order], owners[order]
        if len(grams):
            _, inverse, counts = np.unique(grams, return_inverse=True, return_counts=True)
            keep = counts[inverse] <= self.options.max_texts_per_ngram
            grams, owners = grams[keep], owners[keep]
            keep = np.bincount(owners, minlength=len(self))[owners] >= self.options.min_ngrams
            grams, owners = grams[keep], owners[keep]
        return grams, owners


class Index:
    """Evaluation texts of one language, to look training texts up in.

    The n-grams lie in sorted arrays that are mapped from disk, so that several jobs share them.
    """

    def __init__(self, folder: Path, lang: str, options: OverlapOptions) -> None:
        self.folder, self.lang, self.options = folder, lang, options
        self._hasher = Hasher()

    @classmethod
    def read(cls, folder: Path, lang: str) -> Index:
        """The index of one language; one that is empty if no evaluation text stands in it.

        Raises:
            DataError: There is no index in the folder.
        """
        record = read_json(folder / "index.json")
        return cls(folder, lang, OverlapOptions.from_values(record["options"]))

    def find(self, text: str, side: str) -> Match | None:
        """See `find_many`."""
        return self.find_many([text], side)[0]

    def find_many(self, texts: Sequence[str], side: str) -> list[Match | None]:
        """What each text overlaps with.

        Args:
            texts: Training texts in the index's language.
            side: "query" or "passage" (of hard negatives too).

        Returns:
            For each text the overlap found first in the order of the module's table; among n-gram overlaps the one
            of the highest share, the first text of equal ones. None where there is none.
        """
        if not len(self._table):
            return [None] * len(texts)
        found = [self._whole(text) if word_count(text) >= self.options.min_words else None for text in texts]
        open_texts = [
            text if match is None and word_count(text) >= self.options.min_words else ""
            for text, match in zip(texts, found, strict=True)
        ]
        for number, match in self._by_ngrams(open_texts, QUERY if side == QUERY else PASSAGE):
            found[number] = match
        return found

    @cached_property
    def _table(self) -> pa.Table:
        import pyarrow.parquet as pq

        path = self.folder / f"{self.lang}.parquet"
        if path.exists():
            return pq.read_table(path)
        if self.lang in read_json(self.folder / "index.json")["languages"]:
            raise DataError("The index of evaluation text lacks a file.", where=path, remedy="delete the folder")
        import pyarrow as pa

        return pa.table({"benchmark": pa.array([], pa.string())})

    @cached_property
    def _keys(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normalised keys, sorted, the text of each, and all texts' exact keys."""
        normalised, exact = self._table["normalised"].to_numpy(), self._table["exact"].to_numpy()
        order = np.argsort(normalised, kind="stable")
        return normalised[order], order, exact

    def _whole(self, text: str) -> Match | None:
        normalised, order, exact = self._keys
        key = np.uint64(hash64(text_key(text)))
        at, end = (int(np.searchsorted(normalised, key, side=edge)) for edge in ("left", "right"))
        if at == end:
            return None
        same = np.flatnonzero(exact[order[at:end]] == np.uint64(exact_key(text)))
        number = order[at + same[0]] if len(same) else order[at]
        return self._match(int(number), "exact" if len(same) else "normalised", 1.0)

    def _match(self, number: int, overlap: str, share: float) -> Match:
        row = self._table.slice(number, 1).to_pylist()[0]
        return Match(row["benchmark"], row["text_id"], overlap, share, row["snippet"])

    @cached_property
    def _inverted(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """side -> n-grams, sorted; the text of each; how many n-grams each text has."""
        inverted = {}
        for side in (QUERY, PASSAGE):
            grams, owners = (
                np.load(self.folder / f"{self.lang}.{side}.{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("grams", "texts")
            )
            inverted[side] = (grams, owners, np.bincount(owners, minlength=len(self._table)))
        return inverted

    def _by_ngrams(self, texts: Sequence[str], side: str) -> Iterator[tuple[int, Match]]:
        """(number, match) of the texts that share enough n-grams with some evaluation text."""
        n, threshold = self.options.of(side)
        grams, owners, sizes = self._inverted[side]
        mine, hashes = self._hasher.ngrams(texts, n)
        if not len(mine) or not len(grams):
            return
        own_sizes = np.bincount(mine, minlength=len(texts))
        first, last = np.searchsorted(grams, hashes, side="left"), np.searchsorted(grams, hashes, side="right")
        hits = last - first
        if not hits.any():
            return
        # One entry for each shared n-gram: the training text and the evaluation text.
        training = np.repeat(mine, hits)
        offsets = np.arange(hits.sum()) - np.repeat(np.cumsum(hits) - hits, hits)
        evaluation = owners[np.repeat(first, hits) + offsets].astype(np.int64)
        pairs, shared = np.unique(training * len(sizes) + evaluation, return_counts=True)
        training, evaluation = pairs // len(sizes), pairs % len(sizes)
        shorter = np.minimum(own_sizes[training], sizes[evaluation])
        shares = shared / np.maximum(shorter, 1)
        enough = (shares >= threshold) & (shorter >= self.options.min_ngrams)
        training, evaluation, shares = training[enough], evaluation[enough], shares[enough]
        order = np.lexsort((evaluation, -shares, training))
        for at in order[np.unique(training[order], return_index=True)[1]]:
            yield int(training[at]), self._match(int(evaluation[at]), "ngram", float(shares[at]))


def write_index(folder: Path, builders: dict[str, IndexBuilder], options: OverlapOptions, counts: dict) -> None:
    """Writes the indexes of all languages, index.json last."""
    for lang, builder in builders.items():
        builder.write(folder, lang)
    record = {"languages": sorted(builders), "options": options.as_dict(), "counts": counts}
    write_json(folder / "index.json", record)
