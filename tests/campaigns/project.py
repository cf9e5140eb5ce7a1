"""What the campaigns share: a finished toy project, the commands of its jobs, and what its results hold."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
_PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
_VOLATILE = {"seconds", "pairs_per_second", "tokens_per_second", "created", "made_from", "~sha256", "timings"}
_COMPARED = (".parquet", ".json", ".npy", ".faiss", ".safetensors", ".csv", ".arrow")
_NOT_COMPARED = {"manifest.json", "tables.json", "timings.csv", "versions.json"}


@dataclass(frozen=True)
class Job:
    """One job of the study: its rule, files, and the command that makes its outputs."""

    rule: str
    inputs: list[Path]
    outputs: list[Path]
    command: str
    log: Path


@dataclass(frozen=True)
class Project:
    """A copy of the repository with the toy study in it; the results of one whole run are kept beside it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def kept(self) -> Path:
        return self.folder / "kept-results"

    def restore(self) -> None:
        """Puts the results back as the whole run left them, with their times."""
        shutil.rmtree(self.results, ignore_errors=True)
        shutil.copytree(self.kept, self.results, symlinks=True)

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        package = str(self.folder / "workflow")
        # One thread, as Snakemake gives each of these jobs: sums of floats depend on it.
        return {**os.environ, "PATH": path, "PYTHONPATH": package, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", "--configfile", "toy.yaml", "--cores", "2", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )

    def run(self, job: Job) -> int:
        """Runs a job's command; what it says is in `job.log`."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", job.command],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            check=False,
        )
        return done.returncode

    def said(self, job: Job) -> str:
        path = self.folder / job.log
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def jobs(self) -> list[Job]:
        """All jobs, in the order in which Snakemake would run them."""
        told = self.snakemake("--forceall", "--dry-run", "--printshellcmds").stdout
        jobs = []
        for block in re.split(r"\n(?= *(?:local)?rule \w+:\n)", told):
            name = re.match(r" *(?:local)?rule (\w+):", block)  # indented, where jobs are grouped
            command = re.search(r"^ *Shell command: (.*)$", block, re.M)
            if name and command and command[1] != "None":
                files = {part: _listed(block, part) for part in ("input", "output", "log")}
                jobs.append(Job(name[1], files["input"], files["output"], command[1].strip(), files["log"][0]))
        return jobs


def _listed(block: str, part: str) -> list[Path]:
    line = re.search(rf"^ +{part}: (.*)$", block, re.M)
    return [Path(re.sub(r" \(.*\)$", "", name)) for name in line[1].split(", ")] if line else []


def finished(folder: Path) -> Project:
    """A project whose study is done; one that lies in the folder already is taken as it is."""
    project = Project(folder.resolve())
    if project.kept.is_dir():
        project.restore()
        return project
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    shutil.copy(ROOT / "tests/workflow/toy.yaml", folder)
    sys.path.insert(0, str(ROOT / "tests/workflow"))
    from toy_source import write

    write(folder / "toy.jsonl")
    done = project.snakemake()
    if done.returncode:
        sys.exit(f"The toy study does not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    shutil.copytree(project.results, project.kept, symlinks=True)
    return project


def contents(paths: list[Path]) -> dict[str, str]:
    """File -> digest of what it says: without times, records and speeds."""
    found = {}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in _COMPARED and file.name not in _NOT_COMPARED:
                found[str(file)] = _content(file)
    return found


def _content(file: Path) -> str:
    try:
        if file.suffix == ".parquet":
            return hashlib.sha256(str(pq.read_table(file).to_pydict()).encode()).hexdigest()
        if file.suffix == ".json":
            return hashlib.sha256(json.dumps(_steady(json.loads(file.read_text("utf-8")))).encode()).hexdigest()
    except Exception as error:
        return f"unreadable: {type(error).__name__}"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in sorted(value.items()) if key not in _VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value
