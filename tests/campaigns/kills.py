"""Kills jobs at random moments and runs them again: the results must be those of an unbroken run.

    python tests/campaigns/kills.py [--quick] [--seed N] [--kills N] [--project FOLDER]

Each time a job of a finished project is begun anew, gets SIGKILL (with all its processes) after a random share of the
time that it takes, and runs again. Then no output may be half written, and all must say what they said before.
Exit 1 if one does not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import Job, Project, contents, finished

_QUICK_S = 60


def begin(project: Project, job: Job) -> None:
    """Removes what the job made, as Snakemake does before it runs a job."""
    for output in job.outputs:
        target = project.folder / output
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    if job.rule == "train_run":
        shutil.rmtree(project.results / "toy/texts", ignore_errors=True)


def kill(project: Project, job: Job, after: float) -> bool:
    """Runs the job and kills it after so many seconds; whether it was still at work."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", job.command],
        cwd=project.folder,
        env=project.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def fault(project: Project, job: Job, expected: dict[str, str]) -> str:
    """What is wrong after the job ran again; empty if nothing is."""
    left = contents([project.folder / output for output in job.outputs])
    half = [name for name, digest in left.items() if expected.get(name) != digest]
    if half:
        return f"half written after the kill: {half[:3]}"
    if project.run(job):
        return f"does not run again: {project.said(job)[-800:]}"
    found = contents([project.folder / output for output in job.outputs])
    return "" if found == expected else f"other results: {[n for n in expected if found.get(n) != expected[n]][:3]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="as many kills as go into a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--project", type=Path, help="kept, and used again; by default a new one")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        project = finished(args.project or Path(scratch) / "project")
        jobs = [job for job in project.jobs() if job.rule != "make_tables" or not args.quick]
        took: dict[Path, float] = {}
        faults = killed = tried = 0
        end = time.monotonic() + (_QUICK_S if args.quick else sys.maxsize)
        while tried < args.kills and time.monotonic() < end:
            tried += 1
            job = draw.choice(jobs)
            expected = contents([project.folder / output for output in job.outputs])
            if job.log not in took:
                begin(project, job)
                start = time.monotonic()
                project.run(job)
                took[job.log] = time.monotonic() - start
                project.restore()
            begin(project, job)
            killed += kill(project, job, draw.random() * took[job.log])
            if told := fault(project, job, expected):
                faults += 1
                print(f"{job.rule} {job.outputs[0]}: {told}", flush=True)
            project.restore()
    print(f"{tried} jobs begun, {killed} killed at work, {faults} with other results")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
