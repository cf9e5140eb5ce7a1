"""Trainings with each objective: by two processes, killed and resumed, and through the command line."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from toy_processes import forked, watch
from toy_training import HYBRID, command, killed_at, make_study, make_wide_encoder, options, run

from polybatch.core.contracts import OBJECTIVES, TAUGHT_OBJECTIVES
from polybatch.core.errors import ConfigError
from polybatch.encoders.load import load_model
from polybatch.training.sampling import Sampling
from polybatch.training.train import main

SHORT = {"max_steps": 4, "eval_steps": 2, "save_steps": 4, "learning_rate": 1e-3, "max_grad_norm": 0.05}
RATES = {"mimo_stage1_learning_rate": 1e-3, "mimo_stage2_learning_rate": 1e-3}
# A clipped gradient depends on all weights, the projection's among them.
CASES = {
    "lakda": ({"hard_negatives": 2}, {}),
    "jsd": ({"mini_batch_size": 3}, {}),
    "distillation": ({"bucket_width": 3, "distillation_distance": "cosine"}, {"teacher": "wide"}),
    "mimo": ({**RATES, "hard_negatives": 2}, {"teacher": "wide"}),
    "mimo, GradCache": ({**RATES, "mini_batch_size": 3}, {"teacher": "wide"}),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = make_study(tmp_path_factory.mktemp("study"))
    make_wide_encoder(base / "wide")
    return base


def train_all_cases(study, folder, ranks):
    """Trains every case; keeps gradients, weights and losses in files."""
    from transformers import TrainerCallback

    gradients = []

    class Record(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            named = kwargs["model"].named_parameters()
            gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    watch(Record())
    for number, (name, (changes, how)) in enumerate(CASES.items()):
        gradients.clear()
        given = {**how, "objective": name.split(",")[0], "encoder": "without_dropout", "ranks": ranks}
        model, result, _ = run(study, folder / str(number), options(**{**SHORT, **changes}), HYBRID, **given)
        record = {"gradients": list(gradients), "result": result, "weights": model.state_dict()}
        torch.save(record, folder / f"{number}-{ranks.rank}.pt")


@pytest.fixture(scope="module")
def by_processes(study, tmp_path_factory):
    found = {}
    for world_size in (1, 2):
        folder = tmp_path_factory.mktemp(f"by{world_size}")
        assert forked(lambda ranks, to=folder: train_all_cases(study, to, ranks), world_size) == [0] * world_size
        for number, name in enumerate(CASES):
            records = [torch.load(folder / f"{number}-{rank}.pt") for rank in range(world_size)]
            found.setdefault(name, []).extend(records)
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_processes_compute_what_one_does(by_processes, name):
    alone, first, second = by_processes[name]
    assert len(alone["gradients"]) == 4
    assert ("to_teacher.linear.weight" in alone["gradients"][0]) == ("teacher" in CASES[name][1])
    assert not any("to_teacher" in parameter for parameter in alone["weights"])
    for step in range(4):
        largest = max(float(one.abs().max()) for one in alone["gradients"][step].values())
        for parameter, gradient in alone["gradients"][step].items():
            for other in (first, second):
                found = other["gradients"][step][parameter]
                torch.testing.assert_close(found, gradient, rtol=2e-2 if step else 1e-3, atol=2e-3 * largest)
    for parameter, weight in alone["weights"].items():
        torch.testing.assert_close(first["weights"][parameter], weight, rtol=1e-3, atol=1e-4)
    assert first["result"]["validation_losses"] == pytest.approx(alone["result"]["validation_losses"], rel=1e-3)
    assert second["result"] == {}


@pytest.mark.parametrize(
    ("objective", "teacher", "killed", "saved"),
    [("distillation", "wide", 5, 4), ("mimo", "wide", 3, 2), ("mimo", "wide", 5, 4), ("jsd", None, 7, 6)],
)
def test_a_killed_training_resumes_to_the_same_weights(
    study,
    tmp_path,
    objective,
    teacher,
    killed,
    saved,
    caplog,
):
    """With dropout. The first stage of mimo has four steps: a checkpoint lies within, and one where it ends."""
    changed = options(max_steps=8, eval_steps=2, save_steps=2, **RATES)
    how = {"objective": objective, "teacher": teacher}
    _, result, expected = run(study, tmp_path / "unbroken", changed, **how)
    killed_at(killed, study, tmp_path / "killed", changed, **how)
    with caplog.at_level(logging.INFO):
        _, again, resumed = run(study, tmp_path / "killed", changed, **how)
    assert f"resuming from {tmp_path}/killed/checkpoint-{saved}" in caplog.text
    assert again == result and resumed == expected


def test_mimo_keeps_no_weights_of_its_first_stage(study, tmp_path):
    # Nothing is learned after the first stage, so that its weights are the best by validation.
    changed = options(max_steps=8, eval_steps=2, mimo_stage1_learning_rate=1e-3, mimo_stage2_learning_rate=0.5)
    _, result, _ = run(study, tmp_path, changed, Sampling("x-y"), objective="mimo")
    losses = result["validation_losses"]
    assert min(losses["2"], losses["4"]) < min(losses["6"], losses["8"])
    assert result["best_step"] == min((6, 8), key=lambda step: losses[str(step)])


def test_mimo_does_not_stop_in_its_first_stage(study, tmp_path):
    # A rate that ruins: every validation is worse than the one before.
    changed = options(max_steps=8, eval_steps=1, patience=1, mimo_stage1_learning_rate=0.5)
    _, result, _ = run(study, tmp_path, changed, Sampling("x-y"), objective="mimo")
    assert result["steps"] > 4


def test_a_distilled_student_comes_closer_to_its_teacher(study, tmp_path):
    texts = [f"de{i}" for i in range(80)], [f"en{i}" for i in range(80)]

    def distance(model):
        german, english = model.encode(texts[0], prompt_name="query"), teacher.encode(texts[1], prompt_name="query")
        return float(((german - english) ** 2).sum(axis=1).mean())

    teacher = load_model(study / "encoder")
    model, _, _ = run(study, tmp_path, options(max_steps=24), Sampling("x-y"), objective="distillation")
    assert distance(model) < 0.7 * distance(teacher)


def test_pairs_in_one_language_are_refused(study, tmp_path):
    changes = {"objective": "lakda", "sampling": "x-x-mono"}
    words = command(study, tmp_path, **changes)
    words[words.index("--parallel") + 1 : words.index("--encoder")] = [f"en={study}/en.parquet"]
    with pytest.raises(ConfigError, match="no pair exists in two languages"):
        main(words)


def test_a_model_folder_tells_its_objective_and_teacher(study, tmp_path, caplog):
    given = options(**{**SHORT, **RATES, "teacher": "big"}).as_dict()
    changes = {"objective": "mimo", "teacher": str(study / "wide"), "options": json.dumps(given)}
    with caplog.at_level(logging.INFO):
        main(command(study, tmp_path, **changes))
    assert "embeddings of 32 numbers are projected to the teacher's 48" in caplog.text
    assert ", teacher " in caplog.text
    model = tmp_path / "model"
    record = json.loads((model / "training.json").read_text())
    assert record["objective"] == "mimo" and record["teacher"] == str(study / "wide")
    assert record["made_from"]["options"]["objective"] == "mimo" and record["made_from"]["inputs"]["teacher"]
    card = (model / "README.md").read_text()
    assert f"| objective | mimo, teacher {study / 'wide'} |" in card
    assert "| learning rate | 0.001 in stage 1, 0.001 in stage 2 |" in card
    loaded = load_model(model)
    assert loaded.encode(["en1"], prompt_name="query").shape == (1, 32)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_memory_of_further_texts_is_counted(study, objective):
    from polybatch.training.inputs import load_encoder, set_up
    from polybatch.training.memory import estimate
    from polybatch.training.objectives.known import objective_of
    from polybatch.training.objectives.teacher import load_teacher

    changed = options(bucket_width="auto")
    model = load_encoder(str(study / "encoder"))
    set_up(model, changed)
    lengths = {"query": [torch.tensor([8, 8]).numpy()], "passage": [torch.tensor([8, 8]).numpy()]}
    further = objective_of(objective, changed, "x-y").student_columns
    teacher = load_teacher(str(study / "encoder"), changed, own=True) if objective in TAUGHT_OBJECTIVES else None
    plain, more = (
        estimate(model, lengths, changed, 1),
        estimate(model, lengths, changed, 1, further=further, teacher=teacher),
    )
    assert more.activations == pytest.approx(plain.activations * (2 + len(further)) / 2, rel=0.05)
    assert (more.teacher > 0) == (objective in TAUGHT_OBJECTIVES) and more.total >= plain.total
