"""What is computed on a card and on the CPU beside it: an encoder of XLM-R-base's size, and a curve of losses.

inputs: an encoder of the pipeline, with a Unigram tokenizer
outputs: a sentence-transformers folder; losses
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from polybatch.encoders.load import load_model

PIECES, SEED = 250_002, 7


def random_xlmr(tokenizer_of: Path, output: Path, *, layers: int = 12, width: int = 768) -> Path:
    """XLM-R with random weights (Conneau et al. 2020; 278 million of them at its own size), with mean pooling.

    Its tokenizer is that of a cut encoder, filled up to XLM-R's number of pieces with pieces that no text holds.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(SEED)
    parts = output.with_name(output.name + ".parts")
    config = XLMRobertaConfig(
        vocab_size=PIECES,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(parts)
    content = json.loads((tokenizer_of / "tokenizer.json").read_text("utf-8"))
    pieces = content["model"]["vocab"]
    least = min(score for _, score in pieces)
    pieces += [[f"\ue000{i}", least] for i in range(PIECES - len(pieces))]
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    said = json.loads((tokenizer_of / "tokenizer_config.json").read_text("utf-8"))
    from tokenizers import Tokenizer

    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        **{name: said[name] for name in names if name in said},
    ).save_pretrained(parts)
    modules = [Transformer(str(parts), max_seq_length=512), Pooling(width, pooling_mode="mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(output), create_model_card=False)
    return output


def loss_curve(encoder: Path, data: Path, device: str, steps: int, batch: int = 32) -> list[float]:
    """The loss of each of so many steps in float32, without dropout, on the same pairs in the same order: what a card
    must have in common with a CPU."""
    import pyarrow.parquet as pq
    import torch

    from polybatch.training.objectives.infonce import loss_of
    from polybatch.training.options import TrainingOptions

    model = load_model(encoder, device=device).eval()
    options = TrainingOptions(batch_size=batch, temperature=0.01, precision="fp32", bucket_width=None)
    loss = loss_of(model, options, gather=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5)
    table = pq.read_table(data / "parallel" / "en.parquet", columns=["query", "passage"]).to_pydict()
    found = []
    for step in range(steps):
        rows = slice(step * batch, (step + 1) * batch)
        features = []
        for side in ("query", "passage"):
            texts = [f"{model.prompts.get(side) or ''}{text}" for text in table[side][rows]]
            made = model.preprocess(texts)
            features.append({k: v.to(device) if hasattr(v, "to") else v for k, v in made.items()})
        optimiser.zero_grad()
        value = loss(features, None)
        value.backward()
        optimiser.step()
        found.append(float(value.detach()))
    return found


def gradients_without_padding(encoder: Path, data: Path, device: str, batch: int = 100) -> dict[str, float]:
    """How far the gradients of one batch in bf16, without dropout, lie from those in float32: 1 - cosine, of padded
    texts and of texts one behind the other, with the losses of all three."""
    import contextlib

    import pyarrow.parquet as pq
    import torch

    from polybatch.encoders.packed import pack
    from polybatch.training.objectives.infonce import loss_of
    from polybatch.training.options import TrainingOptions

    table = pq.read_table(data / "parallel" / "en.parquet", columns=["query", "passage"]).slice(0, batch).to_pydict()
    found: dict[str, float] = {}
    gradients = {}
    for name in ("float32", "padded", "packed"):
        model = load_model(encoder, device=device).eval()
        if name == "packed":
            found["is packed"] = float(pack(model, anywhere=True))
        options = TrainingOptions(batch_size=batch, temperature=0.05, precision="fp32", bucket_width=None)
        columns = [
            model.preprocess([f"{model.prompts.get(side) or ''}{text}" for text in table[side]])
            for side in ("query", "passage")
        ]
        features = [{k: v.to(device) if hasattr(v, "to") else v for k, v in column.items()} for column in columns]
        half = torch.autocast(device, torch.bfloat16) if name != "float32" else contextlib.nullcontext()
        with half:
            value = loss_of(model, options, gather=False)(features, None)
        value.backward()
        found[f"loss, {name}"] = float(value.detach())
        gradients[name] = torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
    for name in ("padded", "packed"):
        cosine = torch.nn.functional.cosine_similarity(gradients[name], gradients["float32"], dim=0)
        found[f"1 - cosine, {name}"] = 1 - float(cosine)
    return found


def steps_of(encoder: Path, data: Path, device: str, batch: int) -> Callable[[], None]:
    """Steps in bf16 on one batch of natural text, without padding: forward, backward, clipping, AdamW; no trainer."""
    import pyarrow.parquet as pq
    import torch

    from polybatch.encoders import packed
    from polybatch.training.objectives.infonce import loss_of
    from polybatch.training.options import TrainingOptions

    model = load_model(encoder, device=device).train()
    packed.pack(model, anywhere=True)
    options = TrainingOptions(batch_size=batch, temperature=0.05, precision="fp32", bucket_width=None)
    loss = loss_of(model, options, gather=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    table = pq.read_table(data / "parallel" / "en.parquet", columns=["query", "passage"]).slice(0, batch).to_pydict()
    columns = []
    for side in ("query", "passage"):
        made = model.preprocess([f"{model.prompts.get(side) or ''}{text}" for text in table[side]])
        columns.append({k: v.to(device) if hasattr(v, "to") else v for k, v in made.items()})

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            value = loss([dict(column) for column in columns], None)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step
