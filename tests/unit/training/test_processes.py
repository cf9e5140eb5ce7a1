"""Trainings by two processes on the CPU (gloo): what they compute, alone and after a training by another number of them.

Processes are forked, because the libraries take longer to import than these trainings take.
"""

import logging
import multiprocessing
import signal

import pytest
from toy_processes import at_step, forked, kept, kill_myself, trained, watch
from toy_training import HYBRID, make_study, options, run

from polybatch.core.errors import ConfigError, TrainingError
from polybatch.training.arguments import attend_in, on_this_machine
from polybatch.training.inputs import load_encoder
from polybatch.training.options import TrainingOptions
from polybatch.training.preemption import TrainingStoppedError
from polybatch.training.processes import Ranks
from polybatch.training.sampling import Sampling
from polybatch.training.trainer import validation_parts
from polybatch.training.workers import set_up_worker

SHORT = {"max_steps": 6, "eval_steps": 3, "save_steps": 3, "learning_rate": 1e-3, "max_grad_norm": 0.0}
HARD = {"hard_negatives": 2, "source_temperature": 2.0, "language_weights": "size"}
# Dropout's noise is drawn by each process for itself, so that comparisons of one with two do without.
CASES = {
    "hybrid": (HYBRID, {}),
    "x-y, hard negatives, Matryoshka, sources and languages by size": (
        Sampling("x-y"),
        {**HARD, "matryoshka_dims": [8, 16]},
    ),
    "alpha falls, GradCache, hard negatives": (Sampling("hybrid", "1to0"), {**HARD, "mini_batch_size": 3}),
    "GradCache, Matryoshka, LoRA": (HYBRID, {"mini_batch_size": 3, "matryoshka_dims": [8], "lora_r": 4}),
    "buckets, Matryoshka, hard negatives": (HYBRID, {**HARD, "bucket_width": 3, "matryoshka_dims": [8]}),
    "LoRA, activations computed twice": (Sampling("x-x-mono"), {"lora_r": 4, "gradient_checkpointing": True}),
    "clipped, activations computed twice": (HYBRID, {"max_grad_norm": 0.1, "gradient_checkpointing": True}),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


def train_all_cases(study, folder, ranks):
    """Trains every case; keeps gradients, weights, losses and texts in files."""
    import torch
    from transformers import TrainerCallback

    from polybatch.training import trainer

    seen, texts = {}, []

    class Record(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            named = kwargs["model"].named_parameters()
            grads = {name: p.grad.clone() for name, p in named if p.requires_grad and p.grad is not None}
            seen["gradients"].append(grads)

    class Pairs(trainer.TrainingPairs):
        def __getitem__(self, example):
            texts.append(tuple(super().__getitem__(example).items()))
            return super().__getitem__(example)

    watch(Record())
    trainer.TrainingPairs = Pairs
    for number, (sampling, changes) in enumerate(CASES.values()):
        seen["gradients"], texts[:] = [], []
        changed = options(**{**SHORT, **changes})
        model, result, _ = run(study, folder / str(number), changed, sampling, encoder="without_dropout", ranks=ranks)
        record = {**seen, "texts": list(texts), "result": result, "weights": model.state_dict()}
        torch.save(record, folder / f"{number}-{ranks.rank}.pt")


@pytest.fixture(scope="module")
def alone_and_shared(study, tmp_path_factory):
    import torch

    found = {}
    for world_size in (1, 2):
        folder = tmp_path_factory.mktemp(f"by{world_size}")
        assert forked(lambda ranks, to=folder: train_all_cases(study, to, ranks), world_size) == [0] * world_size
        found[world_size] = {
            name: [torch.load(folder / f"{number}-{rank}.pt") for rank in range(world_size)]
            for number, name in enumerate(CASES)
        }
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_processes_compute_what_one_does(alone_and_shared, name):
    import torch

    (alone,), (first, second) = (alone_and_shared[world_size][name] for world_size in (1, 2))
    assert len(alone["gradients"]) == len(first["gradients"]) == 6
    largest = max(float(gradient.abs().max()) for gradient in alone["gradients"][0].values())
    assert largest > 1e-3
    for parameter, gradient in alone["gradients"][0].items():
        for other in (first, second):
            torch.testing.assert_close(other["gradients"][0][parameter], gradient, rtol=1e-4, atol=1e-5 * largest)
    for parameter, weight in alone["weights"].items():
        torch.testing.assert_close(first["weights"][parameter], weight, rtol=1e-3, atol=1e-4)
    losses = alone["result"].pop("validation_losses")
    assert list(losses) == ["3", "6"]
    assert first["result"].pop("validation_losses") == pytest.approx(losses, rel=1e-4)
    assert first["result"].pop("validation_loss") == pytest.approx(alone["result"].pop("validation_loss"), rel=1e-4)
    assert first["result"] == alone["result"] and second["result"] == {}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_share_the_batches_of_one(alone_and_shared, name):
    (alone,), (first, second) = (alone_and_shared[world_size][name] for world_size in (1, 2))
    batches = _in(alone["texts"], 8)
    halves = zip(_in(first["texts"], 4), _in(second["texts"], 4), strict=True)
    assert len(batches) == 6
    for batch, (half, other) in zip(batches, halves, strict=True):
        assert list(batch) == half + other


def _in(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@pytest.mark.parametrize("before", [1, 2])
def test_another_number_of_processes_goes_on_with_the_same_batches(study, tmp_path, alone_and_shared, before):
    import torch
    from safetensors.torch import load_file

    def killed(ranks):
        watch(at_step(4, kill_myself))
        trained(study, tmp_path / "run", ranks, "without_dropout", **SHORT)

    def resumed(ranks):
        with Logged() as lines:
            trained(study, tmp_path / "run", ranks, "without_dropout", **SHORT)
        (tmp_path / "log").write_text("\n".join(lines)) if ranks.first else None

    assert forked(killed, before) == [-signal.SIGKILL] * before
    assert forked(resumed, 3 - before) == [0] * (3 - before)
    assert f"saved by {before} process(es), now there are {3 - before}" in (tmp_path / "log").read_text()
    result, _ = kept(tmp_path / "run")
    found = load_file(tmp_path / "run" / "kept.safetensors")
    expected = alone_and_shared[1]["hybrid"][0]
    assert result["composition"] == expected["result"]["composition"]
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-4)


class Logged(logging.Handler):
    """The lines of this project's log within the block."""

    def __enter__(self):
        self.lines = []
        logger = logging.getLogger("polybatch")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        return self.lines

    def __exit__(self, *_):
        logging.getLogger("polybatch").removeHandler(self)

    def emit(self, record):
        self.lines.append(record.getMessage())


def test_processes_that_prepare_batches_do_without_threads_that_were_asked_for(study, monkeypatch):
    """A fork takes no threads along: a tokenizer that waits for some would wait for ever."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    tokenizer, texts = load_encoder(str(study / "encoder")).tokenizer, [f"en{i} en{7 * i}" for i in range(200)]
    tokenizer(texts)  # its threads are there from now on

    def tokenise():
        set_up_worker(0)
        tokenizer(texts)

    child = multiprocessing.get_context("fork").Process(target=tokenise)
    child.start()
    child.join(120)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def test_what_two_processes_cannot_do_is_told_before_anything_is_read(monkeypatch, tmp_path):
    def fault(match, **changes):
        with pytest.raises(ConfigError, match=match):
            Ranks(1, 3, 3).check(TrainingOptions().changed(**changes))

    fault("batch of 100 cannot be divided among 3 processes", batch_size=100)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    fault("more training processes than cards: 3 for 2", batch_size=99)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla V100")
    assert on_this_machine(TrainingOptions()).precision == "fp32"
    with pytest.raises(ConfigError, match=r"bf16 on Tesla V100"):
        on_this_machine(TrainingOptions(precision="bf16"))
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    assert on_this_machine(TrainingOptions()).precision == "bf16"
    assert on_this_machine(TrainingOptions(precision="fp32")).precision == "fp32"


def test_attention_computes_in_bf16_where_the_training_does():
    import torch

    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    try:
        for precision, wanted in (("bf16", True), ("fp32", False)):
            attend_in(TrainingOptions(precision=precision))
            assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() is wanted
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def test_validation_is_shared_out_whole():
    parts = [validation_parts(17, 8, 0, Ranks(rank, 4)) for rank in range(4)]
    whole = validation_parts(17, 8, 0, Ranks())
    assert [part.size for part in whole] == [8, 8, 1] and not any(part.shared for part in whole)
    assert sorted(row for part in whole for row in part.rows) == list(range(17))
    for batch, shares in zip(whole[:2], zip(*parts, strict=True), strict=False):
        assert [row for share in shares for row in share.rows] == batch.rows and all(s.shared for s in shares)
    assert all(rank_parts[2] == whole[2] for rank_parts in parts)


def test_only_the_end_of_another_process_is_told_as_such(monkeypatch):
    from polybatch.training import processes

    def told(of):
        return processes.told_once(of, together=TrainingStoppedError)

    monkeypatch.setattr(processes, "_NOTICE_S", 0.0)
    lost = RuntimeError("[pair.cc:547] Connection closed by peer [127.0.0.1]:1234")
    with pytest.raises(TrainingError, match="Another process"), told(Ranks(0, 2)):
        raise lost
    for alone, error in ((Ranks(), lost), (Ranks(0, 2), RuntimeError("shape mismatch"))):
        with pytest.raises(RuntimeError) as found, told(alone):
            raise error
        assert found.value is error
