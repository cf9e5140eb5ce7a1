"""The learning rate and the optimizer over a training of several stages.

inputs: `stages.Stage`s, the shape of the schedule (TrainingOptions `scheduler`, `warmup`)
outputs: a scheduler of torch; a callback that begins a stage

A training with one stage is scheduled by the library. Where there are more, each has its warmup and its fall, and its
own moments of AdamW, as if it were a training of its own that begins with the weights that the one before ended with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, get_scheduler

from polybatch.training.stages import Stage

if TYPE_CHECKING:
    from polybatch.training.options import TrainingOptions


def schedule(stages: Sequence[Stage], options: TrainingOptions, optimizer: Optimizer) -> LambdaLR:
    """The learning rate of every step of a training of several stages.

    Args:
        stages: In their order.
        options: `scheduler`; `warmup`, which every stage has: a number of steps, or below 1 a share of it.
        optimizer: Whose learning rate is set: that of the options times a factor.
    """
    parts = [(stage, _shape(options, stage.steps)) for stage in stages]

    def factor(step: int) -> float:
        for stage, shape in parts[:-1]:
            if step < stage.steps:
                return stage.learning_rate / options.learning_rate * float(shape(step))
            step -= stage.steps
        stage, shape = parts[-1]
        return stage.learning_rate / options.learning_rate * float(shape(step))

    return LambdaLR(optimizer, factor)


class NextStage(TrainerCallback):
    """Where a stage ends, AdamW forgets: the next one begins as a training of its own would."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._ends = set(itertools.accumulate(stage.steps for stage in stages[:-1]))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self._ends:
            kwargs["optimizer"].state.clear()


def _shape(options: TrainingOptions, steps: int) -> Any:
    """Step -> share of the peak, over a training of so many steps, as the library schedules it."""
    warmup = math.ceil(options.warmup * steps) if options.warmup < 1 else int(options.warmup)
    unused = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    return get_scheduler(options.scheduler, unused, warmup, steps).lr_lambdas[0]
