"""Which rows, in which languages, make up a training batch.

inputs: a `pairs.PairTable` and the name of a sampling
outputs: batch k, a pure function of (seed, k); what was drawn over a training, as counts

The samplings are those of Roy et al. (LAReQA, arXiv 2004.05484, section 4) and of Elmahdy et al. (arXiv
2408.10536, section 3.2), whose hybrid mixes whole batches: with probability alpha a monolingual batch, else a
cross-lingual one.

| sampling   | one batch holds                                                                        |
|------------|----------------------------------------------------------------------------------------|
| `en-en`    | English queries with English passages                                                  |
| `x-x`      | each row in a language of its own, the same for query and passage                      |
| `x-x-mono` | the whole batch in one language, drawn uniformly over the training languages           |
| `x-y`      | each row a query in one language with its passage in another, any two the pair exists in |
| `hybrid`   | an `x-x-mono` batch with probability alpha, else an `x-y` batch                         |

Because a batch depends on nothing but (seed, k), a resumed training continues with the very batches it would
have had, every process of a distributed step can draw the same step and take its own part, and what a
finished training has seen can be counted afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from polybatch.contracts import SAMPLINGS
from polybatch.errors import ConfigError, TrainingError
from polybatch.pairs import ENGLISH, PairTable

# Candidates are drawn at random from a pool that is this many times larger; a smaller pool is shuffled whole.
_ROOMY = 4
_SHUFFLES = 50


class Batch(NamedTuple):
    """One step's batch: `rows[i]`'s query in `query_langs[i]`, its passage in `passage_langs[i]`.

    The arrays are (batch_size,) int64; languages are column numbers of the pair table.
    """

    kind: str
    rows: np.ndarray
    query_langs: np.ndarray
    passage_langs: np.ndarray


@dataclass(frozen=True)
class Sampling:
    """A sampling by name; `alpha` is the share of monolingual batches in `hybrid` and unused elsewhere.

    Raises:
        ConfigError: The name is unknown, or alpha is missing or outside [0, 1].
    """

    name: str
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.name not in SAMPLINGS:
            raise ConfigError("Unknown sampling.", expected=", ".join(SAMPLINGS), found=self.name)
        if self.name == "hybrid" and (self.alpha is None or not 0.0 <= self.alpha <= 1.0):
            raise ConfigError(
                "Hybrid sampling needs alpha, the share of monolingual batches.",
                expected="a number from 0 to 1",
                found=str(self.alpha),
            )

    def kind(self, step: int, draw: float) -> str:
        """The kind of batch of a step, for a uniform `draw` from [0, 1).

        `step` is what a schedule of alpha would read; alpha is constant here.
        """
        if self.name != "hybrid":
            return self.name
        assert self.alpha is not None
        return "x-x-mono" if draw < self.alpha else "x-y"


class BatchSampler:
    """Draws the batches of a training; see the module's table.

    Iterating yields `num_steps` lists of (row, query_lang, passage_lang), which is what a torch DataLoader
    asks of a batch sampler. Under distributed training every process builds the sampler with its own rank and
    gets its slice of each step: one step has one kind (and one language, if monolingual) and no false
    negatives across processes.

    Args:
        table: The training pairs.
        sampling: Which kinds of batches.
        batch_size: Rows a step, over all processes.
        num_steps: Length of the training.
        seed: Another seed, other batches.
        rank, world_size: This process and how many there are; `world_size` must divide `batch_size`.

    Raises:
        TrainingError: A pool that the sampling draws from holds fewer rows than a batch.
    """

    def __init__(
        self,
        table: PairTable,
        sampling: Sampling,
        *,
        batch_size: int,
        num_steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ConfigError(
                "The batch cannot be divided among the processes.",
                expected=f"a batch_size that {world_size} divides",
                found=str(batch_size),
            )
        self.table, self.sampling = table, sampling
        self.batch_size, self.num_steps, self.seed = batch_size, num_steps, seed
        self._part = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._everything = np.arange(len(table))
        self._pools = [np.flatnonzero(table.present[:, lang]) for lang in range(len(table.languages))]
        self._num_langs = table.present.sum(axis=1)
        # Row i lists the languages that pair i exists in, then the others: a draw below _num_langs[i] picks one.
        self._langs = np.argsort(~table.present, axis=1, kind="stable")
        self._multilingual = np.flatnonzero(self._num_langs > 1)
        self._check_pools()

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for step in range(self.num_steps):
            _, *columns = self.draw(step)
            yield list(zip(*(column[self._part].tolist() for column in columns), strict=True))

    def draw(self, step: int) -> Batch:
        """The whole batch of a step (all processes' parts), from (seed, step) alone."""
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, step], dtype=np.uint64)))
        kind = self.sampling.kind(step, rng.random())
        if kind == "en-en":
            return self._draw_in_one_language(rng, kind, self.table.languages.index(ENGLISH))
        if kind == "x-x-mono":
            return self._draw_in_one_language(rng, kind, int(rng.integers(len(self._pools))))
        if kind == "x-x":
            return self._draw_same_language(rng)
        return self._draw_two_languages(rng)

    def _draw_in_one_language(self, rng: np.random.Generator, kind: str, lang: int) -> Batch:
        rows = self._draw_rows(rng, self._pools[lang], self.table.languages[lang])
        langs = np.full(self.batch_size, lang)
        return Batch(kind, rows, langs, langs)

    def _draw_same_language(self, rng: np.random.Generator) -> Batch:
        rows = self._draw_rows(rng, self._everything, "any language")
        langs = self._langs[rows, rng.integers(self._num_langs[rows])]
        return Batch("x-x", rows, langs, langs)

    def _draw_two_languages(self, rng: np.random.Generator) -> Batch:
        rows = self._draw_rows(rng, self._multilingual, "two languages")
        query = rng.integers(self._num_langs[rows])
        # Skipping the query's place makes all ordered pairs of different languages equally likely.
        passage = rng.integers(self._num_langs[rows] - 1)
        passage += passage >= query
        return Batch("x-y", rows, self._langs[rows, query], self._langs[rows, passage])

    def _draw_rows(self, rng: np.random.Generator, pool: np.ndarray, where: str) -> np.ndarray:
        """`batch_size` rows of the pool, no two with the same English query or the same English passage."""
        size = 2 * self.batch_size
        while size * _ROOMY <= len(pool):
            if (rows := self._compatible(pool[rng.integers(len(pool), size=size)])) is not None:
                return rows
            size *= 2
        for _ in range(_SHUFFLES):
            if (rows := self._compatible(rng.permutation(pool))) is not None:
                return rows
        raise self._too_few(where, f"{len(pool)} pairs, but too many share a query or a passage")

    def _compatible(self, candidates: np.ndarray) -> np.ndarray | None:
        """The first `batch_size` candidates that clash with none taken before them; None if there are fewer."""
        queries: set[int] = set()
        passages: set[int] = set()
        rows: list[int] = []
        keys = zip(
            candidates.tolist(),
            self.table.query_key[candidates].tolist(),
            self.table.passage_key[candidates].tolist(),
            strict=True,
        )
        for row, query, passage in keys:
            if query in queries or passage in passages:
                continue
            queries.add(query)
            passages.add(passage)
            rows.append(row)
            if len(rows) == self.batch_size:
                return np.array(rows)
        return None

    def _check_pools(self) -> None:
        pools: dict[str, np.ndarray] = {}
        if self.sampling.name == "en-en":
            pools[ENGLISH] = self._pools[self.table.languages.index(ENGLISH)]
        if self.sampling.name == "x-x":
            pools["any language"] = self._everything
        if self.sampling.name == "x-x-mono" or (self.sampling.name == "hybrid" and self.sampling.alpha):
            pools |= dict(zip(self.table.languages, self._pools, strict=True))
        if self.sampling.name == "x-y" or (self.sampling.name == "hybrid" and self.sampling.alpha != 1.0):
            pools["two languages"] = self._multilingual
        for where, pool in pools.items():
            keys = (self.table.query_key[pool], self.table.passage_key[pool])
            distinct = min(len(np.unique(key)) for key in keys)
            if distinct < self.batch_size:
                raise self._too_few(where, f"{len(pool)} pairs, at most {distinct} of them without a clash")

    def _too_few(self, where: str, found: str) -> TrainingError:
        return TrainingError(
            f"A {self.sampling.name} batch of {self.batch_size} rows cannot be filled from the pairs in {where}.",
            expected=f"{self.batch_size} pairs in {where} with different English queries and passages",
            found=found,
            remedy="lower batch_size, add pairs in that language, or leave the language out",
        )


def composition(sampler: BatchSampler, num_steps: int) -> dict[str, Any]:
    """What the first `num_steps` steps hold, counted by drawing them again.

    Returns:
        `steps`, `rows`, `distinct_pairs`; `batches`: kind -> steps; `monolingual_batches`: language -> steps of
        kind x-x-mono or en-en; `directions`: "query_lang-passage_lang" -> rows.
    """
    languages = sampler.table.languages
    kinds: Counter[str] = Counter()
    monolingual: Counter[str] = Counter()
    directions = np.zeros((len(languages), len(languages)), dtype=np.int64)
    seen = np.zeros(len(sampler.table), dtype=bool)
    for step in range(num_steps):
        batch = sampler.draw(step)
        kinds[batch.kind] += 1
        if batch.kind in ("en-en", "x-x-mono"):
            monolingual[languages[batch.query_langs[0]]] += 1
        np.add.at(directions, (batch.query_langs, batch.passage_langs), 1)
        seen[batch.rows] = True
    return {
        "steps": num_steps,
        "rows": num_steps * sampler.batch_size,
        "distinct_pairs": int(seen.sum()),
        "batches": dict(kinds),
        "monolingual_batches": dict(monolingual),
        "directions": {
            f"{languages[q]}-{languages[p]}": int(directions[q, p])
            for q, p in zip(*np.nonzero(directions), strict=True)
        },
    }
