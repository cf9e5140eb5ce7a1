"""Whether a text is, or nearly is, a text that is evaluated on.

inputs: evaluation texts with their benchmark, id and side; or an index of them on disk, one a language
outputs: for a training text the evaluation text that it overlaps with most, if any

Three kinds of overlap, looked for in this order:

| overlap      | the two texts                                                                                      |
|--------------|----------------------------------------------------------------------------------------------------|
| `exact`      | are the same, but for white space at their ends and Unicode's composed forms                        |
| `normalised` | count as the same (`text.same_key`: the same letters and digits, whatever the markup)               |
| `ngram`      | share enough distinct n-grams: passages of those of the shorter one, queries of those of the longer |

The measure of passages is the containment of Broder (1997, "On the resemblance and containment of documents"), so that
a sentence copied into a long passage, and a passage cut from a long document, both count. Queries are compared with
queries and held against the longer one: "Who is the president?" stands within many a question about something else.
N-grams are of words; in scripts without spaces of characters, and twice as many of them.

Every text is compared as a whole, however short, with the queries, passages and documents of its language. Texts of
fewer than `min_words` words are compared so alone; those of as many also with the wholes of all other languages, since
text may be filed under the wrong one.

The defaults were chosen on XQuAD-R and on the interface texts of the default study. With every 20th, 10th or 5th word
left out, exchanged or joined by another, 93, 75 and 30% of XQuAD-R's English passages are still found (German 90, 74,
32; Chinese 86, 61, 19; Hindi 99, 96, 76), and 90, 76 and 44% of its queries. Of its texts about other things, 440 to
640 in each of seven languages, two Thai questions, a Hindi one and a Hindi passage are wrongly found; of the interface
texts none. Of those, full of templates, 3.4% overlap with the study's own held-out texts in one language or another.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from polybatch.core.errors import DataError, made_again
from polybatch.core.files import read_json, write_json
from polybatch.core.streams import is_in
from polybatch.core.sums import check_sums, write_sums
from polybatch.core.text import hash64, text_key, word_count
from polybatch.decontaminate.ngrams import portions, runs, units
from polybatch.decontaminate.options import QUERY, OverlapOptions

if TYPE_CHECKING:
    import pyarrow as pa

PASSAGE, DOCUMENT = "passage", "document"
OVERLAPS = ("exact", "normalised", "ngram")
_FAMILIES = (QUERY, PASSAGE)  # what is compared with one another by n-grams; documents are passages here
_CHARACTERS_AT_ONCE = 500_000
_SHARED_AT_ONCE = 4_000_000  # n-grams that training and evaluation texts share; of templates there are very many
_SNIPPET = 160  # characters of an evaluation text that are kept to be shown


class Match(NamedTuple):
    """The evaluation text that a training text overlaps with.

    Attributes:
        benchmark, text_id: Which text: a query's, passage's or document's id.
        overlap: One of OVERLAPS.
        share: Of n-grams, 0 to 1; 1 unless `overlap` is "ngram".
        snippet: How the evaluation text begins; empty where it is compared as a whole alone.
    """

    benchmark: str
    text_id: str
    overlap: str
    share: float
    snippet: str


def _exact_key(text: str) -> int:
    return hash64(unicodedata.normalize("NFC", text).strip())


def _has_words(text: str, count: int) -> bool:
    """Whether `word_count` is at least `count`, faster."""
    return len(text.split(maxsplit=count)) >= count or word_count(text) >= count


def _normalised(texts: Sequence[str], options: OverlapOptions) -> tuple[list[str], array[int], list[bool]]:
    """Of each text its normalised form (empty if it is short), its key as a whole, and whether it says anything."""
    forms, keys, comparable = [], array("Q"), []
    for text in texts:
        form = text_key(text)
        forms.append(form if _has_words(form, options.min_words) else "")
        comparable.append(bool(form))
        keys.append(hash64(form.replace(" ", "")))
    return forms, keys, comparable


def ngrams(forms: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct n-grams of each text.

    Args:
        forms: Texts, normalised.
        n: Words of an n-gram; twice as many characters in texts that are mostly in scripts without spaces.

    Returns:
        (m,) int64 numbers of texts and (m,) uint64 hashes, in the order of the hashes and then of the texts, no pair
        twice.
    """
    found = units(forms)
    owners, hashes = runs(found.hashes, found.counts, np.where(found.unspaced, 2 * n, n))
    order = np.argsort(hashes, kind="stable")  # equal hashes of one text stay beside each other
    owners, hashes = owners[order], hashes[order]
    new = np.ones(len(owners), dtype=bool)
    new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return owners[new], hashes[new]


def _portions(forms: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """(where it starts, part) of texts that together are not too long to be compared at once."""
    start = 0
    for part in portions(forms, _CHARACTERS_AT_ONCE):
        yield start, part
        start += len(part)


class IndexBuilder:
    """Writes the index of one language: names and snippets as they come, keys and n-grams at the end.

    A context manager; the index is complete when the block ends well. In memory are some 24 bytes a text and 12 a
    distinct n-gram of a text, and three times that at the end.
    """

    def __init__(self, folder: Path, lang: str, options: OverlapOptions) -> None:
        self.folder, self.lang, self.options = folder, lang, options
        self._whole, self._exact, self._numbers = array("Q"), array("Q"), array("Q")
        self._owners: dict[str, list[np.ndarray]] = {family: [] for family in _FAMILIES}
        self._grams: dict[str, list[np.ndarray]] = {family: [] for family in _FAMILIES}
        self._texts = 0

    def __enter__(self) -> Self:
        import pyarrow as pa

        self._schema = pa.schema([(name, pa.string()) for name in ("benchmark", "text_id", "snippet")])
        self._names = pa.ipc.new_file(self.folder / f"{self.lang}.arrow", self._schema)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._names.close()
        if kind is None:
            self._write_wholes()
            for family in _FAMILIES:
                self._write_ngrams(family)

    def add(
        self, benchmark: str, side: str, ids: Sequence[str], texts: Sequence[str], by_ngrams: Sequence[bool]
    ) -> None:
        """Adds texts of one side; `by_ngrams` says of each whether it is compared by n-grams too."""
        import pyarrow as pa

        forms, keys, comparable = _normalised(texts, self.options)
        snippets = [text[:_SNIPPET] if wanted else "" for text, wanted in zip(texts, by_ngrams, strict=True)]
        columns = [pa.array(column, pa.string()) for column in ([benchmark] * len(texts), ids, snippets)]
        self._names.write_batch(pa.record_batch(columns, schema=self._schema))
        for number, (text, key, wanted) in enumerate(zip(texts, keys, comparable, strict=True), start=self._texts):
            if wanted:
                self._whole.append(key)
                self._exact.append(_exact_key(text))
                self._numbers.append(number)
        family = QUERY if side == QUERY else PASSAGE
        chosen = [form if wanted else "" for form, wanted in zip(forms, by_ngrams, strict=True)]
        for start, part in _portions(chosen):
            owners, grams = ngrams(part, self.options.of(family)[0])
            self._owners[family].append((owners + self._texts + start).astype(np.uint32))
            self._grams[family].append(grams)
        self._texts += len(texts)

    def _write_wholes(self) -> None:
        whole, exact, numbers = (np.array(a, dtype=np.uint64) for a in (self._whole, self._exact, self._numbers))
        order = np.argsort(whole, kind="stable")
        self._save("whole", keys=whole[order], exact=exact[order], texts=numbers[order])

    def _write_ngrams(self, family: str) -> None:
        """N-grams in order, the text of each, and each text's number of them; the common ones apart."""
        grams = np.concatenate([np.zeros(0, dtype=np.uint64), *self._grams.pop(family)])
        owners = np.concatenate([np.zeros(0, dtype=np.uint32), *self._owners.pop(family)])
        order = np.argsort(grams, kind="stable")
        grams, owners = grams[order], owners[order]
        del order
        common, rare = _common(grams, self.options.max_texts_per_ngram)
        self._save(family, common=common)
        if not rare.all():
            grams, owners = grams[rare], owners[rare]
        self._save(family, grams=grams)
        del grams
        counts = np.bincount(owners, minlength=self._texts)
        texts = np.flatnonzero(counts)
        places = np.cumsum(counts > 0, dtype=np.uint32) - np.uint32(1)  # of each text among those that have n-grams
        self._save(family, members=places[owners], texts=texts, sizes=counts[texts].astype(np.uint32))

    def _save(self, part: str, **arrays: np.ndarray) -> None:
        for name, values in arrays.items():
            np.save(self.folder / f"{self.lang}.{part}.{name}.npy", values, allow_pickle=False)


def _common(grams: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of n-grams in order those that come more than `most` times, once each; and (n,) bool: the others."""
    new = np.ones(len(grams), dtype=bool)
    new[1:] = grams[1:] != grams[:-1]
    first = np.flatnonzero(new)
    counts = np.diff(np.append(first, len(grams)))
    return grams[first[counts > most]], np.repeat(counts <= most, counts)


class Index:
    """Evaluation texts of one language, to look training texts up in.

    All of it is mapped from disk, so that several jobs share the memory.

    Attributes:
        lang: The language.
        is_empty: Whether nothing is evaluated in it.
        others: The indexes of the other languages, in which wholes are looked up.
        without: Benchmarks whose texts are passed over.
    """

    def __init__(
        self,
        folder: Path,
        lang: str,
        options: OverlapOptions,
        *,
        is_empty: bool,
        others: Sequence[Index] = (),
        without: Collection[str] = (),
    ) -> None:
        self.folder, self.lang, self.options, self.is_empty, self.others = folder, lang, options, is_empty, others
        self.without = without
        self._arrays: dict[str, np.ndarray] = {}

    @classmethod
    def read(cls, folder: Path, lang: str) -> Index:
        """The index of one language, beside those of all others.

        Raises:
            DataError: There is no index in the folder, or its parts are damaged.
        """
        index = cls._of(folder, lang)
        if check_sums(folder) is None:
            raise DataError("The index of evaluation text has no checksums.", where=folder, remedy=made_again(folder))
        return index

    def passing_over(self, benchmarks: Collection[str]) -> Index:
        """The same index, in which the texts of these benchmarks do not count."""
        return self._of(self.folder, self.lang, benchmarks)

    @classmethod
    def _of(cls, folder: Path, lang: str, without: Collection[str] = ()) -> Index:
        record = read_json(folder / "index.json")
        options = OverlapOptions.from_values(record["options"])
        found = sorted(name for name, of in record["texts"].items() if not without or set(of) - set(without))
        others = [cls(folder, other, options, is_empty=False, without=without) for other in found if other != lang]
        return cls(folder, lang, options, is_empty=lang not in found, others=others, without=without)

    def find(self, text: str, side: str) -> Match | None:
        """See `find_many`, which is much faster."""
        return self.find_many([text], side)[0]

    def find_many(self, texts: Sequence[str], side: str) -> list[Match | None]:
        """What each text overlaps with.

        Args:
            texts: Training texts in the index's language.
            side: "query" or "passage" (hard negatives are passages).

        Returns:
            For each text the overlap found first in the order of the module's table; among n-gram overlaps the one
            of the highest share, the first text of equal ones. None where there is none.

        Raises:
            DataError: A part of the index is missing or damaged.
        """
        found: list[Match | None] = [None] * len(texts)
        forms, keys, comparable = _normalised(texts, self.options)
        if not self.is_empty:
            for number, match in self._wholes(texts, keys, comparable):
                found[number] = match
        for other in self.others:
            open_ones = [bool(form) and match is None for form, match in zip(forms, found, strict=True)]
            for number, match in other._wholes(texts, keys, open_ones):
                found[number] = match
        if self.is_empty:
            return found
        unmatched = [form if match is None else "" for form, match in zip(forms, found, strict=True)]
        for start, part in _portions(unmatched):
            for number, match in self._by_ngrams(part, QUERY if side == QUERY else PASSAGE):
                found[start + number] = match
        return found

    def _wholes(
        self, texts: Sequence[str], keys: array[int], comparable: Sequence[bool]
    ) -> Iterator[tuple[int, Match]]:
        """(number, match) of the texts that are evaluation texts, but for their spelling."""
        whole, exact, members = (self._array("whole", name) for name in ("keys", "exact", "texts"))
        wanted = np.frombuffer(keys, dtype=np.uint64)
        known = is_in(wanted, whole) & np.array(comparable, dtype=bool)
        for number in np.flatnonzero(known).tolist():
            start, end = (int(np.searchsorted(whole, wanted[number], side=edge)) for edge in ("left", "right"))
            places = start + np.flatnonzero(self._counts(members[start:end]))
            if not len(places):
                continue
            same = places[exact[places] == np.uint64(_exact_key(texts[number]))]
            at = int(same[0] if len(same) else places[0])
            yield number, self._match(int(members[at]), "exact" if len(same) else "normalised", 1.0)

    def _by_ngrams(self, forms: Sequence[str], family: str) -> Iterator[tuple[int, Match]]:
        """(number, match) of the normalised texts that share enough n-grams with some evaluation text."""
        n, threshold = self.options.of(family)
        grams, members, sizes = (self._array(family, name) for name in ("grams", "members", "sizes"))
        mine, hashes = ngrams(forms, n)
        rare = ~is_in(hashes, self._array(family, "common"))
        mine, hashes = mine[rare], hashes[rare]
        own_sizes = np.bincount(mine, minlength=len(forms))
        first = np.searchsorted(grams, hashes, side="left")
        known = grams[np.minimum(first, len(grams) - 1)] == hashes if len(grams) else np.zeros(len(hashes), dtype=bool)
        mine, hashes, first = mine[known], hashes[known], first[known]
        if not len(mine):
            return
        # One entry for each shared n-gram: the training text and the evaluation text.
        hits = np.searchsorted(grams, hashes, side="right") - first
        if hits.sum() > _SHARED_AT_ONCE and len(forms) > 1:
            middle = len(forms) // 2
            yield from self._by_ngrams(forms[:middle], family)
            yield from ((middle + number, match) for number, match in self._by_ngrams(forms[middle:], family))
            return
        offsets = np.arange(hits.sum()) - np.repeat(np.cumsum(hits) - hits, hits)
        evaluation = members[np.repeat(first, hits) + offsets].astype(np.int64)
        pairs, shared = np.unique(np.repeat(mine, hits) * len(sizes) + evaluation, return_counts=True)
        training, evaluation = np.divmod(pairs, len(sizes))
        measured = (np.maximum if family == QUERY else np.minimum)(own_sizes[training], sizes[evaluation])
        shares = shared / measured
        enough = (shares >= threshold) & (shared >= self.options.min_shared)
        texts = self._array(family, "texts")
        enough[enough] = self._counts(texts[evaluation[enough]])
        training, evaluation, shares = training[enough], evaluation[enough], shares[enough]
        order = np.lexsort((evaluation, -shares, training))
        for at in order[np.unique(training[order], return_index=True)[1]].tolist():
            yield int(training[at]), self._match(int(texts[evaluation[at]]), "ngram", float(shares[at]))

    def _counts(self, numbers: np.ndarray) -> np.ndarray:
        """Whether texts are of a benchmark that counts, (n,) bool."""
        return self._countable[numbers] if self.without else np.ones(len(numbers), dtype=bool)

    @cached_property
    def _countable(self) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        passed_over = pc.is_in(self._names["benchmark"], pa.array(sorted(self.without), pa.string()))
        found: np.ndarray = pc.invert(passed_over).to_numpy()
        return found

    def _match(self, number: int, overlap: str, share: float) -> Match:
        row = self._names.slice(number, 1).to_pylist()[0]
        return Match(row["benchmark"], row["text_id"], overlap, share, row["snippet"])

    @cached_property
    def _names(self) -> pa.Table:
        import pyarrow as pa

        path = self.folder / f"{self.lang}.arrow"
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damaged(path) from error

    def _array(self, part: str, name: str) -> np.ndarray:
        key = f"{part}.{name}"
        if key not in self._arrays:
            path = self.folder / f"{self.lang}.{key}.npy"
            try:
                self._arrays[key] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise self._damaged(path) from error
        return self._arrays[key]

    def _damaged(self, path: Path) -> DataError:
        return DataError(
            "The index of evaluation text lacks a part, or it is damaged.",
            where=path,
            remedy=made_again(self.folder),
        )


def write_record(folder: Path, options: OverlapOptions, texts: dict[str, Any]) -> None:
    """Writes index.json, which `Index.read` starts from: the options, and language -> what went in; and checksums."""
    write_json(folder / "index.json", {"options": options.as_dict(), "texts": texts})
    write_sums(folder)
