"""The bytes that a training takes: one arithmetic, for what its rule asks for and for what it tells before it starts.

inputs: which weights get gradients, what autograd keeps of a text, how long texts are, the options of the training
outputs: `Memory`; what the process takes besides

`training.memory` measures what is kept, on the loaded encoder and the real texts; `study.job_memory` takes it from the
encoder's shape, before anything is there. No torch here: a rule asks when the workflow is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polybatch.training.options import TrainingOptions

FLOAT32 = 4
# Measured on a CPU with multilingual-e5-small: gradients of activations, and freed memory that is not given back.
_BESIDES = 1.6
# Measured likewise: Python, torch and the other libraries, texts, code that oneDNN keeps.
_PROCESS = 1_030_000_000
# An encoder's weights are there twice while they are loaded, and while the best ones are put back at the end.
_TIMES_LOADED = 2
# What autograd keeps in a layer of a transformer with PyTorch's dropout, counted with transformers 5 on a CPU for
# widths of 384 and 768: bytes a token and number of the hidden state; bytes a token, token that it attends to, and
# head. Where dropout is hashed (encoders.dropout) it is less: 71 and 9 in fp32, 45 and 5 in bf16.
_LINEAR = {"fp32": 76, "bf16": 54}
_QUADRATIC = {"fp32": 12, "bf16": 6}
_BF16 = 2


@dataclass(frozen=True)
class Memory:
    """The memory that a training takes beyond the loaded encoder, in bytes.

    Attributes:
        teacher: What a teacher computes with; its weights are loaded when memory is looked at.
        gradients, optimizer: Of the trained weights; of the largest ones three gradients are among them, because those
            of several passes are added up.
        activations: Of the costliest batch, which is in the language of the longest texts, with what the backward pass
            and the allocator take besides.
        embeddings: The part of gradients and optimizer that word embeddings take.
    """

    gradients: int
    optimizer: int
    activations: int
    embeddings: int
    teacher: int = 0

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.gradients + self.optimizer + self.activations + self.teacher


@dataclass(frozen=True)
class Trained:
    """How many weights get gradients: all of them, the largest tensor, and the word embeddings among them."""

    weights: int
    largest: int
    words: int


@dataclass(frozen=True)
class Shape:
    """A transformer: its depth, its width, the width of its feed-forward layers, its heads of attention."""

    layers: int
    hidden: int
    intermediate: int
    heads: int


@dataclass(frozen=True)
class Kept:
    """Bytes that autograd keeps: of one pass, of each token, and of each token times its text's length."""

    constant: float
    linear: float
    quadratic: float

    @classmethod
    def of_shape(cls, shape: Shape, weights: int, precision: str) -> Kept:
        """What a transformer of a shape keeps, with dropout.

        Args:
            shape: Of the transformer.
            weights: Without its word embeddings.
            precision: "fp32", or "bf16", in which the weights are kept once more.
        """
        return cls(
            _BF16 * weights if precision == "bf16" else 0,
            _LINEAR[precision] * shape.hidden * shape.layers,
            _QUADRATIC[precision] * shape.heads * shape.layers,
        )

    def of_text(self, tokens: Any) -> Any:
        """Bytes of one text of so many tokens, a float; of an array of texts, an array."""
        return self.linear * tokens + self.quadratic * tokens * tokens


def of_batch(texts: Sequence[float], rows: int, kept: Kept, mini_batch_size: int | None) -> int:
    """Bytes that the forward passes of one batch keep.

    Args:
        texts: Bytes of one text of each column (`Kept.of_text`): query, passage, and what a row has besides.
        rows: Of the batch, in one process.
        kept: As `texts` were made with.
        mini_batch_size: How many texts are embedded at a time; None for all.
    """
    if mini_batch_size is not None:
        return int(kept.constant + min(rows, mini_batch_size) * max(texts))
    return int(kept.constant + rows * sum(texts))


def of_training(
    trained: Trained, batch: int, tokens: float, shape: Shape, options: TrainingOptions, *, teacher: int = 0
) -> Memory:
    """The memory of a training beyond the loaded encoder.

    Args:
        trained: Which weights are.
        batch: Bytes that the passes of the costliest batch keep (`of_batch`).
        tokens: Of all texts of the longest batch in one process.
        shape: Of the transformer.
        options: Of the training.
        teacher: What a teacher computes with.
    """
    if options.gradient_checkpointing:  # the inputs of every layer, and all of one layer
        batch = batch // shape.layers + int(tokens * shape.hidden * shape.layers * FLOAT32)
    return Memory(
        gradients=FLOAT32 * (trained.weights + 2 * trained.largest),
        optimizer=2 * FLOAT32 * trained.weights,
        activations=int(_BESIDES * batch),
        embeddings=5 * FLOAT32 * trained.words,
        teacher=teacher,
    )


def of_inference(rows: int, longest: float, shape: Shape) -> int:
    """Bytes of one layer's activations, of texts of so many tokens: without gradients those before it are freed."""
    return int(rows * longest * (4 * shape.hidden + 2 * shape.intermediate) * FLOAT32)


def of_process(weights: int, teacher_weights: int = 0) -> int:
    """Bytes of a process that has loaded an encoder, and perhaps a teacher, of so many weights."""
    return _PROCESS + FLOAT32 * (_TIMES_LOADED * weights + teacher_weights)
