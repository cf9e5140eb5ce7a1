"""A compiled transformer, on a CPU: traced whole, without the code that a card would run."""

import pytest
import torch

from polybatch.encoders.compiled import MULTIPLE, compile_transformer, filled_up, restore
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderOptions
from polybatch.encoders.packed import embed_columns, flattened, pack
from polybatch.encoders.scratch import build_encoder
from polybatch.training.objectives.infonce import loss_of
from polybatch.training.options import TrainingOptions

SMALL = EncoderOptions(vocab_size=600, hidden_size=16, num_heads=2, intermediate_size=16, num_layers=1, max_length=24)
QUERIES = ["a device", "Der Hostname des Geräts.", "x", "the host name"]
PASSAGES = ["the address of a device and more of it", "Die IP-Adresse.", "y", "a name"]
TRACED = {"backend": "aot_eager", "fullgraph": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("encoders") / "small"
    build_encoder([*QUERIES, *PASSAGES] * 5, SMALL, output)
    return output


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()


def packing(folder):
    model = load_model(folder, device="cpu").train()
    assert pack(model, anywhere=True)
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0  # drawn otherwise by a compiled one
    return model


def learned(model, **options):
    """The loss of two steps, the second with other shapes, and the gradients of both."""
    made = TrainingOptions(batch_size=4, precision="fp32", bucket_width=None, **options)
    losses = []
    for passages in (PASSAGES, [*PASSAGES[::-1][:3], "z"]):
        columns = [model.preprocess(QUERIES), model.preprocess(passages)]
        value = loss_of(model, made, gather=False)(columns, None)
        value.backward()
        losses.append(float(value.detach()))
    return losses, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("options", [{}, {"mini_batch_size": 2}], ids=["one pass", "GradCache"])
def test_it_learns_as_the_plain_one(folder, options):
    plain, compiled = packing(folder), packing(folder)
    assert compile_transformer(compiled, **TRACED)
    (losses, gradients), (found, own) = learned(plain, **options), learned(compiled, **options)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == (2 if options else 1)  # without gradient as well
    assert found == pytest.approx(losses, rel=1e-5)
    assert own.keys() == gradients.keys()  # a pooler that nothing reads has none
    for name, gradient in gradients.items():
        assert torch.allclose(own[name], gradient, atol=1e-6), name


def test_evaluated_and_restored_it_is_the_plain_one(folder):
    model = packing(folder)
    plain, before = vars(model[0].model).get("forward"), set(model.state_dict())
    assert compile_transformer(model, **TRACED)
    model.eval()
    embed_columns(model, [model.preprocess(QUERIES), model.preprocess(PASSAGES)])
    assert not torch._dynamo.utils.counters["stats"]
    assert set(model.state_dict()) == before
    restore(model)
    assert vars(model[0].model).get("forward") is plain
    restore(model)  # once more is of no effect


def test_what_pads_is_not_compiled(folder):
    model = load_model(folder, device="cpu")
    assert not compile_transformer(model)
    restore(model)
    assert "forward" not in vars(model[0].model)


@pytest.mark.parametrize("total", [1, MULTIPLE - 1, MULTIPLE, MULTIPLE + 1])
def test_rows_are_filled_up_with_texts_of_their_own(total):
    row = flattened([{"input_ids": [5] * (total // 2 + 1)}, {"input_ids": [6] * (total - total // 2)}])
    total += 1
    filled = filled_up(row, padding_id=1)
    whole = filled["input_ids"].shape[1]
    bounds = filled["cu_seq_lens_q"].tolist()
    assert whole % MULTIPLE == 0 and whole - total < MULTIPLE
    assert bounds[:3] == row["cu_seq_lens_q"].tolist() and bounds[-1] == whole
    lengths = filled["cu_seq_lens_q"].diff()
    assert lengths.min() >= 0 and lengths.max() <= filled["max_length_q"] == filled["max_length_k"]
    assert filled["input_ids"][0, total:].tolist() == [1] * (whole - total)
    assert filled["position_ids"].shape == filled["seq_idx"].shape == (1, whole)
    assert row["input_ids"].shape[1] == total  # what was given stays


def test_few_lengths_and_few_numbers_of_texts_come():
    rows = [flattened([{"input_ids": [5] * n}, {"input_ids": [6]}]) for n in range(1, 400, 7)]
    filled = [filled_up(row, padding_id=0) for row in rows]
    assert {row["max_length_q"] for row in filled} == {64, 128, 256, 512}
    assert len({len(row["cu_seq_lens_q"]) for row in filled}) == 1
