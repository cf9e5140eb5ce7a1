"""A frozen encoder, towards whose embeddings of English text a student is drawn.

inputs: an encoder's folder or the id of a model of the hub, the options of the training
outputs: `Teacher`; a collator that tokenises the teacher's columns with the teacher's own tokenizer and prompts

Every English text is embedded when it is needed. To keep the embeddings of forty million pairs would take tens of
gigabytes, and a text comes up again only in another epoch; without gradients it costs about a third of what the
student's does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.losses.gradcache import _create_minibatch, _minibatch_ranges
from torch import Tensor

from polybatch.core.errors import ConfigError
from polybatch.training.inputs import load_encoder, set_up
from polybatch.training.objectives.infonce import in_passes
from polybatch.training.objectives.objective import SIDES, teacher_column

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.training.options import TrainingOptions


class Teacher:
    """Embeds, and is never trained. No torch module: nothing that looks for weights to train, move or save finds it.

    Args:
        model: With its prompts, under the names `query` and `passage`; put into evaluation and frozen here.
        options: Of the training: how many texts at a time, in which passes.
    """

    def __init__(self, model: SentenceTransformer, options: TrainingOptions) -> None:
        self.model = model.eval().requires_grad_(False)
        self._embed = in_passes(model, options)
        self._at_a_time = options.mini_batch_size
        self.width = width_of(model)

    def tokenise(self, texts: list[str], side: str) -> dict[str, Any]:
        """The texts, with the prompt of their side, as this model's tokenizer gives them."""
        return self.model.preprocess(texts, prompt=self.model.prompts[side] or None)

    def embed(self, features: dict[str, Any]) -> Tensor:
        """(texts, width), as the model puts them out, without gradients."""
        with torch.no_grad():
            if self._at_a_time is None:
                return self._embed(features)["sentence_embedding"]
            ranges = _minibatch_ranges(features, self._at_a_time)
            parts = [self._embed(_create_minibatch(features, *part))["sentence_embedding"] for part in ranges]
            return torch.cat(parts)


def load_teacher(name: str, options: TrainingOptions, *, own: bool) -> Teacher:
    """Loads a teacher.

    Args:
        name: A folder, or the id of a model of the hub (`inputs.load_encoder`).
        options: Of the training.
        own: Whether it is the student's own encoder before the training, which reads texts as the student does; any
            other has its own prompts, and reads as far as it can, up to `max_length`.
    """
    model = load_encoder(name)
    if own:
        set_up(model, options)
    else:
        lengths = [length for length in (options.max_length, model.max_seq_length) if length is not None]
        as_it_is = {"query_prompt": None, "passage_prompt": None, "max_length": min(lengths, default=None)}
        set_up(model, options.changed(**as_it_is))
    return Teacher(model, options)


def width_of(model: SentenceTransformer) -> int:
    """How many numbers an embedding of a model has.

    Raises:
        ConfigError: It does not say.
    """
    width = model.get_embedding_dimension()
    if width is None:
        raise ConfigError(
            "An encoder does not say how many numbers its embeddings have.",
            expected="an encoder with a pooling or dense module, for a training with a teacher",
            found=", ".join(type(module).__name__ for module in model),
        )
    return width


class Collator:
    """Tokenises rows: the student's columns as usual, the teacher's with the teacher's tokenizer.

    Args:
        usual: The library's collator, for the student.
        teacher: Of the columns that `objective.teacher_column` names.
    """

    def __init__(self, usual: Callable[[list[dict[str, str]]], dict[str, Any]], teacher: Teacher) -> None:
        self._usual, self._teacher = usual, teacher

    def __call__(self, rows: list[dict[str, str]]) -> dict[str, Any]:
        columns = {teacher_column(side): side for side in SIDES}
        batch = self._usual([{name: text for name, text in row.items() if name not in columns} for row in rows])
        for column, side in columns.items():
            if column in rows[0]:
                features = self._teacher.tokenise([row[column] for row in rows], side)
                batch.update({f"{column}_{name}": value for name, value in features.items()})
        return batch
