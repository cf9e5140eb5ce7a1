"""What a plan says, from nothing but a config, and from what earlier runs left."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from snakemake.utils import update_config

from polybatch.config.grid import runs
from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import write_json, write_rows
from polybatch.study.amounts import amounts, benchmark_size
from polybatch.study.costs import Known, Line
from polybatch.study.costs import lines as lines_of
from polybatch.study.plan import main, parse_jobs
from polybatch.study.plan_text import costs_text
from polybatch.study.rates import at
from polybatch.study.rates import rates as rates_of
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
JOBS = "Building DAG of jobs...\nJob stats:\njob          count\n-------  -------\ntrain_run  6\nencode  8\ntotal  14\n"


@pytest.fixture(scope="module")
def config() -> dict:
    return resolve(yaml.safe_load((ROOT / "workflow/studies/paper.yaml").read_text("utf-8")))


@pytest.fixture(scope="module")
def rates() -> dict:
    return at(rates_of())


def lines(config: dict, base: Path, rates: dict) -> list[Line]:
    return list(lines_of(Known.of(config, base, amounts(config, base)), rates))


def test_jobs_are_read_from_a_dry_run() -> None:
    assert parse_jobs(JOBS) == {"train_run": 6, "encode": 8}


def test_before_anything_ran_every_rate_is_assumed(config: dict, rates: dict, tmp_path: Path) -> None:
    plan = {line.stage: line for line in lines(config, tmp_path, rates)}
    on_devices = {stage for stage, line in plan.items() if line.device}
    assert on_devices == {"translate", "train xlm-r", "train labse", "encode xlm-r", "encode labse"}
    assert all(plan[stage].rate.endswith("assumed") for stage in on_devices)
    on_cores = ["benchmarks", "collect", "join", "supplied", "evaluation text", "decontaminate", "accept", "parallel"]
    assert set(plan) - on_devices == {*on_cores, "prepare texts", "index", "score"}
    assert all(plan[stage].rate_name in rates and plan[stage].hours for stage in set(plan) - on_devices)
    # Seven data sets of the paper are translated; Mr. TyDi, MFAQ and mMARCO are not.
    translated = 1_469 + 33_298 + 59_496 + 113_535 + 135_557 + 176_975
    assert f"{translated:,} (stated)" in plan["translate"].work
    assert "3 trainings of at most 100,000 steps of 100 pairs" in plan["train labse"].work


def test_what_costs_no_training_is_counted_apart(config: dict, rates: dict, tmp_path: Path) -> None:
    study = copy.deepcopy(config)
    study["study"]["runs"] = [
        {"sampling": "untrained", "projections": ["lir"]},
        {"sampling": "x-y", "seeds": [1, 2], "shares": [0.5], "projections": ["none", "shift"]},
    ]
    plan = {line.stage: line for line in lines(study, tmp_path, rates)}
    assert "2 trainings of" in plan["train labse"].work
    assert plan["mix, project labse"].work == "2 mixtures of weights and 3 projections, without a training"
    assert plan["encode labse"].work.startswith("3 runs x ")
    assert plan["encode labse"].work.endswith("; the vectors of 3 more are projections of theirs")
    assert "12 runs (4 trainings)" in " ".join(costs_text(study, [], rates_of()))
    study["study"]["runs"] = study["study"]["runs"][:1]
    assert "train labse" not in {line.stage for line in lines(study, tmp_path, rates)}


def test_what_an_earlier_run_measured_is_used(config: dict, rates: dict, tmp_path: Path) -> None:
    run = next(run for run in runs(config) if run.trained and run.encoder == "labse")
    record = {"steps": 10, "options": {"batch_size": 100}, "seconds": 2.0, "device": "a card"}
    write_json(tmp_path / "models" / run.name / "training.json", record)
    statistics = {"sentences": 900, "tokens": 1, "seconds": 3.0, "device": "cuda", "compute_type": "float16"}
    write_json(tmp_path / "translated" / "de" / "0.stats.json", statistics)
    plan = {line.stage: line for line in lines(config, tmp_path, rates)}
    assert plan["train labse"].rate == "500 pairs/s, measured on a card"
    assert plan["train labse"].hours == pytest.approx(3 * 100_000 * 100 / 500 / 3600)
    assert plan["translate"].rate == "300 sentences/s, measured on cuda"
    assert plan["train xlm-r"].rate.endswith("assumed")


def test_the_plan_is_printed_and_written(config: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "jobs").write_text(JOBS, "utf-8")
    arguments = ["--config", json.dumps(config), "--base", str(tmp_path), "--jobs", str(tmp_path / "jobs")]
    main([*arguments, "--output", str(tmp_path / "plan.md")])
    text = (tmp_path / "plan.md").read_text("utf-8")
    assert capsys.readouterr().out == text
    assert "8 runs (6 trainings)" in text
    assert "14 jobs are left to do" in text
    assert max(map(len, text.splitlines())) <= 100
    assert re.findall(r"^\| (\d+) +\| \S+ +\| \S+ to ", text, re.M) == ["1", "2", "4", "8", "16", "32"]
    assert "Where the wall clock goes with 8 devices" in text
    assert "TRANSLATION ON A CARD WAS NOT MEASURED" in " ".join(text.split())
    for name in rates_of():
        assert f"- {name} " in text


def test_the_simulated_devices_and_their_kind_can_be_chosen(
    config: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "jobs").write_text(JOBS, "utf-8")
    arguments = ["--config", json.dumps(config), "--base", str(tmp_path), "--jobs", str(tmp_path / "jobs")]
    arguments += ["--devices", "1", "2", "--on", "cpu", "--pairs", "4e7", "--translated", "1e6", "--cards", "2"]
    main([*arguments, "--output", str(tmp_path / "plan.md")])
    text = capsys.readouterr().out
    assert "Where the wall clock goes with 2 devices" in text
    assert "1,000,000 (given) pairs into 8 languages" in text
    assert "two cores" in text and "WAS NOT MEASURED" not in text
    assert "2 cards compute each training" in text


def test_a_failed_dry_run_is_no_plan(config: dict, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("WorkflowError:\nno rule", "utf-8")
    with pytest.raises(DataError, match="dry run failed"):
        main(["--config", json.dumps(config), "--base", ".", "--jobs", str(tmp_path / "jobs"), "--output", "x.md"])


@pytest.mark.parametrize("at_work", [False, True])
def test_another_snakemake_at_work_is_told_and_no_failure(
    config: dict, tmp_path: Path, capsys: pytest.CaptureFixture, at_work: bool
) -> None:
    # As Snakemake 9.27 says it in a dry run, with --nolock too.
    notice = "Error: Directory cannot be locked. Another Snakemake instance is running.\n" if at_work else ""
    (tmp_path / "jobs").write_text(f"Building DAG of jobs...\n{notice}{JOBS}", "utf-8")
    arguments = ["--config", json.dumps(config), "--base", str(tmp_path), "--jobs", str(tmp_path / "jobs")]
    main([*arguments, "--devices", "1", "--output", str(tmp_path / "plan.md")])
    text = capsys.readouterr().out
    assert "14 jobs are left to do" in text
    assert ("Another Snakemake is at work" in text) == at_work


def test_translators_that_are_trained_here_cost_what_a_step_took(tmp_path: Path) -> None:
    base = yaml.safe_load((ROOT / "workflow/studies/language_bias.yaml").read_text("utf-8"))
    own = yaml.safe_load((ROOT / "tests/unit/study/own_translators.yaml").read_text("utf-8"))
    update_config(base, own)
    study, rates = resolve(base), at(rates_of("cpu"))
    line = {line.stage: line for line in lines(study, tmp_path, rates)}["train translators"]
    # Two of 5,000 steps, 0.41 s each on one core.
    assert line.work == "2, of 10,000 steps together"
    assert not line.device and line.hours == pytest.approx(2 * 5000 * 0.41 / 3600, rel=0.03)
    study["translator_training"]["interface-de"]["options"] = {"d_model": 512, "ffn": 2048, "max_steps": 5000}
    twice = {line.stage: line for line in lines(study, tmp_path, rates)}["train translators"]
    assert twice.hours > 2.5 * line.hours
    study["translator_training"]["interface-de"]["options"]["precision"] = "bf16"
    coarse = {line.stage: line for line in lines(study, tmp_path, rates)}["train translators"]
    assert 0.45 * twice.hours < coarse.hours < 0.65 * twice.hours  # one of the two, 2.2 times as fast


def test_a_study_without_translators_of_its_own_trains_none(config: dict, rates: dict, tmp_path: Path) -> None:
    assert "train translators" not in {line.stage for line in lines(config, tmp_path, rates)}


def test_a_published_benchmark_has_the_length_of_its_texts_before_it_is_here(tmp_path: Path) -> None:
    study = resolve(yaml.safe_load((ROOT / "workflow/studies/language_bias.yaml").read_text("utf-8")))
    assert amounts(study, tmp_path).benchmarks["xquad-r"].text_bytes == 173
    rate = {line.stage: line for line in lines(study, tmp_path, at(rates_of("cpu")))}["encode e5-small"].rate
    # In bfloat16, on two cores: 285 were measured over all runs of this study.
    assert float(rate.split()[0]) == pytest.approx(285, rel=0.15)


@pytest.mark.parametrize(
    ("there", "texts", "origin"),
    [
        (["en", "de", "tr"], 2 * (10 + 20 + 60), "measured"),
        (["en", "de"], 2 * (10 + 20 + 15), "assumed"),  # the third is taken to be as large as the two
        ([], 0, "unknown"),
    ],
)
def test_a_benchmark_is_measured_where_all_its_languages_are_there(
    config: dict, tmp_path: Path, there: list[str], texts: float, origin: str
) -> None:
    languages = ["en", "de", "tr"]
    entry = {"adapter": "beir", "path": "data", "languages": languages, "settings": None, "scoring": {}}
    study = config | {"benchmarks": {"mine": entry}}
    folder = tmp_path / "benchmarks/mine"
    write_rows(folder / "qrels.parquet", [], contracts.QRELS)
    for lang in there:
        rows = [{"text": "x"}] * {"en": 10, "de": 20, "tr": 60}[lang]
        for side in ("queries", "corpus"):
            write_rows(folder / side / f"{lang}.parquet", rows, pa.schema([("text", pa.string())]))
    size = benchmark_size(study, tmp_path, "mine")
    assert (size.texts.value, size.texts.origin) == (texts, origin)


def test_a_published_number_stands_for_what_is_not_all_there(config: dict, tmp_path: Path) -> None:
    languages = ["en", "de"]
    expected = {"queries": {"en": 7, "de": 7}, "candidates": {"en": 9, "de": 9}}
    entry = {"adapter": "lareqa", "languages": languages, "settings": None, "scoring": {}, "expected": expected}
    folder = tmp_path / "benchmarks/mine"
    write_rows(folder / "qrels.parquet", [], contracts.QRELS)
    for side in ("queries", "corpus"):
        write_rows(folder / side / "en.parquet", [{"text": "x"}], pa.schema([("text", pa.string())]))
    texts = benchmark_size(config | {"benchmarks": {"mine": entry}}, tmp_path, "mine").texts
    assert (texts.value, texts.origin) == (32, "stated")
