"""Texts one behind the other, without padding: on a CPU, where each is attended to by itself."""

import pytest
import torch

from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderOptions
from polybatch.encoders.packed import embed_columns, flattened, is_packed, pack, unpack
from polybatch.encoders.scratch import build_encoder

TEXTS = [
    "The host name or IP address of the device.",
    "Der Hostname oder die IP-Adresse des Geräts.",
    "设备的主机名或 IP 地址。",
    "Yönlendiricinin gereksindiği parola.",
] * 5
SMALL = EncoderOptions(vocab_size=600, hidden_size=32, num_heads=2, intermediate_size=32, max_length=24)
SOME = ["a device", "Der Hostname oder die IP-Adresse des Geräts.", "设备的主机名或 IP 地址。", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("encoders") / "small"
    build_encoder(TEXTS, SMALL, output)
    return output


@pytest.fixture
def models(folder):
    """The same encoder, padding and packing."""
    padded, packing = (load_model(folder, device="cpu").eval() for _ in range(2))
    assert pack(packing, anywhere=True)
    return padded, packing


def embedded(model, texts, prompt="query: "):
    return model(model.preprocess(texts, prompt=prompt))["sentence_embedding"]


def test_a_row_of_texts_says_where_each_begins():
    made = flattened([{"input_ids": ids} for ids in ([5, 6, 7], [8], [9, 10])])
    assert made["input_ids"].tolist() == [[5, 6, 7, 8, 9, 10]]
    assert made["position_ids"].tolist() == [[0, 1, 2, 0, 0, 1]]
    assert made["seq_idx"].tolist() == [[0, 0, 0, 1, 2, 2]]
    assert made["cu_seq_lens_q"].tolist() == made["cu_seq_lens_k"].tolist() == [0, 3, 4, 6]
    assert made["max_length_q"] == made["max_length_k"] == 3


def test_it_embeds_as_with_padding(models):
    padded, packing = models
    made = packing.preprocess(SOME, prompt="query: ")
    assert "attention_mask" not in made and made["input_ids"].shape[0] == 1
    assert torch.allclose(embedded(packing, SOME), embedded(padded, SOME), atol=1e-6)


def test_positions_begin_where_the_family_of_roberta_has_them(folder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    XLMRobertaModel(XLMRobertaConfig(vocab_size=600, max_position_embeddings=40, **shape)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    padded, packing = (
        SentenceTransformer(modules=[Transformer(str(tmp_path)), Pooling(32)], device="cpu").eval() for _ in range(2)
    )
    assert pack(packing, anywhere=True)
    assert int(packing.preprocess(SOME)["position_ids"][0, 0]) == 2
    assert torch.allclose(embedded(packing, SOME, ""), embedded(padded, SOME, ""), atol=1e-6)


def test_columns_in_one_pass_learn_as_each_by_itself(models):
    padded, packing = models
    columns = [SOME, list(reversed(SOME))]
    prompts = ("query: ", "passage: ")
    found = embed_columns(packing, [packing.preprocess(t, prompt=p) for t, p in zip(columns, prompts, strict=True)])
    wanted = [embedded(padded, texts, prompt) for texts, prompt in zip(columns, prompts, strict=True)]
    draw = torch.rand(len(SOME), generator=torch.Generator().manual_seed(0))
    for model, embeddings in ((packing, found), (padded, wanted)):
        ((embeddings[0] * embeddings[1]).sum(dim=1) @ draw).backward()
        assert next(model.parameters()).grad is not None
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    theirs = dict(padded.named_parameters())
    for name, parameter in packing.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(parameter.grad, theirs[name].grad, atol=1e-5), name


def test_columns_are_embedded_apart_where_they_are_padded_or_the_prompt_is_left_out(models):
    padded, packing = models
    assert embed_columns(padded, [padded.preprocess(SOME), padded.preprocess(SOME)]) is None
    columns = [packing.preprocess(SOME, prompt=prompt) for prompt in ("query: ", "passage: ")]
    packing[1].include_prompt = False
    assert embed_columns(packing, [{**one, "prompt_length": 2} for one in columns]) is None


def test_nothing_of_it_is_saved(models, folder, tmp_path):
    _, packing = models
    assert is_packed(packing)
    unpack(packing)
    assert not is_packed(packing) and "attention_mask" in packing.preprocess(SOME)
    assert pack(packing, anywhere=True)
    packing.save_pretrained(str(tmp_path / "saved"))
    assert "polybatch" not in "".join(
        path.read_text() for path in (tmp_path / "saved").rglob("*.json") if "token" not in path.name
    )
    plain = load_model(tmp_path / "saved", device="cpu").eval()
    assert not is_packed(plain) and torch.allclose(
        embedded(plain, SOME), embedded(load_model(folder, device="cpu").eval(), SOME)
    )


@pytest.mark.parametrize("change", ["cpu", "decoder", "heads", "eager", "asked"])
def test_what_cannot_be_packed_stays_as_it_is(folder, change):
    model = load_model(folder, device="cpu")
    config = model[0].model.config
    if change == "decoder":
        config.is_decoder = True
    if change == "heads":
        config.num_attention_heads = 8  # of 4 numbers each
    if change == "eager":
        model[0].model.set_attn_implementation("eager")
    if change == "asked":
        model[0].unpad_inputs = False
    assert not pack(model, anywhere=change != "cpu")
    assert "attention_mask" in model.preprocess(SOME)
