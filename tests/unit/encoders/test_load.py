"""A model's folder loads as a whole or is refused, with a word on what is wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_json
from polybatch.encoders.load import carry_record, load_model, usable_length


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer, its pooling, and a dense layer behind it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    folder = tmp_path_factory.mktemp("models")
    plain = SentenceTransformer(str(save_tiny_model(folder / "plain")), device="cpu")
    SentenceTransformer(modules=[*plain, Dense(16, 8)], device="cpu").save_pretrained(str(folder / "headed"))
    return folder / "headed"


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def pickle_weights(part: Path) -> None:
    import torch

    torch.save(load_file(part / "model.safetensors"), part / "pytorch_model.bin")
    (part / "model.safetensors").unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def widen_vocabulary(model: Path) -> None:
    tokenizer = read_json(model / "tokenizer.json")
    tokenizer["model"]["vocab"]["zebra"] = 500
    write_json(model / "tokenizer.json", tokenizer, sealed=False)


def narrow_vocabulary(model: Path) -> None:
    tokenizer = read_json(model / "tokenizer.json")
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    tokenizer["model"]["vocab"] = dict(vocabulary[:9])
    write_json(model / "tokenizer.json", tokenizer, sealed=False)


def narrow_embeddings(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:, :12].contiguous()
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def change_json(path: Path, **values: object) -> None:
    write_json(path, {**read_json(path), **values}, sealed=False)


FAULTS = {
    "no modules.json": (lambda m: (m / "modules.json").unlink(), "no sentence-transformers folder"),
    "no list of modules": (lambda m: (m / "modules.json").write_text("[{}]"), "list of a model's modules"),
    "a module is missing": (lambda m: shutil.rmtree(m / "2_Dense"), "lacks its module Dense"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), "has no weights"),
    "a head without weights": (lambda m: (m / "2_Dense" / "model.safetensors").unlink(), "has no weights"),
    "pickled weights": (pickle_weights, "pickled"),
    "a head with pickled weights": (lambda m: pickle_weights(m / "2_Dense"), "pickled"),
    "cut off": (lambda m: cut_off(m / "model.safetensors"), "cut off or damaged"),
    "a head cut off": (lambda m: cut_off(m / "2_Dense" / "model.safetensors"), "cut off or damaged"),
    "no tokenizer": (lambda m: [p.unlink() for p in m.glob("tokenizer*")], "has no tokenizer"),
    "another tokenizer": (widen_vocabulary, "ids reach 500, the model has embeddings up to 31"),
    "a smaller tokenizer": (narrow_vocabulary, "knows 9 pieces, the model has embeddings of 32"),
    "weights of another shape": (narrow_embeddings, "cannot be loaded"),
    "pooling of another width": (
        lambda m: change_json(m / "1_Pooling" / "config.json", embedding_dimension=12),
        "Pooling takes 12 dimensions, Transformer gives 16; Dense takes 16 dimensions, Pooling gives 12",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_not_whole_is_refused(model: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    damage(model)
    with pytest.raises(DataError, match=message) as told:
        load_model(model)
    assert str(model) in str(told.value)


def test_a_whole_folder_loads_in_the_type_asked_for(model: Path) -> None:
    import torch

    loaded = load_model(model, device="cpu", compute_dtype="bfloat16")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.encode(["a red house"], convert_to_tensor=True).shape == (1, 8)


def test_modules_of_the_models_own_are_not_run(model: Path) -> None:
    (model / "custom.py").write_text("raise SystemExit('run')")
    modules = read_json(model / "modules.json", list)
    modules[0]["type"] = "custom.Transformer"
    write_json(model / "modules.json", modules)
    with pytest.raises(ConfigError, match=r"custom\.Transformer"):
        load_model(model)


def test_the_record_travels_with_a_trained_model(model: Path, tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    carry_record(model, trained)  # a model from scratch has none
    assert not list(trained.iterdir())
    write_json(model / "encoder.json", {"trust_remote_code": True})
    carry_record(model, trained)
    assert read_json(trained / "encoder.json") == {"trust_remote_code": True}


def test_positions_of_roberta_start_behind_the_padding() -> None:
    from transformers import BertConfig, XLMRobertaConfig

    assert usable_length(XLMRobertaConfig(max_position_embeddings=514)) == 512
    assert usable_length(BertConfig(max_position_embeddings=512)) == 512
