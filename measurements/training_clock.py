"""A training that leaves on record when each of its steps, validations and checkpoints was over; and what that says.

    python -m polybatch.cluster.launch --gpu 0 training_clock CLOCK <the arguments of polybatch.training.train>

The stage itself, with one callback more: a line is written at once to the file CLOCK for each event, so that it is
there when the process is killed a moment later. Times are those of CLOCK_MONOTONIC, which all processes of a machine
share.

inputs: the arguments of polybatch.training.train
outputs: CLOCK, a line of JSON for each event (`Event`); what the stage writes
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.core import stage

BEGUN, STEP_BEGUN, STEP_DONE, VALIDATED, SAVED, ENDED = (
    "begun",
    "step begun",
    "step done",
    "validated",
    "saved",
    "ended",
)
# What a training's loop spends its time with, by the event that ends it.
STEPS, VALIDATION, CHECKPOINTS, BATCHES = "steps", "validation", "checkpoints", "batches and all else"
_ENDS = {STEP_DONE: STEPS, VALIDATED: VALIDATION, SAVED: CHECKPOINTS, STEP_BEGUN: BATCHES, ENDED: BATCHES}


class Event(NamedTuple):
    """Something that was over or began.

    Attributes:
        at: Seconds of CLOCK_MONOTONIC.
        what: BEGUN, STEP_BEGUN, STEP_DONE, VALIDATED, SAVED, ENDED.
        step: Steps that were done by then.
    """

    at: float
    what: str
    step: int


def read(clock: Path) -> list[Event]:
    """The events so far; none where there is no file yet. A last line that is still being written is left out."""
    if not clock.exists():
        return []
    *lines, _ = clock.read_text("utf-8").split("\n")
    return [Event(*json.loads(line)) for line in lines]


def parts(events: Sequence[Event]) -> dict[str, float]:
    """Seconds of a training's loop, by what they went into; together all from its begin to its end.

    STEPS is forward pass, backward pass and optimizer alone; drawing, reading and tokenizing batches is BATCHES.
    """
    spent = dict.fromkeys((STEPS, VALIDATION, CHECKPOINTS, BATCHES), 0.0)
    for before, event in itertools.pairwise(events):
        spent[_ENDS[event.what]] += event.at - before.at
    return spent


def first_step(events: Iterable[Event]) -> Event:
    """The moment when a training's first step began, and the steps that were done before: those it went on from."""
    return next(event for event in events if event.what == STEP_BEGUN)


def steps_done(events: Iterable[Event]) -> int:
    """How many steps were done, those of an earlier process among them."""
    return max((event.step for event in events if event.what == STEP_DONE), default=0)


def seconds_of_a_step(events: Sequence[Event]) -> float:
    """The median step, in seconds."""
    pairs = itertools.pairwise(events)
    return statistics.median(after.at - before.at for before, after in pairs if after.what == STEP_DONE)


def write(clock: Path, what: str, step: int) -> None:
    """Appends an event of now, unbuffered: what is written stays when the process is killed."""
    with clock.open("ab", buffering=0) as file:
        file.write(json.dumps(Event(time.monotonic(), what, step)).encode() + b"\n")


def write_into(clock: Path) -> Any:
    """The callback that writes the events of a training into a file, which is begun anew."""
    from transformers import TrainerCallback

    clock.unlink(missing_ok=True)

    class Clock(TrainerCallback):
        """A line an event."""

    def writer(what: str) -> Any:
        def on_event(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            write(clock, what, state.global_step)

        return on_event

    events: Mapping[str, str] = {
        "on_train_begin": BEGUN,
        "on_step_begin": STEP_BEGUN,
        "on_step_end": STEP_DONE,
        "on_evaluate": VALIDATED,
        "on_save": SAVED,
        "on_train_end": ENDED,
    }
    for name, what in events.items():
        setattr(Clock, name, writer(what))
    return Clock()


def main(argv: list[str] | None = None) -> None:
    """Trains, and writes the events down."""
    with stage.importing():
        from polybatch.training import train, trainer

    clock, *arguments = sys.argv[1:] if argv is None else argv
    callback, watching = write_into(Path(clock).absolute()), trainer.callbacks
    trainer.callbacks = lambda *args, **kwargs: [*watching(*args, **kwargs), callback]
    try:
        train.main(arguments)
    finally:
        trainer.callbacks = watching


if __name__ == "__main__":
    stage.run(main)
