"""What the tests on a real Slurm share: the cluster, and a copy of the project on the folder that its nodes share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/cluster/slurm"
# Every node sees this folder but the one of the partition `far`.
SHARED = Path("/var/lib/polybatch-slurm/shared")
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
# The profile's settings for this cluster. A test overrules what it is about.
SETTINGS = {
    "POLYBATCH_ACCOUNT": "lab",
    "POLYBATCH_CPU_PARTITION": "",
    "POLYBATCH_GPUS": "0",
    "POLYBATCH_GPU_PARTITION": "gpu",
    "POLYBATCH_GPU_TYPE": "fake",
    # These cards are stand-ins, so CPUs do the work: with one thread, as without cards, to the same numbers.
    "POLYBATCH_CPUS_PER_GPU": "1",
    "POLYBATCH_GPU_MEM_MB": "3500",
    "POLYBATCH_JOB_MEM_MB": "6000",
}


class Slurm:
    """The running cluster, asked as a user asks it."""

    def queue(self) -> list[str]:
        """Numbers of the jobs that wait or run."""
        return output("squeue", "--noheader", "--format=%A").split()

    def accounting(self, job: str, *fields: str) -> dict[str, str]:
        """A finished job's fields of sacct, such as State, ExitCode, NodeList, Partition."""
        names = ",".join(fields)
        options = ["--allocations", "--noheader", "--parsable2", f"--format={names}", f"--jobs={job}"]
        lines = output("sacct", *options).splitlines()
        return dict(zip(fields, lines[-1].split("|"), strict=True)) if lines else {}

    def show(self, job: str) -> dict[str, str]:
        """What scontrol says of a job, name -> value."""
        words = output("scontrol", "show", "--oneliner", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def cancel(self, *jobs: str) -> None:
        output("scancel", *jobs)


@dataclass(frozen=True)
class Project:
    """A copy of the project with the toy source in it.

    Attributes:
        folder: Where it is.
        configfile: The study, in that folder.
    """

    folder: Path
    configfile: str = "toy.yaml"

    def snakemake(
        self,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        profile: str = "profiles/slurm",
        timeout_s: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Runs Snakemake to its end; stdout holds both streams. `settings` overrule the environment."""
        command, environment = self._command(arguments, profile), self.environment(settings)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *arguments: str, log: Path, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts Snakemake in a session of its own and returns; both streams go to `log`."""
        command, environment = self._command(arguments, "profiles/slurm"), self.environment(settings)
        with log.open("wb") as file:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """As in an activated virtual environment, with this cluster's settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "POLYBATCH_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**own, "PATH": path, **SETTINGS, **(settings or {})}

    def _command(self, arguments: tuple[str, ...], profile: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", profile, f"--configfile={self.configfile}", *arguments]


def copy_project(folder: Path) -> Project:
    """A copy of the working tree's project in `folder`, with the toy study of tests/workflow."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    shutil.copy(ROOT / "tests/workflow/toy.yaml", folder)
    script = "import sys; from pathlib import Path; from toy_source import write; write(Path(sys.argv[1]))"
    tests = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow'}{os.pathsep}{ROOT / 'tests/workflow'}"}
    subprocess.run([sys.executable, "-c", script, str(folder / "toy.jsonl")], env=tests, check=True)
    return Project(folder)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Waits for something to become true; an AssertionError that says what did not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.2)


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
