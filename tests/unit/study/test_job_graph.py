"""The jobs of a study: their hours are the plan's, and they wait for what the rules make them wait for."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from polybatch.study.amounts import amounts
from polybatch.study.costs import Known, lines, total_hours
from polybatch.study.job_graph import jobs
from polybatch.study.rates import at, rates
from polybatch.study.resolve import resolve
from polybatch.study.wall_clock import Job, Machine, longest_chain, schedule

ROOT = Path(__file__).parents[3]
VALUES = at(rates())


def known_of(path: str) -> Known:
    config = resolve(yaml.safe_load((ROOT / path).read_text("utf-8")))
    nowhere = Path("nowhere")
    return Known.of(config, nowhere, amounts(config, nowhere))


@pytest.fixture(scope="module")
def paper() -> Known:
    return known_of("workflow/studies/paper.yaml")


def graph_of(known: Known, cards: int = 1) -> dict[str, Job]:
    return {job.name: job for job in jobs(known, VALUES, list(lines(known, VALUES)), cards)}


def test_the_paper_has_a_job_for_each_shard_language_and_run(paper: Known) -> None:
    graph = graph_of(paper)
    counts = {stage: sum(job.stage == stage for job in graph.values()) for stage in ("translate", "train", "encode")}
    assert counts == {"translate": 64 * 8, "train": 6, "encode": 8}


def test_hours_are_those_of_the_lines_and_of_starting(paper: Known) -> None:
    plan = list(lines(paper, VALUES))
    graph = graph_of(paper).values()
    held = [job for job in graph if job.devices]
    started = len(held) * VALUES["device_start_seconds"] / 3600
    assert sum(job.hours for job in held) == pytest.approx(total_hours(plan, device=True) + started)
    free = [job for job in graph if not job.devices and job.stage not in ("encoder", "tables")]
    started = len(free) * VALUES["core_start_seconds"] / 3600
    assert sum(job.hours for job in free) == pytest.approx(total_hours(plan, device=False) + started)


def test_a_stage_waits_for_the_one_before_it(paper: Known) -> None:
    graph = graph_of(paper)
    run = "xlm-r/x-y/nall/en+ar+zh+de+es+ru+th+tr+hi/s1"
    assert graph["translate/de-63"].after == ("decontaminate/pairs",)
    assert set(graph["accept/de"].after) == {*(f"translate/de-{shard}" for shard in range(64)), "supplied/de"}
    assert set(graph[f"train/{run}"].after) == {"texts", "pretrained_encoder/xlm-r"}
    assert f"train/{run}" in graph[f"encode/{run}/paper"].after
    assert graph[f"score/{run}/paper"].after == (f"index/{run}/paper",)
    # An untrained encoder waits for no training.
    assert "pretrained_encoder/xlm-r" in graph["encode/xlm-r/untrained/paper"].after


def test_names_that_others_begin_or_end_with_make_no_two_jobs_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    config |= {"sources": {name: {"adapter": "newsqa"} for name in ("en", "sources")}, "source": ["en", "sources"]}
    config["study"]["benchmarks"] = ["test", "test-de", "test-qrels", "qrels", "whole"]
    config["benchmarks"] |= {name: {"adapter": "mteb", "task": "SciFact"} for name in config["study"]["benchmarks"][1:]}
    resolved, nowhere = resolve(config), Path("nowhere")
    known = Known.of(resolved, nowhere, amounts(resolved, nowhere))
    found = [job.name for job in jobs(known, VALUES, list(lines(known, VALUES)))]
    assert {"collect/en", "collect/sources/en", "benchmark/test/de", "benchmark/test-de/whole"} <= {*found}
    assert sorted(found) == sorted({*found})


def test_several_cards_a_training_divide_the_work_and_wait_for_one_another(paper: Known) -> None:
    run = "train/xlm-r/x-y/nall/en+ar+zh+de+es+ru+th+tr+hi/s1"
    one, four = graph_of(paper)[run], graph_of(paper, 4)[run]
    start = VALUES["device_start_seconds"] / 3600
    # In each of 100,000 steps a card sends 2 * 3/4 of 4 bytes of every weight.
    sent = 100_000 * 2 * 3 / 4 * 4 * 278_043_648 / (VALUES["all_reduce_gigabytes_per_second"] * 1e9) / 3600
    assert four.devices == 4
    # The arithmetic is divided; what a step has beside it is not, nor the launching of 12 layers, there and back.
    beside = 100_000 * VALUES["step_seconds"] / 3600
    launching = 100_000 * 36 / VALUES["launched_layers_per_second"] / 3600
    divided = max((one.hours - start - beside) / 4, launching)
    assert four.hours - start - beside == pytest.approx(divided + sent, rel=1e-3)


def test_more_cards_are_never_slower_for_the_paper_and_the_chain_is_the_floor(paper: Known) -> None:
    graph = list(graph_of(paper).values())
    found = [schedule(graph, Machine(cards, 4 * cards)) for cards in (1, 4, 32)]
    hours = [one.wall_hours for one in found]
    assert hours == sorted(hours, reverse=True)
    assert hours[0] >= found[0].device_hours
    assert hours[-1] >= longest_chain(graph) - 1e-9


def test_projections_mixtures_and_shards_of_embedding_have_jobs(paper: Known) -> None:
    config = copy.deepcopy(paper.config)
    config["study"]["runs"] = [
        {"sampling": "untrained", "projections": ["lir", "centring"]},
        {"sampling": "x-y", "seeds": [1], "begin": ["lir"], "shares": [0.5], "projections": ["shift"]},
    ]
    config["encoding"]["shards"] = 4
    graph = graph_of(replace(paper, config=config))
    run = "xlm-r/x-y+from-lir/nall/en+ar+zh+de+es+ru+th+tr+hi/s1"
    assert "project_model/xlm-r/untrained-lir" in graph[f"train/{run}"].after
    assert f"train/{run}" in graph[f"interpolate/{run}-w0.5"].after
    assert f"interpolate/{run}-w0.5" in graph[f"project_model/{run}-w0.5-shift"].after
    means = {side: graph[f"language_means/xlm-r/untrained/{side}"] for side in ("queries", "corpus")}
    assert "pretrained_encoder/xlm-r" in means["corpus"].after and "parallel/de" in means["queries"].after
    assert {f"language_means/xlm-r/untrained/{side}" for side in means} <= set(
        graph["project_model/xlm-r/untrained-centring"].after
    )
    assert "language_means/xlm-r/untrained/queries" not in graph["project_model/xlm-r/untrained-lir"].after
    assert f"language_means/{run}-w0.5/queries" not in graph
    own = {f"encode/{run}-w0.5/paper-{shard}-of-4" for shard in range(4)}
    assert set(graph[f"gather_embeddings/{run}-w0.5/paper"].after) == own
    assert schedule(list(graph.values()), Machine(2, 8)).wall_hours > 0


@pytest.mark.parametrize("study", ["ratio_mbert", "miracl_low_resource", "backtranslation_scaling", "leaderboard"])
def test_every_study_can_be_scheduled(study: str) -> None:
    graph = list(graph_of(known_of(f"workflow/studies/{study}.yaml")).values())
    assert schedule(graph, Machine(8, 32)).wall_hours > 0


def test_translation_waits_for_the_translators_that_are_trained_for_it() -> None:
    config = yaml.safe_load((ROOT / "workflow/studies/language_bias.yaml").read_text("utf-8"))
    update_config(config, yaml.safe_load((ROOT / "tests/unit/study/own_translators.yaml").read_text("utf-8")))
    resolved, nowhere = resolve(config), Path("nowhere")
    known = Known.of(resolved, nowhere, amounts(resolved, nowhere))
    plan, graph = list(lines(known, VALUES)), graph_of(known)
    own = [graph[f"train_translator/interface-{lang}"] for lang in ("de", "es")]
    hours = next(line.hours for line in plan if line.stage == "train translators")
    assert sum(job.hours for job in own) == pytest.approx(hours + 2 * VALUES["core_start_seconds"] / 3600)
    assert all(job.devices == 0 and job.after == ("collect/en",) for job in own)
    assert "train_translator/interface-de" in graph["translate/de-0"].after
    assert "train_translator/interface-de" not in graph["translate/es-0"].after
