"""`polybatch plan`: what a study costs, before it starts. The same as `snakemake plan`, with the same options.

inputs: the project's folder, options of Snakemake (`--configfile study.yaml`), and those of `plan_options`
outputs: the plan on the terminal and in results/plans/<study>.md; with --check, a finished study beside its plan

Snakemake resolves the configuration and knows which jobs are left to do, so it is asked, not imitated. The rule calls
`snakemake` and `python` by name; they are made to be those beside this Python. --check needs no dry run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from polybatch.core import stage
from polybatch.study.plan_options import VARIABLE, add_plan_options, own_words
from polybatch.study.project import environment, require_project, resolved
from polybatch.study.rates import KINDS, rates


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="polybatch plan",
        description="What a study costs, before it starts: jobs, hours, disk, and the wall clock on 1 to 32 devices. "
        "Nothing is computed.",
        epilog="Every other option is Snakemake's: `polybatch plan X` is `snakemake plan X`.",
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", metavar="FILE", help="the study's overlay of config.yaml")
    parser.add_argument(
        "--check", action="store_true", help="of a study that is done: what a plan would have said, and what it took"
    )
    add_plan_options(parser)
    arguments = list(sys.argv[1:] if argv is None else argv)
    asked, others = parser.parse_known_args(arguments)
    require_project(Path.cwd(), others)
    files = asked.configfile or []
    if asked.check:
        if others:
            parser.error(f"with --check nothing is Snakemake's: {' '.join(others)}")
        _check(asked, [Path(file) for file in files])
        return
    rates(asked.on or KINDS[0], asked.rates)  # what is wrong with them is told before Snakemake starts
    command = [sys.executable, "-m", "snakemake", "plan", *others, *(["--configfile", *files] if files else [])]
    sys.stdout.flush()
    # Ctrl-C, output and exit status are Snakemake's own
    os.execve(sys.executable, command, {**environment(), VARIABLE: shlex.join(own_words(asked))})


def _check(asked: argparse.Namespace, files: list[Path]) -> None:
    from polybatch.config.paths import Paths
    from polybatch.study.plan_check import check

    config = resolved(files)
    base = Path(Paths(config["collection"], config["study"]["name"]).base)
    sys.stdout.write(check(config, base, os.cpu_count() or 1, asked.on, asked.rates))


if __name__ == "__main__":
    stage.run(main)
