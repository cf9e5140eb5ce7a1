"""The options of a training, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from polybatch.options import Options, require

SCHEDULERS = ("linear", "cosine", "constant_with_warmup")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainingOptions(Options):
    """How to train. The defaults are those of the paper where it gives one.

    Attributes:
        max_steps: Steps at most; early stopping may end the training before.
        batch_size: Pairs a step, over all processes.
        learning_rate: Its peak.
        warmup: Steps until the peak; below 1, a share of max_steps.
        scheduler: How it falls after the peak: linear, cosine, or constant_with_warmup.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm; 0 does not clip.
        temperature: Cosine similarities are divided by it.
        max_length: Longest text in tokens; null keeps the encoder's own limit.
        eval_steps: Steps between two validation losses.
        save_steps: Steps between two checkpoints; the best model so far is always kept besides.
        patience: Validations without a better loss after which the training stops; 0 never stops early.
        precision: fp32, or bf16 (autocast).
        gradient_checkpointing: Computes activations twice instead of keeping them.
        mini_batch_size: If given, embeds this many texts at a time (GradCache), so that batch_size is not bound
            by memory.
        bucket_width: If given, texts whose lengths differ by less than this many tokens share a forward pass,
            which spares a CPU most of the padding. Not together with mini_batch_size.
        num_workers: Processes that prepare batches; 0 prepares them in the training process.
        query_prompt, passage_prompt: Put before every text; null keeps the encoder's own.
    """

    max_steps: int = 1000
    batch_size: int = 100
    learning_rate: float = 3e-5
    warmup: float = 0.1
    scheduler: str = "linear"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    temperature: float = 0.05
    max_length: int | None = None
    eval_steps: int = 100
    save_steps: int = 500
    patience: int = 5
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    mini_batch_size: int | None = None
    bucket_width: int | None = None
    num_workers: int = 0
    query_prompt: str | None = None
    passage_prompt: str | None = None

    def faults(self) -> Iterator[str]:
        for name in ("max_steps", "eval_steps", "save_steps"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        yield from require(self.batch_size >= 2, "batch_size must be at least 2: negatives come from the batch")
        for name in ("learning_rate", "temperature"):
            yield from require(getattr(self, name) > 0, f"{name} must be above 0")
        for name in ("warmup", "weight_decay", "max_grad_norm", "patience", "num_workers"):
            yield from require(getattr(self, name) >= 0, f"{name} must not be negative")
        for name in ("max_length", "mini_batch_size", "bucket_width"):
            value = getattr(self, name)
            yield from require(value is None or value >= 1, f"{name} must be at least 1, or null")
        if self.bucket_width is not None and self.mini_batch_size is not None:
            yield "bucket_width and mini_batch_size exclude each other"
        yield from require(self.scheduler in SCHEDULERS, f"scheduler must be one of {', '.join(SCHEDULERS)}")
        yield from require(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}")
