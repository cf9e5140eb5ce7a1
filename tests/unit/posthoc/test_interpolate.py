"""Mixed weights are the plain mixture of two models of one kind, and of no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file
from small_projections import make_model, make_parallel, projected
from toy_training import make_study, run

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.core.made_from import read_record
from polybatch.encoders.load import load_model
from polybatch.posthoc import card
from polybatch.posthoc.interpolate import interpolate, main
from polybatch.training.inputs import load_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("mix")
    return make_model(base / "before"), make_model(base / "after", seed=1)


def mixed(before: Path, after: Path, share: float, output: Path) -> Path:
    main(["--before", str(before), "--after", str(after), "--share", str(share), "--output", str(output)])
    return output


@pytest.mark.parametrize("share", [0.5, 0.1, 1.0])
def test_every_weight_is_the_mixture(models: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    before, after = models
    old, new, made = (
        load_file(folder / "model.safetensors")
        for folder in (before, after, mixed(before, after, share, tmp_path / "m"))
    )
    for name, weights in made.items():
        exact = (1 - share) * old[name].astype(np.float64) + share * new[name].astype(np.float64)
        np.testing.assert_array_equal(weights, exact.astype(np.float32))
    assert share < 1 or all(np.array_equal(made[name], new[name]) for name in new)


def test_the_set_up_is_that_of_the_trained_model(models: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = models[0], shutil.copytree(models[1], tmp_path / "after")
    (after / "training.json").write_text("{}", "utf-8")
    (after / "README.md").write_text("---\nlanguage: [en]\n---\n# A retriever\n\n## Use\n", "utf-8")
    settings = json.loads((after / "config_sentence_transformers.json").read_text("utf-8"))
    settings["prompts"]["query"] = "asked : "
    (after / "config_sentence_transformers.json").write_text(json.dumps(settings), "utf-8")
    folder = mixed(before, after, 0.25, tmp_path / "mixed")
    assert load_model(folder, device="cpu").prompts["query"] == "asked : "
    assert read_json(folder / "mixture.json")["share"] == 0.25 and (folder / "training.json").is_file()
    record = read_record(folder / "mixture.json")
    assert record and set(record["inputs"]) == {"before", "after"}
    card = (folder / "README.md").read_text("utf-8")
    assert card.startswith("---\nlanguage: [en]\n---\n# A mixture of weights: 0.25 trained, 0.75 as before")
    assert "\n# The model before\n\nA retriever\n\n### Use\n" in card


def test_results_of_the_model_before_are_not_told_of_the_mixture(tmp_path: Path) -> None:
    """The hub shows `model-index` as what the model itself scores; cards of models of the hub hold hundreds of it."""
    result = {"task": {"type": "Retrieval"}, "dataset": {"type": "mteb/x", "name": "X"}, "metrics": [{"value": 60.1}]}
    head = {"tags": ["mteb"], "model-index": [{"name": "e5", "results": [result]}], "license": "mit"}
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n# E5\n", "utf-8")
    told = yaml.safe_load(card.mixed({"share": 0.5}, tmp_path).split("---\n")[1])
    assert told == {"tags": ["mteb"], "license": "mit"}


def test_models_of_other_kinds_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = (load_model(folder, device="cpu") for folder in models)
    other = make_model(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    settings = json.loads((other / "config.json").read_text("utf-8"))
    (other / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 64}), "utf-8")
    name = "embeddings.position_embeddings.weight"
    save_file({**weights, name: np.concatenate([weights[name]] * 2)}, other / "model.safetensors", {"format": "pt"})
    longer = load_model(other, device="cpu")
    with pytest.raises(DataError, match=r"not built alike(.|\n)*position_embeddings.weight is \(64, 16\) before"):
        interpolate(longer, after, 0.5)
    lir = projected(models[0], make_parallel(tmp_path), "lir", tmp_path / "lir")
    with pytest.raises(DataError, match="modules Transformer, Pooling, Dense, Normalize before"):
        interpolate(load_model(lir, device="cpu"), after, 0.5)
    for share in (0, 1.5, -1):
        with pytest.raises(ConfigError, match="0 < w <= 1"):
            interpolate(before, after, share)


def test_two_names_of_one_tensor_are_mixed_once(models: tuple[Path, Path]) -> None:
    before, after = (load_model(folder, device="cpu") for folder in models)
    for model in (before, after):
        layer = model.transformers_model.encoder.layer[0]
        layer.attention.self.key.weight = layer.attention.self.query.weight
    old, new = (m.transformers_model.encoder.layer[0].attention.self.query.weight.clone() for m in (before, after))
    interpolate(before, after, 0.5)
    found = after.transformers_model.encoder.layer[0].attention.self.query.weight
    torch.testing.assert_close(found, 0.5 * old + 0.5 * new)


def test_a_training_leaves_what_was_projected_out(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    files = {lang: study / f"{lang}.parquet" for lang in ("en", "de", "tr")}
    folder = projected(study / "encoder", files, "lir", study / "lir")
    model, _, _ = run(study, tmp_path / "run", encoder="lir")[:3]
    begin, record = load_model(folder, device="cpu"), read_json(folder / "projection.json")
    place = record["module"]
    assert torch.equal(model[place].linear.weight.cpu(), begin[place].linear.weight)
    assert not model[place].linear.weight.requires_grad
    trained = next(iter(model.transformers_model.parameters()))
    assert not torch.equal(trained.cpu(), next(iter(begin.transformers_model.parameters())))


def test_a_projection_that_needs_languages_cannot_be_trained(tmp_path: Path) -> None:
    folder = projected(make_model(tmp_path / "model"), make_parallel(tmp_path), "centring", tmp_path / "centred")
    with pytest.raises(ConfigError, match="cannot be trained"):
        load_encoder(str(folder))
