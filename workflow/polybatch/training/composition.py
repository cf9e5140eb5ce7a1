"""What batches hold: counts over a training, and the same step by step.

inputs: a `pairs.PairTable` and the batches that a `batch_sampler.BatchSampler` draws from it
outputs: composition.json and batches.parquet of a trained model, and a line of shares for the log
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from polybatch.pairs.table import PairTable
    from polybatch.training.batch_sampler import Batch, BatchSampler

MONOLINGUAL = ("en-en", "x-x-mono")


class Tally:
    """Counts what batches hold."""

    def __init__(self, table: PairTable) -> None:
        self._table = table
        self.steps = self.rows = 0
        self._kinds: Counter[str] = Counter()
        self._monolingual: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._directions = np.zeros((len(table.languages), len(table.languages)), dtype=np.int64)
        self._negatives = {"given": 0, "random": 0}

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

    def counts(self) -> dict[str, Any]:
        """What `composition` returns, but for the distinct pairs and alpha."""
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


def composition(sampler: BatchSampler, num_steps: int) -> tuple[dict[str, Any], pa.Table]:
    """What the first `num_steps` steps hold, counted by drawing them again.

    Returns:
        The counts: `steps`, `rows`, `distinct_pairs`; `alpha` as run names spell it, or None; `batches`: kind -> steps;
        `monolingual_batches`: language -> steps of kind x-x-mono or en-en; `sources`: name -> `batches` and `rows`;
        `dropped_sources`: those that fill no batch; `directions`: "query_lang-passage_lang" -> rows;
        `hard_negatives`: those that are `given` by the data, those that were filled in at `random`.
        And the batches, one row a step: step (from 0), kind, source, lang (null where languages mix), alpha (null but
        for hybrid), hard_negatives (columns).
    """
    import pyarrow as pa

    tally, seen = Tally(sampler.table), np.zeros(len(sampler.table), dtype=bool)
    steps = []
    for step in range(num_steps):
        batch = sampler.draw(step)
        tally.add(batch)
        seen[batch.rows] = True
        steps.append(
            {
                "step": step,
                "kind": batch.kind,
                "source": sampler.table.sources[batch.source],
                "lang": sampler.table.languages[batch.query_langs[0]] if batch.kind in MONOLINGUAL else None,
                "alpha": sampler.alpha(step),
                "hard_negatives": batch.negative_rows.shape[1],
            }
        )
    counts = tally.counts()
    counts["distinct_pairs"] = int(seen.sum())
    counts["alpha"] = sampler.sampling.label
    counts["dropped_sources"] = sampler.dropped_sources
    return counts, pa.Table.from_pylist(steps, schema=batch_schema())


def batch_schema() -> pa.Schema:
    """The columns of batches.parquet; see `composition`."""
    import pyarrow as pa

    return pa.schema(
        [
            ("step", pa.int32()),
            ("kind", pa.dictionary(pa.int8(), pa.string())),
            ("source", pa.dictionary(pa.int16(), pa.string())),
            ("lang", pa.dictionary(pa.int8(), pa.string())),
            ("alpha", pa.float32()),
            ("hard_negatives", pa.int8()),
        ]
    )
