"""A copy of the project, and its workflow in it: what is run there, how many jobs it has, what it scored.

inputs: the project; the wheels that the default study reads, fetched once into build/measurements
outputs: folders that a study can be run in; means over queries, in memory
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
import yaml

from polybatch.core.errors import DataError
from polybatch.prefetch.requests import wheels
from polybatch.study.project import merged
from polybatch.study.resolve import resolve

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
BIN = Path(sys.executable).parent
WHEELS = measure.ROOT / "build" / "measurements" / "wheels"
OVERLAY, STEPS = "overlay.yaml", "steps.json"
SAME = 0.03  # of a mean over queries: what another order of sums does to 120 steps of training, and no more


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


def write_overlay(place: Path, overlay: dict[str, Any], name: str = OVERLAY) -> None:
    """Writes what differs from the default study."""
    (place / name).write_text(yaml.safe_dump(overlay), "utf-8")


def fetched_wheels(*configs: str) -> list[Path]:
    """The wheels that a study reads; fetched where the project lacks them.

    Args:
        configs: Files that are laid over config.yaml, the last of which wins; relative to the working directory, which
            is the project's.
    """
    config = merged([Path(name) for name in configs])
    return [_fetched(Path(name).name, entry) for name, entry in wheels(resolve(config)).items()]


def _fetched(name: str, entry: dict[str, str]) -> Path:
    for folder in (measure.ROOT / "results/sources", WHEELS):
        if (folder / name).exists():
            return folder / name
    WHEELS.mkdir(parents=True, exist_ok=True)
    given = [word for option, value in entry.items() for word in (f"--{option}", value)]
    measure.run([sys.executable, "-m", "polybatch.prefetch.wheel", *given, "--output", str(WHEELS / name)], units=1)
    return WHEELS / name


def give_wheels(place: Path, found: Sequence[Path]) -> None:
    """Puts wheels where the workflow looks for them, so that it fetches nothing."""
    (place / "results/sources").mkdir(parents=True, exist_ok=True)
    for wheel in found:
        shutil.copy2(wheel, place / "results/sources")


def snakemake(place: Path, options: Sequence[str], units: float, configs: Sequence[str] = ()) -> measure.Result:
    """Runs the workflow in its folder on all processors.

    Args:
        place: The folder.
        options: Of Snakemake, the targets among them.
        units: How much work it is.
        configs: Configuration files that are laid over config.yaml, the last of which wins.
    """
    command = [sys.executable, "-m", "snakemake", "--cores", str(measure.cores()), *options, *config_options(configs)]
    return measure.run(command, cwd=place, env=environment(place), units=units)


def one_process(place: Path, configs: Sequence[str] = (), threads: int | None = None) -> measure.Result:
    """Runs the same stages in its folder by one_process.py, on all processors or so many threads of one."""
    write_steps(place, configs, threads)
    command = [sys.executable, str(measure.HERE / "one_process.py"), "run", "--steps", STEPS]
    return measure.run(command, threads=threads, cwd=place, env=environment(place))


def write_steps(place: Path, configs: Sequence[str] = (), threads: int | None = None) -> Path:
    """The file of all steps of a study, done or not, as one_process.py runs them."""
    command = [sys.executable, str(measure.HERE / "one_process.py"), "steps", "--output", STEPS, "--"]
    measure.run([*command, *config_options(configs)], threads=threads, cwd=place, env=environment(place), units=1)
    return place / STEPS


def config_options(configs: Sequence[str]) -> list[str]:
    """The words that lay these files over config.yaml; none where there are none."""
    return ["--configfile", *configs] if configs else []


def environment(place: Path) -> dict[str, str]:
    """The folder's own code, and the programs beside this Python."""
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(place / "workflow")}


def jobs(place: Path, configs: Sequence[str] = ()) -> int:
    """How many jobs a dry run counts."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", *config_options(configs)]
    done = subprocess.run(
        command, cwd=place, env={**os.environ, **environment(place)}, capture_output=True, text=True, check=False
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
