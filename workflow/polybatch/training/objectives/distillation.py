"""Multilingual distillation: the student shall embed a text, in every language, as a teacher embeds its English.

The mean over query and passage of d(P(student(x)), teacher(en)) + d(P(student(en)), teacher(en)), where x is the text
in the language that the sampling drew; d is the squared Euclidean distance (Reimers and Gurevych, arXiv 2004.09813,
section 2), or the cosine distance. P is nothing where student and teacher are of one width (`projection`). No text is
compared with another row's: there are no negatives.

inputs: embeddings of queries and passages in the row's languages and in English, the teacher's of the English
outputs: a scalar
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polybatch.core.options import Conflict
from polybatch.training.objectives.objective import SIDES, Objective, english_column

if TYPE_CHECKING:
    from torch import Tensor

    from polybatch.training.objectives.embedded import EmbeddedBatch
    from polybatch.training.options import TrainingOptions


class Distillation(Objective):
    """`distillation_distance` is d. The vectors are what the encoders put out, whether they normalise or not."""

    name = "distillation"
    english = SIDES
    taught = SIDES

    def has_candidates(self, step: int) -> bool:
        return False

    def loss(self, batch: EmbeddedBatch) -> Tensor:
        import torch

        from polybatch.training.objectives.embedded import cosine_distance, of_sides, squared_distance

        distance = squared_distance if self.options.distillation_distance == "mse" else cosine_distance
        of_english = [distance(batch.projected[english_column(side)], batch.taught[side]) for side in SIDES]
        return of_sides(batch, distance) + torch.stack(of_english).mean()

    @classmethod
    def refused_options(cls, options: TrainingOptions) -> Iterator[Conflict]:
        if options.hard_negatives:
            yield Conflict(
                ("hard_negatives",), "has no use with the objective distillation, which compares no candidates"
            )
        yield from refused_lengths(cls.name, options)


def refused_lengths(name: str, options: TrainingOptions) -> Iterator[Conflict]:
    """A teacher's embedding says nothing of what the first numbers of it should be."""
    if options.matryoshka_dims is not None:
        yield Conflict(
            ("matryoshka_dims",),
            f"does not go with the objective {name}: a teacher's embedding cannot be cut to these lengths",
        )
