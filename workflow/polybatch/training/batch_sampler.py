"""Which rows, in which languages, make up a training batch.

inputs: a `pairs.table.PairTable`, a `sampling.Sampling`, `sampling.Shares`
outputs: batch k, a pure function of (seed, k)

All rows of a batch come from one data source, drawn in proportion to how many pairs of that kind (and language, in an
`x-x-mono` batch) each source has, as in the second paper. `Shares` says how else sources and languages may be
drawn. Where pairs have a second English text, an English text is either of the two with equal probability.

Hard negatives are further candidates for every query of the batch. Candidate column k holds each row's k-th hard
negative in the language of the row's passage. A batch has the column if at least half of its rows have that negative;
a row that lacks it, or whose negative is another row's passage, gets a passage of another pair of the same source in
that language at random, that is, one more ordinary negative. A batch for which there is none goes without the column.

Because a batch depends on nothing but (seed, k), a resumed training continues with the very batches it would
have had, every process of a distributed step can draw the same step and take its own part, and what a
finished training has seen can be counted afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polybatch.core.errors import ConfigError, TrainingError
from polybatch.core.stage import log
from polybatch.pairs.table import ENGLISH, PairTable
from polybatch.training.batch import Batch, Example, Tally, examples
from polybatch.training.language_draws import LanguageDraws
from polybatch.training.processes import Ranks
from polybatch.training.sampling import Sampling, Shares, tempered

# Candidates are drawn at random from a pool that is this many times larger; a smaller pool is shuffled whole.
_ROOMY = 4
_SHUFFLES = 50
_FILL_ROUNDS = 50
_FILL = -1
# Where a pool's texts are counted, this many rows a batch row are looked at before the whole pool is.
_SAMPLED = 16


@dataclass(frozen=True)
class _Pool:
    """Rows that one kind of batch is drawn from, in one language if it is monolingual; source by source.

    Attributes:
        where: For messages.
        rows: int32, rows of the table, those of a source together and ascending.
        starts: Where the rows of source s begin; one longer than the number of sources.
        sources: Places of the sources that fill a batch.
        shares: How often each of them is drawn; they add up to 1.
    """

    where: str
    rows: np.ndarray
    starts: np.ndarray
    sources: np.ndarray
    shares: np.ndarray

    def of(self, source: int) -> np.ndarray:
        return self.rows[self.starts[source] : self.starts[source + 1]]


class BatchSampler:
    """Draws the batches of a training; see the module's text.

    Iterating yields `num_steps` lists of `Example`, which is what a torch DataLoader asks of a batch sampler. Under
    distributed training every process builds the sampler with its own rank and gets its slice of each step: one step
    has one kind, one source, the same number of hard negatives (and one language, if monolingual), and no false
    negatives across processes.

    Args:
        table: The training pairs.
        sampling: Which kinds of batches.
        batch_size: Rows a step, over all processes.
        num_steps: Length of the training.
        seed: Another seed, other batches.
        shares: How often sources and languages are drawn.
        second: The sides ("query", "passage") whose texts are read in a second language too. The batches are otherwise
            those of a sampler without.
        ranks: The processes that share every batch; None stands for one.

    Attributes:
        drawn: What iterating has drawn so far.

    Raises:
        ConfigError: A weight for a source that is not there; a batch that cannot be divided.
        TrainingError: Pools that the sampling draws from, or sources, hold fewer rows than a batch; all of them.
    """

    def __init__(
        self,
        table: PairTable,
        sampling: Sampling,
        *,
        batch_size: int,
        num_steps: int,
        seed: int,
        shares: Shares | None = None,
        second: Sequence[str] = (),
        ranks: Ranks | None = None,
    ) -> None:
        self.table, self.sampling, self.shares, self.second = table, sampling, shares or Shares(), tuple(second)
        self.batch_size, self.num_steps, self.seed = batch_size, num_steps, seed
        self._part = (ranks or Ranks()).share(batch_size)
        self._sizes = self._source_sizes()
        self._languages = LanguageDraws(table, self.shares)
        self._pools = dict(self._make_pools())
        self.dropped_sources = self._check_pools()
        self.drawn = Tally(table, self.second)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[Example]]:
        self.drawn = Tally(self.table, self.second)
        for step in range(self.num_steps):
            batch = self.draw(step)
            self.drawn.add(batch)
            yield examples(batch, self._part)

    def alpha(self, step: int) -> float | None:
        """The share of monolingual batches at a step; None but for hybrid."""
        schedule = self.sampling.schedule
        return schedule.at(step, self.num_steps) if schedule else None

    def draw(self, step: int) -> Batch:
        """The whole batch of a step (all processes' parts), from (seed, step) alone."""
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, step], dtype=np.uint64)))
        kind = self.sampling.kind(step, self.num_steps, rng.random())
        lang = self._languages.of_batch(rng, kind)
        pool = self._pools[kind, lang]
        source = int(pool.sources[0])
        if len(pool.sources) > 1:
            source = int(rng.choice(pool.sources, p=pool.shares))
        rows = self._draw_rows(rng, pool, source)
        query_langs, passage_langs = self._languages.of_rows(rng, kind, lang, rows)
        paraphrased = self._languages.paraphrases(rng, rows, query_langs, passage_langs)
        negatives = self._draw_negatives(rng, source, rows, passage_langs)
        langs = {"query": query_langs, "passage": passage_langs}
        # Drawn last, so that all else is the same whatever the objective reads besides.
        second = [self._languages.second(rng, rows, langs[side]) for side in self.second]
        second_langs = np.stack(second, axis=1) if second else np.zeros((len(rows), 0), dtype=np.int64)
        return Batch(kind, source, rows, query_langs, passage_langs, *paraphrased, *negatives, second_langs)

    # Rows

    def _draw_rows(self, rng: np.random.Generator, pool: _Pool, source: int) -> np.ndarray:
        """`batch_size` rows of a source's pool, no two with the same English query or the same English passage."""
        rows = pool.of(source)
        size = 2 * self.batch_size
        while size * _ROOMY <= len(rows):
            if (found := self._compatible(rows[rng.integers(len(rows), size=size)])) is not None:
                return found
            size *= 2
        for _ in range(_SHUFFLES):
            if (found := self._compatible(rng.permutation(rows))) is not None:
                return found
        where = f"{self._named(source)}{pool.where}"
        raise self._too_few([where], [f"{len(rows)} pairs, but too many share a query or a passage"])

    def _compatible(self, candidates: np.ndarray) -> np.ndarray | None:
        """The first `batch_size` candidates that clash with none taken before them; None if there are fewer."""
        queries: set[int] = set()
        passages: set[int] = set()
        rows: list[int] = []
        keys = zip(
            candidates.tolist(),
            self.table.query_keys[candidates].tolist(),
            self.table.passage_keys[candidates].tolist(),
            strict=True,
        )
        for row, query, passage in keys:
            if not (queries.isdisjoint(query) and passages.isdisjoint(passage)):
                continue
            queries.update(query)
            passages.update(passage)
            rows.append(row)
            if len(rows) == self.batch_size:
                return np.array(rows)
        return None

    # Hard negatives

    def _draw_negatives(
        self, rng: np.random.Generator, source: int, rows: np.ndarray, langs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pairs and places of the hard negatives, two arrays (batch_size, columns)."""
        if not self.table.hard_negatives:
            none = np.zeros((len(rows), 0), dtype=np.int64)
            return none, none.astype(np.int8)
        there = self.table.has_negatives(rows, langs)
        columns = int(np.logical_and.accumulate(2 * there.sum(axis=0) >= len(rows)).sum())
        keys = self.table.negative_keys[rows, :columns]
        there = there[:, :columns] & ~np.isin(keys, self.table.passage_keys[rows])
        from_rows = np.where(there, rows[:, None], _FILL)
        places = np.where(there, np.arange(columns), _FILL).astype(np.int8)
        for column in range(columns):
            lacking = np.flatnonzero(~there[:, column])
            filled = self._draw_fillers(rng, source, rows, langs[lacking])
            if filled is None:
                return from_rows[:, :column], places[:, :column]
            from_rows[lacking, column] = filled
        return from_rows, places

    def _draw_fillers(
        self, rng: np.random.Generator, source: int, rows: np.ndarray, langs: np.ndarray
    ) -> np.ndarray | None:
        """For each language a pair of the source that exists in it and clashes with none of `rows`; None if there is
        none for one of them."""
        pool = self._pools[_FILLERS].of(source)
        found = np.full(len(langs), _FILL)
        for _ in range(_FILL_ROUNDS):
            open_ = np.flatnonzero(found == _FILL)
            if not len(open_):
                return found
            drawn = pool[rng.integers(len(pool), size=len(open_))]
            fits = self._fits(drawn, rows) & self.table.present[drawn, langs[open_]]
            found[open_[fits]] = drawn[fits]
        free = pool[self._fits(pool, rows)]
        for place in np.flatnonzero(found == _FILL):
            left = free[self.table.present[free, langs[place]]]
            if not len(left):
                return None
            found[place] = left[rng.integers(len(left))]
        return found

    def _fits(self, candidates: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether a candidate shares no query and no passage with any of `rows`."""
        clashes = np.isin(self.table.query_keys[candidates], self.table.query_keys[rows]).any(axis=1)
        clashes |= np.isin(self.table.passage_keys[candidates], self.table.passage_keys[rows]).any(axis=1)
        return np.logical_not(clashes)

    # Pools

    def _make_pools(self) -> Iterator[tuple[Any, _Pool]]:
        present = self.table.present
        for kind in self.sampling.kinds():
            if kind == "en-en":
                english = self.table.languages.index(ENGLISH)
                yield (kind, english), self._pool(present[:, english], ENGLISH)
            elif kind == "x-x-mono":
                for lang, code in enumerate(self.table.languages):
                    yield (kind, lang), self._pool(present[:, lang], code)
            elif kind == "x-x":
                yield (kind, None), self._pool(np.ones(len(self.table), dtype=bool), "any language")
            else:
                yield (kind, None), self._pool(present.sum(axis=1) > 1, "two languages")
        if self.table.hard_negatives:
            yield _FILLERS, self._pool(np.ones(len(self.table), dtype=bool), "any language")

    def _pool(self, among: np.ndarray, where: str) -> _Pool:
        rows = np.flatnonzero(among).astype(np.int32)
        of = self.table.source[rows]
        if len(self.table.sources) > 1:
            order = np.argsort(of, kind="stable")
            rows, of = rows[order], of[order]
        starts = np.searchsorted(of, np.arange(len(self.table.sources) + 1))
        fit = [s for s in range(len(starts) - 1) if self._distinct(rows[starts[s] : starts[s + 1]]) >= self.batch_size]
        sizes = [self._sizes.get(s, starts[s + 1] - starts[s]) for s in fit]
        shares = tempered(np.array(sizes, dtype=np.float64), self.shares.source_temperature)
        return _Pool(where, rows, starts, np.array(fit, dtype=np.int64), shares)

    def _source_sizes(self) -> dict[int, float]:
        """Place of a source -> its weight, for those that have one."""
        unknown = sorted(set(self.shares.source_weights) - set(self.table.sources))
        if unknown:
            raise ConfigError(
                "There are weights for sources that have no pair.",
                expected="sources among " + ", ".join(self.table.sources),
                found=", ".join(unknown),
            )
        return {self.table.sources.index(name): weight for name, weight in self.shares.source_weights.items()}

    def _distinct(self, rows: np.ndarray) -> int:
        """How many of the rows can stand in a batch at most, or some number from batch_size on if that many can."""
        for part in (rows[: _SAMPLED * self.batch_size], rows):
            keys = (self.table.query_keys[part], self.table.passage_keys[part])
            distinct = min(len(np.unique(key[:, 0])) for key in keys)
            if distinct >= self.batch_size:
                break
        return distinct

    def _check_pools(self) -> list[str]:
        """Raises for all pools that fill no batch, and for all sources; returns the sources left out."""
        pools = [pool for key, pool in self._pools.items() if key != _FILLERS]
        empty = [pool for pool in pools if not len(pool.sources)]
        if empty:
            raise self._too_few([pool.where for pool in empty], [self._found_in(pool) for pool in empty])
        used = {int(source) for pool in pools for source in pool.sources}
        small = [source for source in range(len(self.table.sources)) if source not in used]
        names = [self.table.sources[source] for source in small]
        if not small:
            return []
        if self.shares.drop_small_sources:
            log.info("no batch can be filled from these sources, they are left out: %s", ", ".join(names))
            return names
        found = [
            f"{name}: {self._found(max((pool.of(source) for pool in pools), key=len))}"
            for source, name in zip(small, names, strict=True)
        ]
        raise TrainingError(
            f"A {self.sampling.name} batch of {self.batch_size} rows cannot be filled from the pairs of "
            f"{len(small)} source(s): {', '.join(names)}.",
            expected=f"{self.batch_size} pairs of each source with different English queries and passages",
            found="; ".join(found),
            remedy="lower batch_size, leave these sources out of the collection, give them pairs, "
            "or set drop_small_sources",
        )

    def _found_in(self, pool: _Pool) -> str:
        source = int(np.argmax(np.diff(pool.starts)))
        most = f", most in {self.table.sources[source]}" if len(self.table.sources) > 1 else ""
        return self._found(pool.of(source)) + most

    def _found(self, rows: np.ndarray) -> str:
        return f"{len(rows)} pairs, at most {self._distinct(rows)} of them without a clash"

    def _named(self, source: int) -> str:
        return f"{self.table.sources[source]}, " if len(self.table.sources) > 1 else ""

    def _too_few(self, where: list[str], found: list[str]) -> TrainingError:
        places = ", ".join(where)
        one_source = " of one source" if len(self.table.sources) > 1 else ""
        return TrainingError(
            f"A {self.sampling.name} batch of {self.batch_size} rows cannot be filled from the pairs in {places}.",
            expected=f"{self.batch_size} pairs{one_source} in {places} with different English queries and passages",
            found="; ".join(found) if len(found) == 1 else "; ".join(map(": ".join, zip(where, found, strict=True))),
            remedy="lower batch_size, add pairs in that language, or leave the language out",
        )


_FILLERS = ("hard negatives", None)
