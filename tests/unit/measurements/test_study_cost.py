"""What the default study costs: events of a training's clock, a kill, the breakdown of a call, results that are kept."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import toy_training

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json

sys.path.insert(0, str(Path(__file__).parents[3] / "measurements"))

import killed_training
import measure
import study_cost
import training_clock
from training_clock import BEGUN, ENDED, SAVED, STEP_BEGUN, STEP_DONE, VALIDATED, Event

ROOT = Path(__file__).parents[3]
# Two steps, with a checkpoint after the first.
EVENTS = [
    Event(100.0, BEGUN, 0),
    Event(101.0, STEP_BEGUN, 0),
    Event(103.0, STEP_DONE, 1),
    Event(103.5, VALIDATED, 1),
    Event(107.5, SAVED, 1),
    Event(107.75, STEP_BEGUN, 1),
    Event(109.75, STEP_DONE, 2),
    Event(110.0, ENDED, 2),
]
# A process that writes what the clock of a training writes, a step every twentieth of a second.
STEPS_OF_A_CHILD = """
import pathlib, sys, time
import training_clock
clock = pathlib.Path(sys.argv[1])
for step in range(1, 1 + int(sys.argv[2])):
    training_clock.write(clock, training_clock.STEP_DONE, step)
    if step % 4 == 0:
        training_clock.write(clock, training_clock.SAVED, step)
    time.sleep(0.05)
"""


class Child(killed_training.Training):
    """A training whose process is STEPS_OF_A_CHILD."""

    steps = 1000

    def command(self, folder: Path, clock: Path) -> list[str]:
        return [sys.executable, "-c", STEPS_OF_A_CHILD, str(clock), str(self.steps)]


def test_every_second_of_a_training_goes_into_one_part() -> None:
    parts = training_clock.parts(EVENTS)
    assert parts == {
        training_clock.STEPS: 4.0,
        training_clock.VALIDATION: 0.5,
        training_clock.CHECKPOINTS: 4.0,
        training_clock.BATCHES: 1.5,
    }
    assert sum(parts.values()) == EVENTS[-1].at - EVENTS[0].at
    assert training_clock.seconds_of_a_step(EVENTS) == 2.0


def test_a_line_that_was_not_written_to_its_end_is_no_event(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    assert training_clock.read(clock) == []
    clock.write_text("".join(json.dumps(event) + "\n" for event in EVENTS[:3]) + '[103.5, "val')
    assert training_clock.read(clock) == EVENTS[:3]
    assert training_clock.steps_done(EVENTS[:3]) == 1 and training_clock.steps_done([]) == 0


def test_a_training_with_a_clock_is_the_same_training(tmp_path: Path) -> None:
    study = toy_training.make_study(tmp_path / "study")
    plain, clocked = (toy_training.command(study, tmp_path / name) for name in ("plain", "clocked"))
    from polybatch.training import train

    train.main(plain)
    start = time.monotonic()
    training_clock.main([str(tmp_path / "clock"), *clocked])
    seconds = time.monotonic() - start
    weights = [next((tmp_path / name).glob("**/model.safetensors")).read_bytes() for name in ("plain", "clocked")]
    assert weights[0] == weights[1]
    events = training_clock.read(tmp_path / "clock")
    done = [event.step for event in events if event.what == STEP_DONE]
    assert done == list(range(1, len(done) + 1)) and training_clock.first_step(events).step == 0
    assert {event.what for event in events} == {BEGUN, STEP_BEGUN, STEP_DONE, VALIDATED, SAVED, ENDED}
    record = read_json(next((tmp_path / "clocked").glob("**/training.json")))
    assert 0 < sum(training_clock.parts(events).values()) < seconds
    assert 0 < record["seconds"] < seconds


def test_a_kill_comes_after_its_step_and_a_checkpoint(tmp_path: Path) -> None:
    child = Child(ROOT, (), 1)
    assert 4 <= killed_training.kill(child, tmp_path / "soon", step=1, wait=0) <= child.steps
    assert 7 <= killed_training.kill(child, tmp_path / "later", step=7, wait=0) <= child.steps


def test_a_training_that_ends_before_its_kill_is_told(tmp_path: Path) -> None:
    child = Child(ROOT, (), 1)
    object.__setattr__(child, "steps", 4)
    with pytest.raises(DataError, match="before it could be killed"):
        killed_training.kill(child, tmp_path / "over", step=5, wait=0)


def test_the_command_is_the_workflows_with_other_outputs(tmp_path: Path) -> None:
    words = ("--alpha", "0.25", "--options", '{"save_steps": 20}', "--checkpoints", "a", "--output", "b")
    training = killed_training.Training(tmp_path, words, 2)
    command = training.command(Path("/new"), Path("/clock"))
    start = command.index("training_clock")
    assert command[start + 1 :] == ["/clock", *words[:5], "/new/checkpoints", "--output", "/new/model"]
    assert training.save_steps == 20
    assert training.environment()["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path / "workflow")


def _trained(begun: float, sha256: str, events: list[Event]) -> killed_training.Trained:
    return killed_training.Trained(measure.Result(12.0, 12.0, 1, 2.0, 10.0), events, begun, sha256)


def test_goals_of_a_kill_tell_steps_lost_start_up_and_weights(tmp_path: Path) -> None:
    words = ("--options", '{"save_steps": 20}', "--output", "b")
    again = [event._replace(step=event.step + 20) for event in EVENTS]
    found = [killed_training.Killed(33, _trained(95.0, sha256, again)) for sha256 in ("same", "other")]
    training = killed_training.Training(tmp_path, words, 2)
    lost, start_up, equal = study_cost.kill_goals(training, _trained(97.0, "same", EVENTS), found)
    assert lost.number == 13 and lost.met and "went on from step 20" in lost.note
    assert start_up.number == 6 and equal.number == 0.5 and not equal.met


def test_a_call_is_broken_down_to_the_second(tmp_path: Path) -> None:
    old, new = (tmp_path / f"results/all/timings/{name}.tsv" for name in ("train/old", "train/new"))
    for path, seconds in ((old, 50.0), (new, 30.0), (tmp_path / "results/all/timings/tables/x.tsv", 2.5)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n")
    os.utime(old, (1, 1))
    jobs = study_cost.timings(tmp_path, since=2)
    assert jobs == {"train": 30.0, "tables": 2.5}
    call = study_cost.Call(measure.Result(40.0, 1.0, 1, 1.0), jobs, loop=20.0)
    tables, (goal,) = study_cost.added(call, _trained(97.0, "same", EVENTS))
    parts = tables["added: what its time goes into"]
    assert isinstance(parts, measure.Parts)
    # The clocked loop took 10 s, 4 of them steps; the call's took 20.
    assert parts.seconds["training: steps"] == 8.0 and goal.number == 5.0 and not goal.met
    assert parts.seconds["Snakemake, and between jobs"] == 7.5
    assert sum(parts.seconds.values()) == pytest.approx(40.0)


def test_parts_that_are_not_measured_stay_in_the_results(tmp_path: Path, capsys: Any) -> None:
    def write(part: str, value: float) -> dict[str, Any]:
        parts = measure.Parts({"steps": value, "all else": 1.0})
        goal = measure.Goal(f"{part}: time", value, 2, at_least=False)
        earlier = lambda title: not title.startswith(f"{part}:")  # noqa: E731
        path = measure.write("cost", {f"{part}: parts": parts}, [goal], folder=tmp_path, earlier=earlier)
        return read_json(path)

    write("whole", 1)
    write("added", 3)
    found = write("added", 4)
    assert list(found["measurements"]) == ["added: parts", "whole: parts"]
    assert [(goal["name"], goal["value"]) for goal in found["goals"]] == [("whole: time", 1), ("added: time", 4)]
    assert "| steps | 4 | 80.0% |" in capsys.readouterr().out
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(found | {"machine": {"processor": "another"}}))
    assert list(write("added", 5)["measurements"]) == ["added: parts"]


def test_the_study_is_run_as_make_demo_runs_it() -> None:
    assert f"$(SNAKEMAKE) {' '.join(study_cost.DEMO)}\n" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("wrong", ["no study", "made and given", "kept over"])
def test_folders_that_do_not_fit_are_told(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").touch()
    parts = ["added"] if wrong != "made and given" else ["whole"]
    finished, keep = (None, tmp_path) if wrong == "kept over" else (tmp_path, None)
    with pytest.raises(ConfigError):
        study_cost.checked(argparse.Namespace(finished=finished, keep=keep, parts=parts))
