"""The stages of a training: how long each is, and how fast it learns.

inputs: none
outputs: `Stage`, and what follows from several of them

Only the last stage's weights are candidates for the ones that are kept: what comes before prepares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from polybatch.core.errors import ConfigError


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
        steps: How long it is, above 0.
        learning_rate: Its peak.
    """

    steps: int
    learning_rate: float


def first_step_of_last(stages: Sequence[Stage]) -> int:
    """The step, from 0, that the last stage begins with."""
    return sum(stage.steps for stage in stages[:-1])


def validations_missing(stages: Sequence[Stage], eval_steps: int) -> str:
    """Says which `eval_steps` would do, if no validation falls into the last stage; "" if one does."""
    begins, ends = first_step_of_last(stages), sum(stage.steps for stage in stages)
    if ends // eval_steps * eval_steps > begins:
        return ""
    return f"its last stage is of steps {begins + 1} to {ends}, and a multiple of eval_steps must be among them"


def check_validations(stages: Sequence[Stage], eval_steps: int) -> None:
    """Raises a ConfigError if no validation falls into the last stage, so that no weights could be chosen."""
    if fault := validations_missing(stages, eval_steps):
        raise ConfigError(
            f"No checkpoint of the training could be chosen: {fault}.",
            where="training.eval_steps",
            found=str(eval_steps),
            remedy="lower eval_steps, train longer, or make the stage before shorter",
        )
