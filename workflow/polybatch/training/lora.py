"""Low-rank adapters: trained in place of a transformer's own weights, and added to them at the end.

inputs: a sentence-transformers model
outputs: the same model with adapters (Hu et al., arXiv 2106.09685) in its transformer, and, after merging, without: an
ordinary model folder, which needs no library for adapters to be loaded

Modules after the transformer (a dense layer) are trained as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybatch.core.errors import ConfigError
from polybatch.core.stage import log

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.options import TrainingOptions


def add_adapters(model: SentenceTransformer, options: TrainingOptions, seed: int) -> Any:
    """Puts adapters into the model's transformer and freezes the rest of it.

    Args:
        model: Changed in place.
        options: Their rank, scale, dropout and places.
        seed: Of their random weights.

    Returns:
        What `merge` needs.

    Raises:
        ConfigError: The encoder has no transformer, or none of the layers that shall get adapters.
    """
    import torch
    from peft import LoraConfig, LoraModel

    backbone = model.transformers_model
    if backbone is None:
        raise ConfigError(
            "The encoder has no transformer that adapters could be put into.",
            expected="an encoder with a Transformer module",
            found=", ".join(type(module).__name__ for module in model),
            remedy="train without lora_r",
        )
    config = LoraConfig(
        r=options.lora_r or 0,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=options.lora_targets or "all-linear",
    )
    torch.manual_seed(seed)
    try:
        adapters = LoraModel(backbone, config, "default")
    except ValueError as error:
        raise ConfigError(
            "Adapters cannot be put into the encoder.",
            expected="lora_targets that name layers of it, such as " + ", ".join(_linear_layers(backbone)),
            found=f"{options.lora_targets}: {error}",
        ) from error
    trained, whole = (sum(p.numel() for p in model.parameters() if p.requires_grad or every) for every in (False, True))
    log.info("adapters of rank %d: %d of %d weights are trained", options.lora_r, trained, whole)
    return adapters


def merge(adapters: Any) -> None:
    """Adds the adapters to the weights of the transformer they are in, and takes them out."""
    backbone = adapters.merge_and_unload(safe_merge=True)
    for name in ("peft_config", "active_adapter"):
        if hasattr(backbone, name) and not callable(getattr(backbone, name)):
            delattr(backbone, name)


def _linear_layers(backbone: Any) -> list[str]:
    import torch

    return sorted({name.rsplit(".", 1)[-1] for name, m in backbone.named_modules() if isinstance(m, torch.nn.Linear)})
