"""Embeds a batch in forward passes of texts of like length, so that little padding is computed.

inputs: a sentence-transformers model, tokenised texts
outputs: their embeddings, those of one pass up to rounding
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

# Tokens whose forward and backward pass take as long as what a pass costs however little it holds (the calls from
# Python, a gradient of the whole vocabulary): measured between 30 and 150 on a CPU, and flat around its best.
_PASS_COST = 100


class LengthBuckets(nn.Module):
    """Embeds a batch in several forward passes, each of texts of like length, so that less padding is computed.

    The embeddings are those of one pass up to rounding. Worth it where arithmetic is dear, on a CPU; a GPU is
    better fed with one large pass.

    Args:
        model: A sentence-transformers model.
        width: Texts of 1 to `width` tokens share a pass, those of up to twice that another, and so on; None cuts the
            batch where it costs least (`pass_sizes`).
    """

    def __init__(self, model: nn.Module, width: int | None) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        if "attention_mask" not in features:  # a model of word vectors, which knows no padding
            return self.model(features)
        lengths = features["attention_mask"].sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        embeddings = [
            self.model(_rows_of(features, rows))["sentence_embedding"]
            for rows in order.split(self._sizes(lengths[order]))
        ]
        return {**features, "sentence_embedding": torch.cat(embeddings)[torch.argsort(order)]}

    def _sizes(self, ascending: torch.Tensor) -> list[int]:
        """How many texts each pass takes, the shortest texts first."""
        if self.width is None:
            return pass_sizes(ascending.cpu().numpy())
        return torch.unique_consecutive((ascending - 1) // self.width, return_counts=True)[1].tolist()


def pass_sizes(lengths: np.ndarray, pass_cost: int = _PASS_COST) -> list[int]:
    """Cuts texts, sorted by length, into the forward passes that cost least in all.

    A pass costs its number of texts times the length of its longest, padding included, and `pass_cost`, what starting
    a pass takes, in tokens. The best cuts are found exactly, by the best ones of every shorter beginning.

    Args:
        lengths: (n,) in tokens, ascending.
        pass_cost: In tokens.

    Returns:
        Texts a pass, the shortest first; their sum is n.
    """
    longest, counts = np.unique(lengths, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(upto))
    last = np.zeros(len(upto), dtype=np.int64)  # where the last pass of the best cuts begins
    for end in range(1, len(upto)):
        costs = best[:end] + longest[end - 1] * (upto[end] - upto[:end])
        last[end] = np.argmin(costs)
        best[end] = costs[last[end]] + pass_cost
    cuts = [len(upto) - 1]
    while cuts[-1]:
        cuts.append(int(last[cuts[-1]]))
    return np.diff(upto[cuts[::-1]]).tolist()


def _rows_of(features: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Some rows of the tokenised texts, without the columns at their end that are padding in all of them."""
    used = features["attention_mask"][rows].any(dim=0).nonzero()
    width = int(used[-1]) + 1
    shape = features["attention_mask"].shape
    return {
        name: value[rows, :width] if isinstance(value, torch.Tensor) and value.shape == shape else value
        for name, value in features.items()
    }
