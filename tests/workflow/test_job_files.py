"""What jobs write beside their results, and what runs them again: Snakemake itself, on plans of studies, nothing computed."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
import yaml
from test_commands import ROOT, TARGETS, put_project, snakemake, toy

OWN_TRANSLATOR = ROOT / "resources/translators/homeassistant-de-es"


class Job(NamedTuple):
    """A job as a dry run prints it."""

    rule: str
    outputs: list[str]
    files: list[str]  # outputs, log and timing
    reason: str


def jobs(printed: str) -> Iterator[Job]:
    for block in re.split(r"^(?=\s*(?:local)?rule \w+:$)", printed, flags=re.M)[1:]:
        files = {kind: list(listed(kind, block)) for kind in ("output", "log", "benchmark")}
        reason = re.search(r"^\s+reason: (.*)$", block, re.M)
        name = block.split()[1].removesuffix(":")
        yield Job(name, files["output"], [*itertools.chain(*files.values())], reason[1] if reason else "")


def listed(kind: str, block: str) -> Iterator[str]:
    for line in re.findall(rf"^\s+{kind}: (.*)$", block, re.M):
        yield from (re.sub(r" \(.*\)$", "", file) for file in line.split(", "))


def planned(folder: Path, *more: str) -> list[Job]:
    done = snakemake(folder, *more, "-n", "--configfile", "own.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return list(jobs(done.stdout + done.stderr))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose study has names that other names begin or end with, and a folder of the user's of every kind."""
    folder = put_project(tmp_path_factory.mktemp("job_files") / "project")
    for name in ("en.jsonl", "sources.jsonl"):
        (folder / name).write_text("{}\n" * 50, "utf-8")
    for own in ("encoder", "benchmark", "data", "help", "comet"):
        (folder / own / "below").mkdir(parents=True)
        (folder / own / "below/file").write_text("one", "utf-8")
        (folder / own / "below/gone").symlink_to("nowhere")
    (folder / "encoder/config.json").write_text("{}", "utf-8")
    shutil.copytree(OWN_TRANSLATOR, folder / "translator")
    study = toy(source=["en", "sources", "de", "libreoffice"])
    columns = {"columns": {"query": "question", "passage": "answer"}, "license": "mit", "adapter": "local"}
    study["sources"] = {name: {**columns, "path": f"{name}.jsonl"} for name in ("en", "sources")}
    study["sources"] |= {
        "de": {"adapter": "newsqa", "path": "data"},
        "libreoffice": {"folder": "help", "max_words": 20},
    }
    study["study"] |= {"benchmarks": ["test", "test-de", "test.tsv", "test-qrels", "whole"], "encoders": ["toy", "own"]}
    study["encoders"]["own"] = {"path": "encoder"}
    beir = {"adapter": "beir", "path": "benchmark", "languages": ["en"]}
    study["benchmarks"] = {"test-de": beir, "test-qrels": beir, "test.tsv": {"split": "test"}}
    study["benchmarks"]["whole"] = {"queries_of": "test-de", "translate": ["de"]}
    study["translation"]["translators"] = {way: {"path": "translator"} for way in ("en-de", "de-en")}
    study["translator_training"] = {"trained": {"directions": ["en-de", "de-en"]}}
    study["sources"]["held"] = {**columns, "path": "sources.jsonl"}
    study["validation"] = {"source": "held"}
    study["translation"]["accept"]["comet_model"] = "comet"
    (folder / "own.yaml").write_text(yaml.safe_dump(study), "utf-8")
    return folder


def test_no_two_jobs_write_one_file(folder: Path) -> None:
    found = planned(folder, "-F", *TARGETS)
    assert {"collect_source", "held_out_language", "adapted_benchmark", "translated_queries"} <= {j.rule for j in found}
    written = [file for job in found for file in job.files]
    assert sorted(file for file in set(written) if written.count(file) > 1) == []
    folders = {str(parent) for file in written for parent in PurePosixPath(file).parents}
    assert folders & {file for file in written if file.endswith((".log", ".tsv"))} == set()


MADE = ("collect", "benchmarks", "translators", "translate", "train")
# What is edited, and groups of rules that read it. Of those in one group none waits for another, so that each runs for
# its own reason.
EDITS = [
    (
        ("encoder", "benchmark", "data", "help", "comet"),
        [
            ("pretrained_encoder", "adapted_benchmark", "collect_source", "fetch_help"),
            ("collect_english",),
            ("supplied_translations", "translator_strings"),
            ("accept_translations",),
        ],
    ),
    (("translator",), [("translated_queries", "translate_shard")]),
]


def test_an_edit_within_a_folder_of_the_users_runs_again_what_reads_it(folder: Path) -> None:
    """The folder's own time does not change with what lies below it."""
    made = made_and_touched(folder)
    assert planned(folder, *MADE) == []
    for names, groups in EDITS:
        for name in names:
            edit_below(folder / name)
        for rules in groups:
            asked = [file for job in made for file in job.outputs if job.rule in rules]
            found = planned(folder, *asked, "--allowed-rules", *rules)
            assert {job.rule for job in found if "Params have changed" in job.reason} == {*rules}


def test_a_value_beside_the_inputs_runs_again_what_is_given_it(folder: Path) -> None:
    """What a rule makes of its inputs, Snakemake does not compare: a value must not stand there alone."""
    made = made_and_touched(folder)
    path = folder / "own.yaml"
    study = yaml.safe_load(path.read_text("utf-8"))
    study["validation"]["max_pairs"] = 77
    study["benchmarks"]["test.tsv"]["split"] = "dev"
    path.write_text(yaml.safe_dump(study), "utf-8")
    rules = ("validation", "held_out_language")
    asked = [file for job in made for file in job.outputs if job.rule in rules]
    found = planned(folder, *asked, "--allowed-rules", *rules)
    assert {job.rule for job in found if "Params have changed" in job.reason} == {*rules}
    assert {file.split("/")[3] for job in found for file in job.outputs if "benchmarks" in file} == {"test.tsv"}


def made_and_touched(folder: Path) -> list[Job]:
    """The jobs of a study that is done, as far as Snakemake can tell."""
    made = planned(folder, "-F", *MADE)
    for path in (folder / file for job in made for file in job.files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir(exist_ok=True)
    touched = snakemake(folder, *MADE, "--touch", "-F", "--configfile", "own.yaml", "--cores", "1")
    assert touched.returncode == 0, (touched.stdout + touched.stderr)[-4000:]
    return made


def edit_below(folder: Path) -> None:
    times = os.stat(folder)
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))
