"""Objectives in a configuration: their teachers, which options each run has, and what does not go together."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from polybatch.config.grid import runs
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import encoders_read, teacher_of, training_options
from polybatch.core.contracts import OBJECTIVES, TAUGHT_OBJECTIVES
from polybatch.core.errors import ConfigError
from polybatch.prefetch.requests import hub_requests
from polybatch.study.resolve import resolve
from polybatch.training.objectives.known import objective_of, texts_of_a_row
from polybatch.training.options import TrainingOptions

ROOT = Path(__file__).parents[3]
ALL = [{"sampling": "x-y", "seeds": [1], "objectives": list(OBJECTIVES)}]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The default study, with an x-y run for every objective."""
    monkeypatch.chdir(ROOT)
    default = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    default["study"]["runs"] = copy.deepcopy(ALL)
    return default


def faults(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def test_the_names_are_those_of_the_contracts() -> None:
    made = [objective_of(name, TrainingOptions(), "x-y") for name in OBJECTIVES]
    assert [one.name for one in made] == list(OBJECTIVES)
    assert [one.name for one in made if one.taught] == list(TAUGHT_OBJECTIVES)
    assert [texts_of_a_row(name, 1) for name in OBJECTIVES] == pytest.approx([3, 4, 5, 5 + 2 / 3, 3 + 2 / 3])


def test_without_a_teacher_s_name_nothing_more_is_read(config: dict) -> None:
    resolved = resolve(config)
    assert encoders_read(resolved) == ["e5-small"] and hub_requests(resolved) == {}
    assert all(StudyPaths.of(resolved).teacher(run) == [] for run in runs(resolved))


def test_a_teacher_of_the_catalogue_is_fetched_for_the_runs_that_it_teaches(config: dict) -> None:
    config["training"]["teacher"] = "labse"
    resolved = resolve(config)
    assert encoders_read(resolved) == ["e5-small", "labse"]
    assert list(hub_requests(resolved)) == ["encoder--labse"]
    taught = {run.objective for run in runs(resolved) if teacher_of(resolved, run)}
    assert taught == set(TAUGHT_OBJECTIVES)
    paths = StudyPaths.of(resolved)
    assert {path for run in runs(resolved) for path in paths.teacher(run)} == {paths.encoder("labse")}


def test_a_teacher_that_teaches_no_run_is_not_fetched(config: dict) -> None:
    config["training"]["teacher"] = "labse"
    config["study"]["runs"] = [{"sampling": "x-y", "seeds": [1], "objectives": ["lakda"]}]
    assert hub_requests(resolve(config)) == {}


def test_an_encoder_may_have_a_teacher_of_its_own(config: dict) -> None:
    config["encoders"] = {"e5-small": {"training": {"teacher": "labse"}}}
    assert encoders_read(resolve(config)) == ["e5-small", "labse"]


def test_options_of_other_objectives_are_no_part_of_a_run(config: dict) -> None:
    own = {"lakda_weight": 0.3, "jsd_weight": 2.0, "distillation_distance": "cosine", "mimo_infonce_weight": 0.4}
    config["training"] |= {**own, "teacher": "labse"}
    resolved = resolve(config)
    for name in OBJECTIVES:
        options = training_options(resolved, "e5-small", name)
        assert {key for key in own if key in options} == {key for key in own if key.startswith(name)}
        assert ("teacher" in options) == (name in TAUGHT_OBJECTIVES)
        assert options["temperature"] == 0.01
    # Every option that is named after an objective is left out of the others.
    named = [key for key in TrainingOptions.model_fields if key.split("_")[0] in OBJECTIVES]
    assert {key.split("_")[0] for key in named} == set(OBJECTIVES) - {"infonce"}


@pytest.mark.parametrize(
    ("training", "own", "told"),
    [
        ({"teacher": "labsee"}, {}, "training.teacher: 'labsee' is neither among encoders"),
        ({}, {"teacher": "labsee"}, "encoders.e5-small.training.teacher: 'labsee' is neither among encoders"),
        ({"hard_negatives": 2}, {}, "hard_negatives: has no use with the objective distillation"),
        ({"matryoshka_dims": [64]}, {}, "matryoshka_dims: does not go with the objective mimo"),
        ({}, {"hard_negatives": 2}, "encoders.e5-small.training.hard_negatives: has no use with the objective"),
        ({"mimo_stage1_share": 0.99}, {"eval_steps": 7}, "training.eval_steps: is too large for the objective mimo"),
    ],
)
def test_what_does_not_go_with_an_objective_is_a_fault(config: dict, training: dict, own: dict, told: str) -> None:
    config["training"] |= training
    config["encoders"] = {"e5-small": {"training": own}}
    assert told in faults(config)


def test_the_same_options_are_sound_where_no_run_has_that_objective(config: dict) -> None:
    config["training"] |= {"hard_negatives": 2, "matryoshka_dims": [64]}
    config["study"]["runs"] = [{"sampling": "x-y", "seeds": [1], "objectives": ["infonce", "lakda", "jsd"]}]
    resolve(config)
