"""Runs jobs on disks that are too small: each must say so, leave nothing half written, and go on once there is space.

    python tests/campaigns/disk_full.py [--quick] [--seed N] [--cases N] [--project FOLDER]

Root only: the results of a finished project go to a tmpfs with less space left than a job's outputs take; the job
must fail in words that name the disk. Then the tmpfs grows, and the job must give the results of an unbroken run.
A job that writes less than the space left simply ends well. Exit 1 on anything else.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kills import begin
from project import Job, Project, contents, finished

_QUICK_S = 60
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WORDS = ("the disk is full", "No space left on device")


@contextmanager
def small_disk(project: Project) -> Iterator[None]:
    """The project's results on a tmpfs, which is unmounted in the end."""
    shutil.rmtree(project.results)
    project.results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", project.results], check=True)
    try:
        shutil.copytree(project.kept, project.results, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", project.results], check=True)  # a process may not be gone yet
        project.restore()


def leave(project: Project, room: int) -> None:
    """Makes the disk so small that `room` bytes are left."""
    disk = os.statvfs(project.results)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    size = -(-(used + room) // _PAGE) * _PAGE
    subprocess.run(["mount", "-o", f"remount,size={size}", project.results], check=True)


def outcome(project: Project, job: Job, room: int, expected: dict[str, str]) -> str:
    begin(project, job)
    leave(project, room)
    failed = project.run(job) != 0
    told = any(words in project.said(job) for words in _WORDS) and "Traceback" not in project.said(job)
    left = contents([project.folder / output for output in job.outputs])
    if any(expected.get(name) != digest for name, digest in left.items()):
        return "half written"
    if failed and not told and (project.folder / job.log).stat().st_size:
        return "not told"
    leave(project, 1 << 29)
    if failed and project.run(job):
        return "does not go on"
    if contents([project.folder / output for output in job.outputs]) != expected:
        return "other results"
    return "told" if failed else "enough space"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="as many cases as go into a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--project", type=Path, help="kept, and used again; by default a new one")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("A disk of a given size can be mounted by root alone.")
    draw = random.Random(args.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        project = finished(args.project or Path(scratch) / "project")
        jobs = [job for job in project.jobs() if job.rule != "make_tables" or not args.quick]
        end = time.monotonic() + (_QUICK_S if args.quick else sys.maxsize)
        while sum(counts.values()) < args.cases and time.monotonic() < end:
            job = draw.choice(jobs)
            paths = [project.folder / output for output in job.outputs]
            expected = contents(paths)
            size = sum(file.stat().st_size for path in paths for file in [path, *path.rglob("*")] if file.is_file())
            with small_disk(project):
                found = outcome(project, job, draw.randrange(0, size + 2 * _PAGE), expected)
                counts[found] += 1
                if found not in ("told", "enough space"):
                    print(f"{found}: {job.rule} {job.outputs[0]}\n{project.said(job)[-1500:]}", flush=True)
    print(", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    sys.exit(bool(counts.keys() - {"told", "enough space"}))


if __name__ == "__main__":
    main()
