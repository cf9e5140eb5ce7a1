"""A training that is asked to stop (SIGTERM) saves a checkpoint at the end of its step, and ends.

inputs: SIGTERM: from Slurm before a job is preempted, cancelled or out of time, from a shell, from torch's launcher
outputs: a checkpoint, and a `TrainingStoppedError` that says how to go on

The checkpoint is one like any other: it holds no validation that was not due, does not count as the end, is the best
one only if it is, and a training that continues from it ends with the weights of one that was never stopped.

transformers has callbacks for this too (`enable_jit_checkpoint`); those wait three seconds, do not agree between
processes on the step, and write "the training has ended" into the checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from polybatch.core.errors import TrainingError
from polybatch.training.processes import Ranks


class TrainingStoppedError(TrainingError):
    """The training was asked to stop, and can be continued."""


@contextmanager
def noticing() -> Iterator[Callable[[], bool]]:
    """A context in which SIGTERM does not end the process; yields a function that says whether it has come."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


class AgreeAtStepEnd(TrainerCallback):
    """At the end of every step the processes agree on whether to stop there, and whether to log.

    Has to be the first callback, as others act on what it asks for.

    Args:
        ranks: The processes.
        stop: Whether this one has been asked to stop.
        log: Whether it wants a line.
    """

    def __init__(self, ranks: Ranks, stop: Callable[[], bool], log: Callable[[], bool]) -> None:
        self._ranks, self._stop, self._log = ranks, stop, log
        self._stopping = False
        self.interrupted = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stopping, log = self._ranks.any(self._stop(), self._log())
        control.should_log |= log
        control.should_save |= self._stopping

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Only now: the flag that ends a training is part of a checkpoint, and says there that it has ended.
        self.interrupted = self._stopping and not control.should_training_stop
        control.should_training_stop |= self._stopping


def stopped(step: int, num_steps: int) -> TrainingStoppedError:
    """The error that ends a training which was asked to stop: how far it came, and how it goes on."""
    return TrainingStoppedError(
        f"The training was asked to stop (SIGTERM), and saved a checkpoint at step {step} of {num_steps}.",
        remedy="run the same command again: it continues from there, to the same result",
    )
