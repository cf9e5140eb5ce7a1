"""The package as pip installs it, not editable: its script, its modules and the data files that they read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package alone was installed from a wheel; the dependencies are those of this Python."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Setuptools builds beside the sources, so it gets a copy.
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT / "workflow", source / "workflow", ignore=ignored)
    install = [
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(target),
        str(source),
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return target


def run(site: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_script_is_there(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, str(site / "bin/polybatch"), "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("polybatch 0.")
    assert "tables of this study" in run(site, tmp_path, str(site / "bin/polybatch"), "show").stderr


@pytest.mark.parametrize("kind", ["*.py", "*.yaml", "page/*"])
def test_every_module_and_data_file_of_the_package_is_installed(site: Path, kind: str) -> None:
    here = {path.relative_to(ROOT / "workflow") for path in (ROOT / "workflow/polybatch").rglob(kind)}
    there = {path.relative_to(site) for path in (site / "polybatch").rglob(kind)}
    assert here == there
