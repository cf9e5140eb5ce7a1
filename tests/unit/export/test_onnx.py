"""ONNX files give the model's vectors, and scores beside them are made as the study's are."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_export import RUN
from tiny_models import save_tiny_model

from polybatch.config.paths import Paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.encoders.load import load_model
from polybatch.export import card_results, fidelity, onnx_graph, scores
from polybatch.export.make import main
from polybatch.export.source import find

TEXTS = ["red house", "das haus 12", "the light sensor opens the blue window and the door closes", "a"]
needs_onnx = pytest.mark.skipif(bool(onnx_graph.missing_packages()), reason="the extra `export` is not installed")


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(ConfigError, match=r"(?s)no .*onnxscript.*\[export\]"):
        onnx_graph.require_packages()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, with directions projected out by a module of its own, and its graphs; torch takes seconds for one."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    plain = save_tiny_model(tmp_path_factory.mktemp("tiny") / "plain", prompts={"query": "query: "})
    torch.manual_seed(1)
    dense = Dense(16, 16, bias=False, activation_function=torch.nn.Identity())
    whole = SentenceTransformer(modules=[*SentenceTransformer(str(plain)), dense, Normalize()], prompts={"query": ""})
    made = plain.with_name("model")
    whole.save_pretrained(str(made))
    onnx_graph.write_graph(load_model(made, device="cpu").eval(), made / onnx_graph.FLOAT)
    onnx_graph.quantise(made / onnx_graph.FLOAT, made / onnx_graph.INT8)
    return made


@needs_onnx
def test_the_graph_is_the_whole_model(folder: Path) -> None:
    model = load_model(folder, device="cpu").eval()
    expected = fidelity.embed_originals(model, TEXTS, None)
    found = onnx_graph.OnnxEncoder(folder, onnx_graph.FLOAT, 32).embed(TEXTS)
    assert np.abs(found - expected).max() < 1e-6
    assert fidelity.cosines(expected, onnx_graph.OnnxEncoder(folder, onnx_graph.INT8, 32).embed(TEXTS))["min"] > 0.95
    half = onnx_graph.OnnxEncoder(folder, onnx_graph.FLOAT, 32, 8).embed(TEXTS)
    assert np.abs(half - fidelity.embed_originals(model, TEXTS, 8)).max() < 1e-6
    assert np.allclose(np.linalg.norm(half, axis=1), 1)


@needs_onnx
def test_graphs_name_nothing_of_this_machine(folder: Path) -> None:
    """torch notes the stack of calls at every node."""
    for name in (onnx_graph.FLOAT, onnx_graph.INT8):
        raw = (folder / name).read_bytes()
        assert b".py" not in raw and b"stack_trace" not in raw


@needs_onnx
def test_large_weights_stand_beside_the_graph(folder: Path, tmp_path: Path) -> None:
    """A protobuf file ends at 2 GiB."""
    copy = tmp_path / "model"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("onnx"))
    model = load_model(copy, device="cpu").eval()
    onnx_graph.write_graph(model, copy / onnx_graph.FLOAT, largest=1000)
    onnx_graph.quantise(copy / onnx_graph.FLOAT, copy / onnx_graph.INT8)
    assert (copy / f"{onnx_graph.FLOAT}.data").is_file()
    found = [onnx_graph.OnnxEncoder(place, onnx_graph.INT8, 32).embed(TEXTS) for place in (folder, copy)]
    assert found[0].tobytes() == found[1].tobytes()


@needs_onnx
def test_an_export_tells_cosines_and_scores(made: Paths, tmp_path: Path) -> None:
    command = [RUN.name, "--study", "small", "--results", made.results, "--to", str(tmp_path / "mine")]
    main([*command, "--only", "onnx", "--score", "test"])
    assert not (tmp_path / "mine/1_Pooling").exists()
    assert not (tmp_path / "mine/model.safetensors").exists()  # and the graphs had their tokenizer all the same
    part = read_json(tmp_path / "mine/export.json")["parts"]["onnx"]
    exact, small = (part["files"][name] for name in (onnx_graph.FLOAT, onnx_graph.INT8))
    assert exact["cosines"]["min"] > 0.99999 > small["cosines"]["mean"] > 0.9
    # The study has many texts of equal vectors, whose order float32 does not decide.
    own = mean_ndcg(made.scores(RUN.name, "test"))
    assert exact["scores"]["monolingual"]["ndcg@10"] == pytest.approx(own, abs=0.02)
    source = find(RUN.name, "small", results=Path(made.results))
    table = list(card_results.onnx_scores(part, scores.read(source)))
    assert table[1] == "Scores on test, with all its texts embedded anew:"
    assert f"| Monolingual | nDCG@10 | {own:.3f} |" in "\n".join(table)


def mean_ndcg(path: str) -> float:
    """The mean monolingual nDCG@10 of a score file."""
    import pyarrow.parquet as pq

    frame = pq.read_table(path).to_pandas()
    return float(frame[(frame.setting == "monolingual") & (frame.metric == "ndcg@10")].value.mean())


def test_a_graph_that_gives_other_vectors_is_told(tmp_path: Path) -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    with pytest.raises(DataError, match="other vectors than the model"):
        fidelity.require_same(fidelity.cosines(vectors, vectors[::-1]), tmp_path)
    fidelity.require_same(fidelity.cosines(vectors, vectors), tmp_path)


def test_vectors_that_are_no_numbers_are_never_the_same() -> None:
    """`nan < 0.9999` is false: a graph that gives no numbers was taken for a faithful one."""
    vectors = np.eye(4, 8, dtype=np.float32)
    broken = vectors.copy()
    broken[2, 2] = np.nan
    with pytest.raises(DataError, match=r"(?s)no numbers.*1 of 4 texts"):
        fidelity.cosines(vectors, broken)
