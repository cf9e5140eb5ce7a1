"""How long a device takes for a step of training, or for a text that is embedded, where nothing was measured.

inputs: an encoder's layers and weights, options, tokens of a text; values of rates.yaml
outputs: seconds

A processor hands a card its work, kernel after kernel, and the card computes behind it: the slower of the two sets the
pace. Short texts and small encoders are bound by the launching, a time for each layer and pass whatever is in it; long
texts and large encoders by the arithmetic. On the card that was measured, steps of e5-small and of XLM-R base took the
same time, with a quarter of the arithmetic (docs/gpu.md). On a processor alone the arithmetic bounds all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from polybatch.embedding.options import EncodeOptions
from polybatch.training.options import TrainingOptions

# Tokens that a card embeds at a time where `encoding.batch_tokens` is null.
_BATCH_TOKENS = 16_384


class Shape(NamedTuple):
    """Of an encoder: its layers, and the weights that take part in the arithmetic (all but the word embeddings)."""

    layers: float
    computing: float


def step_seconds(
    shape: Shape, options: TrainingOptions, texts: float, tokens: float, rates: Mapping[str, float], *, cards: int = 1
) -> float:
    """Seconds of one step of a training.

    Args:
        shape: Of the encoder.
        options: Of the training.
        texts: That a pair of it costs, forward and back.
        tokens: Of a text.
        rates: name -> value, of rates.yaml.
        cards: That divide the batch; what they wait for one another is not in here.
    """
    rows = options.batch_size / cards
    # In forward passes: one there and two back (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), one more where
    # activations are computed twice, and GradCache's first pass, without gradients (Gao et al. 2021, arXiv 2101.06983).
    times = 3 + options.gradient_checkpointing + (options.mini_batch_size is not None)
    # GradCache embeds each side in parts; without it all texts of a batch share a pass.
    passes = 1.0 if options.mini_batch_size is None else math.ceil(rows / options.mini_batch_size) * texts
    launching = passes * times * shape.layers / rates["launched_layers_per_second"]
    return max(launching, times * _forward_seconds(shape, rows * texts * tokens, rates)) + rates["step_seconds"]


def text_seconds(shape: Shape, options: EncodeOptions, tokens: float, rates: Mapping[str, float]) -> float:
    """Seconds of one text that is embedded: its share of a batch's launching, or its arithmetic."""
    together = max(1.0, min(options.batch_size, (options.batch_tokens or _BATCH_TOKENS) / tokens))
    launching = shape.layers / rates["launched_layers_per_second"] / together
    # Where `auto` is float32, a 16-bit type that is asked for is faster.
    faster = rates["bfloat16_speedup"] if options.compute_dtype == "bfloat16" else 1.0
    return max(launching, _forward_seconds(shape, tokens, rates) / faster)


def _forward_seconds(shape: Shape, tokens: float, rates: Mapping[str, float]) -> float:
    """Two operations a weight and token."""
    return 2 * shape.computing * tokens / (rates["effective_tflops"] * 1e12)
