"""Dropout by a hash: what is dropped, how often, and that it is the usual dropout and attention otherwise."""

import itertools

import pytest
import torch
from torch.nn import functional

from polybatch.encoders import dropout
from polybatch.encoders.dropout import draw_dropout, dropped, hash_dropout, kept, random_words
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderOptions
from polybatch.encoders.scratch import build_encoder

TEXTS = [
    "The host name or IP address of the device.",
    "Der Hostname oder die IP-Adresse des Geräts.",
    "设备的主机名。",
] * 5
SMALL = EncoderOptions(
    vocab_size=600, hidden_size=32, num_heads=2, num_layers=2, intermediate_size=32, max_length=24, dropout=0.1
)
SOME = ["a device", "Der Hostname oder die IP-Adresse des Geräts.", "x"]
MANY = 400_000
ALL = (1 << 64) - 1


def splitmix64(seed):
    """As in the paper, in numbers without bounds."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & ALL
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & ALL
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & ALL
        yield word ^ (word >> 31)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("encoders") / "small"
    build_encoder(TEXTS, SMALL, output)
    return output


@pytest.fixture
def model(folder):
    return load_model(folder, device="cpu").train()


def embedded(model):
    return model(model.preprocess(SOME))["sentence_embedding"]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_words_are_those_of_splitmix64(seed):
    wanted = list(itertools.islice(splitmix64(seed & ALL), 50))
    assert [word & ALL for word in random_words(seed, 50).tolist()] == wanted
    assert seed or wanted[0] == 0xE220A8397B1DCDAF, "as other implementations have it"


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for_wherever_they_stand(share):
    torch.manual_seed(3)
    mask = kept([4, MANY], round(share * 65_536)).double()
    spread = (share * (1 - share) / MANY) ** 0.5
    assert mask.mean().item() == pytest.approx(1 - share, abs=4 * spread + 2**-17)
    for lane in range(4):  # the places within a word
        assert mask.flatten()[lane::4].mean().item() == pytest.approx(1 - share, abs=5 * spread)


def test_what_is_dropped_says_nothing_of_other_places_and_other_calls():
    torch.manual_seed(4)
    first, second = (kept([MANY], 6_554).double() for _ in range(2))
    both = torch.stack([first[:-5], first[1:-4], first[2:-3], first[3:-2], first[4:-1], first[5:], second[5:]])
    apart = torch.corrcoef(both).fill_diagonal_(0)
    assert apart.abs().max().item() < 5 / MANY**0.5


def test_it_depends_on_the_generator_alone_and_moves_it_on():
    torch.manual_seed(5)
    first = kept([3, 1_001], 6_554)
    state = torch.get_rng_state()
    second = kept([70_001], 6_554)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        torch.set_rng_state(state)
        assert torch.equal(kept([70_001], 6_554), second)
    finally:
        torch.set_num_threads(threads)
    torch.manual_seed(5)
    assert torch.equal(kept([3, 1_001], 6_554), first)
    assert not torch.equal(second[:3_003].view(3, 1_001), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_scaled_and_so_is_its_gradient(dtype):
    values = torch.randn(50, 7).to(dtype).requires_grad_()
    torch.manual_seed(6)
    mask = kept([50, 7], round(0.3 * 65_536)) * (65_536 / (65_536 - round(0.3 * 65_536)))
    torch.manual_seed(6)
    found = dropped(values, 0.3)
    found.sum().backward()
    assert found.dtype == dtype and 0 < int((found == 0).sum()) < found.numel()
    assert torch.allclose(found.float(), values.detach().float() * mask, rtol=1e-2)
    assert torch.allclose(values.grad.float(), mask, rtol=1e-2)


@pytest.mark.parametrize("share", [0.0, 1.0, 1e-7])
def test_nothing_everything_and_next_to_it_are_pytorchs(share):
    values = torch.randn(64)
    found = dropped(values, share)
    assert torch.allclose(found, torch.zeros(64) if share == 1 else values)


@pytest.mark.parametrize("given", [None, "bool", "added"])
@pytest.mark.parametrize("bf16", [False, True])
def test_attention_is_the_usual_one_with_some_weights_dropped(given, bf16):
    layer = torch.nn.Module()
    layer.is_causal = False
    query, key, value = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    attended = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    added = torch.zeros(attended.shape).masked_fill(~attended, -1e30)
    torch.manual_seed(7)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        mask = {None: None, "bool": attended, "added": added}[given]
        found, weights = dropout._attend(layer, query, key, value, mask, dropout=0.4)
    torch.manual_seed(7)
    scores = query @ key.transpose(2, 3) / 2 + (0 if given is None else added)
    wanted = (dropped(scores.softmax(dim=3), 0.4) @ value).transpose(1, 2)
    assert weights is None and found.dtype == (torch.bfloat16 if bf16 else torch.float32)
    assert torch.allclose(found.float(), wanted, atol=0.05 if bf16 else 1e-6)
    gradients = [torch.autograd.grad(one.float().square().sum(), (query, key, value)) for one in (found, wanted)]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=0.3 if bf16 else 1e-5)


def test_a_query_that_may_attend_to_nothing_does_no_harm():
    layer = torch.nn.Module()
    layer.is_causal = False
    query, key, value = (torch.randn(1, 1, 2, 4, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[[[True, True], [False, False]]]])
    found, _ = dropout._attend(layer, query, key, value, mask, dropout=0.1)
    found[:, :1].sum().backward()
    assert all(tensor.isfinite().all() for tensor in (found, query.grad, key.grad, value.grad))


@pytest.mark.parametrize("unusual", ["causal", "no dropout", "bias", "fewer keys"])
def test_unusual_attention_is_left_to_pytorch(unusual):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    layer = torch.nn.Module()
    layer.is_causal = unusual == "causal"
    layer.num_key_value_groups = 2 if unusual == "fewer keys" else 1
    query, key, value = (torch.randn(2, 4 // n, 5, 4) for n in (1, *[layer.num_key_value_groups] * 2))
    how = {"dropout": 0.0 if unusual == "no dropout" else 0.4, "scaling": 0.3}
    if unusual == "bias":
        how["position_bias"] = torch.randn(1, 4, 5, 5)
    results = []
    for attend in (dropout._attend, sdpa_attention_forward):
        torch.manual_seed(8)
        results.append(attend(layer, query, key, value, None, **how)[0])
    assert torch.equal(*results)


def test_a_model_drops_so_in_training_alone(model):
    before = embedded(model.eval())
    assert hash_dropout(model) == 7, "of the embeddings, and three times a layer, once of them unused by this attention"
    assert model[0].model.config._attn_implementation == dropout.ATTENTION
    assert torch.equal(embedded(model.eval()), before)
    model.train()
    torch.manual_seed(9)
    first, second = embedded(model), embedded(model)
    assert not torch.equal(first, second)
    torch.manual_seed(9)
    assert torch.equal(embedded(model), first)
    many = torch.stack([embedded(model) for _ in range(300)]).mean(dim=0)
    assert functional.cosine_similarity(many, before).min().item() > 0.98


def test_adapters_drop_so_too(model):
    from polybatch.training.lora import add_adapters
    from polybatch.training.options import TrainingOptions

    add_adapters(model, TrainingOptions(lora_r=2, lora_alpha=4, lora_dropout=0.2), seed=1)
    assert hash_dropout(model) > 7


def test_nothing_of_it_stays(model, folder, tmp_path):
    hash_dropout(model)
    draw_dropout(model)
    assert model[0].model.config._attn_implementation == "sdpa"
    assert not any("forward" in layer.__dict__ for layer in model.modules() if isinstance(layer, torch.nn.Dropout))
    plain = load_model(folder, device="cpu").train()
    results = []
    for one in (model, plain):
        torch.manual_seed(10)
        results.append(embedded(one))
    assert torch.equal(*results)
    hash_dropout(model)
    model.save_pretrained(str(tmp_path / "saved"))
    texts = [path.read_text() for path in (tmp_path / "saved").rglob("*.json") if "token" not in path.name]
    assert texts and "polybatch" not in "".join(texts)
