"""`polybatch plan`: what a study costs, before it starts. The same as `snakemake plan`, with the same options.

inputs: the project's folder, options of Snakemake (`--configfile study.yaml`)
outputs: the plan on the terminal and in results/plans/<study>.md

Snakemake resolves the configuration and knows which jobs are left to do, so it is asked, not imitated. The rule calls
`snakemake` and `python` by name; they are made to be those beside this Python.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from polybatch.core import stage
from polybatch.core.errors import ConfigError
from polybatch.study.project import environment

# Where Snakemake looks for a workflow (`snakemake --help`, --snakefile).
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
_ELSEWHERE = ("-s", "--snakefile", "-d", "--directory")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="polybatch plan",
        description="What a study costs, before it starts: jobs, hours, disk. Nothing is computed.",
        epilog="Every other option is Snakemake's: `polybatch plan X` is `snakemake plan X`.",
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", metavar="FILE", help="the study's overlay of config.yaml")
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser.parse_known_args(arguments)
    require_project(Path.cwd(), arguments)
    command = [sys.executable, "-m", "snakemake", "plan", *arguments]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment())  # Ctrl-C, output and exit status are Snakemake's own


def require_project(folder: Path, arguments: list[str]) -> None:
    """Raises unless a folder holds a workflow, or the arguments say where one is.

    Args:
        folder: Where the command was called.
        arguments: For Snakemake.

    Raises:
        ConfigError: There is no workflow.
    """
    if any(word.partition("=")[0] in _ELSEWHERE for word in arguments):
        return
    if not any((folder / name).is_file() for name in _SNAKEFILES):
        raise ConfigError(
            "This is no folder of a Polybatch project.",
            where=folder,
            expected="a Snakefile: the folder that was cloned",
            found="none",
            remedy="cd to that folder, or name it: polybatch plan --directory FOLDER --snakefile FOLDER/Snakefile",
        )


if __name__ == "__main__":
    stage.run(main)
