"""What the workflow costs at the default study: all of it, one run more, a training that is killed, its starts.

- whole: the study by `snakemake`, as `make demo` calls it, and by one_process.py: the same stages with the same
  arguments, one after the other in one process, with all threads on both sides.
- added: one run more in the grid of the finished study: the whole call of `snakemake`, beside the steps of its training
  alone, and what the rest of the time goes into.
- killed: that training by the workflow's own command, whole, and killed with SIGKILL at a random moment after its first
  checkpoint and begun again.
- start: `polybatch --help`; a dry run of the study with nothing done; a run with nothing to do.

    python measurements/study_cost.py --parts whole --keep FOLDER
    python measurements/study_cost.py --parts added killed start --finished FOLDER

Parts that are not measured stay in the results as they are there, if the same machine measured them.

inputs: the project; the default study's wheels, which are fetched before anything is timed
outputs: <folder>/study_cost.json, .md, .svg; an error if the scores of both sides of `whole` differ
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import killed_training
import measure
import training_clock
import yaml
from killed_training import Killed, Trained
from project_copy import (
    BIN,
    OVERLAY,
    compare,
    copy_project,
    environment,
    fetched_wheels,
    give_wheels,
    jobs,
    one_process,
    read_scores,
    snakemake,
    write_overlay,
)

from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json, sha256_file

if TYPE_CHECKING:
    import pandas as pd

Measured = dict[str, measure.Measurement | measure.Growth | measure.Parts]
WHOLE, ADDED, KILLED, START = PARTS = ("whole", "added", "killed", "start")
# As `make demo` calls it: one training at a time, on two threads.
DEMO = ("--quiet", "rules", "--resources", "mem_mb=4000")
WORKFLOW, SCRIPT = "the workflow", "one process, all threads"
UNBROKEN, AGAIN = "unbroken", "begun again after the kill"
ALPHA = 0.25
ADDED_FILE = "added.yaml"
STARTS = 5
GOAL_WHOLE, GOAL_ADDED, GOAL_START_UP = 1.05, 1.1, 15
GOAL_HELP, GOAL_DRY_RUN, GOAL_IDLE = 0.3, 2, 5

# The same encoder with one layer and the pieces of two languages' text, on little of all.
QUICK: dict[str, Any] = {
    "study": {"name": "quick", "runs": [{"sampling": "hybrid", "alphas": [0.5], "seeds": [1]}]},
    "languages": {"train": ["en", "de"], "evaluate": ["en", "de"]},
    "encoders": {"e5-small": {"options": {"layers": 1, "vocabulary": "study"}}},
    "split": {"test_passages": 40, "dev_passages": 20, "parallel_in": ["de"]},
    "translation": {"languages": ["de"], "shards": 1},
    "training": {"max_steps": 12, "batch_size": 8, "eval_steps": 4, "save_steps": 4},
}


class Studies(NamedTuple):
    """Where studies are made, and which.

    Attributes:
        scratch: A folder.
        finished: The folder of the finished study; made by the workflow.
        configs: Files that are laid over config.yaml; none for the default study.
        rounds: How often things are measured that take long.
        seed: Of the moments at which a training is killed.
    """

    scratch: Path
    finished: Path
    configs: tuple[str, ...]
    rounds: int
    seed: int


def main(argv: list[str] | None = None) -> None:
    """Measures the parts that are asked for and writes them down with their goals."""
    parser = measure.arguments(__doc__, rounds=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which; all by default")
    parser.add_argument("--keep", type=Path, help="a new folder, where the workflow's finished study stays")
    parser.add_argument("--finished", type=Path, help="that folder, for all parts but `whole`; one run is added to it")
    parser.add_argument("--folder", type=Path, help="where all else is made; a temporary folder by default")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which a training is killed")
    args = checked(measure.settle(parser.parse_args(argv)))
    with tempfile.TemporaryDirectory(prefix="polybatch-cost-", dir=args.folder) as name:
        scratch = Path(name)
        finished = (args.finished or args.keep or scratch / "finished").absolute()
        studies = Studies(scratch, finished, (OVERLAY,) if args.quick else (), args.rounds, args.seed)
        measured, goals = _measure(studies, args)
    parts = tuple(f"{part}:" for part in args.parts)
    measure.write(
        "study_cost" + args.suffix, measured, goals, folder=args.out, earlier=lambda title: not title.startswith(parts)
    )


def checked(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments; raises a ConfigError where a folder is not what it must be."""
    if args.finished and (args.keep or WHOLE in args.parts):
        raise ConfigError("A finished study is not made once more.", where="--finished", remedy="leave `whole` out")
    if args.finished and not (args.finished / "results").is_dir():
        raise ConfigError("There is no study.", where=args.finished, expected="a folder that --keep left")
    if args.keep and args.keep.exists() and any(args.keep.iterdir()):
        raise ConfigError("A study is kept in a folder of its own.", where=args.keep, expected="a new folder")
    return args


def _measure(studies: Studies, args: argparse.Namespace) -> tuple[Measured, list[measure.Goal]]:
    """All parts. A run with nothing to do comes before a run is added, which the study's own tables do not have."""
    measured: Measured = {}
    goals: list[measure.Goal] = []

    def take(part: str, of_part: Callable[[], tuple[Measured, list[measure.Goal]]]) -> None:
        if part in args.parts:
            print(f"{part}:", file=sys.stderr)
            tables, wished = of_part()
            measured.update(tables)
            goals.extend(wished)

    take(WHOLE, lambda: whole(studies))
    if not args.finished and WHOLE not in args.parts:
        print("making the study", file=sys.stderr)
        fresh(studies.finished, studies)
        snakemake(studies.finished, DEMO, units=1, configs=studies.configs)
    take(START, lambda: starts(studies, 1 if args.quick else STARTS))
    if ADDED in args.parts or KILLED in args.parts:
        configs = add_a_run(studies)
        call = added_run(studies, configs) if ADDED in args.parts else None
        training = killed_training.training_of(studies.finished, configs, ALPHA)
        print(f"the training alone, {training.threads} thread(s)", file=sys.stderr)
        unbroken = killed_training.whole(training, studies.scratch / UNBROKEN)
        if call:
            take(ADDED, lambda: added(call, unbroken))
        take(KILLED, lambda: kills(training, unbroken, studies))
    return measured, goals


def fresh(place: Path, studies: Studies) -> None:
    """A copy of the project with the wheels, where nothing is done."""
    copy_project(measure.ROOT, place)
    if studies.configs:
        write_overlay(place, QUICK)
    give_wheels(place, fetched_wheels())


def whole(studies: Studies) -> tuple[Measured, list[measure.Goal]]:
    """The study by both, each time from nothing; that of the workflow stays, and scores are compared."""
    scores: dict[str, pd.DataFrame] = {}

    def workflow() -> measure.Result:
        fresh(studies.finished, studies)
        count = jobs(studies.finished, studies.configs)
        result = snakemake(studies.finished, DEMO, units=count, configs=studies.configs)
        scores[WORKFLOW] = read_scores(studies.finished)
        return result

    def script() -> measure.Result:
        place = studies.scratch / "script"
        fresh(place, studies)
        result = one_process(place, studies.configs)
        scores[SCRIPT] = read_scores(place)
        shutil.rmtree(place)
        compare(scores[WORKFLOW], scores[SCRIPT], exactly=False)
        return result

    study = measure.paired({WORKFLOW: workflow, SCRIPT: script}, studies.rounds, unit="jobs")
    furthest = (scores[WORKFLOW]["value"] - scores[SCRIPT]["value"]).abs().max()
    goal = measure.Goal(
        f"{WHOLE}: wall clock of the workflow, of that of {SCRIPT}",
        study.ratio(WORKFLOW, SCRIPT, "seconds"),
        GOAL_WHOLE,
        at_least=False,
        unit="x",
        note=f"Of {len(scores[SCRIPT]):,} means over queries none differs by more than {furthest:.2g}.",
    )
    return {f"{WHOLE}: {_study(studies)}": study}, [goal]


def _study(studies: Studies) -> str:
    return "a tiny study" if studies.configs else "the default study"


def starts(studies: Studies, rounds: int) -> tuple[Measured, list[measure.Goal]]:
    """What a user waits for before anything is computed; one round before is not counted, so that caches are warm."""
    undone = studies.scratch / "undone"
    fresh(undone, studies)
    program = BIN / "polybatch"
    command = [str(program)] if program.exists() else [sys.executable, "-m", "polybatch"]
    cases: dict[str, measure.Case] = {
        "polybatch --help": lambda: measure.run([*command, "--help"], env=environment(undone), units=1),
        "dry run, nothing done": lambda: snakemake(undone, ["-n"], units=1, configs=studies.configs),
        "nothing to do": lambda: snakemake(studies.finished, DEMO, units=1, configs=studies.configs),
    }
    measured = measure.paired(cases, rounds, unit="calls", warm=True)
    shutil.rmtree(undone)
    bounds = dict(zip(cases, (GOAL_HELP, GOAL_DRY_RUN, GOAL_IDLE), strict=True))
    goals = [
        measure.Goal(f"{START}: {name}", measured.median(name, "seconds"), bound, at_least=False, unit=" s")
        for name, bound in bounds.items()
    ]
    return {f"{START}: {_study(studies)}": measured}, goals


def add_a_run(studies: Studies) -> tuple[str, ...]:
    """Writes the overlay with one run more, and returns all configurations."""
    place = studies.finished
    runs: list[dict[str, Any]] = []
    for name in ("config.yaml", *studies.configs):
        runs = yaml.safe_load((place / name).read_text("utf-8")).get("study", {}).get("runs", runs)
    write_overlay(
        place, {"study": {"runs": [*runs, {"sampling": "hybrid", "alphas": [ALPHA], "seeds": [1]}]}}, ADDED_FILE
    )
    return (*studies.configs, ADDED_FILE)


class Call(NamedTuple):
    """One call of `snakemake` that adds a run.

    Attributes:
        result: Of the call.
        jobs: Stage -> seconds of its jobs, in the order in which they ended.
        loop: Seconds that the training's record tells: steps, validations and checkpoints.
    """

    result: measure.Result
    jobs: Mapping[str, float]
    loop: float


def added_run(studies: Studies, configs: Sequence[str]) -> Call:
    """Adds the run to the finished study; what an earlier call left of it goes first, from its tables too."""
    if left := list(studies.finished.glob(f"results/*/**/hybrid-a{ALPHA}")):
        for path in left:
            shutil.rmtree(path)
        snakemake(studies.finished, DEMO, units=1, configs=studies.configs)
    start = time.time()
    result = snakemake(studies.finished, DEMO, units=1, configs=configs)
    print(f"  {result.seconds:.2f} s", file=sys.stderr)
    (record,) = studies.finished.glob(f"results/*/models/*/hybrid-a{ALPHA}/**/training.json")
    return Call(result, timings(studies.finished, since=start), read_json(record)["seconds"])


def timings(place: Path, since: float) -> dict[str, float]:
    """Stage -> seconds of the jobs that ended after a moment, as the workflow's own records tell them."""
    found: dict[str, float] = {}
    files = [path for path in place.glob("results/*/timings/**/*.tsv") if path.stat().st_mtime >= since]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        name = path.parts[path.parts.index("timings") + 1]
        names, values = (line.split("\t") for line in path.read_text("utf-8").splitlines()[:2])
        found[name] = found.get(name, 0.0) + float(dict(zip(names, values, strict=True))["s"])
    return found


def breakdown(call: Call, unbroken: Trained) -> measure.Parts:
    """What the whole call's time went into.

    The training's record tells how long its loop took. Which share of it were steps is taken from the same training
    with a clock in it.
    """
    clocked = training_clock.parts(unbroken.events)
    share = call.loop / sum(clocked.values())
    parts = {f"training: {name}": seconds * share for name, seconds in clocked.items()}
    parts["training: start-up, and saving the model"] = call.jobs["train"] - call.loop
    parts |= {f"job: {name}": seconds for name, seconds in call.jobs.items() if name != "train"}
    parts["Snakemake, and between jobs"] = call.result.seconds - sum(call.jobs.values())
    return measure.Parts(parts)


def added(call: Call, unbroken: Trained) -> tuple[Measured, list[measure.Goal]]:
    """The whole call against the steps of its training alone: forward pass, backward pass, optimizer."""
    parts = breakdown(call, unbroken)
    steps = parts.seconds[f"training: {training_clock.STEPS}"]
    job = call.jobs["train"]
    note = (
        f"The call took {call.result.seconds:.1f} s, its training's steps {steps:.1f} s. The training's job is "
        f"{job / steps:.2f} times its steps ({job:.1f} s), its loop with validations and checkpoints "
        f"{call.loop / steps:.2f} times ({call.loop:.1f} s). The share of the steps is that of the same training with "
        f"a clock in it, whose loop took {unbroken.result.get('inner_seconds'):.1f} s."
    )
    goal = measure.Goal(
        f"{ADDED}: wall clock of the call that adds a run, of its training's steps",
        call.result.seconds / steps,
        GOAL_ADDED,
        at_least=False,
        unit="x",
        note=note,
    )
    whole_call = measure.Measurement({"one run more": [call.result]}, unit="runs")
    return {f"{ADDED}: the whole call": whole_call, f"{ADDED}: what its time goes into": parts}, [goal]


def kills(
    training: killed_training.Training, unbroken: Trained, studies: Studies
) -> tuple[Measured, list[measure.Goal]]:
    """The training killed and begun again, as often as there are rounds."""
    draw = random.Random(studies.seed)
    found = []
    for number in range(studies.rounds):
        one = killed_training.killed(training, unbroken, studies.scratch / f"killed-{number}", draw)
        print(f"  {_told(one)}; first step after {one.again.start_up:.1f} s", file=sys.stderr)
        found.append(one)
    cases = {UNBROKEN: [unbroken.result], AGAIN: [one.again.result for one in found[:1]]}
    table = measure.Measurement(cases, unit="steps", peer=UNBROKEN)
    return {f"{KILLED}: the training alone": table}, kill_goals(training, unbroken, found)


def _told(one: Killed) -> str:
    return f"killed after step {one.reached}, went on from step {one.went_on_from}"


def kill_goals(training: killed_training.Training, unbroken: Trained, found: Sequence[Killed]) -> list[measure.Goal]:
    """Steps lost, start-up of the process that goes on, and whether the weights are those of an unbroken training."""
    steps = training_clock.steps_done(unbroken.events)
    equal = sum(one.again.sha256 == unbroken.sha256 for one in found) / len(found)
    by_workflow = training.place / training.argument("--output") / killed_training.WEIGHTS
    same = by_workflow.is_file() and sha256_file(by_workflow) == unbroken.sha256
    told = "So are those of the workflow's own training, whose scores they therefore have." if same else ""
    return [
        measure.Goal(
            f"{KILLED}: steps that are lost",
            measure.Ratio(tuple(float(one.lost) for one in found)),
            training.save_steps,
            at_least=False,
            note=f"Of {steps} steps: {'; '.join(map(_told, found))}. A checkpoint every {training.save_steps} steps.",
        ),
        measure.Goal(
            f"{KILLED}: from the start of the process that goes on to its first step",
            measure.Ratio(tuple(one.again.start_up for one in found)),
            GOAL_START_UP,
            at_least=False,
            unit=" s",
            note=f"The unbroken training took {unbroken.start_up:.1f} s to its first step.",
        ),
        measure.Goal(
            f"{KILLED}: share of trainings that end with the weights of an unbroken one, bit by bit",
            equal,
            1,
            note=f"{training.threads} thread(s) each. {told}".strip(),
        ),
    ]


if __name__ == "__main__":
    stage.run(main)
