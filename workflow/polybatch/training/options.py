"""The options of a training, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from polybatch.core.options import Options, require

SCHEDULERS = ("linear", "cosine", "constant_with_warmup")
PRECISIONS = ("auto", "fp32", "bf16")
LANGUAGE_WEIGHTS = ("uniform", "size")


@dataclass(frozen=True)
class TrainingOptions(Options):
    """How to train. The defaults are those of the paper where it gives one.

    Attributes:
        max_steps: Steps at most; early stopping may end the training before.
        epochs: If given, stands for max_steps: as many steps as draw this many times the number of pairs (a pair counts
            once, in however many languages it exists).
        batch_size: Pairs a step, over all processes.
        learning_rate: Its peak.
        warmup: Steps until the peak; below 1, a share of max_steps.
        scheduler: How it falls after the peak: linear, cosine, or constant_with_warmup.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm; 0 does not clip.
        temperature: Cosine similarities are divided by it.
        hard_negatives: Hard negatives a pair at most, the first ones; 0 uses none. Batches of pairs without any go
            without.
        max_length: Longest text in tokens; null keeps the encoder's own limit.
        eval_steps: Steps between two validation losses.
        save_steps: Steps between two checkpoints; the best model so far is always kept besides.
        patience: Validations without a better loss after which the training stops; 0 never stops early.
        precision: fp32, bf16 (autocast), or auto: bf16 on a card or processor that computes in it, fp32 elsewhere.
        gradient_checkpointing: Computes activations twice instead of keeping them.
        mini_batch_size: If given, embeds this many texts at a time (GradCache), so that batch_size is not bound
            by memory.
        bucket_width: auto cuts a batch, sorted by length, into the forward passes that cost a CPU least, padding
            included, and does nothing on a card or with mini_batch_size; a number has texts whose lengths differ by
            less than this many tokens share a pass, not together with mini_batch_size; null embeds a batch in one pass.
        num_workers: Processes that prepare batches; 0 prepares them in the training process.
        query_prompt, passage_prompt: Put before every text; null keeps the encoder's own.
        source_temperature: A data source is drawn with its number of pairs ** (1 / temperature): 1 in proportion to its
            size, the larger the more evenly.
        drop_small_sources: Leaves out a source with too few pairs for a batch, instead of refusing to train.
        language_weights: How often a language is drawn, for a monolingual batch and for the rows of a mixed one:
            uniform, or size, in proportion to its number of pairs.
        language_temperature: For size, as source_temperature.
        matryoshka_dims: If given, the loss is the sum of the losses of the embedding cut to each of these lengths and
            of the whole one (Kusupati et al., arXiv 2205.13147), so that short embeddings retrieve too.
        freeze_embeddings: Leaves the word embeddings as they are: no gradient, no state of AdamW.
        freeze_layers: Leaves so many layers, the first ones, and all embeddings as they are.
        lora_r: If given, trains adapters of this rank instead of the transformer's own weights (LoRA, Hu et al., arXiv
            2106.09685), and adds them to the weights at the end.
        lora_alpha: Adapters are scaled by lora_alpha / lora_r.
        lora_dropout: Of the adapters' inputs, in training.
        lora_targets: Names of the layers that get adapters, as in ["query", "value"]; null takes all linear layers.
    """

    max_steps: int = 1000
    epochs: float | None = None
    batch_size: int = 100
    learning_rate: float = 3e-5
    warmup: float = 0.1
    scheduler: str = "linear"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    temperature: float = 0.05
    hard_negatives: int = 0
    max_length: int | None = None
    eval_steps: int = 100
    save_steps: int = 500
    patience: int = 5
    precision: str = "auto"
    gradient_checkpointing: bool = False
    mini_batch_size: int | None = None
    bucket_width: int | str | None = "auto"
    num_workers: int = 0
    query_prompt: str | None = None
    passage_prompt: str | None = None
    source_temperature: float = 1.0
    drop_small_sources: bool = False
    language_weights: str = "uniform"
    language_temperature: float = 1.0
    matryoshka_dims: list | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    lora_r: int | None = None
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: list | None = None

    def num_steps(self, num_pairs: int) -> int:
        """Steps at most, for that many training pairs."""
        return self.max_steps if self.epochs is None else math.ceil(self.epochs * num_pairs / self.batch_size)

    def faults(self) -> Iterator[str]:
        for name in ("max_steps", "eval_steps", "save_steps"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        yield from require(self.batch_size >= 2, "batch_size must be at least 2: negatives come from the batch")
        positive = ("learning_rate", "temperature", "source_temperature", "language_temperature", "lora_alpha")
        for name in positive:
            yield from require(getattr(self, name) > 0, f"{name} must be above 0")
        for name in ("warmup", "weight_decay", "max_grad_norm", "patience", "num_workers", "freeze_layers"):
            yield from require(getattr(self, name) >= 0, f"{name} must not be negative")
        yield from require(0 <= self.hard_negatives <= 100, "hard_negatives must be from 0 to 100")
        yield from require(self.epochs is None or self.epochs > 0, "epochs must be above 0, or null")
        for name in ("max_length", "mini_batch_size", "lora_r"):
            value = getattr(self, name)
            yield from require(value is None or value >= 1, f"{name} must be at least 1, or null")
        yield from self._bucket_faults()
        yield from require(self.scheduler in SCHEDULERS, f"scheduler must be one of {', '.join(SCHEDULERS)}")
        yield from require(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}")
        yield from require(
            self.language_weights in LANGUAGE_WEIGHTS, f"language_weights must be one of {', '.join(LANGUAGE_WEIGHTS)}"
        )
        frozen = self.freeze_embeddings or self.freeze_layers > 0
        yield from require(
            self.lora_r is None or not frozen,
            "lora_r leaves all but the adapters as it is: freeze_embeddings and freeze_layers do not go with it",
        )
        yield from require(0.0 <= self.lora_dropout < 1.0, "lora_dropout must be in [0, 1)")
        yield from require(
            _holds(self.matryoshka_dims, int) and all(dim >= 1 for dim in self.matryoshka_dims or []),
            "matryoshka_dims must be a list of whole numbers from 1, or null",
        )
        yield from require(_holds(self.lora_targets, str), "lora_targets must be a list of names, or null")

    def _bucket_faults(self) -> Iterator[str]:
        width = self.bucket_width
        usable = width in (None, "auto") or (isinstance(width, int) and width >= 1)
        yield from require(usable, "bucket_width must be at least 1, auto, or null")
        if isinstance(width, int) and self.mini_batch_size is not None:
            yield "bucket_width and mini_batch_size exclude each other"


def _holds(values: list | None, kind: type) -> bool:
    """Whether the list, unless it is None, holds something, and nothing but values of that type."""
    return values is None or (bool(values) and all(type(value) is kind for value in values))
