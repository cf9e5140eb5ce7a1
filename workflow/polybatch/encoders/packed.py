"""Lets a transformer on a card embed texts one behind the other, without padding.

inputs: a sentence-transformers model in bf16 or fp16 on a card
outputs: the same model, which takes the texts of a batch as one row; its embeddings are those of padded texts up to
rounding

A batch is as wide as its longest text, and most of what is multiplied then is padding. sentence-transformers can do
without where the package flash-attn is installed, which is built on the user's machine; PyTorch has the same kernel
(Dao, arXiv 2307.08691) built in, and here it is put in that package's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

# By this name transformers finds the attention below; no file of a model holds it.
ATTENTION = "polybatch_packed"
# What says where in the row a text begins, beside its ids and positions.
_BOUNDS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
_ROWS = ("input_ids", "position_ids", "token_type_ids")
_SAID = ("modality", "prompt_length")
# Of an attention head, which the kernel wants; it takes no other.
_HEAD_MULTIPLE, _HEAD_MOST = 8, 256


def pack(model: SentenceTransformer, *, anywhere: bool = False) -> bool:
    """Lets the model take a batch as one row, if it can.

    Args:
        model: Changed in place. Its weights, or what autocast makes of them, are in bf16 or fp16.
        anywhere: Also on a CPU, where every text is attended to by itself: slow, for comparing the two.

    Returns:
        Whether it does so now: a plain transformer on a card, whose attention transformers lets one choose, and whose
        heads are as the kernel wants them.
    """
    from sentence_transformers.sentence_transformer.modules import Transformer

    module = model[0]
    if not isinstance(module, Transformer) or not _can(module, anywhere or model.device.type == "cuda"):
        return False
    _register()
    module.model.set_attn_implementation(ATTENTION)
    module._flatten_position_offset = module._infer_flatten_position_offset()
    module.data_collator = flattened
    if module.model_forward_params is not None:
        module.model_forward_params |= {*_BOUNDS}
    module.can_flatten_inputs = True
    return True


def unpack(model: SentenceTransformer) -> None:
    """Takes back what `pack` did, before the model is saved or computes in fp32."""
    if is_packed(model):
        module: Any = model[0]
        module.can_flatten_inputs = False
        module.model.set_attn_implementation("sdpa")


def is_packed(model: SentenceTransformer) -> bool:
    """Whether the model takes a batch as one row by `pack`."""
    inner = getattr(model[0], "model", None) if len(model) else None
    return getattr(getattr(inner, "config", None), "_attn_implementation", None) == ATTENTION


def _can(module: Any, device: bool) -> bool:
    """Whether a sentence-transformers Transformer reads plain text, one vector a token, and can attend our way."""
    inner, config = module.model, module.config
    heads = getattr(config, "num_attention_heads", None) or 0
    width = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return (
        device
        and module.transformer_task == "feature-extraction"
        and module.backend == "torch"
        and module.unpad_inputs is not False
        and set(module.modality_config) == {"text"}
        and module.modality_config["text"]["method"] == "forward"
        and getattr(inner, "is_backend_compatible", lambda: False)()
        and bool(getattr(inner, "_supports_flash_attn", False))
        and not getattr(config, "is_decoder", False)
        and config._attn_implementation == "sdpa"
        and 0 < width <= _HEAD_MOST
        and width % _HEAD_MULTIPLE == 0
    )


def flattened(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch as one row, as sentence-transformers asks for it; the model's first position it adds by itself.

    Args:
        samples: Of each text its `input_ids`, at least one.

    Returns:
        `input_ids`, `position_ids` (from 0 in each text) and `seq_idx` (which text a token is of), each (1, tokens);
        `cu_seq_lens_q` and `_k`, (texts + 1,) int32, where texts begin and the last one ends; `max_length_q` and `_k`,
        tokens of the longest.
    """
    import torch

    tokens = [sample["input_ids"] for sample in samples]
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    ends = np.cumsum(lengths)
    total, begins = int(ends[-1]), ends - lengths
    ids = np.concatenate([np.asarray(text, np.int64) for text in tokens])
    positions = np.arange(total) - np.repeat(begins, lengths)
    texts = np.repeat(np.arange(len(tokens), dtype=np.int32), lengths)
    bounds = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
    rows = {"input_ids": ids, "position_ids": positions, "seq_idx": texts}
    return {
        **{name: torch.from_numpy(row)[None] for name, row in rows.items()},
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
    }


def embed_columns(model: torch.nn.Module, columns: Iterable[dict[str, Any]]) -> list[Tensor] | None:
    """Embeds all columns of a step in one pass: half the passes keep a card busier, and nothing is padded.

    Args:
        model: Takes features and gives a `sentence_embedding`.
        columns: Of each, the features of its texts.

    Returns:
        Of each column (texts, dim); None where columns are not rows of texts, or are treated differently.
    """
    import torch

    columns = list(columns)
    if len(columns) < 2 or not all("cu_seq_lens_q" in column for column in columns):
        return None
    first = columns[0]
    if any(column.keys() != first.keys() or not column.keys() <= {*_ROWS, *_BOUNDS, *_SAID} for column in columns):
        return None
    if "prompt_length" in first and any(not getattr(part, "include_prompt", True) for part in model.modules()):
        return None  # prompts of several lengths are left out of the mean
    counts = [len(column["cu_seq_lens_q"]) - 1 for column in columns]
    merged = {name: torch.cat([column[name] for column in columns], dim=1) for name in _ROWS if name in first}
    merged |= _together(columns, counts)
    return list(model({"modality": "text", **merged})["sentence_embedding"].split(counts))


def _together(columns: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Where the texts of all columns begin, on their device: nothing is read back from a card."""
    import torch

    bounds, texts = [], []
    tokens = past = 0
    for column, count in zip(columns, counts, strict=True):
        bounds.append(column["cu_seq_lens_q"][: -1 if column is not columns[-1] else None] + tokens)
        texts.append(column["seq_idx"] + past)
        tokens, past = tokens + column["input_ids"].shape[1], past + count
    longest = max(column["max_length_q"] for column in columns)
    together = torch.cat(bounds)
    return {
        "seq_idx": torch.cat(texts, dim=1),
        "cu_seq_lens_q": together,
        "cu_seq_lens_k": together,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # of padded texts; a row of texts has none


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention within each text, as transformers calls it.

    Args:
        module: The layer, not read.
        query, key, value: (1, heads, tokens, width of a head) of a row of texts, else (texts, heads, longest, width).
        attention_mask: Of padded texts.
        dropout: Share of the attention's weights that is put to 0.
        scaling: Of the products, None is the usual one.
        cu_seq_lens_q: (texts + 1,) int32 of a row of texts.
        max_length_q: Tokens of the longest one.
        kwargs: What other implementations take.

    Returns:
        (1 or texts, tokens, heads, width), and no weights.
    """
    import torch

    if cu_seq_lens_q is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        padded = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return padded[0], None
    if query.device.type != "cuda":
        return _one_by_one((query, key, value), cu_seq_lens_q, dropout_p=dropout, scale=scaling), None
    # Public as torch.nn.attention.varlen.varlen_attn, without dropout.
    attended = torch.ops.aten._flash_attention_forward(
        *(tensor[0].transpose(0, 1) for tensor in (query, key, value)),
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        dropout,
        False,
        False,
        scale=scaling,
    )[0]
    return attended[None], None


def _one_by_one(rows: Sequence[Tensor], bounds: Tensor, **how: Any) -> Tensor:
    import torch

    lengths = bounds.diff().tolist()
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in rows), strict=True)
    attended = [torch.nn.functional.scaled_dot_product_attention(*texts, **how) for texts in parts]
    return torch.cat(attended, dim=2).transpose(1, 2)
