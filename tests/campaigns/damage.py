"""Damages the files of a finished project one at a time, runs the job that reads each, and counts what happens.

    python tests/campaigns/damage.py [--quick] [--seed N] [--minutes N] [--project FOLDER]

told: the job fails, and says so in words. made again: it warns, and its results are those of an undamaged project.
no effect: its results are those of an undamaged project. The last two must not be: accepted: it ends well with other
results; traceback: it fails without words. Exit 1 if there is one of these.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from project import Job, Project, contents, finished

_QUICK_S = 75
_BAD = ("accepted", "traceback")


def truncated(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return raw[: draw.randrange(len(raw))] if raw else raw


def empty(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return b""


def zeroed(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    start = draw.randrange(len(raw) or 1)
    return raw[:start] + bytes(min(4096, len(raw) - start)) + raw[start + 4096 :]


def bit_flipped(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    changed = bytearray(raw)
    if changed:
        changed[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def another_files(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return other


def invalid_json(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return raw.replace(b":", b";", 1)


def json_list(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return b"[1, 2]"


def json_object(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return b'{"x": {}}'


def not_utf8(raw: bytes, draw: random.Random, other: bytes) -> bytes:
    return b"\xff\xfe\xc3" + raw


Change = Callable[[bytes, random.Random, bytes], bytes]
_ANY: tuple[Change, ...] = (truncated, empty, zeroed, bit_flipped, another_files, not_utf8)
_JSON: tuple[Change, ...] = (invalid_json, json_list, json_object)
_FOLDER = "folder"


def read_by(project: Project, job: Job) -> list[Path]:
    """The files of the results that a job reads: its inputs, and what lies in and beside them."""
    found: set[Path] = set()
    for path in job.inputs:
        beside = path.parent if path.name in ("embeddings.json", "index.json") else path
        found |= {beside, path.with_suffix(".json"), path.with_suffix(".stats.json")}
    if job.rule == "train_run":
        found.add(Path("results/toy/texts"))
    if job.rule == "make_tables":
        found |= {Path("results/tables/toy/v1"), Path("results/tables/toy/versions.json")}
        found |= {path.relative_to(project.folder) for path in (project.results / "toy/index").rglob("index.json")}
    files = [file for path in found for file in _files(project.folder / path)]
    return sorted(file.relative_to(project.folder) for file in files if project.results in file.parents)


def _files(path: Path) -> list[Path]:
    inside = path.rglob("*") if path.is_dir() else [path]
    return [file for file in inside if file.is_file() and not file.name.startswith(".") and file.suffix != ".lock"]


def cases(project: Project, jobs: list[Job], draw: random.Random) -> Iterator[tuple[Job, Path, Change | str]]:
    """Every file and kind of damage, in a random order, with one of the jobs that read the file."""
    readers: dict[Path, list[Job]] = {}
    for job in jobs:
        for path in read_by(project, job):
            readers.setdefault(path, []).append(job)
    every: list[tuple[Path, Change | str]] = []
    for path in sorted(readers):
        every += [(path, change) for change in (*_ANY, *(_JSON if path.suffix == ".json" else ()), _FOLDER)]
    draw.shuffle(every)
    for path, change in every:
        yield draw.choice(readers[path]), path, change


def damage(project: Project, path: Path, change: Change | str, draw: random.Random) -> None:
    file = project.folder / path
    others = [other for other in _files(project.results) if other.suffix == file.suffix and other != file]
    raw, other = file.read_bytes(), draw.choice(others).read_bytes() if others else b"other"
    file.unlink()
    if isinstance(change, str):
        file.mkdir()
    else:
        file.write_bytes(change(raw, draw, other))


def outcome(project: Project, job: Job, path: Path, expected: dict[str, str]) -> str:
    """Runs the job on the damaged project."""
    for output in job.outputs:  # as Snakemake does, but for what it cannot know of
        target = project.folder / output
        if target != project.folder / path:
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    failed = project.run(job) != 0
    said = project.said(job)
    if failed:
        return "told" if "error: " in said and "Traceback" not in said else "traceback"
    found = contents([project.folder / output for output in job.outputs])
    if found != expected:
        return "accepted"
    return "made again" if "made again" in said or "set aside" in said else "no effect"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="as many cases as go into a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then; all cases take hours")
    parser.add_argument("--project", type=Path, help="kept, and used again; by default a new one")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        project = finished(args.project or Path(scratch) / "project")
        jobs = project.jobs()
        expected = {job.log: contents([project.folder / output for output in job.outputs]) for job in jobs}
        counts: Counter[str] = Counter()
        by_kind: Counter[tuple[str, str]] = Counter()
        end = time.monotonic() + (_QUICK_S if args.quick else args.minutes * 60)
        for job, path, change in cases(project, jobs, draw):
            if time.monotonic() > end:
                break
            damage(project, path, change, draw)
            found = outcome(project, job, path, expected[job.log])
            kind = change if isinstance(change, str) else change.__name__
            counts[found] += 1
            by_kind[kind, found] += 1
            if found in _BAD:
                print(f"{found}: {kind} of {path}, read by {job.rule}\n{project.said(job)[-1500:]}", flush=True)
            project.restore()
    for (kind, found), number in sorted(by_kind.items()):
        print(f"{kind:>14} {found:<10} {number}")
    print(", ".join(f"{name} {counts[name]}" for name in ("told", "made again", "no effect", *_BAD)))
    sys.exit(any(counts[name] for name in _BAD))


if __name__ == "__main__":
    main()
