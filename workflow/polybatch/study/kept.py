"""A kept version beside the configuration of today: its runs by name, their scores, and what has changed since.

inputs: a version of a study's tables; a resolved configuration; score files
outputs: what `tables.versions.grades` grades
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polybatch.config.grid import runs
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import Config
from polybatch.core.contracts import SCORES
from polybatch.core.digest import code_digest
from polybatch.core.errors import ConfigError, DataError, PolybatchError
from polybatch.tables.cures import read_with_grid
from polybatch.tables.versions import manifest
from polybatch.tables.versions.changes import manifest_changes
from polybatch.tables.versions.grades import GRID, KeptRun, Place, Score, averages_of, scores_of
from polybatch.tables.versions.versions import SCORES as SCORES_FILE
from polybatch.tables.versions.versions import Version

_SEED = re.compile(r"/s\d+(?=-[^/]*$|$)")
# What a machine is known by: with all of these the same, the same code gives the same numbers.
_MACHINE = ("processor", "architecture", "cores", "gpus")
NO_FILE = "no score file: the run was not made, or did not end"
OUTDATED = "outdated: the file is of an earlier run, and was not made again"


@dataclass(frozen=True)
class Kept:
    """The runs of a kept version.

    Attributes:
        runs: By name.
        scores: Of each run, with its averages.
        in_config: The names that the configuration of today asks for too.
        new: Names that it asks for and the version does not have.
        left_out: Benchmark -> languages that averages leave out.
    """

    runs: dict[str, KeptRun]
    scores: dict[str, dict[Place, Score]]
    in_config: frozenset[str]
    new: tuple[str, ...]
    left_out: Mapping[str, Sequence[str]]

    def only(self, rows: Sequence[str] | None) -> dict[str, KeptRun]:
        """The runs of some rows; all of them for None.

        Args:
            rows: Names of rows, such as `x-y`, `untrained` or `e5-small/x-y/nall/en+de`, or of runs; `*` stands for any
                text.

        Raises:
            ConfigError: One of them names no row.
        """
        if rows is None:
            return dict(self.runs)
        wrong = [row for row in rows if not any(_is_named(row, name) for name in self.runs)]
        if wrong:
            raise ConfigError(
                f"The kept version has no row {', '.join(map(repr, wrong))}.",
                expected=f"one of {', '.join(dict.fromkeys(map(short, self.runs)))}",
                remedy="name one of these, or leave --rows out",
            )
        return {name: run for name, run in self.runs.items() if any(_is_named(row, name) for row in rows)}


def row_of(name: str) -> str:
    """A run's name without its seed; what follows the seed (`s1-lir`) stays."""
    return _SEED.sub("", name)


def short(name: str) -> str:
    """What tells the sampling in the name of a run or row: `x-y`, `hybrid-a0.5`, `untrained`, `x-y-lir`."""
    parts = name.split("/")
    after = parts[-1].partition("-")[1:] if len(parts) > 2 else ()
    return "".join([parts[1], *after])


def _is_named(row: str, name: str) -> bool:
    return any(fnmatchcase(text, row) for text in (name, row_of(name), short(name)))


def kept_runs(version: Version, config: Config) -> Kept:
    """The runs of a version, named as the configuration names them.

    Raises:
        DataError: Its scores are damaged, or there are none.
    """
    path = version.path / SCORES_FILE
    rows = read_with_grid(path, SCORES).to_pylist()
    if not rows:
        raise DataError(
            "A kept version has no scores.", where=path, remedy="restore the folder, or name another version"
        )
    names = _names_of(run.grid | {"": run.name} for run in runs(config))
    left_out = (version.manifest["config"].get("tables") or {}).get("leave_out") or {}
    of_run: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        of_run.setdefault(_key(row), []).append(row)
    found, scores = {}, {}
    for key, mine in of_run.items():
        grid = dict(zip(GRID, key, strict=True))
        name = names.get(key) or _spelled(grid)
        found[name] = KeptRun.of(grid, row_of(name))
        cells = scores_of(mine)
        scores[name] = cells | averages_of(cells, left_out)
    asked = list(names.values())
    new = tuple(name for name in asked if name not in found)
    return Kept(found, scores, frozenset(asked) & frozenset(found), new, left_out)


def _names_of(grids: Iterable[Mapping[str, Any]]) -> dict[tuple, str]:
    """Grid point, as versions keep it (they leave out what has no meaning for a run) -> name of the run."""
    import pandas as pd

    from polybatch.tables.summary import with_arm, without_arm

    frame = pd.DataFrame(list(grids))
    kept = without_arm(with_arm(frame)).to_dict("records")
    return {_key(row): row[""] for row in kept}


def _key(row: Mapping[str, Any]) -> tuple:
    values = (row[name] for name in GRID)
    return tuple(
        None if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in values
    )


def _spelled(grid: Mapping[str, Any]) -> str:
    """A name for a grid point that no run of the configuration has."""
    parts = [str(value) for name, value in grid.items() if name != "seed" and value not in (None, "")]
    return "/".join([*parts, *([f"s{grid['seed']}"] if grid["seed"] >= 0 else [])])


def read_again(
    names: Iterable[str],
    kept: Kept,
    paths: StudyPaths,
    benchmarks: Sequence[str],
    outdated: Collection[str] | None = (),
) -> tuple[dict[str, dict[Place, Score]], dict[tuple[str, str], str]]:
    """The scores of runs as they lie in a collection, with their averages.

    Args:
        names: Runs of the kept version.
        kept: That version.
        paths: Of the collection.
        benchmarks: Those that the version has scores on.
        outdated: Files that count for nothing; None if any may be such.

    Returns:
        Run -> scores; and (run, benchmark) -> why there are none.
    """
    grids = {run.name: run.grid for run in runs(paths.config)}
    found: dict[str, dict[Place, Score]] = {}
    problems: dict[tuple[str, str], str] = {}
    for name in names:
        cells: dict[Place, Score] = {}
        for benchmark in benchmarks:
            path = paths.scores(name, benchmark)
            try:
                rows = _rows(grids.get(name), Path(path), benchmark)
                if outdated is None or path in outdated:
                    raise DataError(OUTDATED if outdated else "whether the file is outdated is not known")
            except PolybatchError as error:
                problems[name, benchmark] = error.problem
            else:
                cells |= scores_of(rows)
        found[name] = cells | averages_of(cells, kept.left_out)
    return found, problems


def _rows(grid: Mapping[str, Any] | None, path: Path, benchmark: str) -> list[dict[str, Any]]:
    if grid is None:
        raise DataError("the configuration no longer asks for this run")
    if not path.is_file():
        raise DataError(NO_FILE)
    rows: list[dict[str, Any]] = read_with_grid(path, SCORES).to_pylist()
    if any(row["benchmark"] != benchmark or any(row[key] != grid[key] for key in GRID) for row in rows):
        raise DataError(f"{path} holds scores of another run or benchmark")
    return rows


def changes_since(version: Version, config: Config, packages: Mapping[str, str]) -> dict[str, dict[str, list[Any]]]:
    """What a run of today is made from and the kept version was not: configuration, code, packages.

    Args:
        version: The kept one.
        config: The resolved configuration of the study, with its own collection.
        packages: The versions that are installed.

    Returns:
        Part -> key -> [then, now].
    """
    then = version.manifest
    code = {stage: _code(stage) for stage in then.get("code", {})}
    now = {"config": manifest.scrub(config), "code": code, "packages": dict(packages)}
    return manifest_changes({part: then.get(part, {}) for part in now}, now)


def _code(stage: str) -> str | None:
    try:
        return code_digest(stage)
    except KeyError:
        return None


def same_machine(version: Version, changes: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a machine is of the kind that made the version, with the same packages."""
    then = version.manifest.get("hardware") or {}
    return "packages" not in changes and all(then.get(name) == here.get(name) for name in _MACHINE)
