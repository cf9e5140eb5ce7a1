"""What a training is said to take is about what it takes, and one that cannot fit is refused before it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_model
from toy_training import LANGS, make_study, options

from polybatch.core.errors import TrainingError
from polybatch.encoders.layers import freeze
from polybatch.encoders.load import load_model
from polybatch.encoders.packed import pack, unpack
from polybatch.pairs.table import read_pairs
from polybatch.training.inputs import load_encoder, set_up
from polybatch.training.memory import _PROBED_TEXTS, _kept, _of_groups, check, estimate, measure_kept
from polybatch.training.processes import Ranks

LENGTHS = {"query": [np.array([8, 8]), np.array([6, 6])], "passage": [np.array([10, 20]), np.array([30, 30])]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_model(save_tiny_model(tmp_path_factory.mktemp("tiny") / "model"), device="cpu")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells a process's peak")
def test_the_estimate_is_near_the_measured_peak(tmp_path):
    script = Path(__file__).parents[1] / "memory_of_a_training.py"
    words = [sys.executable, str(script), str(tmp_path), '{"precision": "fp32"}']
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.6 < found["estimated"] / found["taken"] < 1.7, found


def test_what_is_kept_of_longer_texts_follows_from_shorter_ones(tiny):
    kept = measure_kept(tiny, bf16=False)
    tokens = _PROBED_TEXTS * 28
    expected = kept.constant + kept.linear * tokens + kept.quadratic * tokens * 28
    assert _kept(tiny, 28, bf16=False) == pytest.approx(expected, rel=0.02)
    assert kept.quadratic > 0, "attention keeps its weights for dropout"


def test_counting_leaves_random_numbers_and_the_model_as_they_were(tiny):
    import torch

    tiny.eval()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    measure_kept(tiny, bf16=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert not tiny.training and all(p.grad is None for p in tiny.parameters())


def test_options_change_what_is_taken(tiny):
    usual = options(precision="fp32", batch_size=8, bucket_width="auto")

    def taken(**changes):
        return estimate(tiny, LENGTHS, usual.changed(**changes), 1)

    whole = taken()
    assert whole.optimizer == 8 * sum(p.numel() for p in tiny.parameters())
    assert taken(batch_size=16).activations == pytest.approx(2 * whole.activations, rel=0.01)
    # Texts of the other language are longer: one language alone is what counts.
    assert whole.activations > estimate(tiny, {k: v[:1] for k, v in LENGTHS.items()}, usual, 1).activations
    assert estimate(tiny, LENGTHS, usual, 2).activations == pytest.approx(whole.activations / 2, rel=0.01)
    assert taken(hard_negatives=1).activations > 1.5 * whole.activations
    assert taken(mini_batch_size=2).activations < whole.activations / 3
    assert taken(bucket_width=None).activations >= whole.activations


def test_texts_without_padding_keep_no_padding(tiny):
    uneven = {side: [np.array([2, 2, 2, 16])] for side in ("query", "passage")}
    whole = options(precision="fp32", batch_size=8, bucket_width=None)
    padded = estimate(tiny, uneven, whole, 1).activations
    assert pack(tiny, anywhere=True)
    packed = estimate(tiny, uneven, whole, 1).activations
    unpack(tiny)
    assert packed == estimate(tiny, uneven, whole.changed(bucket_width="auto"), 1).activations < padded / 2


def test_frozen_embeddings_take_nothing(tmp_path):
    model = load_model(save_tiny_model(tmp_path / "model"), device="cpu")
    before = estimate(model, LENGTHS, options(), 1)
    freeze(model, embeddings=True, layers=0)
    after = estimate(model, LENGTHS, options(), 1)
    words = model.transformers_model.get_input_embeddings().weight.numel()
    assert before.embeddings > 0 == after.embeddings
    assert before.optimizer - after.optimizer == 8 * words


def test_a_training_that_cannot_fit_is_refused_with_what_to_lower(tmp_path, caplog):
    study = make_study(tmp_path)
    model, table = load_encoder(str(study / "encoder")), read_pairs({lang: study / f"{lang}.parquet" for lang in LANGS})
    set_up(model, options())
    with caplog.at_level("INFO"):
        assert check(model, table, options(), Ranks()).total < 1e9
    assert "memory: about" in caplog.text
    with pytest.raises(TrainingError) as error:
        check(model, table, options(batch_size=10**9), Ranks())
    assert "will not fit" in str(error.value) and "to do: set mini_batch_size, or lower batch_size" in str(error.value)


def test_the_tightest_control_group_counts(tmp_path):
    (tmp_path / "self").write_text("1:memory:/old\n0::/slurm/job\n")
    for place, limit in (("", "max"), ("slurm", "9000"), ("slurm/job", "5000")):
        group = tmp_path / "root" / place
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("3000\n")
        (group / "memory.stat").write_text("anon 2000\ninactive_file 500\n")
    assert sorted(_of_groups(tmp_path / "self", tmp_path / "root")) == [2500, 6500]
    assert _of_groups(tmp_path / "none", tmp_path / "root") == []
