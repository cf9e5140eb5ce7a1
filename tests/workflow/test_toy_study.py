"""The toy study through Snakemake, as a user runs it: results, re-runs, resuming, and refusals.

One copy of the project serves the whole module, and its tests run in order: each builds on the state that the
one before it left. Nothing here says anything about retrieval quality.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import yaml
from toy_source import write

from polybatch.core.sums import SUMS
from polybatch.core.text import text_key

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
BASE = Path("results/toy")
TRAINED = "toy/hybrid-a0.5/nall/en+de/s1"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the project with the toy source in it, after one complete run."""
    folder = tmp_path_factory.mktemp("project")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    overlay = yaml.safe_load((ROOT / "tests/workflow/toy.yaml").read_text("utf-8"))
    overlay["languages"]["evaluate"] = ["en", "de"]
    (folder / "toy.yaml").write_text(yaml.safe_dump(overlay), "utf-8")
    write(folder / "toy.jsonl")
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "What came out: results/tables/toy/latest/summary.html" in done.stderr
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *arguments, "--configfile", "toy.yaml"]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False)


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """rule -> number of jobs that a run would do."""
    done = snakemake(folder, *arguments, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-4000:]
    jobs: dict[str, int] = {}
    for line in (done.stdout + done.stderr).splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit() and words[0] not in ("total", "all"):
            jobs[words[0]] = int(words[1])
    return jobs


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(path: Path) -> tuple[int, int]:
    """Another one once the file was written anew, also within one tick of the file system's clock."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def version(folder: Path) -> str:
    return (folder / "results/tables/toy/latest/VERSION").read_text("utf-8").strip()


def test_the_run_leaves_whole_tables(project: Path) -> None:
    latest = project / "results/tables/toy/latest"
    main = (latest / "main-test.md").read_text("utf-8")
    assert "toy data" in main, "a toy's table must say that it is one"
    assert all(sampling in main for sampling in ("untrained", "x-x-mono", "hybrid-a0.5"))
    scores = pd.read_parquet(latest / "scores.parquet")
    assert scores["value"].notna().all()
    assert set(scores["setting"]) == {"monolingual", "cross_lingual", "multilingual"}
    manifest = json.loads((latest / "manifest.json").read_text("utf-8"))
    assert manifest["config"]["study"]["name"] == "toy"
    assert version(project) == "v1"


def test_no_held_out_text_was_trained_on(project: Path) -> None:
    base = project / BASE
    for lang in ("en", "de"):
        held_out = set()
        collected = pd.read_parquet(base / "collected/en.parquet")
        ids = set(collected.loc[collected["split"] != "train", "pair_id"])
        text = collected if lang == "en" else pd.read_parquet(base / f"supplied/{lang}.parquet")
        for row in text[text["pair_id"].isin(ids)].itertuples():
            held_out |= {text_key(row.query), text_key(row.passage)}
        trained = pd.read_parquet(base / f"parallel/{lang}.parquet")
        assert len(trained)
        assert len(held_out)
        assert not held_out & {text_key(t) for side in ("query", "passage") for t in trained[side]}


def test_the_scores_that_are_there_are_those_of_the_version(project: Path) -> None:
    words = ["verify", "toy", "--config", "toy.yaml", "--scores-only"]
    environment = {**os.environ, "PYTHONPATH": str(project / "workflow")}
    done = subprocess.run(
        [sys.executable, "-m", "polybatch", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads((project / "results/verify/toy/verify.json").read_text("utf-8"))
    assert report["counts"]["identical"] == report["counts"]["OK"] > 100
    assert (report["counts"]["FAIL"], report["chain"], report["changes"]) == (0, "", {})


def test_nothing_to_do_after_a_run(project: Path) -> None:
    assert planned(project) == {}


def test_a_comment_re_runs_nothing_and_a_change_re_runs_what_depends_on_it(project: Path) -> None:
    module = project / "workflow/polybatch/translation/accept.py"
    before = module.read_text("utf-8")
    module.write_text("# said differently\n" + before, "utf-8")
    assert planned(project) == {}
    module.write_text(before.replace("_BATCH_ROWS = 2_000", "_BATCH_ROWS = 1_999"), "utf-8")
    jobs = planned(project)
    module.write_text(before, "utf-8")
    assert jobs["accept_translations"] == 1
    assert jobs["train_run"] == 2
    assert "translate_shard" not in jobs
    assert "collect_english" not in jobs


def test_forcing_one_stage(project: Path) -> None:
    assert planned(project, "index", "--forcerun", "build_index") == {"build_index": 3, "index": 1}


def test_a_lost_shard_is_redone_alone(project: Path) -> None:
    kept, lost = (project / BASE / f"translated/de/{shard}.parquet" for shard in (0, 1))
    before, stamp = digest(lost), identity(kept)
    for path in (lost, project / BASE / "translated/de.parquet", project / BASE / "translated/de.json"):
        path.unlink()  # as a kill in the middle of the second shard leaves it
    assert planned(project, "translate")["translate_shard"] == 1
    assert snakemake(project, "translate").returncode == 0
    assert identity(kept) == stamp
    assert digest(lost) == before
    assert snakemake(project).returncode == 0
    assert version(project) == "v1", "the same results must not make another version"


def kill_with_a_checkpoint(project: Path, target: str, checkpoints: Path) -> None:
    """Trains again, and kills all of it, Snakemake too, as soon as a checkpoint is there."""
    process = subprocess.Popen(
        command(target, "--forcerun", target),
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        # The sums are written last: a checkpoint without them does not count.
        while not list(checkpoints.glob(f"**/checkpoint-*/{SUMS}")) and process.poll() is None:
            time.sleep(0.01)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_training_resumes_to_the_same_weights(project: Path) -> None:
    weights = project / BASE / "models" / TRAINED / "model.safetensors"
    before = digest(weights)
    checkpoints = project / BASE / "checkpoints" / TRAINED
    target = f"{BASE}/models/{TRAINED}"
    for _ in range(5):  # on a busy machine the training may be over before this test looks again
        kill_with_a_checkpoint(project, target, checkpoints)
        snakemake(project, "--unlock")
        if not weights.exists():
            break
    assert not weights.exists(), "a killed training must leave no model"
    done = snakemake(project, target)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "esum" in (project / BASE / f"logs/train/{TRAINED}.log").read_text("utf-8"), "it should say that it resumed"
    assert digest(weights) == before
    assert snakemake(project).returncode == 0
    assert version(project) == "v1", "the same weights must not make another version"


def test_another_evaluation_language_costs_that_language_only(project: Path) -> None:
    overlay = yaml.safe_load((project / "toy.yaml").read_text("utf-8"))
    overlay["languages"]["evaluate"] = ["en", "de", "es"]
    (project / "toy.yaml").write_text(yaml.safe_dump(overlay), "utf-8")
    jobs = planned(project)
    # Held-out Spanish was there before, because the trainings' text was looked up in it.
    once = {"encode": 3, "build_index": 3, "score_run": 3, "make_tables": 1}
    assert jobs == once, "nothing is collected, translated or trained anew"
    old = project / BASE / "embeddings" / TRAINED / "test/corpus/de.npy"
    stamp = identity(old)
    first = {path.name: digest(path) for path in (project / "results/tables/toy/v1").iterdir() if path.is_file()}
    assert snakemake(project).returncode == 0
    assert identity(old) == stamp
    assert version(project) == "v2"
    assert first == {p.name: digest(p) for p in (project / "results/tables/toy/v1").iterdir() if p.is_file()}


def test_embedding_in_shards_is_as_many_jobs(project: Path) -> None:
    overlay = (project / "toy.yaml").read_text("utf-8")
    (project / "toy.yaml").write_text(overlay + "encoding: {shards: 3}\n", "utf-8")
    jobs = planned(project)
    (project / "toy.yaml").write_text(overlay, "utf-8")
    assert jobs == {"encode_shard": 9, "gather_embeddings": 3, "build_index": 3, "score_run": 3, "make_tables": 1}
    assert planned(project) == {}


def test_versions_can_be_compared(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "polybatch", "compare", "v1", "v2", "--study", "toy"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "languages.evaluate" in done.stdout


def test_the_report_is_one_file_with_the_tables(project: Path) -> None:
    done = snakemake(project, "report")
    assert done.returncode == 0, done.stderr[-4000:]
    page = (project / "results/reports/toy.html").read_text("utf-8")
    assert "What came out on " in page
    assert len(page) > 100_000


def test_a_faulty_config_is_refused_before_any_job(project: Path) -> None:
    (project / "bad.yaml").write_text("training: {batchsize: 3}\nlanguages: {evaluate: [xx]}\n", "utf-8")
    done = subprocess.run([*command("--dry-run"), "bad.yaml"], cwd=project, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "batchsize" in text
    assert "unknown language 'xx'" in text
    assert "Traceback" not in text


def test_a_damaged_input_is_told_and_costs_nothing_finished(project: Path) -> None:
    source = project / "toy.jsonl"
    good = source.read_text("utf-8")
    source.write_text(good + '{"group": "x", "lang": "en", "question": "", "answer": "y"}\n', "utf-8")
    done = snakemake(project)
    assert done.returncode != 0
    assert "line 361: empty question" in done.stdout + done.stderr
    assert (project / BASE / "models" / TRAINED / "model.safetensors").exists()
    source.write_text(good, "utf-8")
    done = snakemake(project)
    assert done.returncode == 0, done.stderr[-4000:]
    assert version(project) == "v2"
