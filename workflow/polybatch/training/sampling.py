"""The kinds of training batches, and how often languages and sources are drawn.

inputs: the name of a sampling, its alpha, weights and temperatures
outputs: `Sampling` and `Shares`, checked; `batch_sampler` draws batches from them

The samplings are those of Roy et al. (LAReQA, arXiv 2004.05484, section 4) and of Elmahdy et al. (arXiv
2408.10536, section 3.2), whose hybrid mixes whole batches: with probability alpha a monolingual batch, else a
cross-lingual one. Alpha may change over the training.

| sampling   | one batch holds                                                                        |
|------------|----------------------------------------------------------------------------------------|
| `en-en`    | English queries with English passages                                                  |
| `x-x`      | each row in a language of its own, the same for query and passage                      |
| `x-x-mono` | the whole batch in one language, drawn uniformly over the training languages           |
| `x-y`      | each row a query in one language with its passage in another, any two the pair exists in |
| `hybrid`   | an `x-x-mono` batch with probability alpha, else an `x-y` batch                         |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from polybatch.core.contracts import SAMPLINGS
from polybatch.core.errors import ConfigError
from polybatch.training.options import LANGUAGE_WEIGHTS, TrainingOptions


@dataclass(frozen=True)
class AlphaSchedule:
    """The share of monolingual batches: `start` at the first step, `end` at the last, on a straight line between.

    Raises:
        ConfigError: A share is outside [0, 1].
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.start <= 1.0 and 0.0 <= self.end <= 1.0):
            raise _alpha_fault(self.label)

    @classmethod
    def parse(cls, value: float | str | AlphaSchedule) -> AlphaSchedule:
        """From a number, or from text as `label` spells it: "0.5" or "1to0.5"."""
        if isinstance(value, AlphaSchedule):
            return value
        start, changes, end = str(value).partition("to")
        try:
            return cls(float(start), float(end if changes else start))
        except ValueError as error:
            raise _alpha_fault(value) from error

    @property
    def label(self) -> str:
        """As run names and score files spell it."""
        return f"{self.start:g}" if self.start == self.end else f"{self.start:g}to{self.end:g}"

    def at(self, step: int, num_steps: int) -> float:
        """Alpha at a step (from 0) of a training of `num_steps`."""
        if self.start == self.end or num_steps < 2:
            return self.start
        return self.start + (self.end - self.start) * step / (num_steps - 1)


def _alpha_fault(found: Any) -> ConfigError:
    return ConfigError(
        "Hybrid sampling needs alpha, the share of monolingual batches.",
        expected="a number from 0 to 1, or for example 1to0.5: from 1 at the first step to 0.5 at the last",
        found=str(found),
    )


@dataclass(frozen=True)
class Sampling:
    """A sampling by name; `alpha` is the share of monolingual batches in `hybrid` and unused elsewhere.

    Raises:
        ConfigError: The name is unknown, or alpha is missing, malformed, or outside [0, 1].
    """

    name: str
    alpha: float | str | AlphaSchedule | None = None

    def __post_init__(self) -> None:
        if self.name not in SAMPLINGS:
            raise ConfigError("Unknown sampling.", expected=", ".join(SAMPLINGS), found=self.name)
        if self.name == "hybrid":
            if self.alpha is None:
                raise _alpha_fault(self.alpha)
            object.__setattr__(self, "alpha", AlphaSchedule.parse(self.alpha))

    @property
    def schedule(self) -> AlphaSchedule | None:
        """How alpha goes over the training, for hybrid; None for all other samplings."""
        return self.alpha if isinstance(self.alpha, AlphaSchedule) and self.name == "hybrid" else None

    @property
    def label(self) -> str | None:
        """Alpha as run names spell it; None but for hybrid."""
        return self.schedule.label if self.schedule else None

    def kinds(self) -> list[str]:
        """The kinds of batches that a training can have."""
        if self.schedule is None:
            return [self.name]
        shares = (self.schedule.start, self.schedule.end)
        return ["x-x-mono"] * (max(shares) > 0) + ["x-y"] * (min(shares) < 1)

    def kind(self, step: int, num_steps: int, draw: float) -> str:
        """The kind of batch of a step, for a uniform `draw` from [0, 1)."""
        if self.schedule is None:
            return self.name
        return "x-x-mono" if draw < self.schedule.at(step, num_steps) else "x-y"


@dataclass(frozen=True)
class Shares:
    """How often sources and languages are drawn.

    Attributes:
        source_weights: Source -> what stands for its number of pairs; the others count with that number.
        source_temperature: A source is drawn with its size ** (1 / temperature).
        language_weights: "uniform", or "size": a language counts with its number of pairs.
        language_temperature: As that of sources; only for "size".
        drop_small_sources: Leave out a source that can fill no batch, instead of refusing to train.

    Raises:
        ConfigError: All that cannot be used, in one error.
    """

    source_weights: Mapping[str, float] = field(default_factory=dict)
    source_temperature: float = 1.0
    language_weights: str = "uniform"
    language_temperature: float = 1.0
    drop_small_sources: bool = False

    @classmethod
    def of(cls, options: TrainingOptions, source_weights: Mapping[str, float]) -> Self:
        """As the options of a training say, with these weights."""
        return cls(
            source_weights,
            options.source_temperature,
            options.language_weights,
            options.language_temperature,
            options.drop_small_sources,
        )

    def __post_init__(self) -> None:
        faults = [
            f"the weight of {name} is {weight!r}"
            for name, weight in self.source_weights.items()
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf")
        ]
        faults += [f"{name} is {v}" for name in _TEMPERATURES if not 0 < (v := getattr(self, name)) < float("inf")]
        if self.language_weights not in LANGUAGE_WEIGHTS:
            faults.append(f"language_weights is {self.language_weights!r}")
        if faults:
            raise ConfigError(
                "The shares of sources and languages cannot be used.",
                expected=f"weights and temperatures above 0, language_weights one of {', '.join(LANGUAGE_WEIGHTS)}",
                found="; ".join(faults),
            )


_TEMPERATURES = ("source_temperature", "language_temperature")


def tempered(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """Shares, (n,) that add up to 1, in proportion to size ** (1 / temperature)."""
    raised = np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    return raised / raised.sum()
