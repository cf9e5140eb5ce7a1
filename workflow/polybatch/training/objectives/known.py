"""The objectives by name, and which options and samplings each can be used with.

inputs: the name of an objective, TrainingOptions, the name of a sampling
outputs: an `Objective`; what does not go together, for the faults of a configuration and of a command line
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polybatch.core import contracts
from polybatch.core.errors import ConfigError
from polybatch.core.options import Conflict
from polybatch.training.objectives.distillation import Distillation
from polybatch.training.objectives.infonce import InfoNCE
from polybatch.training.objectives.jsd import JSD
from polybatch.training.objectives.lakda import LaKDA
from polybatch.training.objectives.mimo import MIMO
from polybatch.training.objectives.objective import Objective
from polybatch.training.stages import validations_missing

if TYPE_CHECKING:
    from polybatch.training.options import TrainingOptions

_BY_NAME: dict[str, type[Objective]] = {one.name: one for one in (InfoNCE, LaKDA, JSD, Distillation, MIMO)}


def objective_of(name: str, options: TrainingOptions, sampling: str) -> Objective:
    """The objective of that name.

    Args:
        name: One of `contracts.OBJECTIVES`.
        options: Of the training, with `max_steps` in place of `epochs`.
        sampling: The name of its sampling.

    Raises:
        ConfigError: There is none, or the options or the sampling do not go with it; all that do not, in one error.
    """
    if name not in _BY_NAME:
        raise ConfigError("Unknown objective.", expected=", ".join(contracts.OBJECTIVES), found=name)
    refused = [f"{conflict.names[0]} {conflict.text}" for conflict in refused_options(name, options)]
    if text := refused_sampling(name, sampling):
        refused.append(f"sampling {sampling}: {text}")
    if refused:
        raise ConfigError(
            f"The objective {name} cannot be trained so.",
            expected="options and a sampling that go with it",
            found="; ".join(refused),
            remedy="change these, or take another objective",
        )
    return _BY_NAME[name](options)


def refused_options(name: str, options: TrainingOptions) -> Iterator[Conflict]:
    """One for each set of options that the objective cannot be trained with."""
    yield from _BY_NAME[name].refused_options(options)


def refused_sampling(name: str, sampling: str) -> str:
    """Why the objective cannot be trained with a sampling; "" if it can."""
    return _BY_NAME[name].refused_sampling(sampling)


def texts_of_a_row(name: str, hard_negatives: int) -> float:
    """How many texts a row costs to be trained on; one that a teacher reads is a third of one, without a way back."""
    one = _BY_NAME[name]
    return 2 + hard_negatives + len(one.second) + len(one.english) + len(one.taught) / 3


def student_columns(name: str, options: TrainingOptions) -> tuple[str, ...]:
    """What the student embeds besides queries, passages and hard negatives (`Objective.student_columns`)."""
    return _BY_NAME[name](options).student_columns


def validation_fault(name: str, options: TrainingOptions) -> Iterator[Conflict]:
    """One if no validation falls into the last stage of a training whose number of steps is given."""
    if options.epochs is not None:
        return
    stages = _BY_NAME[name](options).stages(options.max_steps)
    if len(stages) > 1 and (fault := validations_missing(stages, options.eval_steps)):
        yield Conflict(("eval_steps",), f"is too large for the objective {name}: {fault}")
