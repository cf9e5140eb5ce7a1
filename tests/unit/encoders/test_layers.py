"""What is frozen stays bit by bit, what is trained moves, and a shorter encoder is the beginning of the whole one."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from toy_training import LANGS, killed_at, make_study, options, run, text, weights

from polybatch.core.errors import ConfigError
from polybatch.core.files import read_json
from polybatch.encoders.layers import freeze, keep_first_layers
from polybatch.encoders.make import Origin, make_encoder
from polybatch.encoders.options import EncoderOptions, EncoderSource
from polybatch.encoders.scratch import build_encoder
from polybatch.training.inputs import load_encoder

LAYERS = 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = make_study(tmp_path_factory.mktemp("study"))
    words = [text(lang, i) for lang in LANGS for i in range(97)]
    shape = {"vocab_size": 600, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "max_length": 24}
    build_encoder(words, EncoderOptions.from_values({**shape, "num_layers": LAYERS}), base / "deep")
    return base


def moved(before, after):
    """The weights that a training changed, without the transformer's place in the model."""
    assert before.keys() == after.keys()
    return {name.split("model.", 1)[-1] for name in before if before[name] != after[name]}


@pytest.mark.parametrize("mini_batch_size", [None, 3])
def test_frozen_word_embeddings_stay_and_the_rest_is_trained(study, tmp_path, mini_batch_size):
    before = weights(load_encoder(str(study / "deep")))
    frozen = options(freeze_embeddings=True, max_steps=6, mini_batch_size=mini_batch_size)
    changed = moved(before, run(study, tmp_path, frozen, encoder="deep")[2])
    assert "embeddings.word_embeddings.weight" not in changed
    assert {"embeddings.position_embeddings.weight", "encoder.layer.0.output.dense.weight"} <= changed


def test_frozen_layers_stay_with_all_that_is_below_them(study, tmp_path):
    before = weights(load_encoder(str(study / "deep")))
    changed = moved(before, run(study, tmp_path, options(freeze_layers=2, max_steps=6), encoder="deep")[2])
    assert changed and all(name.startswith("encoder.layer.2.") for name in changed), changed


def test_the_optimiser_keeps_no_state_of_what_is_frozen(study, tmp_path):
    import torch

    def kept(folder, **changes):
        run(study, folder, options(max_steps=6, **changes), encoder="deep")
        state = torch.load(folder / "checkpoint-6" / "optimizer.pt", weights_only=True)["state"]
        return sum(moments["exp_avg"].numel() for moments in state.values())

    embedding = load_encoder(str(study / "deep")).transformers_model.get_input_embeddings().weight.numel()
    whole = kept(tmp_path / "whole")
    assert kept(tmp_path / "frozen", freeze_embeddings=True) == whole - embedding


def test_a_killed_training_with_frozen_weights_resumes_to_the_same(study, tmp_path, caplog):
    frozen = options(freeze_embeddings=True, max_steps=12)
    _, result, expected = run(study, tmp_path / "unbroken", frozen)
    killed_at(9, study, tmp_path / "killed", frozen)
    with caplog.at_level(logging.INFO):
        _, again, resumed = run(study, tmp_path / "killed", frozen)
    assert "checkpoint-8" in caplog.text and "weights are trained, the others stay" in caplog.text
    assert (again, resumed) == (result, expected)


def test_activations_computed_twice_with_frozen_embeddings_give_the_same(study, tmp_path):
    frozen = {"freeze_embeddings": True, "max_steps": 6}
    once = run(study, tmp_path / "once", options(**frozen), encoder="deep")[1]
    twice = run(study, tmp_path / "twice", options(**frozen, gradient_checkpointing=True), encoder="deep")[1]
    assert twice["validation_loss"] == pytest.approx(once["validation_loss"], abs=1e-6)


def test_an_encoder_of_fewer_layers_is_the_beginning_of_the_whole(study, tmp_path):
    record = make_encoder(Origin(study / "deep"), EncoderSource(layers=2), tmp_path / "short")
    short, whole = load_encoder(str(tmp_path / "short")), load_encoder(str(study / "deep"))
    assert record["layers"] == 2
    assert read_json(tmp_path / "short" / "config.json")["num_hidden_layers"] == 2
    inputs = whole.tokenize(["en1 de2", "tr3"])
    inputs = {name: values.to(whole.device) for name, values in inputs.items() if hasattr(values, "to")}
    states = whole.transformers_model(**inputs, output_hidden_states=True).hidden_states
    found = short.transformers_model(**inputs).last_hidden_state
    np.testing.assert_array_equal(found.detach().cpu().numpy(), states[2].detach().cpu().numpy())


def test_more_layers_than_there_are_is_told(study):
    model = load_encoder(str(study / "deep"))
    with pytest.raises(ConfigError, match=r"layers is more(.|\n)*at most 3(.|\n)*found: 4"):
        keep_first_layers(model, 4)
    with pytest.raises(ConfigError, match=r"freeze_layers is more(.|\n)*at most 2(.|\n)*found: 3"):
        freeze(model, embeddings=False, layers=3)


def test_adapters_and_frozen_weights_do_not_go_together():
    with pytest.raises(ConfigError, match="freeze_embeddings and freeze_layers do not go with it"):
        options().from_values({"lora_r": 4, "freeze_embeddings": True})
