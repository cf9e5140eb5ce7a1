"""A pickled file never reaches a loader, whatever else a module's folder holds."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_model

from polybatch.core.errors import DataError
from polybatch.core.files import sha256_file
from polybatch.core.weights import no_pickles, require_safe
from polybatch.encoders.load import load_model, loaded
from polybatch.encoders.make import Origin, make_encoder
from polybatch.encoders.options import EncoderSource

PARTS = (".", "2_Dense")


class Evil:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


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


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


def plant(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(mark)))


def test_the_plant_works(tmp_path: Path, mark: Path) -> None:
    plant(tmp_path / "x.bin", mark)
    pickle.loads((tmp_path / "x.bin").read_bytes())  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.pth", "a.pkl", "a.ckpt", "tf_model.h5", "a.npy"])
def test_beside_safe_weights_it_is_not_read(model: Path, mark: Path, part: str, name: str) -> None:
    plant(model / part / name, mark)
    load_model(model, device="cpu")
    assert not mark.exists()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.pth", "a.pkl", "a.ckpt", "tf_model.h5", "a.npy"])
def test_in_their_place_it_is_refused_by_name(model: Path, mark: Path, part: str, name: str) -> None:
    plant(model / part / name, mark)
    (model / part / "model.safetensors").unlink()
    with pytest.raises(DataError, match="pickled") as error:
        load_model(model)
    assert name in error.value.found
    assert not mark.exists()


@pytest.mark.parametrize("part", PARTS)
def test_beside_safe_weights_that_no_loader_looks_for_it_is_refused(model: Path, mark: Path, part: str) -> None:
    (model / part / "model.safetensors").rename(model / part / "other.safetensors")
    plant(model / part / "pytorch_model.bin", mark)
    with pytest.raises(DataError, match="pickled"):
        load_model(model)
    with pytest.raises(DataError, match="pickled"):
        make_encoder(Origin(model), EncoderSource(), model.parent / "out")
    assert not mark.exists()


@pytest.mark.parametrize("shard", ["pytorch_model-00001-of-00001.bin", "weights.dat"])
def test_an_index_of_safe_shards_that_names_another_is_refused(model: Path, mark: Path, shard: str) -> None:
    weights = model / "model.safetensors"
    weights.unlink()
    plant(model / shard, mark)
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": shard}}
    weights.with_suffix(".safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="pickled") as error:
        load_model(model)
    assert shard in error.value.found
    weights.with_suffix(".safetensors.index.json").write_text("[]")
    with pytest.raises(DataError, match="shards cannot be read"):
        load_model(model)
    assert not mark.exists()


def test_pickled_adapters_are_refused(model: Path, mark: Path) -> None:
    plant(model / "adapter_model.bin", mark)
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    with pytest.raises(DataError, match="pickled"):
        load_model(model)
    assert not mark.exists()


def test_a_loader_that_reaches_for_one_all_the_same_is_stopped(tmp_path: Path, mark: Path) -> None:
    """Such as a module that keeps its weights in a folder of its own making."""
    import torch

    plant(tmp_path / "x.pt", mark)
    with pytest.raises(DataError, match=r"pickled") as error:
        loaded(tmp_path, lambda trusted: torch.load(tmp_path / "x.pt", weights_only=False), remote_code=False)
    assert "x.pt" in error.value.where
    assert not mark.exists()
    before = torch.load
    with pytest.raises(ValueError, match="no"), no_pickles():
        assert torch.load is not before
        raise ValueError("no")
    assert torch.load is before


def test_arrays_of_objects_are_not_read(tmp_path: Path, mark: Path) -> None:
    """The .npy files of the pipeline."""
    from polybatch.embedding.vectors import open_vectors

    np.save(tmp_path / "x.npy", np.array([Evil(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no array of numbers"):
        open_vectors(tmp_path / "x.npy", {"rows": 1, "dim": 1, "sha256": sha256_file(tmp_path / "x.npy")})
    assert not mark.exists()


def test_a_folder_of_safe_weights_is_safe(model: Path) -> None:
    for part in PARTS:
        require_safe(model / part)
