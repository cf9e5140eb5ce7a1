"""A batch: which pairs it holds, in which languages; and counts over many batches.

inputs: row and column numbers of a `pairs.table.PairTable`
outputs: `Batch`, `Example`, `Tally`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from polybatch.pairs.table import PairTable


class Batch(NamedTuple):
    """One step's batch: `rows[i]`'s query in `query_langs[i]`, its passage in `passage_langs[i]`.

    Languages are column numbers of the pair table, `source` is the place of the source in it. The first three arrays
    are (batch_size,) int64.

    Attributes:
        query_paraphrased, passage_paraphrased: (batch_size,) bool, whether the English paraphrase stands for it.
        negative_rows: (batch_size, columns) int64, the pair that a hard negative is taken from.
        negative_places: (batch_size, columns) int8, which of that pair's hard negatives, or -1: its passage. Both are
            in the language of the row's own passage.
    """

    kind: str
    source: int
    rows: np.ndarray
    query_langs: np.ndarray
    passage_langs: np.ndarray
    query_paraphrased: np.ndarray
    passage_paraphrased: np.ndarray
    negative_rows: np.ndarray
    negative_places: np.ndarray
    second_langs: np.ndarray


class Example(NamedTuple):
    """One row of a batch, as the data loader hands it to the data set.

    Attributes:
        negatives: (pair, place) of each.
        second_langs: Of each side that is read a second time, in the order of the sampler's `second`.
    """

    row: int
    query_lang: int
    passage_lang: int
    query_paraphrased: bool = False
    passage_paraphrased: bool = False
    negatives: tuple[tuple[int, int], ...] = ()
    second_langs: tuple[int, ...] = ()


def examples(batch: Batch, part: slice) -> list[Example]:
    """The rows `part` of a batch as the data loader takes them, one `Example` a row."""
    negatives = zip(batch.negative_rows[part].tolist(), batch.negative_places[part].tolist(), strict=True)
    columns = (batch.rows, batch.query_langs, batch.passage_langs, batch.query_paraphrased, batch.passage_paraphrased)
    rows = zip(*(column[part].tolist() for column in columns), strict=True)
    second = map(tuple, batch.second_langs[part].tolist())
    return [
        Example._make((*values, tuple(zip(*pairs, strict=True)), langs))
        for values, pairs, langs in zip(rows, negatives, second, strict=True)
    ]


MONOLINGUAL = ("en-en", "x-x-mono")


class Tally:
    """Counts what batches hold.

    Args:
        table: What their numbers mean.
        second: The sides whose texts are read in a second language too.
    """

    def __init__(self, table: PairTable, second: Sequence[str] = ()) -> None:
        self._table, self._second = table, tuple(second)
        self.steps = self.rows = 0
        self._kinds: Counter[str] = Counter()
        self._monolingual: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._directions = np.zeros((len(table.languages), len(table.languages)), dtype=np.int64)
        self._negatives = {"given": 0, "random": 0}
        self._second_texts = {"parallel": 0, "own": 0}

    def add(self, batch: Batch) -> None:
        """Counts one batch."""
        self.steps += 1
        self.rows += len(batch.rows)
        self._kinds[batch.kind] += 1
        self._sources[self._table.sources[batch.source]] += 1
        if batch.kind in MONOLINGUAL:
            self._monolingual[self._table.languages[batch.query_langs[0]]] += 1
        np.add.at(self._directions, (batch.query_langs, batch.passage_langs), 1)
        given = int((batch.negative_places >= 0).sum())
        self._negatives["given"] += given
        self._negatives["random"] += batch.negative_places.size - given
        for column, side in enumerate(self._second):
            langs = batch.query_langs if side == "query" else batch.passage_langs
            parallel = int((batch.second_langs[:, column] != langs).sum())
            self._second_texts["parallel"] += parallel
            self._second_texts["own"] += len(langs) - parallel

    def counts(self) -> dict[str, Any]:
        """The counts that `composition.composition` returns, but for the distinct pairs and alpha."""
        size = self.rows // max(self.steps, 1)
        langs = self._table.languages
        return {
            "steps": self.steps,
            "rows": self.rows,
            "batches": dict(self._kinds),
            "monolingual_batches": dict(self._monolingual),
            "sources": {name: {"batches": n, "rows": n * size} for name, n in sorted(self._sources.items())},
            "directions": {
                f"{langs[q]}-{langs[p]}": int(self._directions[q, p])
                for q, p in zip(*np.nonzero(self._directions), strict=True)
            },
            "hard_negatives": dict(self._negatives),
            **({"second_texts": dict(self._second_texts)} if self._second else {}),
        }

    def line(self) -> str:
        """For a log: shares of kinds, sources and the queries' languages."""
        queries = dict(zip(self._table.languages, self._directions.sum(axis=1).tolist(), strict=True))
        parts = [_percentages(self._kinds), _percentages(queries)]
        if len(self._table.sources) > 1:
            parts.insert(1, _percentages(self._sources))
        return f"{self.steps} batches drawn: " + "; ".join(parts)


def _percentages(counts: Mapping[str, int]) -> str:
    whole = max(sum(counts.values()), 1)
    return ", ".join(f"{name} {count / whole:.0%}" for name, count in sorted(counts.items()))
