"""Lets a card compute a packed transformer without waiting for its host: one compiled program, replayed as a graph.

inputs: a sentence-transformers model that `packed.pack` lets take a batch as one row
outputs: the same model, whose transformer is compiled where it is trained; embeddings and gradients are those of the
plain one up to rounding, dropout is drawn otherwise

A step of a small encoder is some two thousand launches, and a host takes longer to issue them than a card to do them.
PyTorch's compiler makes a few hundred of them, and CUDA graphs one. A graph is of one shape, so that rows are filled up
to a multiple of tokens: with texts of their own, which no other text attends to and whose embeddings are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polybatch.encoders import packed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

# Of a row's tokens. Each shape is captured once: fewer of them fill up more.
MULTIPLE = 512
# A filling text's tokens at most: it must not be longer than the longest text is said to be.
_FILLING = 64
_OUTPUT = "last_hidden_state"


def compile_transformer(model: SentenceTransformer, **how: Any) -> bool:
    """Compiles the transformer of a packed model for training, at the first batch.

    Args:
        model: Changed in place; its weights stay where they are. Evaluated, it computes as before.
        how: Of `torch.compile`; CUDA graphs by default.

    Returns:
        Whether it is compiled: not where texts are padded, or where more of its output is asked for than the last
        layer's.
    """
    import torch

    if not packed.is_packed(model) or _asked_for(model) != [_OUTPUT]:
        return False
    inner: Any = model[0].model
    plain = inner.forward

    def last(**inputs: Any) -> Tensor:  # alone: what is not needed is not computed, and has no gradient
        hidden: Tensor = plain(**inputs)[_OUTPUT]
        return hidden

    fast = torch.compile(last, dynamic=True, **(how or {"mode": "reduce-overhead"}))
    inner.forward = functools.partial(_forward, inner, plain, fast)
    return True


def restore(model: SentenceTransformer) -> None:
    """Takes back what `compile_transformer` did."""
    inner: Any = getattr(model[0], "model", None) if len(model) else None
    if isinstance(vars(inner).get("forward") if inner is not None else None, functools.partial):
        del inner.forward


def _forward(inner: Any, plain: Callable[..., Any], fast: Callable[..., Any], **inputs: Any) -> Any:
    if not inner.training or "cu_seq_lens_q" not in inputs:
        return plain(**inputs)
    total = inputs["input_ids"].shape[1]
    hidden = fast(**filled_up(inputs, inner.get_input_embeddings().padding_idx or 0))
    return {_OUTPUT: hidden[:, :total]}


def _asked_for(model: Any) -> list[str]:
    names = model[0].modality_config["text"]["method_output_name"]
    return [names] if isinstance(names, str) else list(names or [])


def filled_up(inputs: dict[str, Any], padding_id: int) -> dict[str, Any]:
    """A row of texts with further ones of padding, so that few shapes come.

    Args:
        inputs: Of a transformer, as `packed.flattened` makes them; others are handed on.
        padding_id: What the further texts consist of.

    Returns:
        The same with `MULTIPLE` / `_FILLING` further texts, some of them empty, which bring the row to a multiple of
        `MULTIPLE` tokens; the longest text is said to be as long as the next power of two, at least `_FILLING`.
    """
    import torch

    total = inputs["input_ids"].shape[1]
    more, texts = -total % MULTIPLE, MULTIPLE // _FILLING
    bounds: Tensor = inputs["cu_seq_lens_q"]
    ends = torch.arange(1, texts + 1, dtype=bounds.dtype, device=bounds.device).mul_(_FILLING).clamp_(max=more)
    together = torch.cat([bounds, ends.add_(total)])
    longest = max(_FILLING, 1 << (inputs["max_length_q"] - 1).bit_length())
    filled = dict(inputs)
    for name, value in (("input_ids", padding_id), ("position_ids", 0), ("token_type_ids", 0), ("seq_idx", -1)):
        if filled.get(name) is not None:
            filled[name] = torch.nn.functional.pad(filled[name], (0, more), value=value)
    return filled | {
        "cu_seq_lens_q": together,
        "cu_seq_lens_k": together,
        "max_length_q": longest,
        "max_length_k": longest,
    }
