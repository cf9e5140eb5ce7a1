"""MIMO: distillation on parallel text first, then distillation and InfoNCE together.

Stage 1 minimises D, stage 2 l InfoNCE + (1 - l) D, where D is the mean over query and passage of 1 -
cos(P(student(x)), teacher(en)), x being the text in the language that the sampling drew. P is a linear layer to the
teacher's width (`projection`), trained in both stages and left out of the model. Source: Jang et al. (arXiv
2605.31171) and their code (github.com/yjoonjang/MIMO, commit b36c40f): l = .2, similarities divided by a temperature
of .05, learning rates 1e-4 and 2e-5, linear, each with a warmup over the first tenth; rows are ordered pairs of two
different languages (x-y), and English is one of the languages, so that it is held in its place too.

Here the passages of all processes are candidates, and P lies in what is trained in parallel: in the published code
each card had its own negatives and its own P. The other differences are in docs/training.md.

inputs: embeddings of queries, passages and hard negatives, the teacher's of the English queries and passages
outputs: a scalar
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polybatch.core.options import Conflict
from polybatch.training.objectives.distillation import refused_lengths
from polybatch.training.objectives.objective import SIDES, Objective
from polybatch.training.stages import Stage, first_step_of_last

if TYPE_CHECKING:
    from torch import Tensor

    from polybatch.training.objectives.embedded import EmbeddedBatch
    from polybatch.training.options import TrainingOptions


class MIMO(Objective):
    """`mimo_stage1_share` says how long stage 1 is, `mimo_infonce_weight` is l."""

    name = "mimo"
    taught = SIDES

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__(options)
        self._stage_2_begins = first_step_of_last(self.stages(options.max_steps))

    def stages(self, num_steps: int) -> list[Stage]:
        first = round(self.options.mimo_stage1_share * num_steps)
        stages = [
            Stage(first, self.options.mimo_stage1_learning_rate),
            Stage(num_steps - first, self.options.mimo_stage2_learning_rate),
        ]
        return [stage for stage in stages if stage.steps]

    def has_candidates(self, step: int) -> bool:
        return step >= self._stage_2_begins

    def loss(self, batch: EmbeddedBatch) -> Tensor:
        from polybatch.training.objectives.embedded import cosine_distance, of_sides

        distance = of_sides(batch, cosine_distance)
        if not self.has_candidates(batch.step):
            return distance
        weight = self.options.mimo_infonce_weight
        return weight * batch.infonce() + (1 - weight) * distance

    @classmethod
    def refused_options(cls, options: TrainingOptions) -> Iterator[Conflict]:
        yield from refused_lengths(cls.name, options)
