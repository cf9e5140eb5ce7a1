"""What a training minimises: which texts of a row an objective reads, and what it makes of their embeddings.

inputs: TrainingOptions, the name of a sampling
outputs: `Objective`, the base of all of them; the names of the columns in which a row's texts are handed over

Whatever the objective, a row has its query and its passage as the sampling drew them, and what is validated is InfoNCE
on English pairs: losses of validation compare between objectives, and so do the steps that they choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from polybatch.core.options import Conflict
from polybatch.training.stages import Stage

if TYPE_CHECKING:
    from torch import Tensor

    from polybatch.training.objectives.embedded import EmbeddedBatch
    from polybatch.training.options import TrainingOptions

SIDES = ("query", "passage")


def second_column(side: str) -> str:
    """The column of the same text in another language (`batch.Batch`), read by the student."""
    return f"second_{side}"


def english_column(side: str) -> str:
    """The column of the English text, read by the student."""
    return f"english_{side}"


def teacher_column(side: str) -> str:
    """The column of the English text, read by the teacher."""
    return f"teacher_{side}"


class Objective:
    """Base of the objectives; see the module of each.

    Args:
        options: Of the training.

    Attributes:
        name: As run names and the configuration spell it.
        second: Sides that the student reads in a second language besides.
        english: Sides that the student reads in English besides.
        taught: Sides whose English text a teacher reads.
    """

    name: ClassVar[str]
    second: ClassVar[tuple[str, ...]] = ()
    english: ClassVar[tuple[str, ...]] = ()
    taught: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: TrainingOptions) -> None:
        self.options = options

    @property
    def columns(self) -> tuple[str, ...]:
        """What a row has besides query, passage and hard negatives: what the student reads, then what the teacher."""
        return (
            *(second_column(side) for side in self.second),
            *(english_column(side) for side in self.english),
            *(teacher_column(side) for side in self.taught),
        )

    @property
    def student_columns(self) -> tuple[str, ...]:
        """Those of them that the student reads."""
        return self.columns[: len(self.second) + len(self.english)]

    def stages(self, num_steps: int) -> list[Stage]:
        """The parts of a training of so many steps, in their order."""
        return [Stage(num_steps, self.options.learning_rate)]

    def has_candidates(self, step: int) -> bool:
        """Whether the step (from 0) compares queries with passages, so that hard negatives are of use."""
        return True

    def loss(self, batch: EmbeddedBatch) -> Tensor:
        """The loss of a batch, a scalar; where several processes share a batch, of this one's rows."""
        raise NotImplementedError

    @classmethod
    def refused_options(cls, options: TrainingOptions) -> Iterator[Conflict]:
        """One for each set of options that cannot be used with this objective."""
        yield from ()

    @classmethod
    def refused_sampling(cls, sampling: str) -> str:
        """Why this objective does not go with a sampling; "" if it does."""
        if sampling == "en-en" and (cls.second or cls.english or cls.taught):
            return f"{cls.name} compares a text with its translation, and en-en has English text alone"
        return ""
