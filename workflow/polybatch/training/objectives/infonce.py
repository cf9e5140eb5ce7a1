"""InfoNCE over in-batch negatives, in the forms that the options choose.

inputs: the encoder, TrainingOptions
outputs: a torch module of sentence-transformers

The mean over queries of -log(exp(cos(q, p) / t) / sum over candidates c of exp(cos(q, c) / t)), with the
`temperature` t; candidates are the passages and hard negatives of the batch (Elmahdy et al., arXiv 2408.10536,
section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybatch.core.errors import ConfigError
from polybatch.training.objectives.objective import Objective

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.options import TrainingOptions


class InfoNCE(Objective):
    """Reads nothing but queries, passages and hard negatives; the library computes it, see `loss_of`."""

    name = "infonce"


def loss_of(model: SentenceTransformer, options: TrainingOptions, *, gather: bool) -> Any:
    """The library's loss for our options, a torch module; `gather` takes candidates from all processes."""
    from sentence_transformers.sentence_transformer import losses

    from polybatch.training.objectives.one_pass import OnePassInfoNCE

    scale = 1.0 / options.temperature
    embedder = in_passes(model, options)
    loss = (
        OnePassInfoNCE(embedder, scale=scale, gather_across_devices=gather)
        if options.mini_batch_size is None
        else losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=options.mini_batch_size, gather_across_devices=gather
        )
    )
    if options.matryoshka_dims is None:
        return loss
    return losses.MatryoshkaLoss(model, loss, dims_of(model, options.matryoshka_dims))


def in_passes(model: SentenceTransformer, options: TrainingOptions) -> Any:
    """The encoder, a torch module that embeds a batch in as many passes as `bucket_width` says."""
    from polybatch.training.length_buckets import LengthBuckets

    width = options.bucket_width
    return model if width is None else LengthBuckets(model, width if isinstance(width, int) else None)


def dims_of(model: SentenceTransformer, dims: list[int]) -> list[int]:
    """The lengths that embeddings are cut to, the whole one among them, the longest first.

    Raises:
        ConfigError: One is longer than the encoder's embeddings.
    """
    whole = model.get_embedding_dimension()
    if whole is None or max(dims) > whole:
        raise ConfigError(
            "matryoshka_dims are longer than the encoder's embeddings.",
            expected=f"lengths of at most {whole}",
            found=", ".join(map(str, dims)),
        )
    return sorted({*dims, whole}, reverse=True)
