import json

import pytest

from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, sha256_file, write_rows
from polybatch.encoders.options import EncoderOptions
from polybatch.encoders.scratch import build_encoder, main, train_texts

TEXTS = [
    "The host name or IP address of the device.",
    "Der Hostname oder die IP-Adresse des Geräts.",
    "设备的主机名或 IP 地址。",
    "Yönlendiricinin gereksindiği parola.",
] * 5
SMALL = EncoderOptions(vocab_size=600, hidden_size=32, num_heads=2, intermediate_size=32, max_length=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("encoders") / "small"
    build_encoder(TEXTS, SMALL, output)
    return output


@pytest.fixture(scope="module")
def model(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def test_it_loads_as_any_sentence_transformers_folder_does(folder, model):
    assert model.encode(["hallo", "a device"], prompt_name="passage").shape == (2, 32)
    assert model.max_seq_length == 24
    assert {"query", "passage"} <= set(model.prompts)
    assert not list(folder.rglob("*.bin")) and not list(folder.rglob("*.pkl"))
    assert len(model.tokenizer) <= 600


@pytest.mark.parametrize("text", ["ρυθμίσεις συσκευής", "Ωmega-7 {host}", "тест", "🦊 zażółć", "İstanbul"])
def test_unseen_scripts_and_names_are_never_unknown(model, text):
    ids = model.tokenizer(text)["input_ids"]
    assert model.tokenizer.unk_token_id not in ids
    decoded = model.tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert decoded == text.lower()


def test_texts_are_bracketed_and_cut_to_the_longest_length(model):
    ids = model.tokenizer("device " * 100, truncation=True)["input_ids"]
    assert len(ids) == 24
    assert (ids[0], ids[-1]) == (model.tokenizer.cls_token_id, model.tokenizer.sep_token_id)


def test_different_texts_get_different_embeddings_before_training(model):
    one, other = model.encode(["ρυθμίσεις", "συσκευή"], normalize_embeddings=True)
    assert one @ other < 0.999


def test_the_same_seed_gives_the_same_files_and_another_other_weights(folder, tmp_path):
    build_encoder(TEXTS, SMALL, tmp_path / "again")
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all(sha256_file(folder / name) == sha256_file(tmp_path / "again" / name) for name in names)
    other = EncoderOptions(**{**SMALL.as_dict(), "seed": 1})
    build_encoder(TEXTS, other, tmp_path / "other")
    assert sha256_file(folder / "tokenizer.json") == sha256_file(tmp_path / "other" / "tokenizer.json")
    assert sha256_file(folder / "model.safetensors") != sha256_file(tmp_path / "other" / "model.safetensors")


def test_the_command_line_reads_every_language(tmp_path):
    for lang, text in (("en", "Device"), ("zh", "设备")):
        rows = [{"pair_id": str(i), "query": f"{text} {i}", "passage": f"{text} text {i}"} for i in range(30)]
        write_rows(tmp_path / f"{lang}.parquet", rows, contracts.PARALLEL)
    flags = [f"{lang}={tmp_path / lang}.parquet" for lang in ("en", "zh")]
    main(["--parallel", *flags, "--options", json.dumps(SMALL.as_dict()), "--output", str(tmp_path / "e")])
    vocabulary = json.loads((tmp_path / "e" / "tokenizer.json").read_text())["model"]["vocab"]
    assert "Ġdevice" in vocabulary
    assert any(piece.startswith("Ġè®") for piece in vocabulary)  # the first bytes of 设


def test_of_too_many_texts_the_same_ones_are_kept_in_any_order(tmp_path):
    texts = [f"text {i}" for i in range(50)]
    for name, order in (("de", texts), ("en", texts[::-1])):
        rows = [{"pair_id": str(i), "query": text, "passage": text} for i, text in enumerate(order)]
        write_rows(tmp_path / f"{name}.parquet", rows, contracts.PARALLEL)
    one, other = (train_texts({name: tmp_path / f"{name}.parquet"}, 7) for name in ("de", "en"))
    assert one == other == sorted(one)
    assert len(one) == 7
    assert train_texts({"de": tmp_path / "de.parquet"}, 50) == sorted(texts)


def test_the_folder_says_what_the_encoder_is(folder):
    record = read_json(folder / "encoder.json")
    assert record["pooling"] == "mean"
    assert (record["dim"], record["max_length"], record["repo_id"]) == (32, 24, "")


def test_unusable_options_are_all_told_at_once():
    with pytest.raises(ConfigError) as fault:
        EncoderOptions.from_json('{"hidden_size": 10, "num_heads": 4, "dropout": 1.5, "seed": -1}')
    assert all(word in str(fault.value) for word in ("num_heads", "dropout", "seed"))
    with pytest.raises(ConfigError) as fault:
        EncoderOptions.from_json('{"layers": 2, "hidden": 3, "max_length": "long"}')
    assert all(
        word in str(fault.value)
        for word in (
            "layers: unknown key; did you mean 'num_layers'?",
            "hidden: unknown key",
            "max_length: must be a whole number",
        )
    )


def test_a_missing_or_empty_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"de\.parquet"):
        train_texts({"de": tmp_path / "de.parquet"}, 10)
    write_rows(tmp_path / "de.parquet", [], contracts.PARALLEL)
    with pytest.raises(DataError, match="no text in de"):
        train_texts({"de": tmp_path / "de.parquet"}, 10)
