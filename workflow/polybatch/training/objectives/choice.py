"""Sets a training up for its objective: the module that computes the loss, the teacher, the student's projection.

inputs: an `Objective`, the student, a teacher
outputs: a torch module that the trainer calls
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybatch.training.objectives import infonce
from polybatch.training.objectives.objective import Objective

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.objectives.teacher import Teacher
    from polybatch.training.options import TrainingOptions


def ready(model: SentenceTransformer, teacher: Teacher | None, seed: int) -> None:
    """Gives the student a projection, in place, where the teacher's embeddings are of another width."""
    from polybatch.core.stage import log
    from polybatch.training.objectives import projection
    from polybatch.training.objectives.teacher import width_of

    if teacher is None or (width := width_of(model)) == teacher.width:
        return
    projection.add(model, width, teacher.width, seed)
    log.info("embeddings of %d numbers are projected to the teacher's %d, in training alone", width, teacher.width)


def loss_of(
    objective: Objective,
    model: SentenceTransformer,
    options: TrainingOptions,
    *,
    teacher: Teacher | None = None,
    gather: bool,
) -> Any:
    """The loss of an objective, a torch module.

    Args:
        objective: Which one.
        model: The student, after `ready`.
        options: Of the training.
        teacher: Where the objective has one.
        gather: Whether candidates come from all processes.
    """
    if isinstance(objective, infonce.InfoNCE):
        return infonce.loss_of(model, options, gather=gather)
    from polybatch.training.objectives.loss import ObjectiveLoss
    from polybatch.training.objectives.teacher import width_of

    width = width_of(model) if teacher else None
    return ObjectiveLoss(model, objective, options, width=width, teacher=teacher, gather=gather)
