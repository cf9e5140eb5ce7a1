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
from polybatch.study.project import environment, require_project


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


if __name__ == "__main__":
    stage.run(main)
