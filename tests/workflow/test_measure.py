"""`polybatch measure` as a person calls it: outside of the project's folder, with models and a benchmark of their own.

The models have random weights, so the scores mean nothing. The tests run in order: each builds on what the one before
it left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_tiny_model

from polybatch.tables.versions.versions import newest

WRITTEN = "results/measured/studies/measure.yaml"
ROOT = Path(__file__).parents[2]
GERMAN = {"house": "haus", "red": "rot", "blue": "blau", "door": "tür"}
THINGS = [
    f"{colour} {thing} {deed}"
    for colour in ("red", "blue")
    for thing in ("house", "door", "light")
    for deed in ("opens", "closes")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with two models, and a benchmark in two languages."""
    folder = tmp_path_factory.mktemp("mine")
    save_tiny_model(folder / "models/first", prompts={"query": "query: ", "passage": "passage: "})
    save_tiny_model(folder / "models/second", seed=3)
    for lang, words in (("en", {}), ("de", GERMAN)):
        (folder / "support" / lang).mkdir(parents=True)
        texts = [" ".join(words.get(word, word) for word in text.split()) for text in THINGS]
        for side, start in (("queries", ""), ("corpus", "the ")):
            rows = [json.dumps({"_id": f"{i}", "text": start + text}) + "\n" for i, text in enumerate(texts)]
            (folder / "support" / lang / f"{side}.jsonl").write_text("".join(rows), "utf-8")
    (folder / "support/qrels").mkdir()
    (folder / "support/qrels/test.tsv").write_text("".join(f"{i}\t{i}\t1\n" for i in range(len(THINGS))), "utf-8")
    return folder


def measure(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-m", "polybatch", "measure", *arguments, "--benchmark", "support", "--cores", "2"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_one_model_is_measured_and_told(folder: Path) -> None:
    done = measure(folder, "models/first")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "first puts a passage in the query's own language first for " in " ".join(done.stdout.split())
    assert 'first: "query: " before queries, "passage: " before passages' in done.stdout
    assert "It took " in done.stdout
    version = newest(folder / "results/tables/measure")
    assert [row[1].value for row in version.table("languages-support").rows] == ["de", "en"]
    assert f"{version.table('findings-support').rows[0][1].value:.3f}" in done.stdout
    base = folder / "results/measured"
    assert {path.name for path in base.iterdir()} == {
        *("benchmarks", "embeddings", "encoders", "index", "logs", "runs", "scores", "studies", "timings"),
    }, "nothing of training text is made"


def test_the_configuration_that_was_written_does_the_same(folder: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--cores", "1"]
    done = subprocess.run([*command, "--configfile", WRITTEN], cwd=folder, capture_output=True, text=True, check=False)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_another_model_beside_it_costs_that_model_alone(folder: Path) -> None:
    before = (folder / WRITTEN).read_text("utf-8")
    done = measure(folder, "models/first", "models/second", "--dry-run")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "encoders:\n  - first\n  - second" in done.stdout
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    jobs = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    # Tables that the first study did not have are no reason to think that there is nothing to do.
    once = ("pretrained_encoder", "encode", "build_index", "score_run", "make_tables", "all")
    assert jobs == {**dict.fromkeys(once, 1), "total": len(once)}
    assert (folder / WRITTEN).read_text("utf-8") == before, "a dry run writes nothing"


def test_a_fault_is_told_in_words_and_ends_with_1(folder: Path) -> None:
    done = measure(folder, "models/third")
    assert done.returncode == 1
    assert "models/third is no model" in done.stderr and "Traceback" not in done.stderr
