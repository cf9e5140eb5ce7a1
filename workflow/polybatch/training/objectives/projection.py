"""A linear layer from the student's width to the teacher's, which is trained with the student and then left out.

inputs: a sentence-transformers model, the teacher's width
outputs: the model with the layer as its last module, and again without

As a module of the model it is part of whatever is done with the model's weights: gradients are averaged over
processes and clipped, the optimizer sees it, a checkpoint holds it. An embedding of such a model is the student's own
with the projected one behind it, so that buckets and GradCache, which hand on one tensor, hand on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_NAME = "to_teacher"


class Projection(nn.Module):
    """`sentence_embedding` (texts, width) becomes (texts, width + the teacher's).

    Args:
        width: Of the student's embeddings.
        teacher_width: Of the teacher's.
    """

    def __init__(self, width: int, teacher_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, teacher_width)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        own = features["sentence_embedding"]
        return {**features, "sentence_embedding": torch.cat([own, self.linear(own).to(own.dtype)], dim=-1)}


def add(model: SentenceTransformer, width: int, teacher_width: int, seed: int) -> None:
    """Puts a projection behind the model's modules, with weights that depend on the seed alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        projection = Projection(width, teacher_width)
    model.add_module(_NAME, projection.to(model.device))


def remove(model: SentenceTransformer) -> None:
    """Takes the projection out, if there is one: what is left is the encoder."""
    if hasattr(model, _NAME):
        delattr(model, _NAME)
