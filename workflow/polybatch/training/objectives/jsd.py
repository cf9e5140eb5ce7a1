"""InfoNCE, and parallel texts shall have the same distribution over the dimensions of their embeddings.

InfoNCE + w (JSD(q_a, q_b) + JSD(p_a, p_b)) / 2, where a text of every row is read in a second language too, and
JSD(x, y) = (KL(X || M) + KL(Y || M)) / 2 with M = (X + Y) / 2 and X = softmax(sqrt(width) x / |x|).

After "Improving Semantic Proximity in Information Retrieval through Cross-Lingual Alignment" (arXiv 2604.05684, ICLR
2026), of which no more than the abstract and summaries could be read: that a Jensen-Shannon divergence between the
embeddings of parallel text is added to InfoNCE. So these are choices of ours: the distribution (a softmax over
dimensions, of embeddings scaled so that their dimensions have a mean square of 1, whatever their number: without
that, the softmax of a unit vector is flat, and the loss all but zero); the divergence and not its root, whose
gradient has no bound where two texts agree; queries and passages alike; any two languages and not English and
another; and the weight.

inputs: embeddings of queries and passages, in two languages each, and of hard negatives
outputs: a scalar
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from polybatch.training.objectives.objective import SIDES, Objective, second_column

if TYPE_CHECKING:
    from torch import Tensor

    from polybatch.training.objectives.embedded import EmbeddedBatch


class JSD(Objective):
    """The second language of a text is any other that its pair exists in; `jsd_weight` is w."""

    name = "jsd"
    second = SIDES

    def loss(self, batch: EmbeddedBatch) -> Tensor:
        import torch

        divergence = [divergence_of_dimensions(batch.own[side], batch.own[second_column(side)]) for side in SIDES]
        return batch.infonce() + self.options.jsd_weight * torch.stack(divergence).mean()


def divergence_of_dimensions(first: Tensor, second: Tensor) -> Tensor:
    """The mean over rows of the Jensen-Shannon divergence, a scalar from 0 to ln 2, in nats.

    Args:
        first, second: (rows, width), embeddings of parallel texts.
    """
    import torch

    from polybatch.training.objectives.embedded import exact, full

    with exact(first):
        logs = [
            torch.log_softmax(one.shape[-1] ** 0.5 * torch.nn.functional.normalize(full(one), dim=-1), dim=-1)
            for one in (first, second)
        ]
        middle = torch.logaddexp(*logs) - math.log(2)
        parts = [torch.nn.functional.kl_div(middle, one, reduction="batchmean", log_target=True) for one in logs]
        return torch.stack(parts).mean()
