"""A study as one hand-written script: every stage's `main`, one after the other, in one process, without Snakemake.

What a script could do at its best: each library is imported once, no process is started, nothing is checked that a
stage does not check itself, and every stage has all threads that OMP_NUM_THREADS allows. It is the same work, to the
argument: the steps are what a dry run of the workflow prints, put in order by their inputs and outputs.

    python measurements/one_process.py steps --output steps.json -- --configfile mine.yaml   # in a working directory
    python measurements/one_process.py run --steps steps.json

inputs: a dry run; then the steps, and the working directory that they are run in
outputs: steps.json; then what the stages write, and the last line of output that measure.py wants
"""

from __future__ import annotations

import argparse
import graphlib
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json

_JOB = re.compile(r"^\s*(?:local)?rule (\w+):$")
_FIELD = re.compile(r"^\s+(input|output): (.*)$")
_COMMAND = "Shell command: "
# Standard error goes to the job's log, for the script as for the workflow.
_LOG = re.compile(r"\s2>>? \S+")
_WORK = '"$work/'


class Step(NamedTuple):
    """One call of a stage's `main`. In its arguments `{work}` is a folder; `config` is written into it first."""

    module: str
    arguments: list[str]
    config: str = ""


def main(argv: list[str] | None = None) -> None:
    """`steps` writes them, `run` runs them and prints how many they were and how long they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("steps")
    listed.add_argument("--output", type=Path, required=True)
    listed.add_argument("snakemake", nargs="*", help="options of the dry run, behind --")
    ran = commands.add_parser("run")
    ran.add_argument("--steps", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.command == "steps":
        write_json(args.output, dry_run(args.snakemake))
        return
    start = time.perf_counter()
    todo = [Step(*step) for step in read_json(args.steps, list)]
    with tempfile.TemporaryDirectory() as work:
        for step in todo:
            _run(step, Path(work))
    print(json.dumps({"units": len(todo), "seconds": time.perf_counter() - start}))


def dry_run(options: list[str]) -> list[Step]:
    """All steps of a study in the working directory, whether done or not."""
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--forceall", "--cores", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError("A dry run failed.", where=" ".join(command), found=(done.stderr or done.stdout)[-2000:])
    return steps(done.stdout + done.stderr)


def steps(printed: str) -> list[Step]:
    """The steps that `snakemake -n -p` prints, in an order in which they can be run.

    Snakemake lists the jobs of a group by name, so they are ordered here: a job comes after those whose outputs it
    reads. What comes from a network (polybatch.prefetch.wheel) is left out.
    """
    inputs: dict[int, list[str]] = {}
    makers: dict[str, int] = {}
    commands: dict[int, str] = {}
    job = -1
    for line in printed.splitlines():
        if _JOB.match(line):
            job += 1
            inputs[job] = []
        elif match := _FIELD.match(line):
            files = match[2].split(", ")
            if match[1] == "input":
                inputs[job] = files
            else:
                makers |= dict.fromkeys(files, job)
        elif line.startswith(_COMMAND):
            commands[job] = line.removeprefix(_COMMAND)
    before = {job: {makers[file] for file in files if file in makers} for job, files in inputs.items()}
    order = graphlib.TopologicalSorter(before).static_order()
    return [step for job in order for step in _of_command(commands.get(job, "None")) if step.module != "prefetch.wheel"]


def _of_command(command: str) -> list[Step]:
    """The stages that a shell command calls, which is one, or several joined by &&."""
    found, config = [], ""
    for part in _LOG.sub("", command).split(" && "):
        if part.startswith("printf"):
            config = shlex.split(part)[2]
        if part.startswith("python -m polybatch."):
            words = shlex.split(part.replace(_WORK, '"{work}/'))[2:]
            found.append(Step(*_without_launcher(words), config))
    return found


def _without_launcher(words: list[str]) -> tuple[str, list[str]]:
    """Module and arguments; the launcher gives cards to a process of its own, which there is none of here."""
    if words[0] == "polybatch.cluster.launch":
        first = next(i for i, word in enumerate(words[1:], 1) if word.startswith("polybatch."))
        words = words[first:]
    arguments = words[1:]
    if "--threads" in arguments:
        arguments[arguments.index("--threads") + 1] = os.environ.get(
            "OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)))
        )
    return words[0].removeprefix("polybatch."), arguments


def _run(step: Step, work: Path) -> None:
    if step.config:
        (work / "config.json").write_text(step.config, "utf-8")
    arguments = [word.replace("{work}", str(work)) for word in step.arguments]
    importlib.import_module(f"polybatch.{step.module}").main(arguments)


if __name__ == "__main__":
    stage.run(main)
