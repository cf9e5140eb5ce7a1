"""A batch after it was embedded: what an objective computes its loss from.

inputs: embeddings of the student, as they are and projected to the teacher's width; embeddings of the teacher
outputs: `EmbeddedBatch`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polybatch.training.objectives.objective import SIDES


@dataclass(frozen=True)
class EmbeddedBatch:
    """The embeddings of one step's batch, of this process's rows.

    Attributes:
        own: Column -> (rows, width) float, the student's embeddings, not normalised by us.
        projected: Column -> (rows, the teacher's width) float, the student's embeddings where they are compared with
            the teacher's; the same as `own` where both are of one width.
        taught: Side -> (rows, the teacher's width) float, the teacher's embeddings of the English texts, without
            gradients.
        rank: InfoNCE of (queries, passages, hard negatives...), each (rows, width); a scalar.
        gather: Takes (rows, width) of this process to (batch_size, width) of all of them, with gradients.
        step: From 0.
    """

    own: Mapping[str, Tensor]
    projected: Mapping[str, Tensor]
    taught: Mapping[str, Tensor]
    rank: Callable[[list[Tensor]], Tensor]
    gather: Callable[[Tensor], Tensor]
    step: int

    def infonce(self) -> Tensor:
        """InfoNCE of the rows' queries over the passages and hard negatives of the whole batch."""
        return self.rank([self.own["query"], self.own["passage"], *self._negatives()])

    def candidates(self) -> Tensor:
        """(candidates, width): the passages and hard negatives of the whole batch, whoever embedded them."""
        return torch.cat([self.gather(one) for one in (self.own["passage"], *self._negatives())])

    def _negatives(self) -> list[Tensor]:
        return [tensor for column, tensor in self.own.items() if column.startswith("negative_")]

    def cut(self, width: int) -> EmbeddedBatch:
        """The same batch with the student's embeddings cut to their first numbers (Matryoshka); not for a teacher."""
        own = {column: tensor[:, :width] for column, tensor in self.own.items()}
        return EmbeddedBatch(own, own, self.taught, self.rank, self.gather, self.step)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over rows of 1 - cos, a scalar from 0 to 2; both (rows, width)."""
    with exact(student):
        return (1 - torch.nn.functional.cosine_similarity(full(student), full(teacher), dim=-1)).mean()


def squared_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over rows of the squared Euclidean distance, a scalar; both (rows, width)."""
    with exact(student):
        return (full(student) - full(teacher)).square().sum(dim=-1).mean()


def of_sides(batch: EmbeddedBatch, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The mean over query and passage of the distance between the row's own text and its teacher's English one."""
    return torch.stack([distance(batch.projected[side], batch.taught[side]) for side in SIDES]).mean()


def exact(tensor: Tensor) -> torch.autocast:
    """A context without autocast: differences as small as these losses are made of vanish in bf16."""
    return torch.autocast(tensor.device.type, enabled=False)


def full(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
