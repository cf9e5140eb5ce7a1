"""What jobs ask for is no less than what they were measured to take, and not much more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from polybatch.config.grid import Run
from polybatch.study.job_memory import UNKNOWN_MB, embedding_mb, mixing_mb, most_mb, training_mb
from polybatch.study.resolve import resolve

ROOT = Path(__file__).parents[3]
DEFAULT, HELP = "config.yaml", "workflow/studies/language_bias.yaml"
MEBIBYTE = 1.048576
# Peaks (max_rss of Snakemake's benchmark files, MiB) on an AMD EPYC with AVX512-BF16: 2 threads in the first, 1 or 2 in
# the others. Of several seeds and samplings the least and the most.
MEASURED = [
    (DEFAULT, "infonce", 3006, 3274),
    (DEFAULT, "lakda", 3235, 3235),
    (DEFAULT, "jsd", 3837, 3837),
    (DEFAULT, "mimo", 3538, 3538),
    (DEFAULT, "distillation", 4168, 4168),
    (HELP, "infonce", 5173, 6064),
]


def config(name: str = DEFAULT, **training: Any) -> dict[str, Any]:
    given = yaml.safe_load((ROOT / name).read_text("utf-8"))
    given["training"] |= {"precision": "bf16", **training}
    return resolve(given)


def run(objective: str = "infonce", encoder: str = "e5-small") -> Run:
    return Run(encoder, "x-y", None, "all", "all", ("en", "de"), 1, objective)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("study", "objective", "least", "most"), MEASURED)
def test_a_training_asks_for_what_it_was_measured_to_take(study: str, objective: str, least: int, most: int) -> None:
    asked = training_mb(config(study), run(objective))
    assert most * MEBIBYTE < asked < 1.6 * least * MEBIBYTE


def test_two_trainings_of_the_evening_study_fit_a_machine_of_16_gb() -> None:
    assert 2 * training_mb(config(HELP), run()) < 16_000


def test_embedding_and_mixing_ask_for_what_they_were_measured_to_take() -> None:
    found = config()
    assert 1520 * MEBIBYTE < embedding_mb(found, "e5-small") <= 3000
    assert 3962 * MEBIBYTE < mixing_mb(found, "e5-small") < 1.6 * 3962 * MEBIBYTE


def test_what_is_trained_how_and_on_how_much_text_counts() -> None:
    usual = training_mb(config(), run())
    assert training_mb(config(freeze_embeddings=False), run()) > usual + 1800, "gradients and AdamW of 96 M weights"
    assert training_mb(config(precision="fp32"), run()) > usual
    assert training_mb(config(batch_size=128), run()) > usual + 1000
    assert training_mb(config(hard_negatives=2), run()) > usual + 1000
    assert training_mb(config(bucket_width=None), run()) > usual, "all are padded to the longest"
    assert training_mb(config(max_length=8), run()) < usual
    assert training_mb(config(mini_batch_size=4), run()) < usual - 1000
    assert training_mb(config(gradient_checkpointing=True), run()) < usual
    assert training_mb(config(freeze_embeddings=False, freeze_layers=6), run()) < usual
    assert training_mb(config(freeze_embeddings=False, lora_r=8), run()) < usual


def with_encoder(**entry: Any) -> dict[str, Any]:
    given = yaml.safe_load((ROOT / DEFAULT).read_text("utf-8"))
    given["study"]["encoders"] = ["mine"]
    given["encoders"] = {"mine": entry}
    return resolve(given)


def test_a_folder_says_how_large_its_encoder_is(tmp_path: Path) -> None:
    shape = {"num_hidden_layers": 12, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
    (tmp_path / "config.json").write_text(json.dumps({**shape, "vocab_size": 250_037}), "utf-8")
    mine = with_encoder(path=str(tmp_path))
    of_catalogue = training_mb(resolve(yaml.safe_load((ROOT / DEFAULT).read_text("utf-8"))), run())
    assert training_mb(mine, run(encoder="mine")) == pytest.approx(of_catalogue, rel=0.1)
    cut = with_encoder(path=str(tmp_path), options={"layers": 3})
    assert training_mb(cut, run(encoder="mine")) < of_catalogue - 500
    (tmp_path / "config.json").write_text("{}", "utf-8")
    assert training_mb(mine, run(encoder="mine")) == UNKNOWN_MB


def test_an_encoder_that_nothing_is_known_of_asks_for_much() -> None:
    unknown = with_encoder(model="someone/something")
    assert training_mb(unknown, run(encoder="mine")) == embedding_mb(unknown, "mine") == UNKNOWN_MB
    assert mixing_mb(unknown, "mine") == most_mb([]) == UNKNOWN_MB
    known = with_encoder(model="FacebookAI/xlm-roberta-base")
    assert training_mb(known, run(encoder="mine")) > training_mb(config(precision="fp32"), run())


def test_a_teacher_of_unknown_size_counts_as_such() -> None:
    given = yaml.safe_load((ROOT / DEFAULT).read_text("utf-8"))
    given["encoders"] = {"big": {"model": "someone/something"}}
    given["training"]["teacher"] = "big"
    given["study"]["runs"] = [{"sampling": "x-y", "seeds": [1], "objectives": ["infonce", "distillation"]}]
    found = resolve(given)
    assert training_mb(found, run("distillation")) == UNKNOWN_MB
    assert training_mb(found, run()) < UNKNOWN_MB
