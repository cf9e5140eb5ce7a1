"""In which languages the rows of a batch are, drawn from a batch's own random numbers.

inputs: a `pairs.table.PairTable`, `sampling.Shares`, the rows of a batch
outputs: column numbers of the table; where pairs have a second English text, which of the two is taken
"""

from __future__ import annotations

import numpy as np

from polybatch.pairs.table import ENGLISH, PairTable
from polybatch.training.sampling import Shares, tempered


class LanguageDraws:
    """Draws the languages of batches.

    Args:
        table: The training pairs.
        shares: How often languages are drawn.
    """

    def __init__(self, table: PairTable, shares: Shares) -> None:
        self._table, self._english = table, table.languages.index(ENGLISH)
        self._shares: np.ndarray | None = None
        if shares.language_weights != "uniform":
            self._shares = tempered(table.present.sum(axis=0), shares.language_temperature)

    def of_batch(self, rng: np.random.Generator, kind: str) -> int | None:
        """The language of a monolingual batch, None for another."""
        if kind == "en-en":
            return self._english
        if kind != "x-x-mono":
            return None
        if self._shares is None:
            return int(rng.integers(len(self._table.languages)))
        return int(rng.choice(len(self._shares), p=self._shares))

    def of_rows(
        self, rng: np.random.Generator, kind: str, lang: int | None, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Languages of the queries and of the passages, two arrays (rows,) int64.

        Args:
            kind, lang: The kind of batch, and its language if it has one (`of_batch`).
            rows: (rows,) of the table.
        """
        if lang is not None:
            langs = np.full(len(rows), lang)
            return langs, langs
        present = self._table.present[rows]
        if self._shares is not None:
            query = _one_of_each(rng, present * self._shares)
            if kind == "x-x":
                return query, query
            present[np.arange(len(rows)), query] = False
            return query, _one_of_each(rng, present * self._shares)
        number = present.sum(axis=1)
        # Row i lists the languages that pair i exists in, then the others: a draw below number[i] picks one.
        langs = np.argsort(~present, axis=1, kind="stable")
        places = np.arange(len(rows))
        query = rng.integers(number)
        if kind == "x-x":
            return langs[places, query], langs[places, query]
        # Skipping the query's place makes all ordered pairs of different languages equally likely.
        passage = rng.integers(number - 1)
        passage += passage >= query
        return langs[places, query], langs[places, passage]

    def paraphrases(
        self, rng: np.random.Generator, rows: np.ndarray, query_langs: np.ndarray, passage_langs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which English queries and passages are paraphrases, two arrays (rows,) bool."""
        if self._table.paraphrased is None:
            none = np.zeros(len(rows), dtype=bool)
            return none, none
        drawn = rng.random((2, len(rows))) < 0.5
        query, passage = (
            drawn[i] & self._table.paraphrased[rows] & (langs == self._english)
            for i, langs in enumerate((query_langs, passage_langs))
        )
        return query, passage

    def second(self, rng: np.random.Generator, rows: np.ndarray, langs: np.ndarray) -> np.ndarray:
        """For each row another language that its pair exists in, (rows,) int64; its own where there is no other.

        Args:
            rows: (rows,) of the table.
            langs: (rows,) the language of each row's text.
        """
        others = self._table.present[rows]
        others[np.arange(len(rows)), langs] = False
        drawn = _one_of_each(rng, others * (1.0 if self._shares is None else self._shares))
        return np.where(others.any(axis=1), drawn, langs)


def _one_of_each(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """A column for each row, drawn in proportion to the weights."""
    above = np.cumsum(weights, axis=1)
    drawn = rng.random(len(weights)) * above[:, -1]
    return np.argmax(above > drawn[:, None], axis=1)
