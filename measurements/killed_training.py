"""One training of a study by hand, with a clock in it: whole, and killed with SIGKILL and begun again.

inputs: the folder of a study, where all that the training reads is done; its command, as a dry run prints it
outputs: in folders of their own, which are removed, the trained model; numbers, in memory
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import measure
import training_clock
from project_copy import environment, write_steps
from training_clock import Event

from polybatch.core.errors import DataError
from polybatch.core.files import read_json, sha256_file

_LOOK_EVERY_S = 0.02
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Training:
    """A training of a study.

    Attributes:
        place: The study's folder, which is its working directory.
        arguments: Of polybatch.training.train.
        threads: As the study's other trainings have them.
    """

    place: Path
    arguments: tuple[str, ...]
    threads: int

    def argument(self, option: str) -> str:
        """The value of one of its options."""
        return self.arguments[self.arguments.index(option) + 1]

    @property
    def save_steps(self) -> int:
        """From one checkpoint to the next."""
        return int(json.loads(self.argument("--options"))["save_steps"])

    def command(self, folder: Path, clock: Path) -> list[str]:
        """The workflow's own, with the clock in it, and its outputs below a folder."""
        words = list(self.arguments)
        for option, name in (("--output", "model"), ("--checkpoints", "checkpoints")):
            words[words.index(option) + 1] = str(folder / name)
        launcher = [sys.executable, "-m", "polybatch.cluster.launch", "--gpu", "0", "--distributed"]
        return [*launcher, "training_clock", str(clock), *words]

    def environment(self) -> dict[str, str]:
        """The study's own code, and the clock."""
        ours = environment(self.place)
        return {**ours, "PYTHONPATH": f"{ours['PYTHONPATH']}{os.pathsep}{measure.HERE}"}


@dataclass(frozen=True)
class Trained:
    """A training that came to its end.

    Attributes:
        result: Of the process; its units are the steps that it trained, `inner_seconds` is the trainer's loop.
        events: Of its clock.
        begun: CLOCK_MONOTONIC before the process was started.
        sha256: Of the weights.
    """

    result: measure.Result
    events: Sequence[Event]
    begun: float
    sha256: str

    @property
    def start_up(self) -> float:
        """Seconds from the start of the process to its first step."""
        return training_clock.first_step(self.events).at - self.begun


@dataclass(frozen=True)
class Killed:
    """A training that was killed, and the one that went on from there.

    Attributes:
        reached: Steps that were done when it was killed.
        again: The process that came after it.
    """

    reached: int
    again: Trained

    @property
    def went_on_from(self) -> int:
        return training_clock.first_step(self.again.events).step

    @property
    def lost(self) -> int:
        return self.reached - self.went_on_from


def training_of(place: Path, configs: Sequence[str], alpha: float) -> Training:
    """The study's training of hybrid batches with this alpha, done or not.

    Raises:
        DataError: The study has none, or nothing tells on how many threads the workflow trains.
    """
    steps = read_json(write_steps(place, configs), list)
    found = [words for module, words, _ in steps if module == "training.train" and _alpha(words) == str(alpha)]
    if len(found) != 1:
        raise DataError(
            "There is no such training in a study.", where=place, expected=f"one with alpha {alpha}", found=len(found)
        )
    return Training(place, tuple(found[0]), _threads(place, Training(place, tuple(found[0]), 0).argument("--output")))


def _threads(place: Path, output: str) -> int:
    """Those of the workflow's own training where it is done, else those of the study's others."""
    own = place / output / "training.json"
    records = [own] if own.is_file() else sorted(place.glob("results/*/models/**/training.json"))
    found = {read_json(path)["threads"] for path in records}
    if len(found) != 1:
        raise DataError(
            "A training's number of threads is not known.",
            where=place,
            expected="trained models, all with as many threads",
            found=f"threads: {sorted(found) or 'nothing is trained'}",
            remedy="measure `added` too: it has the workflow train it",
        )
    return int(found.pop())


def _alpha(words: Sequence[str]) -> str:
    return words[words.index("--alpha") + 1] if "--alpha" in words else ""


def whole(training: Training, folder: Path) -> Trained:
    """The training from its begin to its end, or from the last checkpoint that is in the folder."""
    clock = folder / "clock.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    result = measure.run(
        training.command(folder, clock),
        threads=training.threads,
        cwd=training.place,
        env=training.environment(),
        units=1,
    )
    events = training_clock.read(clock)
    if not any(event.what == training_clock.STEP_BEGUN for event in events):
        raise DataError("A training had no step left to do.", where=folder, remedy="take another --seed")
    steps = training_clock.steps_done(events) - training_clock.first_step(events).step
    loop = events[-1].at - events[0].at
    sha256 = sha256_file(folder / "model" / WEIGHTS)
    shutil.rmtree(folder)
    return Trained(replace(result, units=steps, inner_seconds=loop), events, begun, sha256)


def killed(training: Training, unbroken: Trained, folder: Path, draw: random.Random) -> Killed:
    """The training, killed at a random moment after its first checkpoint, and begun again by the same command.

    The moment is a step, all of them alike, and a share of a step's time after it is done: in a forward or a backward
    pass, in a validation, or while a checkpoint is written.
    """
    first = next(event.step for event in unbroken.events if event.what == training_clock.SAVED)
    step = draw.randrange(first, training_clock.steps_done(unbroken.events))
    wait = draw.random() * training_clock.seconds_of_a_step(unbroken.events)
    reached = kill(training, folder, step, wait)
    return Killed(reached, whole(training, folder))


def kill(training: Training, folder: Path, step: int, wait: float) -> int:
    """Starts a training and kills it, so many seconds after it has done this step and saved a checkpoint.

    Returns:
        The steps that it had done.

    Raises:
        DataError: It came to its end before.
    """
    clock = folder / "killed.jsonl"
    folder.mkdir(parents=True)
    outside = {**os.environ, **training.environment(), "OMP_NUM_THREADS": str(training.threads)}
    with (folder / "killed.log").open("wb") as log:
        child = subprocess.Popen(
            training.command(folder, clock),
            cwd=training.place,
            env=outside,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own, which is killed as one
        )
    try:
        while child.poll() is None and not _is_far_enough(training_clock.read(clock), step):
            time.sleep(_LOOK_EVERY_S)
        time.sleep(wait)
    finally:
        over = child.poll() is not None
        if not over:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if over:
        told = (folder / "killed.log").read_text("utf-8", "replace")[-1500:]
        raise DataError("A training ended before it could be killed.", where=folder, found=told)
    return training_clock.steps_done(training_clock.read(clock))


def _is_far_enough(events: Sequence[Event], step: int) -> bool:
    return training_clock.steps_done(events) >= step and any(event.what == training_clock.SAVED for event in events)
