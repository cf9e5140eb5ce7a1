"""ONNX files give the model's vectors, and scores beside them are made as the study's are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from small_study import RUN, write_study
from tiny_models import save_tiny_model

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.encoders.load import load_model
from polybatch.export import fidelity, onnx_graph
from polybatch.export.make import main

TEXTS = ["red house", "das haus 12", "the light sensor opens the blue window and the door closes", "a"]
needs_onnx = pytest.mark.skipif(bool(onnx_graph.missing_packages()), reason="the extra `export` is not installed")


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(ConfigError, match=r"(?s)no .*onnxscript.*\[export\]"):
        onnx_graph.require_packages()


@needs_onnx
@pytest.mark.parametrize("largest", [onnx_graph.LARGEST, 1000])
def test_the_graph_is_the_whole_model(tmp_path: Path, largest: int) -> None:
    folder = save_tiny_model(tmp_path / "model", prompts={"query": "query: "})
    model = load_model(folder, device="cpu").eval()
    graph, small = folder / onnx_graph.FLOAT, folder / onnx_graph.INT8
    onnx_graph.write_graph(model, graph, largest=largest)
    onnx_graph.quantise(graph, small)
    assert graph.with_name("model.onnx.data").is_file() == (largest == 1000)
    expected = fidelity.embed_originals(model, TEXTS, None)
    found = onnx_graph.OnnxEncoder(folder, onnx_graph.FLOAT, 32).embed(TEXTS)
    assert np.abs(found - expected).max() < 1e-6
    assert fidelity.cosines(expected, onnx_graph.OnnxEncoder(folder, onnx_graph.INT8, 32).embed(TEXTS))["min"] > 0.95
    half = onnx_graph.OnnxEncoder(folder, onnx_graph.FLOAT, 32, 8).embed(TEXTS)
    assert np.abs(half - fidelity.embed_originals(model, TEXTS, 8)).max() < 1e-6
    assert np.allclose(np.linalg.norm(half, axis=1), 1)


@needs_onnx
def test_graphs_name_nothing_of_this_machine(tmp_path: Path) -> None:
    """torch notes the stack of calls at every node."""
    model = load_model(save_tiny_model(tmp_path / "model"), device="cpu").eval()
    onnx_graph.write_graph(model, tmp_path / "model.onnx")
    raw = (tmp_path / "model.onnx").read_bytes()
    assert b".py" not in raw and b"stack_trace" not in raw


@needs_onnx
def test_an_export_tells_cosines_and_scores(tmp_path: Path) -> None:
    paths = write_study(tmp_path / "results")
    command = [RUN.name, "--study", "small", "--results", paths.results, "--to", str(tmp_path / "mine")]
    main([*command, "--only", "model", "onnx", "--score", "test"])
    part = read_json(tmp_path / "mine/export.json")["parts"]["onnx"]
    exact, small = (part["files"][name] for name in (onnx_graph.FLOAT, onnx_graph.INT8))
    assert exact["cosines"]["min"] > 0.99999 > small["cosines"]["mean"] > 0.9
    # The study has many texts of equal vectors, whose order float32 does not decide.
    own = read_json_scores(paths.scores(RUN.name, "test"))
    assert exact["scores"]["monolingual"]["ndcg@10"] == pytest.approx(own, abs=0.02)
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "Scores on test, with all its texts embedded anew" in card and "- onnx" in card


def read_json_scores(path: str) -> float:
    """The mean monolingual nDCG@10 of a score file."""
    import pyarrow.parquet as pq

    frame = pq.read_table(path).to_pandas()
    return float(frame[(frame.setting == "monolingual") & (frame.metric == "ndcg@10")].value.mean())


@needs_onnx
def test_onnx_alone_has_its_tokenizer(tmp_path: Path) -> None:
    paths = write_study(tmp_path / "results", scored=False)
    to = tmp_path / "mine"
    main([RUN.name, "--study", "small", "--results", paths.results, "--to", str(to), "--only", "onnx"])
    assert onnx_graph.OnnxEncoder(to, onnx_graph.INT8, 32).embed(TEXTS).shape == (4, 16)
    assert not (to / "model.safetensors").exists()


def test_a_graph_that_gives_other_vectors_is_told(tmp_path: Path) -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    with pytest.raises(DataError, match="other vectors than the model"):
        fidelity.require_same(fidelity.cosines(vectors, vectors[::-1]), tmp_path)
    fidelity.require_same(fidelity.cosines(vectors, vectors), tmp_path)
