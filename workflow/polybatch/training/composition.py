"""Counts what the batches of a training hold: over all of it, and a row for each step.

inputs: a `pairs.table.PairTable` and the batches that a `batch_sampler.BatchSampler` draws from it
outputs: composition.json and batches.parquet of a trained model, and a line of shares for the log
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.training.batch import MONOLINGUAL, Tally

if TYPE_CHECKING:
    import pyarrow as pa

    from polybatch.training.batch_sampler import BatchSampler


def composition(sampler: BatchSampler, num_steps: int) -> tuple[dict[str, Any], pa.Table]:
    """What the first `num_steps` steps hold, counted by drawing them again.

    Returns:
        The counts: `steps`, `rows`, `distinct_pairs`; `alpha` as run names spell it, or None; `batches`: kind -> steps;
        `monolingual_batches`: language -> steps of kind x-x-mono or en-en; `sources`: name -> `batches` and `rows`;
        `dropped_sources`: those that fill no batch; `directions`: "query_lang-passage_lang" -> rows;
        `hard_negatives`: those that are `given` by the data, those that were filled in at `random`; where the objective
        reads texts in a second language, `second_texts`: those that are `parallel`, and those for which a pair's `own`
        text stands, because it exists in one language alone.
        And the batches, one row a step: step (from 0), kind, source, lang (null where languages mix), alpha (null but
        for hybrid), hard_negatives (columns).
    """
    import pyarrow as pa

    tally, seen = Tally(sampler.table, sampler.second), np.zeros(len(sampler.table), dtype=bool)
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
