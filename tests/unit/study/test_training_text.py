"""A study without trainings: what it needs no longer, what it still needs, and what its reference is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import ConfigError
from polybatch.prefetch.requests import hub_requests, wheels
from polybatch.study.amounts import amounts
from polybatch.study.costs import Known, lines
from polybatch.study.plan_text import costs_text
from polybatch.study.rates import at, rates
from polybatch.study.resolve import resolve
from polybatch.tables.inputs import table_inputs
from polybatch.tables.names import run_tables_of, score_tables_of

ROOT = Path(__file__).parents[3]


def measured(**changes: Any) -> dict:
    """Two encoders on XQuAD-R, nothing trained; `changes` lie over the study."""
    study = {"name": "m", "benchmarks": ["xquad-r"], "encoders": ["labse", "e5-base"], "runs": [], **changes}
    return {"standalone": True, "study": study, "languages": {"evaluate": ["en", "de"]}}


def faults(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def default_with(**changes: Any) -> dict:
    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    return {**config, **changes, "study": {**config["study"], **changes.get("study", {})}}


def test_neither_source_nor_training_languages_are_needed() -> None:
    resolved = resolve(measured())
    assert [run.name for run in runs(resolved)] == ["labse/untrained", "e5-base/untrained"]
    assert (resolved["source"], resolved["languages"]["train"]) == ([], [])
    assert resolved["study"]["reference"] == "labse"
    assert resolved["collection"] == "m"
    assert resolve(resolved) == resolved


def test_nothing_of_training_text_is_fetched_or_made(tmp_path: Path) -> None:
    resolved = resolve(measured())
    paths = StudyPaths.of(resolved, tmp_path)
    made = [paths.collected_files(), paths.contaminated_files(), paths.evaluation_texts(), paths.validation_source()]
    made += [paths.supplied_files(), paths.translated_files(), paths.parallel_files()]
    assert not any(made)
    assert set(hub_requests(resolved)) == {"encoder--labse", "encoder--e5-base", "benchmark--xquad-r"}
    assert not wheels(resolved)
    assert not table_inputs(resolved, tmp_path)["data"]


def test_an_overlay_without_runs_reads_nothing_of_the_study_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = default_with(study={"runs": [], "benchmarks": ["xquad-r"]}, validation={"source": "squadshifts"})
    resolved = resolve(config)
    assert (resolved["source"], resolved["languages"]["train"]) == ([], [])
    assert resolved["translation"]["languages"] == []
    assert not resolved["decontamination"]["enabled"]
    assert "validation" not in resolved
    assert resolved["study"]["reference"] == "e5-small", "the encoder as it comes is the first encoder"


def test_held_out_text_still_has_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    resolved = resolve(default_with(study={"runs": []}))
    paths = StudyPaths.of(resolved)
    assert [source["name"] for source in resolved["source"]] == ["homeassistant"]
    assert paths.collected_files() and not paths.contaminated_files() and not paths.parallel_files()
    assert "data" in run_tables_of(resolved) and "supplied" not in run_tables_of(resolved)


def test_held_out_text_without_a_source_is_refused() -> None:
    config = measured(benchmarks=["mine"]) | {"benchmarks": {"mine": {"split": "test"}}}
    assert "source: is missing" in faults(config)


def test_an_encoder_from_scratch_needs_text_for_its_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = measured(encoders=["tiny"]) | {"encoders": {"tiny": {"scratch": {}}}}
    told = faults(config)
    assert "source: is missing" in told and "languages.train: is missing" in told
    resolved = resolve(default_with(study={"runs": [], "encoders": ["tiny"]}, encoders={"tiny": {"scratch": {}}}))
    assert resolved["languages"]["train"][0] == "en"
    assert resolved["decontamination"]["enabled"]


def test_a_study_with_trainings_still_needs_both() -> None:
    told = faults(measured(runs=[{"sampling": "x-x", "seeds": [1]}]))
    assert "source: is missing" in told and "languages.train: is missing" in told
    assert "source: is missing" in faults({key: value for key, value in measured().items() if key != "study"})


def test_nothing_to_score_is_a_fault() -> None:
    assert "nothing to score" in faults(measured(untrained=False))


def test_the_reference_is_one_of_the_models() -> None:
    assert resolve(measured(reference="e5-base"))["study"]["reference"] == "e5-base"
    assert resolve(measured(reference="untrained"))["study"]["reference"] == "labse"
    assert "'hybrid-a0.5' is none of the encoders" in faults(measured(reference="hybrid-a0.5"))


def test_a_reference_that_is_not_given_is_filled_in_for_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = default_with()
    del config["study"]["reference"]
    assert resolve(config)["study"]["reference"] == "hybrid-a0.5"


def test_the_tables_are_those_of_models() -> None:
    resolved = resolve(measured())
    assert run_tables_of(resolved) == ["exposure", "timings"]
    assert score_tables_of(resolved, "xquad-r")[:3] == ["findings-xquad-r", "languages-xquad-r", "model_pairs-xquad-r"]
    alone = resolve(measured(encoders=["labse"]))
    assert "model_pairs-xquad-r" not in score_tables_of(alone, "xquad-r")


def test_the_plan_speaks_of_no_training(tmp_path: Path) -> None:
    resolved = resolve(measured())
    planned = list(lines(Known.of(resolved, tmp_path, amounts(resolved, tmp_path)), at(rates())))
    assert [line.stage for line in planned] == ["benchmarks", "encode labse", "encode e5-base", "index", "score"]
    text = " ".join(costs_text(resolved, planned, rates()))
    assert "Data: none is trained on." in text
    assert "Early stopping" not in text


def test_the_leaderboard_is_a_study_without_trainings() -> None:
    resolved = resolve(yaml.safe_load((ROOT / "workflow/studies/leaderboard.yaml").read_text("utf-8")))
    assert not any(run.trained for run in runs(resolved))
    assert resolved["study"]["reference"] == "e5-small"
    assert resolved["source"] == []
