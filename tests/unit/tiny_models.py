"""A sentence-transformers folder small enough to be made in a test: one BERT layer, random weights, real tokenizer."""

from __future__ import annotations

from pathlib import Path

WORDS = [
    "the",
    "a",
    "red",
    "blue",
    "house",
    "garden",
    "light",
    "sensor",
    "door",
    "window",
    "opens",
    "closes",
    "query",
    "passage",
    "das",
    "haus",
    "rot",
    "blau",
    "tür",
]


def save_tiny_model(folder: Path, *, prompts: dict[str, str] | None = None, seed: int = 0) -> Path:
    """Saves a model of 16 dimensions that knows WORDS and single characters."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]"]
    pieces = [*special, *WORDS, ":", *"0123456789"]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    parts = folder.with_name(folder.name + ".parts")
    BertModel(config).save_pretrained(parts)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=32,
    ).save_pretrained(parts)
    modules = [Transformer(str(parts), max_seq_length=32), Pooling(16, pooling_mode="mean")]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save_pretrained(str(folder))
    return folder
