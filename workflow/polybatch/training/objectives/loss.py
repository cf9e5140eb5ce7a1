"""Computes an objective's loss from tokenised texts: in one pass, in buckets, or with GradCache.

inputs: a step's columns, tokenised, in the order in which `trainer.TrainingPairs` gives them
outputs: a scalar; InfoNCE where a batch has queries and passages alone, as validation batches do

A column is embedded together with the others of its side. With GradCache (Gao et al., arXiv 2101.06983) the student's
texts are embedded twice, a few at a time, by the library's own machinery, and the loss in between is that of the
whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import all_gather_with_grad
from torch import Tensor, nn

from polybatch.encoders import packed
from polybatch.training.objectives.embedded import EmbeddedBatch
from polybatch.training.objectives.infonce import dims_of, in_passes
from polybatch.training.objectives.objective import SIDES, Objective, teacher_column
from polybatch.training.objectives.teacher import Teacher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.options import TrainingOptions

Features = dict[str, Any]
Embeddings = dict[str, Tensor]


class ObjectiveLoss(CachedLossMixin, nn.Module):
    """The loss that the trainer calls, for every objective but InfoNCE alone.

    Args:
        model: The student, with a `projection.Projection` if the teacher is of another width.
        objective: What is computed.
        options: Of the training.
        width: Of the student's own embeddings, behind which projected ones may stand; None where there is no teacher.
        teacher: Where the objective reads one.
        gather: Whether candidates come from all processes.

    Attributes:
        step: Of the batch that comes next, from 0; the trainer sets it.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        objective: Objective,
        options: TrainingOptions,
        *,
        width: int | None,
        teacher: Teacher | None,
        gather: bool,
    ) -> None:
        super().__init__()
        self.uses_gradient_cache = options.mini_batch_size is not None
        self.mini_batch_size = options.mini_batch_size or 0
        self.model = model if self.uses_gradient_cache else in_passes(model, options)
        self.step = 0
        self._infonce = MultipleNegativesRankingLoss(
            self.model, scale=1.0 / options.temperature, gather_across_devices=gather
        )
        self._objective, self._teacher, self._width = objective, teacher, width
        self._dims = [None] if options.matryoshka_dims is None else dims_of(model, options.matryoshka_dims)
        self._columns: list[str] = []
        self._taught: Embeddings = {}

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None = None) -> Tensor:
        named = self._named(list(sentence_features))
        self._taught = {
            side: self._teacher.embed(named.pop(teacher_column(side)))
            for side in SIDES
            if self._teacher and teacher_column(side) in named
        }
        self._columns = list(named)
        if self.uses_gradient_cache:
            return self.forward_cached(named.values())
        return self._loss(self._embedded(named))

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss from the embeddings of every few texts, as `CachedLossMixin` asks for it."""
        loss = self._loss({name: torch.cat(parts) for name, parts in zip(self._columns, reps, strict=True)})
        if with_backward:
            loss.backward()
            return loss.detach()
        return loss

    def _named(self, features: list[Features]) -> dict[str, Features]:
        """Column -> features; in a stage without candidates without hard negatives."""
        if len(features) == len(SIDES):
            return dict(zip(SIDES, features, strict=True))
        further = self._objective.columns
        number = len(features) - len(SIDES) - len(further)
        negatives = [f"negative_{k + 1}" for k in range(number)]
        named = dict(zip([*SIDES, *negatives, *further], features, strict=True))
        unused = [] if self._objective.has_candidates(self.step) else negatives
        return {name: value for name, value in named.items() if name not in unused}

    def _embedded(self, named: dict[str, Features]) -> Embeddings:
        together = packed.embed_columns(self.model, named.values())
        if together is not None:
            return dict(zip(named, together, strict=True))
        embeddings: Embeddings = {}
        queries = [name for name in named if name.endswith("query")]
        for group in (queries, [name for name in named if name not in queries]):
            columns = embed_columns(self.model, [named[name] for name in group], separate_first=False)
            embeddings.update(zip(group, columns, strict=True))
        return embeddings

    def _loss(self, embeddings: Embeddings) -> Tensor:
        """Of embeddings with what is projected behind them, (rows, width) or (rows, width + the teacher's)."""
        own = {name: tensor[:, : self._width] for name, tensor in embeddings.items()}
        projected = own
        if self._width is not None and embeddings["query"].shape[1] > self._width:
            projected = {name: tensor[:, self._width :] for name, tensor in embeddings.items()}
        batch = EmbeddedBatch(own, projected, self._taught, self._rank, self._gathered, self.step)
        validated = len(own) == len(SIDES) and not self._taught
        cuts = [batch if width is None else batch.cut(width) for width in self._dims]
        return torch.stack([cut.infonce() if validated else self._objective.loss(cut) for cut in cuts]).sum()

    def _rank(self, embeddings: list[Tensor]) -> Tensor:
        return self._infonce.compute_loss_from_embeddings(embeddings, torch.empty(0))  # it reads no labels

    def _gathered(self, embeddings: Tensor) -> Tensor:
        return all_gather_with_grad(embeddings) if self._infonce.gather_across_devices else embeddings
