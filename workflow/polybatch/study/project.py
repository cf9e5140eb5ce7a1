"""The project's folder as commands find it: its workflow, its studies, and Snakemake on them.

inputs: the folder that a command was called in
outputs: configuration files and resolved configurations; Snakemake's exit status
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import Config
from polybatch.config.shape import DEEPEST
from polybatch.core.errors import ConfigError
from polybatch.study.resolve import resolve

# Where Snakemake looks for a workflow (`snakemake --help`, --snakefile).
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
_ELSEWHERE = ("-s", "--snakefile", "-d", "--directory")
_DEFAULT, _STUDIES = Path("config.yaml"), Path("workflow/studies")


def require_project(folder: Path, arguments: Sequence[str] = (), command: str = "plan") -> None:
    """Raises unless a folder holds a workflow, or the arguments say where one is.

    Args:
        folder: Where the command was called.
        arguments: For Snakemake.
        command: The word that was called.

    Raises:
        ConfigError: There is no workflow.
    """
    if any(word.partition("=")[0] in _ELSEWHERE for word in arguments):
        return
    if not any((folder / name).is_file() for name in _SNAKEFILES):
        named = ", or name it: polybatch plan --directory FOLDER --snakefile FOLDER/Snakefile"
        raise ConfigError(
            "This is no folder of a Polybatch project.",
            where=folder,
            expected="a Snakefile: the folder that was cloned",
            found="none",
            remedy=f"cd to that folder{named if command == 'plan' else ''}",
        )


def study_files(study: str) -> list[Path]:
    """What follows `--configfile` for a study of the project: its file, or nothing for that of config.yaml.

    Raises:
        ConfigError: The project has no such study.
    """
    own = _STUDIES / f"{study}.yaml"
    if own.is_file():
        return [own]
    if _DEFAULT.is_file() and _name_of(merged([])) == study:
        return []
    raise ConfigError(
        f"The project has no study {study!r}.",
        where=f"{own} and {_DEFAULT}",
        expected=f"one of {', '.join(sorted(path.stem for path in _STUDIES.glob('*.yaml')))}, or that of {_DEFAULT}",
        remedy="name one of these, or its configuration with --config FILE",
    )


def _name_of(config: Config) -> Any:
    """What a configuration, whose shape was not looked at yet, calls its study; None if it does not say."""
    part = config.get("study")
    return part.get("name") if isinstance(part, dict) else None


def merged(files: Sequence[Path]) -> Config:
    """The configuration as the Snakefile merges it: the files in their order, over what they lie over.

    Raises:
        ConfigError: A file is not there, or is no YAML mapping; or `over` names a study that is not standalone.
    """
    return _over({}, _said(files))


def _said(files: Sequence[Path]) -> list[Path]:
    """The files, and before them the one that they lie over: config.yaml, or what `over` names, or none."""
    given = _over({}, files)
    below = given.get("over")
    if not isinstance(below, str):
        return list(files) if given.get("standalone") else [_DEFAULT, *files]
    if not _over({}, [Path(below)]).get("standalone"):
        raise ConfigError(
            "A study lies over one that lies over another itself.",
            where=Path(below),
            expected="`standalone: true`",
            remedy="leave `over` out, and name all files in their order",
        )
    return [Path(below), *files]


def _over(config: Config, files: Sequence[Path]) -> Config:
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import update_config

    for file in files:
        try:
            update_config(config, load_configfile(str(file)))
        except (WorkflowError, OSError) as error:
            raise ConfigError(
                "A configuration file cannot be read.", where=file, expected="a YAML file", found=str(error)
            ) from error
        except RecursionError as error:
            raise ConfigError(
                "A configuration file is nested too deep to be read.",
                where=file,
                expected=f"at most {DEEPEST} levels, far more than any option holds",
                found="hundreds",
                remedy="look at its indentation and its brackets",
            ) from error
    return config


def resolved(files: Sequence[Path], **changes: Any) -> Config:
    """The resolved configuration of a study's files, with keys of the top level changed.

    Raises:
        ConfigError: With all faults.
    """
    return resolve({**merged(files), **changes}, _said(files))


def environment() -> dict[str, str]:
    """This process's, in which `snakemake` and `python` are those beside this Python: rules call them by name."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path}


def snakemake(*arguments: str) -> int:
    """Runs Snakemake in this folder, on this terminal; returns its exit status. Raises what `run_to_its_end` does."""
    return run_to_its_end([sys.executable, "-m", "snakemake", *arguments])


def run_to_its_end(command: Sequence[str]) -> int:
    """Runs a Snakemake on this terminal; returns its exit status.

    `subprocess.run` kills a command a quarter of a second after Ctrl-C: Snakemake would leave its lock, and jobs that
    nobody watches.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and Snakemake has ended its jobs.
    """
    process = subprocess.Popen(command, env=environment())
    stopped = False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:  # Snakemake has heard it too
            stopped = True
    if stopped:
        raise KeyboardInterrupt
    return status


def left_to_make(*arguments: str) -> set[str] | None:
    """Files that Snakemake would make or make again now, among all that lead to its targets; None if it cannot tell.

    After a run that failed, a file of an earlier run may still lie where a new one was to come.

    Args:
        arguments: Targets and configuration, as `snakemake` took them.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--summary"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return pending(done.stdout) if done.returncode == 0 else None


def pending(summary: str) -> set[str]:
    """The files that a table of `snakemake --summary` does not call up to date."""
    rows = [line.split("\t") for line in summary.splitlines()]
    return {row[0] for row in rows if len(row) > 1 and row[-1] not in ("no update", "plan")}
