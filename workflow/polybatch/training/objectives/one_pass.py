"""InfoNCE of a batch whose columns are embedded in one pass, where they are rows of texts without padding.

inputs: a step's columns, tokenised
outputs: a scalar, the library's
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor

from polybatch.encoders import packed


class OnePassInfoNCE(MultipleNegativesRankingLoss):
    """The library's loss; it passes queries and passages through the encoder together (`encoders.packed`)."""

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        columns = list(sentence_features)
        embeddings = packed.embed_columns(self.model, columns)
        if embeddings is None:
            return super().forward(columns, labels)
        return self.compute_loss_from_embeddings(embeddings, labels)
