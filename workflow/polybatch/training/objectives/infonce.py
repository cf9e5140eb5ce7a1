"""The loss of a training: InfoNCE over in-batch negatives, in the forms that the options choose.

inputs: the encoder, TrainingOptions
outputs: a torch module of sentence-transformers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybatch.core.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.options import TrainingOptions


def loss_of(model: SentenceTransformer, options: TrainingOptions, *, gather: bool) -> Any:
    """The library's loss for our options, a torch module; `gather` takes candidates from all processes."""
    from sentence_transformers.sentence_transformer import losses

    from polybatch.training.trainer import LengthBuckets

    scale = 1.0 / options.temperature
    width = options.bucket_width
    embedder: Any = model if width is None else LengthBuckets(model, width if isinstance(width, int) else None)
    loss = (
        losses.MultipleNegativesRankingLoss(embedder, scale=scale, gather_across_devices=gather)
        if options.mini_batch_size is None
        else losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=options.mini_batch_size, gather_across_devices=gather
        )
    )
    if options.matryoshka_dims is None:
        return loss
    return losses.MatryoshkaLoss(model, loss, _matryoshka_dims(model, options.matryoshka_dims))


def _matryoshka_dims(model: SentenceTransformer, dims: list[int]) -> list[int]:
    whole = model.get_embedding_dimension()
    if whole is None or max(dims) > whole:
        raise ConfigError(
            "matryoshka_dims are longer than the encoder's embeddings.",
            expected=f"lengths of at most {whole}",
            found=", ".join(map(str, dims)),
        )
    return sorted({*dims, whole}, reverse=True)
