"""What submitting to Slurm costs: the default study on this machine alone, and through a Slurm on the same machine.

inputs: the project; a Slurm (`tests/cluster/slurm up`), its settings in POLYBATCH_* (docs/cluster.md)
outputs: a table on stdout, benchmarks/results/cluster.json; an error if a score differs

    python benchmarks/cluster.py [--rounds N] [--folder DIR]

The two take turns. What comes from a network is fetched before, and counted for neither. Both have the same cores: the
nodes of that Slurm are this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
BASE = Path("results/homeassistant")
PROFILES = {"local": ["--cores", "all"], "slurm": ["--profile", "profiles/slurm"]}
GOAL = 1.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/var/lib/polybatch-slurm/shared/overhead"))
    args = parser.parse_args()
    copy_project(args.folder)
    run(args.folder, ["prefetch", "--cores", "1"])
    rounds = []
    for number in range(args.rounds):
        seconds, scores = {}, {}
        for name, options in PROFILES.items():
            shutil.rmtree(args.folder / BASE, ignore_errors=True)
            shutil.rmtree(args.folder / "results/tables", ignore_errors=True)
            seconds[name] = run(args.folder, options)
            scores[name] = score_files(args.folder)
            print(f"round {number + 1}, {name}: {seconds[name]:.0f} s, {len(scores[name])} score files", flush=True)
        if scores["local"] != scores["slurm"]:
            sys.exit("The scores differ: the two did not do the same work.")
        rounds.append(seconds)
    report(rounds)


def copy_project(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)


def run(folder: Path, options: list[str]) -> float:
    """Seconds that Snakemake took."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        command = [sys.executable, "-m", "snakemake", *options]
        done = subprocess.run(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PATH": path}, check=False
        )
    if done.returncode:
        sys.exit(f"Snakemake failed: {folder / 'run.log'}")
    return time.perf_counter() - start


def score_files(folder: Path) -> dict[str, bytes]:
    root = folder / BASE / "scores"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def report(rounds: list[dict[str, float]]) -> None:
    ratios = sorted(times["slurm"] / times["local"] for times in rounds)
    middle = ratios[len(ratios) // 2]
    met = "met" if middle <= GOAL else "missed"
    print("\n| round | local (s) | Slurm (s) | ratio |\n|---:|---:|---:|---:|")
    for number, times in enumerate(rounds, start=1):
        print(f"| {number} | {times['local']:.0f} | {times['slurm']:.0f} | {times['slurm'] / times['local']:.2f} |")
    print(f"\nSlurm takes {middle:.2f} times as long (at most {GOAL}: {met}); all scores are equal.")
    facts = {"machine": platform.platform(), "cpus": os.cpu_count(), "rounds": rounds, "ratio": middle}
    file = ROOT / "benchmarks/results/cluster.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
