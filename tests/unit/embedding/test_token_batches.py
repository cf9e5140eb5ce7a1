"""Texts go together with texts of their length, and every model gets just what its own preprocessing would give it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from polybatch.embedding.token_batches import Tokens, plan
from polybatch.encoders.load import load_model

TEXTS = ["the red house", "", "door", "7" * 100, "a garden light opens", "the red house 7 7"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", prompts={"query": "query : "})
    return load_model(folder, device="cpu")


def test_batches_hold_texts_of_similar_length_within_the_bounds() -> None:
    lengths = np.array([2, 6, 11, 4, 2, 3, 30])
    batches = plan(lengths, texts=3, tokens=12)
    assert [batch.tolist() for batch in batches] == [[6], [2], [1, 3], [5, 0, 4]]
    assert [batch.tolist() for batch in plan(lengths, texts=100, tokens=1000)] == [[6, 2, 1, 3, 5, 0, 4]]
    assert [len(batch) for batch in plan(np.zeros(5, np.int64), texts=2, tokens=8)] == [2, 2, 1]


def test_tokens_are_counted_with_the_prompt_and_cut(model: Any) -> None:
    found = Tokens(model, "query : ", "query").of(["the red house", "7" * 100])
    assert [len(tokens) for tokens in found] == [5, 32]


@pytest.mark.parametrize("prompt", ["", "query : "])
@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_put_together_is_what_the_model_would_prepare(
    model: Any, side: str, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.tokenizer, "padding_side", side)
    tokens = Tokens(model, prompt, "query")
    found = tokens.of(TEXTS)
    own = model.preprocess(TEXTS, prompt=prompt, task="query")
    ours = tokens.features(["not looked at"] * len(TEXTS), found)
    assert ours.keys() == own.keys()
    for key, value in own.items():
        same = torch.equal(value, ours[key]) if isinstance(value, torch.Tensor) else value == ours[key]
        assert same, key


def test_a_model_that_prepares_in_its_own_way_is_asked(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model[0], "query_length", 4)  # queries are cut shorter than the tokenizer would
    for task, width in (("query", 4), ("document", 32)):
        tokens = Tokens(model, "", task)
        made = tokens.features(TEXTS, tokens.of(TEXTS))
        assert made["input_ids"].shape == (len(TEXTS), width)


def test_a_model_without_a_transformer_is_asked() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "red": 1, "house": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    tokens = Tokens(static, "", "document")
    texts = ["red house", "house"]
    assert [len(found) for found in tokens.of(texts)] == [9, 5]
    vectors = static(tokens.features(texts, tokens.of(texts)))["sentence_embedding"]
    assert np.allclose(vectors.detach().numpy(), static.encode(texts), atol=1e-6)
