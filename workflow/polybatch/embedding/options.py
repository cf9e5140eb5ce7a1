"""The options of embedding."""

from __future__ import annotations

import os
from typing import Any, Literal

from polybatch.core.option_types import Prompt
from polybatch.core.options import Options, option

AUTO = "auto"


class EncodeOptions(Options):
    """How texts are embedded (`encoding` in the configuration). They are sorted by their number of tokens first."""

    batch_size: int = option(512, "Texts at a time, at most.", ge=1)
    batch_tokens: int | None = option(
        None,
        "Tokens at a time, at most, padding included; null is 1,024 for each thread of a CPU, 16,384 on a card.",
        ge=1,
    )
    dtype: Literal["float32", "float16"] = option("float32", "Of the stored embeddings.")
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        AUTO,
        "Of the model while it runs. `auto` is `bfloat16` on a card that computes in it, else `float32`. Records hold "
        "what it came to.",
    )
    device: str | None = option(None, "As torch names it; null takes an accelerator if there is one.")
    query_prompt: Prompt = option(None, "Put before every query; null takes the prompt saved with the model.")
    passage_prompt: Prompt = option(None, "The same for passages.")
    truncate_dim: int | None = option(
        None,
        "Keeps so many leading dimensions, at length 1 again: for models trained with `matryoshka_dims` (Kusupati "
        "et al. 2022, arXiv 2205.13147).",
        ge=1,
    )

    def resolved(self) -> EncodeOptions:
        """These options with the compute_dtype that `auto` stands for on this machine."""
        if self.compute_dtype != AUTO:
            return self
        return self.changed(compute_dtype="bfloat16" if _computes_in_bfloat16(self.device) else "float32")

    def affecting_values(self) -> dict[str, Any]:
        """The options on which an embedding depends, beyond rounding; records hold those of `resolved` options."""
        names = ("dtype", "compute_dtype", "query_prompt", "passage_prompt", "truncate_dim")
        return {name: getattr(self, name) for name in names}


def _computes_in_bfloat16(device: str | None) -> bool:
    """Whether the model would run on a card that computes in bfloat16 itself, and does not imitate it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not (device or "cuda").startswith("cuda"):
        return False  # known without torch, whose import takes seconds
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
