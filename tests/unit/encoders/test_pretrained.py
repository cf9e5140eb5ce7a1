"""An encoder keeps what its model is: modules, prompts, length; what is not known of it must be said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import encoders
import numpy as np
import pytest
from hub_cache import HubCache, commit_of
from safetensors.torch import load_file, save_file

from polybatch.core import hub
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_json
from polybatch.core.sums import SUMS, write_sums
from polybatch.embedding.embedder import prompt_of
from polybatch.embedding.options import EncodeOptions
from polybatch.encoders.known import KNOWN_ENCODERS, file_patterns, known
from polybatch.encoders.load import load_model
from polybatch.encoders.make import Origin, license_of, make_encoder
from polybatch.encoders.options import EncoderSource
from polybatch.encoders.pretrained import main

TEXTS = ["Where is the library?", "Wo ist die Bibliothek?", "图书馆在哪里", "Πού είναι;", "สวัสดี ครับ", "هل هذا"]
XLM_R, LABSE, MBERT = (
    "FacebookAI/xlm-roberta-base",
    "sentence-transformers/LaBSE",
    "google-bert/bert-base-multilingual-cased",
)
E5, MMBERT = "intfloat/multilingual-e5-base", "jhu-clsp/mmBERT-base"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> HubCache:
    cache = HubCache(tmp_path_factory.mktemp("hub"))
    encoders.make(cache)
    return cache


def snapshot(cache: HubCache, repo_id: str) -> Path:
    return next((cache.home / "hub").glob(f"models--{repo_id.replace('/', '--')}/snapshots/*"))


def origin(cache: HubCache, repo_id: str) -> Origin:
    folder = snapshot(cache, repo_id)
    return Origin(folder, repo_id, "main", folder.name)


@pytest.fixture
def copy(cache: HubCache, tmp_path: Path):
    """A repository's files, to be changed."""

    def of(repo_id: str) -> Path:
        return shutil.copytree(snapshot(cache, repo_id), tmp_path / "copy")

    return of


def test_every_standin_becomes_an_encoder(cache: HubCache, tmp_path: Path) -> None:
    for repo_id in encoders.ENCODERS:
        folder = tmp_path / repo_id
        record = make_encoder(origin(cache, repo_id), EncoderSource(), folder)
        model = load_model(folder, device="cpu")
        vectors = model.encode(TEXTS, normalize_embeddings=True)
        assert (vectors @ vectors.T - np.eye(len(TEXTS))).max() < 0.999, repo_id
        assert record["commit"] == commit_of(repo_id)
        assert record["license"] == KNOWN_ENCODERS[repo_id].license
        assert record["max_length"] == model.max_seq_length == KNOWN_ENCODERS[repo_id].max_length
        assert read_json(folder / "encoder.json") == record
        files = {path.suffix for path in folder.rglob("*") if path.is_file() and path.name != SUMS}
        assert files <= {".json", ".safetensors", ".txt"}, repo_id


def test_labse_keeps_its_dense_layer(cache: HubCache, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    record = make_encoder(origin(cache, LABSE), EncoderSource(), tmp_path / "labse")
    assert record["modules"] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert record["pooling"] == "cls"
    before = SentenceTransformer(str(snapshot(cache, LABSE)), device="cpu", local_files_only=True)
    after = load_model(tmp_path / "labse", device="cpu")
    assert np.allclose(before.encode(TEXTS), after.encode(TEXTS), atol=1e-6)
    dense = load_file(snapshot(cache, LABSE) / "2_Dense" / "model.safetensors")
    assert np.array_equal(after[2].linear.weight.detach().numpy(), dense["linear.weight"].numpy())


def test_plain_transformers_are_pooled_as_is_known_of_them(cache: HubCache, tmp_path: Path) -> None:
    xlm_r = make_encoder(origin(cache, XLM_R), EncoderSource(), tmp_path / "a")
    mbert = make_encoder(origin(cache, MBERT), EncoderSource(), tmp_path / "b")
    assert (xlm_r["pooling"], mbert["pooling"]) == ("mean", "cls")
    assert xlm_r["modules"] == ["Transformer", "Pooling"]
    longest = make_encoder(origin(cache, XLM_R), EncoderSource(normalize=True), tmp_path / "c")
    assert longest["modules"] == ["Transformer", "Pooling", "Normalize"]


def test_the_same_model_gives_the_same_files(cache: HubCache, tmp_path: Path) -> None:
    for name in ("a", "b"):  # its pooler is in no file: drawn, but always the same
        make_encoder(origin(cache, XLM_R), EncoderSource(), tmp_path / name)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_prompts_are_the_known_ones_or_those_of_the_options(cache: HubCache, tmp_path: Path) -> None:
    make_encoder(origin(cache, E5), EncoderSource(), tmp_path / "e5")
    model = load_model(tmp_path / "e5", device="cpu")
    assert model.prompts["query"] == "query: "
    assert model.prompts["document"] == model.prompts["passage"] == "passage: "
    assert prompt_of(model, "corpus", EncodeOptions()) == "passage: "
    record = make_encoder(
        origin(cache, E5), EncoderSource(query_prompt="", passage_prompt="Text: ", max_length=64), tmp_path / "other"
    )
    assert record["prompts"] == {"query": "", "passage": "Text: "}
    assert record["max_length"] == load_model(tmp_path / "other", device="cpu").max_seq_length == 64


def with_prompts(folder: Path, prompts: dict[str, str]) -> Origin:
    path = folder / "config_sentence_transformers.json"
    write_json(path, {**(read_json(path) if path.is_file() else {}), "prompts": prompts})
    return Origin(folder)


@pytest.mark.parametrize(
    ("prompts", "query", "passage"),
    [
        ({"search_query": "q: ", "search_document": "d: ", "clustering": "c: "}, "q: ", "d: "),
        ({"retrieval.query": "Query: ", "retrieval.passage": "Passage: ", "separation": "s: "}, "Query: ", "Passage: "),
        ({"query": "Find: ", "sts": "s: "}, "Find: ", ""),
    ],
)
def test_prompts_by_their_usual_other_names(
    copy, tmp_path: Path, prompts: dict[str, str], query: str, passage: str
) -> None:
    record = make_encoder(with_prompts(copy(LABSE), prompts), EncoderSource(), tmp_path / "out")
    assert record["prompts"] == {"query": query, "passage": passage}


def test_prompts_of_unknown_names_must_be_chosen(copy, tmp_path: Path) -> None:
    origin = with_prompts(copy(LABSE), {"web_search": "Instruct: ", "sts": "Same: ", "passage": "P: "})
    for options in (EncoderSource(), EncoderSource(passage_prompt="")):
        with pytest.raises(ConfigError, match="web_search: 'Instruct: '") as caught:
            make_encoder(origin, options, tmp_path / "out")
        assert "options.query_prompt and options.passage_prompt" in str(caught.value)
    record = make_encoder(origin, EncoderSource(query_prompt="Instruct: ", passage_prompt=""), tmp_path / "out")
    assert record["prompts"] == {"query": "Instruct: ", "passage": ""}


def test_the_pooling_of_the_options_wins(cache: HubCache, tmp_path: Path) -> None:
    record = make_encoder(origin(cache, LABSE), EncoderSource(pooling="mean"), tmp_path / "labse")
    assert record["pooling"] == "mean"
    assert record["modules"] == ["Transformer", "Pooling", "Dense", "Normalize"]


def test_the_command_line_reads_a_record_or_a_folder(
    cache: HubCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache.home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    recorded = ["--record", str(tmp_path / "mbert.json")]
    hub.write_record(tmp_path / "mbert.json", hub.fetch(MBERT, "model", "main", file_patterns(MBERT)))
    main([*recorded, "--output", str(tmp_path / "a")])
    record = read_json(tmp_path / "a" / "encoder.json")
    assert (record["repo_id"], record["revision"], record["commit"]) == (MBERT, "main", commit_of(MBERT))
    main(["--path", str(snapshot(cache, MBERT)), "--options", '{"pooling": "cls"}', "--output", str(tmp_path / "b")])
    assert read_json(tmp_path / "b" / "encoder.json")["repo_id"] == ""
    one, other = (load_model(tmp_path / name, device="cpu").encode(TEXTS) for name in ("a", "b"))
    assert np.array_equal(one, other)


def test_a_pooling_that_is_not_known_must_be_said(cache: HubCache, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pooling: one of mean, cls, lasttoken, max"):
        make_encoder(Origin(snapshot(cache, XLM_R)), EncoderSource(), tmp_path / "out")
    with pytest.raises(
        ConfigError,
        match="pooling: must be mean, cls, lasttoken, max or null, not 'best'; max_length: must be a whole number from 8",
    ):
        EncoderSource.from_json('{"pooling": "best", "max_length": 1}')
    assert not (tmp_path / "out").exists()


def test_a_length_without_positions_is_refused(cache: HubCache, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 512 tokens"):
        make_encoder(origin(cache, XLM_R), EncoderSource(max_length=514), tmp_path / "out")


def test_pickled_weights_are_refused_with_a_way_out(copy, tmp_path: Path) -> None:
    folder = copy(MMBERT)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"main branch has pickled weights only.*\n.*refs/pr"):
        make_encoder(Origin(folder, MMBERT, "main", "0" * 40), EncoderSource(), tmp_path / "out")


def test_a_file_that_lacks_weights_is_refused(copy, tmp_path: Path) -> None:
    folder = copy(XLM_R)
    weights = load_file(folder / "model.safetensors")
    del weights["roberta.encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 of its weights.*\n.*\n.*\n.*layer\.0\.output\.dense\.weight"):
        make_encoder(Origin(folder, XLM_R), EncoderSource(), tmp_path / "out")


def test_the_tokenizer_of_another_model_is_refused(copy, cache: HubCache, tmp_path: Path) -> None:
    folder = copy(XLM_R)
    vocabulary = read_json(folder / "tokenizer.json")
    vocabulary["model"]["vocab"] += [[f"more{i}", -9.0] for i in range(9)]
    write_json(folder / "tokenizer.json", vocabulary, sealed=False)
    with pytest.raises(DataError, match="the tokenizer's ids reach"):
        make_encoder(Origin(folder, XLM_R), EncoderSource(), tmp_path / "out")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no model in the folder"):
        make_encoder(Origin(tmp_path), EncoderSource(), tmp_path / "out")


CODE = """
from transformers import BertConfig, BertModel


class OurConfig(BertConfig):
    model_type = "ours"


class OurModel(BertModel):
    config_class = OurConfig
"""


def test_code_of_the_repository_runs_only_if_allowed(copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = copy(LABSE)
    config = read_json(folder / "config.json")
    classes = {"AutoConfig": "ours.OurConfig", "AutoModel": "ours.OurModel"}
    write_json(folder / "config.json", {**config, "model_type": "ours", "auto_map": classes}, sealed=False)
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "BertTokenizer"}, sealed=False)
    (folder / "ours.py").write_text(CODE)
    with pytest.raises(ConfigError, match=r"trust_remote_code: true.*\n.*ours\.OurModel"):
        make_encoder(Origin(folder, LABSE), EncoderSource(), tmp_path / "out")
    record = make_encoder(Origin(folder, LABSE), EncoderSource(trust_remote_code=True), tmp_path / "out")
    assert record["trust_remote_code"] is True
    loaded = load_model(tmp_path / "out", device="cpu")
    assert type(loaded.transformers_model).__name__ == "OurModel"
    (tmp_path / "out" / "encoder.json").unlink()
    write_sums(tmp_path / "out")
    with pytest.raises(ConfigError, match="only with code of its own"):
        load_model(tmp_path / "out")


def test_the_licence_is_the_cards(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    for text, expected in (
        ("---\nlanguage: [en, de]\nlicense: mit\n---\n# A\n", "mit"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", "gemma"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("# No head\n---\nlicense: mit\n", ""),
        ("---\n: : [\n---\n", ""),
    ):
        card.write_text(text)
        assert license_of(tmp_path) == expected
    assert license_of(tmp_path / "nowhere") == ""


def test_only_what_an_encoder_needs_is_fetched() -> None:
    import fnmatch

    def wanted(repo_id: str, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in file_patterns(repo_id))

    needed = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
        "vocab.txt",
    ]
    needed += ["2_Dense/model.safetensors", "sentence_bert_config.json", "config_sentence_transformers.json"]
    assert all(wanted(LABSE, name) for name in needed)
    left = ["pytorch_model.bin", "2_Dense/pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "tf_model.h5"]
    left += ["flax_model.msgpack", "openvino/openvino_model.bin", "colbert_linear.pt", "imgs/long.jpg"]
    assert not any(wanted(LABSE, name) for name in left)
    assert not wanted(XLM_R, "modeling_x.py")
    assert wanted("Alibaba-NLP/gte-multilingual-base", "modeling_x.py")
    assert known("no/such-model") is None


def test_known_revisions_are_commits() -> None:
    for repo_id, entry in KNOWN_ENCODERS.items():
        assert len(entry.revision) in (0, 40), repo_id
        assert entry.revision or entry.note, repo_id
        assert entry.embedding_parameters < entry.parameters
    assert json.dumps(sorted(KNOWN_ENCODERS))  # ids are plain text
