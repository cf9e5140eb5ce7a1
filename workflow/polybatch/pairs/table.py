"""The training pairs in all their languages: which pair exists in which language, and its texts.

inputs: parallel/<lang>.parquet (contracts.PARALLEL), one file a language, English among them; optionally
parallel/paraphrase.parquet, a second English text of some pairs
outputs: a `PairTable`, the one structure that batch sampling and training read

A pair costs memory for its numbers alone (26 bytes, and 6 more a language; the sampler takes up to 4 more a language);
texts stay on disk (`text_store`). Forty million pairs in nine languages need about 5 GB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.core.stage import log
from polybatch.core.text import unit_interval
from polybatch.pairs.text_store import Texts, open_texts, unpack_places

ENGLISH = "en"


class PairTable:
    """Training pairs as rows, languages as columns. Build it with `read_pairs`.

    Attributes:
        languages: Codes of the training languages, in the order given.
        sources: Names of the data sources, in alphabetical order.
        ids: (rows,) uint64, ascending: the pairs' ids read as hexadecimal numbers.
        source: (rows,) int16, the place in `sources` of the source that a pair comes from.
        present: (rows, languages) bool, whether the pair exists in the language.
        machine: (rows, languages) bool, whether the pipeline translated it into the language.
        query_keys, passage_keys: (rows, 1) uint64, or (rows, 2) with paraphrases. Equal numbers mean equal English
            text (`text.text_key`): two such rows in one batch would be false negatives of each other.
        paraphrased: (rows,) bool, whether the pair has a second English text; None without paraphrases.
        hard_negatives: How many hard negatives a text may have; 0 where they are not used.
        negatives: (rows, languages, bytes) uint8, a bit for each: whether it has that one. See `has_negatives`.
        negative_keys: (rows, hard_negatives) uint64, as `passage_keys`, 0 where there is none.
    """

    def __init__(
        self,
        texts: Mapping[str, Texts],
        *,
        paraphrases: Texts | None = None,
        num_pairs: int | None = None,
        num_translated: int | None = None,
        hard_negatives: int = 0,
    ) -> None:
        english = texts[ENGLISH]
        self._texts, self._paraphrases = list(texts.values()), paraphrases
        self.languages, self.hard_negatives = tuple(texts), hard_negatives
        self.ids = np.sort(english.ids)
        _check_pairs_are_known(texts, self.ids)
        if num_pairs is not None:
            self.ids = _subset(self.ids, num_pairs, english.path)
        self._position = np.stack([_positions(self.ids, one.ids) for one in self._texts], axis=1)
        self.machine = self._taken("machine", bool)
        if num_translated is not None:
            self._bound_translations(num_translated)
        self.present = self._position >= 0
        at = self._position[:, self.languages.index(ENGLISH)]
        self.sources, self.source = _named(english, at)
        self.negative_keys = english.negative_keys[at]
        self.negatives = self._usable_negatives()
        self.query_keys, self.passage_keys = (keys[at, None] for keys in (english.query_key, english.passage_key))
        self.paraphrased: np.ndarray | None = None
        if paraphrases is not None:
            self._add_paraphrases(paraphrases)

    def __len__(self) -> int:
        return len(self.ids)

    def pair_id(self, row: int) -> str:
        """The id of a row, as the files have it."""
        return f"{int(self.ids[row]):016x}"

    def query(self, row: int, lang: int, *, paraphrase: bool = False) -> str:
        """The query of a row in the language with that column number, or its English paraphrase."""
        return self._text("query", row, lang, paraphrase)

    def passage(self, row: int, lang: int, *, paraphrase: bool = False) -> str:
        """The passage of a row in the language with that column number, or its English paraphrase."""
        return self._text("passage", row, lang, paraphrase)

    def negative(self, row: int, lang: int, k: int) -> str:
        """Hard negative `k` (from 0) of a row in the language with that column number."""
        return self._text(f"negative_{k + 1}", row, lang, False)

    def has_negatives(self, rows: np.ndarray, langs: np.ndarray) -> np.ndarray:
        """(n, hard_negatives) bool: which hard negatives these n rows have in the languages of these numbers."""
        return unpack_places(self.negatives[rows, langs], self.hard_negatives)

    def counts(self) -> dict[str, int]:
        """Pairs per language."""
        return dict(zip(self.languages, self.present.sum(axis=0).tolist(), strict=True))

    def counts_by_source(self) -> dict[str, int]:
        """Pairs per source, in whatever language."""
        return dict(zip(self.sources, np.bincount(self.source, minlength=len(self.sources)).tolist(), strict=True))

    def _text(self, column: str, row: int, lang: int, paraphrase: bool) -> str:
        texts = self._paraphrases if paraphrase else self._texts[lang]
        position = int(self._paraphrase_position[row] if paraphrase else self._position[row, lang])
        if texts is None or position < 0:
            kind = "as a paraphrase" if paraphrase else f"in {self.languages[lang]}"
            raise IndexError(f"pair {self.pair_id(row)} does not exist {kind}")
        return texts.text(column, position)

    def _taken(self, name: str, dtype: type) -> np.ndarray:
        """An array of the files brought into the order of the table, 0 where a pair does not exist."""
        further = getattr(self._texts[0], name).shape[1:]
        taken: np.ndarray = np.zeros((*self._position.shape, *further), dtype)
        for column, texts in enumerate(self._texts):
            here = self._position[:, column] >= 0
            taken[here, column] = getattr(texts, name)[self._position[here, column]]
        return taken

    def _bound_translations(self, number: int) -> None:
        """Leaves machine translations to the first `number` of the pairs that have any."""
        rows = np.flatnonzero(self.machine.any(axis=1))
        if not 0 <= number <= len(rows):
            raise DataError(
                f"{number} machine-translated pairs cannot be taken.",
                expected=f"a number from 0 to {len(rows)}, or all",
                found=str(number),
                remedy="lower num_translated, or translate more pairs",
            )
        without = np.ones(len(self), dtype=bool)
        without[rows[_first(self.ids[rows], number, "num_translated")]] = False
        self._position[self.machine & without[:, None]] = -1
        self.machine[without] = False

    def _usable_negatives(self) -> np.ndarray:
        """A text's negatives count where its whole list is as long as the English one: then k translates k.

        The whole lists are compared, since a list that lost its first entry may well have as many of the first few.
        """
        negatives = self._taken("negatives", np.uint8)
        if not self.hard_negatives:
            return negatives
        english, listed = self.languages.index(ENGLISH), self._taken("listed", np.int32)
        differs = (listed != listed[:, english, None]) & negatives.any(axis=2)
        if number := int(differs.sum()):
            log.info("the hard negatives of %d texts are not used: they are more or fewer than in English", number)
        negatives[differs] = 0
        # Without the English text nothing would say whether it is another row's passage.
        return negatives & negatives[:, english, None]

    def _add_paraphrases(self, texts: Texts) -> None:
        self._paraphrase_position = _positions(self.ids, texts.ids)
        self.paraphrased = self._paraphrase_position >= 0
        # A pair without a paraphrase has its own key twice, which changes nothing.
        for name in ("query_key", "passage_key"):
            own = getattr(self, f"{name}s")
            other = np.where(self.paraphrased, getattr(texts, name)[self._paraphrase_position], own[:, 0])
            setattr(self, f"{name}s", np.column_stack([own, other]))


def read_pairs(
    paths: Mapping[str, Path | str],
    num_pairs: int | None = None,
    *,
    num_translated: int | None = None,
    paraphrases: Path | str | None = None,
    hard_negatives: int = 0,
    text_cache: Path | None = None,
) -> PairTable:
    """Reads the parallel files of a study's training languages.

    Args:
        paths: language -> parallel/<lang>.parquet; English must be among them.
        num_pairs: Keep this many pairs; None keeps all. The choice depends on the pair ids alone, not on a
            seed or the languages, and a smaller number gives a subset of a larger one.
        num_translated: Of the pairs that are machine-translated into at least one of the languages, leave this many
            their machine translations; None leaves all. Texts that come with a source stay, in every language.
            Nested as `num_pairs`.
        paraphrases: parallel/paraphrase.parquet, second English texts of pairs; further pairs in it are left aside.
        hard_negatives: How many hard negatives of a text may be used; the first ones are.
        text_cache: Folder for the texts (`text_store`); None takes a temporary one.

    Raises:
        ConfigError: An unknown language, or no English.
        DataError: A file breaks its contract, or fewer than `num_pairs` pairs exist.
    """
    for lang in paths:
        language(lang)
    if ENGLISH not in paths:
        raise ConfigError(
            "English is not among the training languages.",
            expected="en, which says which pairs are false negatives of each other",
            found=" ".join(paths) or "no language",
            remedy="add en=BASE/parallel/en.parquet",
        )
    temporary = None if text_cache else tempfile.TemporaryDirectory(prefix="polybatch-texts-")
    folder = text_cache or Path(temporary.name)  # type: ignore[union-attr]
    table = PairTable(
        {
            lang: open_texts(path, folder, keyed=lang == ENGLISH, hard_negatives=hard_negatives)
            for lang, path in paths.items()
        },
        paraphrases=open_texts(paraphrases, folder, keyed=True) if paraphrases else None,
        num_pairs=num_pairs,
        num_translated=num_translated,
        hard_negatives=hard_negatives,
    )
    if temporary:
        temporary.cleanup()  # what is mapped stays readable
    return table


def _positions(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where in `among` each of the sorted `ids` stands, (len(ids),) int32; -1 for those that do not."""
    order = np.argsort(among, kind="stable").astype(np.int32)
    at = np.minimum(np.searchsorted(among[order], ids), len(among) - 1)
    found = order[at]
    return np.where(among[found] == ids, found, np.int32(-1))


def _named(english: Texts, at: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the sources in alphabetical order, and each row's place among them."""
    names = tuple(sorted(english.sources))
    place = np.array([names.index(name) for name in english.sources], dtype=np.int16)
    return names, place[english.source[at]]


def _check_pairs_are_known(texts: Mapping[str, Texts], english: np.ndarray) -> None:
    for lang, one in texts.items():
        unknown = one.ids[english[np.minimum(np.searchsorted(english, one.ids), len(english) - 1)] != one.ids]
        if len(unknown):
            raise DataError(
                f"{len(unknown)} pair(s) in {lang} are not in English.",
                where=one.path,
                expected=f"only pair ids that {texts[ENGLISH].path} holds",
                found=", ".join(f"{int(number):016x}" for number in unknown[:3]),
                remedy="make the files of all languages from the same collection",
            )


def _subset(ids: np.ndarray, num_pairs: int, path: Path | str) -> np.ndarray:
    if not 0 < num_pairs <= len(ids):
        raise DataError(
            f"{num_pairs} training pairs cannot be taken.",
            where=path,
            expected=f"a number from 1 to {len(ids)}, or all",
            found=str(num_pairs),
            remedy="lower num_pairs, or collect more pairs",
        )
    return np.sort(ids[_first(ids, num_pairs, "num_pairs")])


def _first(ids: np.ndarray, number: int, salt: str) -> np.ndarray:
    """Places of the `number` ids that come first in an order of their hashes: fewer are among more."""
    order = np.fromiter((unit_interval(salt, f"{identity:016x}") for identity in ids.tolist()), np.float64, len(ids))
    return np.argsort(order, kind="stable")[:number]
