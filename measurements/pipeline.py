"""What the workflow costs: a study by Snakemake against the same stages in one process; runs with nothing to do; plans.

- A study, from the wheel to the tables, by `snakemake` and by one_process.py: the same stages with the same arguments,
  one after the other in one process with all threads. By default it is the default study with one seed of two of its
  samplings (SOME), because the whole takes many minutes a side; `--full` takes the whole. `--one-thread` runs the
  script with one thread as well, and holds the workflow against the faster of the two.
- The workflow again when all is done.
- Dry runs of studies of about 250, 1,000 and 4,000 jobs, of which none is done.

inputs: the project; the default study's wheel, which is fetched before anything is timed
outputs: <folder>/pipeline.json, .md, .svg; an error if the scores of both sides differ
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
from project_copy import (
    OVERLAY,
    compare,
    copy_project,
    fetched_wheels,
    give_wheels,
    jobs,
    one_process,
    read_scores,
    snakemake,
    write_overlay,
)

from polybatch.core import stage

if TYPE_CHECKING:
    import pandas as pd

# Short trainings from random weights, which a workflow costs most: once the default study.
STUDY = "workflow/studies/scratch.yaml"
CONFIGS = (STUDY, OVERLAY)

# In fp32, whose sums differ little with the number of threads; a processor with bf16 would train in that by itself.
EXACT: dict[str, Any] = {"training": {"precision": "fp32"}}
# The default study's shape (data, languages, translation, encoder, steps, benchmark) with fewer runs.
SOME: dict[str, Any] = EXACT | {
    "study": {
        "name": "some",
        "runs": [
            {"sampling": "x-y", "seeds": [1]},
            {"sampling": "hybrid", "alphas": [0.5], "seeds": [1]},
        ],
    }
}
QUICK: dict[str, Any] = {
    "study": {"name": "quick", "runs": [{"sampling": "hybrid", "alphas": [0.5], "seeds": [1]}]},
    "languages": {"train": ["en", "de"], "evaluate": ["en", "de"]},
    "translation": {"languages": ["de"], "shards": 1},
    "training": {"precision": "fp32", "max_steps": 2, "eval_steps": 1, "save_steps": 1},
}
JOBS_PER_RUN = 4  # train, encode, index, score
PLANNED = (250, 1000, 4000)
WORKFLOW = "the workflow"
# The script and its threads.
ONE_THREAD, ALL_THREADS = {"one process, one thread": 1}, {"one process, all threads": measure.cores()}


def main(argv: list[str] | None = None) -> None:
    """Measures all three and writes them down with their goals."""
    parser = measure.arguments(__doc__, rounds=1)
    parser.add_argument("--full", action="store_true", help="the whole default study: many minutes a round")
    parser.add_argument("--one-thread", action="store_true", help="the script with one thread as well")
    parser.add_argument("--folder", type=Path, help="where the studies are run; a temporary folder by default")
    args = measure.settle(parser.parse_args(argv))
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        copy_project(measure.ROOT, folder / "base")
        overlay = QUICK if args.quick else EXACT if args.full else SOME
        scripts = ONE_THREAD if args.quick else ALL_THREADS | (ONE_THREAD if args.one_thread else {})
        study = studies(folder, overlay, args.rounds, scripts)
        idle = nothing_to_do(folder / "workflow", args.rounds)
        dry = dry_runs(folder, PLANNED[:1] if args.quick else PLANNED, args.rounds)
    title = "a tiny study" if args.quick else "the default study" if args.full else "two runs of the default study"
    measurements: dict[str, measure.Measurement | measure.Growth] = {title: study, "nothing to do": idle}
    measurements["dry runs"] = dry
    measure.write("pipeline", measurements, goals(study, idle, dry), folder=args.out)


def goals(study: measure.Measurement, idle: measure.Measurement, dry: measure.Growth) -> list[measure.Goal]:
    """What was wished for: total overhead, a run with nothing to do, a plan of a thousand jobs, and its growth."""
    thousand = sorted(dry.sizes)[min(1, len(dry.sizes) - 1)]
    found = [
        measure.Goal(
            f"wall clock of the workflow, of that of {study.peer}",
            study.ratio(WORKFLOW, study.peer, "seconds"),
            1.15,
            at_least=False,
            unit="x",
            note="Independent jobs run side by side in the workflow, one thread each; the script does them in turn.",
        ),
        measure.Goal("a run with nothing to do", idle.median("no-op run", "seconds"), 5, at_least=False, unit=" s"),
        measure.Goal(f"dry run of {thousand:,} jobs", dry.median(thousand), 15, at_least=False, unit=" s"),
    ]
    if len(dry.sizes) > 1:
        exponent = dry.exponent("seconds", since=thousand)
        found.append(measure.Goal("exponent of a dry run's time against jobs", exponent, 1.1, at_least=False))
    return found


def studies(folder: Path, overlay: dict[str, Any], rounds: int, scripts: dict[str, int]) -> measure.Measurement:
    """The study by all, each time in a fresh copy of the project; the last copy of the workflow stays.

    With one thread on both sides, as the workflow gives each job, the scores must be equal to the last bit. The peer is
    the fastest of the scripts (name -> threads).
    """
    wheels = fetched_wheels(STUDY)
    scores: dict[str, pd.DataFrame] = {}

    def fresh(name: str) -> Path:
        place = folder / name.rsplit(maxsplit=1)[-1]
        copy_project(folder / "base", place)
        write_overlay(place, overlay)
        give_wheels(place, wheels)
        return place

    def workflow() -> measure.Result:
        place = fresh(WORKFLOW)
        count = jobs(place, CONFIGS)
        result = snakemake(place, ["--quiet", "all"], units=count, configs=CONFIGS)
        scores[WORKFLOW] = read_scores(place)
        return result

    def script(name: str, threads: int) -> measure.Result:
        place = fresh(name)
        result = one_process(place, CONFIGS, threads)
        scores[name] = read_scores(place)
        return result

    cases: dict[str, measure.Case] = {WORKFLOW: workflow}
    cases |= {name: partial(script, name, threads) for name, threads in scripts.items()}
    measured = measure.paired(cases, rounds, unit="jobs")
    for name, threads in scripts.items():
        compare(scores[WORKFLOW], scores[name], exactly=threads == 1)
    return replace(measured, peer=min(scripts, key=lambda name: measured.median(name, "seconds")))


def nothing_to_do(place: Path, rounds: int) -> measure.Measurement:
    """The workflow in a folder where everything is done: it reads the config, builds the graph, and looks at files."""

    def idle() -> measure.Result:
        return snakemake(place, ["--quiet", "all"], units=1, configs=CONFIGS)

    return measure.paired({"no-op run": idle}, max(3, rounds), unit="runs")


def dry_runs(folder: Path, sizes: Sequence[int], rounds: int) -> measure.Growth:
    """Dry runs of studies of at least so many jobs: more and more seeds, nothing done, all printed."""
    place = folder / "planned"
    copy_project(folder / "base", place)
    write_overlay(place, many_runs(1))
    others = jobs(place, CONFIGS) - len(SOME["study"]["runs"]) * JOBS_PER_RUN

    def dry(size: int) -> Callable[[], measure.Result]:
        def planned() -> measure.Result:
            seeds = math.ceil((size - others) / len(SOME["study"]["runs"]) / JOBS_PER_RUN)
            write_overlay(place, many_runs(seeds))
            return snakemake(place, ["-n"], units=size, configs=CONFIGS)

        return planned

    return measure.grow({size: dry(size) for size in sizes}, rounds, unit="jobs")


def many_runs(seeds: int) -> dict[str, Any]:
    """The study of SOME with so many seeds of each sampling, and its translation in 20 shards a language."""
    runs = [{**entry, "seeds": list(range(1, seeds + 1))} for entry in SOME["study"]["runs"]]
    return {"study": {"name": "many", "runs": runs}, "translation": {"shards": 20}}


if __name__ == "__main__":
    stage.run(main)


if __name__ == "__main__":
    stage.run(main)
