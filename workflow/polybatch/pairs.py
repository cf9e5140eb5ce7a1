"""The training pairs in all their languages: which pair exists in which language, and its texts.

inputs: parallel/<lang>.parquet (contracts.PARALLEL), one file a language, English among them
outputs: a `PairTable`, the one structure that batch sampling and training read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polybatch import contracts
from polybatch.errors import ConfigError, DataError
from polybatch.files import read_parquet
from polybatch.languages import language
from polybatch.text import text_key, unit_interval

if TYPE_CHECKING:
    import pyarrow as pa

ENGLISH = "en"


class PairTable:
    """Training pairs as rows, languages as columns. Build it with `read_pairs`.

    Attributes:
        languages: Codes of the training languages, in the order given.
        pair_ids: One id a row.
        present: (rows, languages) bool, whether the pair exists in the language.
        query_key, passage_key: (rows,) int64. Equal numbers mean equal English text (`text.text_key`): two
            such rows in one batch would be false negatives of each other.
    """

    def __init__(self, tables: Mapping[str, pa.Table], pair_ids: Sequence[str]) -> None:
        self.languages = tuple(tables)
        self.pair_ids = list(pair_ids)
        self._tables = tables
        row_of = {pair_id: row for row, pair_id in enumerate(self.pair_ids)}
        self._position = np.full((len(row_of), len(tables)), -1, dtype=np.int64)
        for column, table in enumerate(tables.values()):
            for position, pair_id in enumerate(table.column("pair_id").to_pylist()):
                if (row := row_of.get(pair_id)) is not None:
                    self._position[row, column] = position
        self.present = self._position >= 0
        english = self.languages.index(ENGLISH)
        positions = self._position[:, english]
        self.query_key = _codes(tables[ENGLISH].column("query").take(positions).to_pylist())
        self.passage_key = _codes(tables[ENGLISH].column("passage").take(positions).to_pylist())

    def __len__(self) -> int:
        return len(self.pair_ids)

    def query(self, row: int, lang: int) -> str:
        """The query of a row in the language with that column number."""
        return self._text("query", row, lang)

    def passage(self, row: int, lang: int) -> str:
        """The passage of a row in the language with that column number."""
        return self._text("passage", row, lang)

    def _text(self, side: str, row: int, lang: int) -> str:
        position = self._position[row, lang]
        if position < 0:
            raise IndexError(f"pair {self.pair_ids[row]} does not exist in {self.languages[lang]}")
        return self._tables[self.languages[lang]].column(side)[int(position)].as_py()

    def counts(self) -> dict[str, int]:
        """Pairs per language."""
        return dict(zip(self.languages, self.present.sum(axis=0).tolist(), strict=True))


def read_pairs(paths: Mapping[str, Path | str], num_pairs: int | None = None) -> PairTable:
    """Reads the parallel files of a study's training languages.

    Args:
        paths: language -> parallel/<lang>.parquet; English must be among them.
        num_pairs: Keep this many pairs; None keeps all. The choice depends on the pair ids alone, not on a
            seed or the languages, and a smaller number gives a subset of a larger one.

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
    tables = {lang: _read_parallel(lang, path) for lang, path in paths.items()}
    pair_ids = sorted(tables[ENGLISH].column("pair_id").to_pylist())
    _check_pairs_are_known(tables, set(pair_ids), paths)
    if num_pairs is not None:
        pair_ids = _subset(pair_ids, num_pairs, paths[ENGLISH])
    return PairTable(tables, pair_ids)


def parse_paths(flags: Sequence[str]) -> dict[str, Path]:
    """`["en=a.parquet", "de=b.parquet"]` -> language -> path; a ConfigError if one is malformed or twice."""
    paths: dict[str, Path] = {}
    for flag in flags:
        lang, _, path = flag.partition("=")
        if not lang or not path or lang in paths:
            raise ConfigError(
                "A language's file is given wrongly." if lang not in paths else f"{lang} is given twice.",
                expected="lang=path, each language once",
                found=flag,
            )
        paths[lang] = Path(path)
    return paths


def _read_parallel(lang: str, path: Path | str) -> pa.Table:
    import pyarrow.compute as pc

    table = read_parquet(path, contracts.PARALLEL).combine_chunks()
    if table.num_rows == 0:
        raise DataError(f"There is no pair in {lang}.", where=path, expected="at least one row", found="none")
    for side in contracts.PARALLEL.names:
        empty = pc.sum(pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(table[side])), 0), True))
        if number := empty.as_py():
            raise DataError(
                f"A {side} is empty or missing.",
                where=path,
                expected="text in every row",
                found=f"{number} of {table.num_rows} rows without",
            )
    if (distinct := pc.count_distinct(table["pair_id"]).as_py()) != table.num_rows:
        raise DataError(
            "A pair_id occurs more than once.",
            where=path,
            expected="one row a pair",
            found=f"{table.num_rows} rows, {distinct} distinct ids",
        )
    return table


def _check_pairs_are_known(tables: Mapping[str, pa.Table], english: set[str], paths: Mapping[str, Path | str]) -> None:
    for lang, table in tables.items():
        unknown = [i for i in table.column("pair_id").to_pylist() if i not in english]
        if unknown:
            raise DataError(
                f"{len(unknown)} pair(s) in {lang} are not in English.",
                where=paths[lang],
                expected=f"only pair ids that {paths[ENGLISH]} holds",
                found=", ".join(unknown[:3]),
                remedy="make the files of all languages from the same collection",
            )


def _subset(pair_ids: list[str], num_pairs: int, path: Path | str) -> list[str]:
    if not 0 < num_pairs <= len(pair_ids):
        raise DataError(
            f"{num_pairs} training pairs cannot be taken.",
            where=path,
            expected=f"a number from 1 to {len(pair_ids)}, or all",
            found=str(num_pairs),
            remedy="lower num_pairs, or collect more pairs",
        )
    order = sorted(pair_ids, key=lambda pair_id: unit_interval("num_pairs", pair_id))
    return sorted(order[:num_pairs])


def _codes(texts: Sequence[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text_key(text), len(numbers)) for text in texts], dtype=np.int64)
