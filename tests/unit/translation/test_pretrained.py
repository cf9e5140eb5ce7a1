"""Models of the hub as translators: every family says what transformers says, and what cannot be used is told."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standins"))

import translators as standins
from hub_cache import HubCache

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.hub import Snapshot, write_record
from polybatch.core.languages import LANGUAGES, from_mteb, language
from polybatch.translation import pretrained
from polybatch.translation.model_files import is_non_commercial, open_source
from polybatch.translation.options import DecodingOptions, TranslatorSource
from polybatch.translation.pretrained import convert
from polybatch.translation.translator import Translator

EN_ZH, MUL = standins.OPUS + "en-zh", standins.OPUS + "en-mul"
IDS = [standins.OPUS + "en-de", EN_ZH, standins.M2M100, standins.NLLB, standins.MBART, standins.MADLAD]
FLOAT32 = TranslatorSource(quantization="float32")
SENTENCES = [
    "The light opens the door when it is dark.",
    "What city?",
    "The king of the river closes the red house, and the water is cold.",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    cache = HubCache(tmp_path_factory.mktemp("hf"))
    return dict(zip(IDS, standins.make(cache, IDS), strict=True))


def peer(repo: str, folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """transformers' model, tokenizer and generation settings for English into German."""
    import transformers as hf

    if repo == standins.MBART:  # its tokenizer.json is made from a file that needs protobuf
        pieces = standins._pieces((folder / "sentencepiece.bpe.model").read_bytes())
        tokenizer = hf.MBart50Tokenizer(vocab=pieces, src_lang="en_XX")
    else:
        tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    own = {
        standins.M2M100: ("en", "__de__"),
        standins.NLLB: ("eng_Latn", "deu_Latn"),
        standins.MBART: ("en_XX", "de_DE"),
    }
    settings: dict[str, Any] = {}
    if repo in own:
        tokenizer.src_lang, target = own[repo]
        settings = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(target)}
    return hf.AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), tokenizer, settings


def with_random_weights(folder: Path, output: Path) -> Path:
    """A copy of a model with weights that were not made to do anything; the end likely enough to come."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    shutil.copytree(folder, output)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and weight.requires_grad:
                loud = "out_proj" in name or "fc2" in name  # or every token, being tied, would call for itself
                weight.copy_(torch.randn(weight.shape, generator=draw) * (4.0 if loud else 0.3))
        model.get_output_embeddings().weight[model.config.eos_token_id] *= 2
        if model.config.model_type == "marian":
            model.get_input_embeddings().weight[model.config.pad_token_id] = 0
    (output / "model.safetensors").unlink()
    model.save_pretrained(output)
    return output


@pytest.mark.parametrize("weights", ["made", "random"])
@pytest.mark.parametrize("repo", [repo for repo in IDS if repo != EN_ZH])
def test_every_family_says_what_transformers_says(
    repo: str, weights: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    folder = folders[repo] if weights == "made" else with_random_weights(folders[repo], tmp_path / "random")
    convert(open_source(folder), ["en-de"], FLOAT32, tmp_path / "out")
    model, tokenizer, settings = peer(repo, folder)
    prompts = [f"<2de> {s}" for s in SENTENCES] if repo == standins.MADLAD else SENTENCES
    # Beams end by rules of their own in the two libraries: equal where one translation is far the best.
    for beam_size in (1, 4) if weights == "made" else (1,):
        translator = Translator(tmp_path / "out", "en-de", DecodingOptions(beam_size=beam_size, max_length=60))
        found = translator.translate(SENTENCES)
        assert translator.work.split == 0
        for prompt, text, sentence in zip(prompts, found, SENTENCES, strict=True):
            batch = tokenizer([prompt], return_tensors="pt")
            assert tokenizer.convert_ids_to_tokens(batch["input_ids"][0]) == translator._tokenizer.tokens(sentence)
            with torch.inference_mode():
                ids = model.generate(
                    input_ids=batch["input_ids"], num_beams=beam_size, do_sample=False, max_new_tokens=60,
                    min_length=2, length_penalty=1.0, forced_eos_token_id=None, **settings,
                )  # fmt: skip
            expected = tokenizer.decode(ids[0], skip_special_tokens=True).strip()
            assert text == expected


def test_what_looks_like_a_special_token_is_text(folders: dict[str, Path], tmp_path: Path) -> None:
    for repo in (standins.NLLB, standins.MADLAD, IDS[0]):
        convert(open_source(folders[repo]), ["en-de"], FLOAT32, tmp_path / repo)
        tokens = Translator(tmp_path / repo, "en-de", DecodingOptions())._tokenizer.tokens("a </s> b")
        assert tokens.count("</s>") == 1
        assert tokens[-1] == "</s>"


def test_the_card_says_where_a_translator_comes_from(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders[standins.NLLB]
    snapshot = Snapshot(standins.NLLB, "model", "main", folder.name, folder)
    write_record(tmp_path / "record.json", snapshot)
    arguments = ["--record", str(tmp_path / "record.json"), "--directions", "en-de", "de-en", "--output"]
    pretrained.main([*arguments, str(tmp_path / "nllb")])
    card = json.loads((tmp_path / "nllb" / "translator.json").read_text("utf-8"))
    assert (card["family"], card["repo_id"], card["commit"]) == ("nllb", standins.NLLB, folder.name)
    assert (card["license"], card["non_commercial"]) == ("cc-by-nc-4.0", True)
    assert (card["quantization"], card["positions"]) == ("int8", 128)
    assert card["directions"] == ["en-de", "de-en"]
    texts = ["The light opens the door. What city?"]
    there = Translator(tmp_path / "nllb", "en-de", DecodingOptions()).translate_texts(texts)
    assert there != texts
    assert Translator(tmp_path / "nllb", "de-en", DecodingOptions()).translate_texts(there) == texts


def test_a_model_of_several_targets_is_told_which(folders: dict[str, Path], tmp_path: Path) -> None:
    convert(open_source(folders[EN_ZH]), ["en-zh"], FLOAT32, tmp_path / "zh")
    assert Translator(tmp_path / "zh", "en-zh", DecodingOptions())._tokenizer.tokens("a")[0] == ">>cmn_Hans<<"
    (folder,) = standins.make(HubCache(tmp_path / "hf"), [MUL])
    card = convert(open_source(folder), ["en-de", "en-ar"], FLOAT32, tmp_path / "mul")
    assert card["tokens"] == {"en-de": ">>deu<<", "en-ar": ">>ara<<"}
    with pytest.raises(ConfigError, match=r"en-te: it has no token for Telugu \(has: >>ara<<"):
        convert(open_source(folder), ["en-de", "en-te"], FLOAT32, tmp_path / "te")


@pytest.mark.parametrize(
    ("repo", "direction", "told"),
    [
        (IDS[0], "de-en", "it translates from en, not from de"),
        (IDS[0], "en-fr", "it translates into de"),
        (standins.M2M100, "en-te", r"no Telugu \(has: af am ar"),
        (standins.MBART, "bg-en", "no Bulgarian"),
    ],
)
def test_a_direction_that_a_model_does_not_have_is_told(
    repo: str, direction: str, told: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        convert(open_source(folders[repo]), [direction], FLOAT32, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed(folder: Path, output: Path, **config: Any) -> Path:
    shutil.copytree(folder, output)
    told = json.loads((output / "config.json").read_text("utf-8")) | config
    (output / "config.json").unlink()
    (output / "config.json").write_text(json.dumps(told), "utf-8")
    return output


def test_all_that_is_missing_is_told_at_once(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders[IDS[0]], tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "target.spm").unlink()
    with pytest.raises(
        ConfigError, match=r"no tokenizer file target\.spm; no safetensors file, only pytorch_model"
    ) as told:
        convert(open_source(folder), ["en-de"], FLOAT32, tmp_path / "out")
    assert "refs/pr/" in told.value.found


def test_architectures_that_cannot_be_used_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders[IDS[0]]
    with pytest.raises(ConfigError, match="CTranslate2 does not convert FSMT"):
        convert(open_source(changed(folder, tmp_path / "a", model_type="fsmt")), ["en-de"], FLOAT32, tmp_path / "out")
    with pytest.raises(ConfigError, match="separate vocabularies"):
        source = open_source(changed(folder, tmp_path / "b", share_encoder_decoder_embeddings=False))
        convert(source, ["en-de"], FLOAT32, tmp_path / "out")
    with pytest.raises(ConfigError, match="its tokenizer is SMALL100Tokenizer"):
        small = changed(folders[standins.M2M100], tmp_path / "c")
        (small / "tokenizer_config.json").unlink()
        (small / "tokenizer_config.json").write_text('{"tokenizer_class": "SMALL100Tokenizer"}')
        convert(open_source(small), ["en-de"], FLOAT32, tmp_path / "out")


def test_a_shifted_vocabulary_or_missing_weights_are_no_translator(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders[standins.NLLB], tmp_path / "a")
    told = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    first, second = list(told["model"]["vocab"])[10:12]
    told["model"]["vocab"] |= {first: 11, second: 10}
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json numbers 2 tokens differently"):
        convert(open_source(folder), ["en-de"], FLOAT32, tmp_path / "out")
    with pytest.raises(DataError, match="missing"):
        source = open_source(changed(folders[standins.NLLB], tmp_path / "b", decoder_layers=2))
        convert(source, ["en-de"], FLOAT32, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_options_and_licences_are_read() -> None:
    with pytest.raises(ConfigError, match=r"quantization: must be int8, .* not 'int4'"):
        TranslatorSource.from_json('{"quantization": "int4"}')
    assert is_non_commercial("cc-by-nc-4.0")
    assert is_non_commercial("CC-BY-NC-SA-4.0")
    assert not is_non_commercial("cc-by-4.0")
    assert not is_non_commercial("ncsa")


def test_the_table_of_languages_agrees_with_the_models() -> None:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB

    for entry in LANGUAGES.values():
        assert entry.nllb in NLLB
        assert entry.m2m100 == (entry.iso if entry.iso in M2M100["m2m100"] else "")
        assert entry.mbart == next((code for code in MBART if code.startswith(f"{entry.iso}_")), "")
    assert [from_mteb(code) for code in ("deu-Latn", "cmn-Hans", "kor-Kore", "ara-Arab")] == ["de", "zh", "ko", "ar"]
    assert language("th").spaced and not language("th").spaced_words
    for other in ("hin-Latn", "zho-Hant", "python-Code"):
        with pytest.raises(ConfigError, match="not one of ours"):
            from_mteb(other)
