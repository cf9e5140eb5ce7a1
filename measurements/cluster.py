"""What submitting to Slurm costs: the default study on this machine alone, and through a Slurm on the same machine.

inputs: the project; a Slurm (`tests/cluster/slurm up`), its settings in POLYBATCH_* (docs/cluster.md)
outputs: measurements/results/cluster.json; an error if a score differs

The two take turns. What comes from a network is fetched before, and counted for neither. Both must have the same
processors: on that Slurm, whose nodes are all this machine, one node with as many CPUs as there are,

    export POLYBATCH_GPUS=0 POLYBATCH_SMALL=1 POLYBATCH_CPU_PARTITION=one POLYBATCH_JOB_CPUS=2 POLYBATCH_JOB_MEM_MB=6000

Not part of `make bench`: a round takes eleven minutes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import measure

from polybatch.core.errors import DataError

PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
# Short trainings from random weights, which Slurm costs most: once the default study.
STUDY = "workflow/studies/scratch.yaml"
PROFILES = {"Slurm": ["--profile", "profiles/slurm"], "one machine": ["--cores", "all"]}


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/var/lib/polybatch-slurm/shared/overhead"))
    args = measure.settle(parser.parse_args(argv))
    copy_project(args.folder)
    snakemake(args.folder, ["prefetch", "--cores", "1"])
    scores: dict[str, set[str]] = {name: set() for name in PROFILES}

    def study(name: str, options: list[str]) -> measure.Result:
        shutil.rmtree(args.folder / "results/homeassistant", ignore_errors=True)
        shutil.rmtree(args.folder / "results/tables", ignore_errors=True)
        result = snakemake(args.folder, options)
        scores[name].add(digest(args.folder / "results/homeassistant/scores"))
        return result

    cases = {name: lambda name=name, options=options: study(name, options) for name, options in PROFILES.items()}
    pairs = measure.paired(cases, args.rounds, unit="studies")
    if scores["Slurm"] != scores["one machine"] or len(scores["Slurm"]) != 1:
        raise DataError("The scores differ: the two did not do the same work.", where=args.folder)
    times = pairs.ratio("Slurm", "one machine", "seconds")
    goal = measure.Goal("wall clock through Slurm, of that without", times, 1.25, at_least=False, unit="x")
    measure.write("cluster" + args.suffix, {"the default study": pairs}, [goal], folder=args.out)


def copy_project(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in PARTS:
        source = measure.ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)


def snakemake(folder: Path, options: list[str]) -> measure.Result:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", *options, "--configfile", STUDY]
    return measure.run(command, cwd=folder, env={"PATH": path}, units=1)


def digest(folder: Path) -> str:
    """Of all score files, byte by byte."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DataError("There are no scores.", where=folder)
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


if __name__ == "__main__":
    main()
