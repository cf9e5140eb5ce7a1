"""The studies: each one's grid and plan, and two of them run to their tables on stand-ins for models and data.

The stand-ins lie in a Hugging Face cache as the hub's client lays it out, and the runs are offline: everything that
loads models and data is the code that runs on the real ones. The scores mean nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
# Studies that take data, models or benchmarks from the hub; there are stand-ins for these.
STUDIES = sorted(path.stem for path in (ROOT / "workflow/studies/standins").glob("*.yaml") if path.stem != "common")
ALL_STUDIES = sorted(path.stem for path in (ROOT / "workflow/studies").glob("*.yaml"))
# Runs of the whole grid, trained and untrained.
RUNS = {
    "paper": 8,
    "backtranslation_scaling": 40,
    "beir_hybrid_vs_standard": 19,
    "miracl_low_resource": 35,
    "ratio_mbert": 72,
    "training_size_beir_mteb": 37,
    "leaderboard": 11,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run in, with the stand-ins in it."""
    folder = tmp_path_factory.mktemp("studies")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    subprocess.run([sys.executable, ROOT / "tests/standins/make.py", folder / "standins"], check=True)
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(folder / "standins"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def overlays(study: str) -> list[str]:
    standins = f"workflow/studies/standins/{study}.yaml"
    return ["--configfile", f"workflow/studies/{study}.yaml", "workflow/studies/standins/common.yaml", standins]


def test_every_study_is_listed() -> None:
    assert sorted(RUNS) == STUDIES
    assert all((ROOT / f"docs/studies/{study}.md").exists() for study in ALL_STUDIES)


@pytest.mark.parametrize("study", STUDIES)
def test_the_dry_run_shows_the_whole_grid(project: Path, study: str) -> None:
    done = snakemake(project, "--dry-run", "--quiet", "rules", "--configfile", f"workflow/studies/{study}.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    jobs = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    assert jobs["encode"] == RUNS[study]


def test_a_plan_is_made_without_anything_being_computed(project: Path) -> None:
    done = snakemake(project, "plan", "--configfile", "workflow/studies/paper.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "8 runs (6 trainings)" in done.stdout
    assert "assumed" in done.stdout
    assert (project / "results/plans/paper.md").exists()
    assert not (project / "results/paper").exists()


@pytest.mark.parametrize("study", ["paper", "backtranslation_scaling"])
def test_a_study_runs_to_its_tables_on_stand_ins(project: Path, study: str) -> None:
    done = snakemake(project, "--cores", "2", "tables", *overlays(study))
    assert done.returncode == 0, done.stderr[-6000:]
    latest = project / f"results/tables/standin-{study}/latest"
    manifest = json.loads((latest / "manifest.json").read_text("utf-8"))
    assert manifest["config"]["data_mark"] == "stand-in data"
    tables = list(latest.glob("*.md"))
    assert len(tables) > 5
    assert all("stand-in data" in table.read_text("utf-8") for table in tables)
    again = snakemake(project, "--dry-run", "tables", *overlays(study))
    assert "Nothing to be done" in again.stdout + again.stderr


def test_the_paper_s_tables_stand_beside_the_published_numbers(project: Path) -> None:
    text = (project / "results/tables/standin-paper/latest/published-xquad-r.csv").read_text("utf-8")
    assert "0.798" in text  # XLM-R, hybrid, monolingual mAP


def test_planted_contamination_is_found_in_another_language_than_english(project: Path) -> None:
    base = project / "results/standin-paper"
    found = json.loads((base / "decontamination/pairs.json").read_text("utf-8"))
    german = [one for one in found["counts"] if (one["source"], one["lang"]) == ("mmarco", "de")]
    assert [(one["benchmark"], one["side"], one["overlap"]) for one in german] == [("xquad-r", "passage", "exact")]
    table = (project / "results/tables/standin-paper/latest/contamination.csv").read_text("utf-8")
    assert "mmarco" in table
    gone = set(pd.read_parquet(base / "decontamination/pairs.parquet")["pair_id"])
    assert len(gone) == 2  # the German one, and one that overlaps in English
    for lang in ("en", "ar", "zh", "de"):
        assert not gone & set(pd.read_parquet(base / f"parallel/{lang}.parquet")["pair_id"])
