"""Faster arithmetic for a model on a CPU, with the same results up to rounding, and less memory.

inputs: a model in float32 on an x86 CPU
outputs: the same model, whose linear layers are multiplied by oneDNN; a bound on the code that oneDNN keeps

PyTorch multiplies float32 matrices with Intel's MKL, which runs its AVX2 kernels on processors of other makers, even
where these have AVX-512. oneDNN, which PyTorch carries too, chooses by what the processor can do: on an AMD EPYC of
2024 it is more than twice as fast (measurements/notes/encode.md). On Intel's own processors it was not measured.
"""

from __future__ import annotations

import functools
import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SHAPES_A_THREAD = 16


def keep_few_shapes() -> None:
    """Bounds the code that oneDNN keeps. To be called before anything is computed: it is read at the first use.

    oneDNN makes code for every shape and keeps that of the last 1,024, which comes to hundreds of megabytes where every
    batch has a shape of its own. A batch needs that of a few layers.
    """
    import torch

    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_SHAPES_A_THREAD * torch.get_num_threads()))


def computes_bf16() -> bool:
    """Whether this processor multiplies in bf16 by itself (AVX512-BF16, AMX); others imitate it, and lose by it.

    On an AMD EPYC with AVX512-BF16 a training step of multilingual-e5-small (64 pairs, 3,600 tokens, one thread) took
    5.2 s of processor time, 8.9 s in float32; with its word embeddings frozen 3.2 s and 6.9 s. Validation losses of
    three seeds lay within .007 of float32's, while seeds lay up to .038 apart.
    """
    import torch

    # Not part of PyTorch's public interface: a later version may call them otherwise, and fp32 is what is left then.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def multiply_with_onednn(model: torch.nn.Module) -> int:
    """Lets oneDNN multiply in all plain linear layers. For inference alone: there is no gradient.

    Args:
        model: As it is after its last change of device and type.

    Returns:
        How many layers: those in float32 on an x86 CPU; 0 where this build of PyTorch has no oneDNN for it.
    """
    import torch

    keep_few_shapes()
    # The operator is not part of PyTorch's public interface, so a later version may be without it.
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if platform.machine() not in ("x86_64", "AMD64") or not there:
        return 0
    # Subclasses (LoRA, quantised weights) do something else.
    layers = [layer for layer in model.modules() if type(layer) is torch.nn.Linear and _fits(layer)]
    for layer in layers:
        layer.forward = functools.partial(_linear, layer)  # type: ignore[method-assign]
    return len(layers)


def _fits(layer: torch.nn.Linear) -> bool:
    import torch

    return layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


def _linear(layer: torch.nn.Linear, values: torch.Tensor) -> torch.Tensor:
    import torch

    # The operator that torch.compile puts in the place of a linear layer on a CPU; "none" is no activation after it.
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, layer.weight, layer.bias, "none", [], "")
    return product
