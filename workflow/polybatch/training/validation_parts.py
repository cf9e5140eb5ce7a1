"""How validation pairs are divided into batches, and those among the processes that train together.

inputs: a number of pairs, a seed, the processes
outputs: the rows that one of them embeds
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from polybatch.training.processes import Ranks


class ValidationPart(NamedTuple):
    """What one process embeds of a batch of validation pairs.

    Attributes:
        rows: Of the validation pairs.
        shared: Whether other processes embed the rest; otherwise each embeds the whole batch.
        size: Pairs of the whole batch.
    """

    rows: list[int]
    shared: bool
    size: int


def validation_parts(num_rows: int, batch_size: int, seed: int, ranks: Ranks) -> list[ValidationPart]:
    """How validation pairs are divided into batches, which depends on the seed alone, and those among processes.

    A last batch that does not divide is embedded by every process: each of its losses is over the same negatives.
    """
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = []
    for start in range(0, num_rows, batch_size):
        batch = order[start : start + batch_size]
        shared = ranks.several and len(batch) % ranks.world_size == 0
        parts.append(ValidationPart(batch[ranks.share(len(batch))] if shared else batch, shared, len(batch)))
    return parts
