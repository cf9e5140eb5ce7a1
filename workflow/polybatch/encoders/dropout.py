"""Dropout that costs a CPU little: what is dropped is hashed from a counter, not drawn number by number.

inputs: a sentence-transformers model that is trained on a CPU
outputs: the same model, whose dropout and whose attention with dropout are computed as below

PyTorch draws a random number for everything that might be dropped, one after another. In a training step of
multilingual-e5-small in bf16 that took a sixth of the time, as much as all forward products of its linear layers. Here
one number is drawn for each call, and SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi 10.1145/2660193.2660195)
hashes it with a counter into 64 bits for every four elements, in as many threads as there are, and alike with any
number of them. The shares that are dropped are multiples of 1 / 65,536: 0.1 becomes 0.100006.

Attention with dropout has no fused kernel on a CPU. What PyTorch does instead also looks for queries that attend to
nothing, twice a layer; here such a query attends to everything, and what comes out for it is padding that nobody reads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

# By this name transformers finds the attention below; no file of a model holds it.
ATTENTION = "polybatch_dropout"
_SHARES = 1 << 16  # an element is kept or dropped by 16 bits
_WORD = 4  # elements that 64 bits decide on


def _signed(word: int) -> int:
    """64 bits as PyTorch holds them."""
    return word - (1 << 64) if word >> 63 else word


_STEP, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def hash_dropout(model: SentenceTransformer) -> int:
    """Lets a model that is trained on a CPU drop as described above.

    Args:
        model: Changed in place; with all that is trained in it, adapters too.

    Returns:
        How many modules drop so now; 0 on a card, which draws as fast as it computes.
    """
    import torch

    if model.device.type != "cpu":
        return 0
    # Subclasses do something else.
    layers = [layer for layer in model.modules() if type(layer) is torch.nn.Dropout and _shares(layer.p)]
    for layer in layers:
        layer.forward = functools.partial(_forward, layer)  # type: ignore[method-assign]
    inner = _attending(model)
    if inner is not None:
        _register()
        inner.set_attn_implementation(ATTENTION)
    return len(layers)


def draw_dropout(model: SentenceTransformer) -> None:
    """Takes back what `hash_dropout` did, before the model is saved."""
    for layer in model.modules():
        if isinstance(forward := layer.__dict__.get("forward"), functools.partial) and forward.func is _forward:
            del layer.forward
    inner: Any = getattr(model[0], "model", None)
    if getattr(getattr(inner, "config", None), "_attn_implementation", None) == ATTENTION:
        inner.set_attn_implementation("sdpa")


def dropped(values: Tensor, share: float) -> Tensor:
    """Zeros a share of the values at random and scales the others, so that the mean stays what it was.

    Args:
        values: Any shape, floating point, on the CPU.
        share: From 0, below 1.
    """
    import torch

    shares = _shares(share)
    if not shares:
        return torch.nn.functional.dropout(values, share)
    return (values * kept(values.shape, shares)).mul_(_SHARES / (_SHARES - shares))


def kept(shape: Sequence[int], shares: int) -> Tensor:
    """(shape) uint8: 0 for a share of `shares` / 65,536, drawn from PyTorch's generator, else 1."""
    import torch

    number = torch.Size(shape).numel()
    seed = int(torch.empty((), dtype=torch.int64).random_(-(1 << 63), None))
    lanes = random_words(seed, -(-number // _WORD)).view(torch.int16)[:number]
    mask = torch.empty(number, dtype=torch.uint8)
    return torch.ge(lanes, shares - _SHARES // 2, out=mask).view(shape)


def random_words(seed: int, number: int) -> Tensor:
    """(number,) int64: the first outputs of SplitMix64 with this seed, a signed integer of 64 bits."""
    import torch

    words = _states(1 << (number - 1).bit_length() if number else 0)[:number] + seed
    other = torch.empty_like(words)
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        # A shift of a signed number brings in its sign, which is masked away.
        torch.bitwise_right_shift(words, shift, out=other).bitwise_and_((1 << (64 - shift)) - 1)
        words.bitwise_xor_(other).mul_(factor)
    return words


@functools.lru_cache(maxsize=8)
def _states(number: int) -> Tensor:
    """(number,) int64: the states of SplitMix64 with seed 0. Kept, since every call begins with them."""
    import torch

    return torch.arange(1, number + 1).mul_(_STEP)


def _shares(share: float) -> int:
    """Of 65,536; 0 where PyTorch's own dropout is to do it: for nothing, everything, or next to it."""
    shares = round(share * _SHARES)
    return shares if 0 < shares < _SHARES else 0


def _forward(layer: torch.nn.Dropout, values: Tensor) -> Tensor:
    if not layer.training or values.device.type != "cpu" or not values.is_floating_point():
        return type(layer).forward(layer, values)
    return dropped(values, layer.p)


def _attending(model: SentenceTransformer) -> Any:
    """The transformer of a model, if transformers lets one choose its attention and it has the usual one; else None."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    module = model[0]
    if not isinstance(module, Transformer) or module.backend != "torch":
        return None
    inner: Any = module.model
    chosen = getattr(getattr(inner, "config", None), "_attn_implementation", None) == "sdpa"
    return inner if chosen and getattr(inner, "is_backend_compatible", lambda: False)() else None


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: with dropout ours, without, or with anything unusual, PyTorch's.

    Args:
        module: The layer; whether it looks back only.
        query, key, value: (texts, heads, tokens, width of a head).
        attention_mask: Broadcasts to (texts, heads, tokens, tokens); bool, whether to attend, or added to the products.
        dropout: Share of the attention's weights that is put to 0.
        scaling: Of the products, None is the usual one.
        kwargs: What other implementations take.

    Returns:
        (texts, tokens, heads, width), and no weights.
    """
    usual = not kwargs.get("is_causal", getattr(module, "is_causal", True)) and kwargs.get("position_bias") is None
    if not (usual and _shares(dropout) and query.device.type == "cpu" and query.shape[1] == key.shape[1]):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        own = {"dropout": dropout, "scaling": scaling, **kwargs}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **own)[0], None
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = map(_as_autocast_has_it, (query * scaling, key, value))
    return _attend_with_dropout(query, key, value, attention_mask, dropout), None


def _as_autocast_has_it(tensor: Tensor) -> Tensor:
    """In the type in which autocast lets a fused kernel compute; as it is without autocast."""
    import torch

    return tensor.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else tensor


def _attend_with_dropout(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    import torch

    with torch.autocast("cpu", enabled=False):
        scores = query @ key.transpose(-1, -2)
        if mask is not None:
            scores += _added(mask, scores.dtype)
        return (dropped(scores.softmax(dim=-1), dropout) @ value).transpose(1, 2).contiguous()


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to products: the least number of the type where a bool mask says not to attend."""
    import torch

    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
