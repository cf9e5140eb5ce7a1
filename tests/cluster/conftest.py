"""A real Slurm for the tests of this folder. They are asked for by name (`make test-cluster`), so nothing is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from lab import SCRIPT, SHARED, Project, Slurm, copy_project


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The cluster, started if it does not run, and then stopped again at the end."""
    ran = subprocess.run([SCRIPT, "status"], capture_output=True, check=False).returncode == 0
    done = subprocess.run([SCRIPT, "up"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.exit(f"These tests need a Slurm, and it could not be started. {done.stdout}{done.stderr}", 1)
    yield Slurm()
    if not ran:
        subprocess.run([SCRIPT, "down"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def project(slurm: Slurm, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A copy of the project where the nodes see it, one for each test module; kept if KEEP_CLUSTER_TESTS is set."""
    folder = SHARED / "tests" / f"{request.module.__name__}-{os.getpid()}"
    yield copy_project(folder)
    if not os.environ.get("KEEP_CLUSTER_TESTS"):
        shutil.rmtree(folder, ignore_errors=True)
