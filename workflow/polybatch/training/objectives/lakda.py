"""LaKDA: InfoNCE, and two languages of one query shall score the candidates alike.

(1 - a) InfoNCE(q_a, D) + a KL(p_b || p_a), where p_a and p_b are the softmax of the plain cosine similarities,
without a temperature, of one query in two languages with the candidates D of the batch. Both languages are trained:
no gradient is stopped. Source: Yang et al. (MRL 2024, arXiv 2509.06195), as MIMO's authors implement it
(github.com/yjoonjang/MIMO, commit b36c40f, `cached_lakda.py`), with a = .5.

inputs: embeddings of queries, of the same queries in a second language, of the batch's passages and hard negatives
outputs: a scalar
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybatch.training.objectives.objective import Objective, second_column

if TYPE_CHECKING:
    from torch import Tensor

    from polybatch.training.objectives.embedded import EmbeddedBatch


class LaKDA(Objective):
    """The second language of a row is any other that its pair exists in; `lakda_weight` is a."""

    name = "lakda"
    second = ("query",)

    def loss(self, batch: EmbeddedBatch) -> Tensor:
        divergence = divergence_of_scores(batch.own["query"], batch.own[second_column("query")], batch.candidates())
        weight = self.options.lakda_weight
        return (1 - weight) * batch.infonce() + weight * divergence


def divergence_of_scores(first: Tensor, second: Tensor, candidates: Tensor) -> Tensor:
    """The mean over queries of KL(p_second || p_first), a scalar, in nats.

    Args:
        first, second: (queries, width), embeddings of the same queries in two languages.
        candidates: (candidates, width).
    """
    from torch.nn.functional import kl_div, log_softmax, normalize

    from polybatch.training.objectives.embedded import exact, full

    with exact(candidates):
        texts = normalize(full(candidates), dim=-1)
        log_first, log_second = (
            log_softmax(normalize(full(queries), dim=-1) @ texts.T, dim=-1) for queries in (first, second)
        )
        return kl_div(log_first, log_second, reduction="batchmean", log_target=True)
