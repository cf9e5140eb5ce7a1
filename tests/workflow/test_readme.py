"""Every command and example of README.md, in a fresh copy of the project that has no results yet.

What would take minutes is asked for as a dry run: `make` and `snakemake` with `-n`, `polybatch measure` with `--dry-run`.
Commands that read results end with the words that say which command makes them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources", "Makefile", "pyproject.toml")
# Words of `polybatch` that read the results of a study; there are none yet.
READ_RESULTS = {"search", "export", "verify", "compare"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    shown = [line.split(" #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    inline = re.findall(r"`((?:make|snakemake|polybatch) [^`\n]+)`", TEXT)
    return sorted({line for line in [*shown, *inline] if line})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    (folder / "my.jsonl").write_text(blocks("json")[0], "utf-8")
    (folder / "mine.yaml").write_text(blocks("yaml")[0], "utf-8")
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = Path(sys.executable).parent
    environ = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "workflow")}
    polybatch = f'polybatch() {{ "{sys.executable}" -m polybatch "$@"; }}\n'
    script = f"set -e\n{polybatch}{command}\n"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=240
    )


def as_dry_run(line: str) -> str:
    program, *words = line.split()
    if program in ("make", "snakemake"):
        line = " ".join([program, "-n", *(word for word in words if word != "-n")])
    return f"{line} --dry-run" if words[:1] == ["measure"] else line


def test_a_busy_reader_finishes_it() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_there_are_commands_of_all_kinds() -> None:
    programs = {line.split()[0] for line in lines()}
    assert programs == {"make", "snakemake", "polybatch"} and len(lines()) > 12


def test_no_command_is_broken_over_lines() -> None:
    assert not re.findall(r"`(?:make|snakemake|polybatch)\n", TEXT)  # `lines` would not find it, nor could one copy it


@pytest.mark.parametrize("line", lines())
def test_a_command_runs_as_it_stands(line: str, project: Path) -> None:
    done = run(as_dry_run(line), project)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    if line.startswith("polybatch ") and line.split()[1] in READ_RESULTS:
        assert done.returncode == 1 and "error:" in done.stderr and "to do:" in done.stderr, said
    elif "profiles/gpu" in line or "profiles/slurm" in line:
        assert done.returncode == 0 or "this machine has none" in said or "Slurm" in said, said
    else:
        assert done.returncode == 0, said
