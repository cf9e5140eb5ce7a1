"""The grid of runs that a study asks for, and how a run and its alpha are spelled: here and nowhere else.

inputs: a resolved configuration, or a name that was made here
outputs: `Run`s, and their names
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Self

Config = dict[str, Any]
UNTRAINED = "untrained"
ALL = "all"
# What a file system takes as one part of a path.
LONGEST_PART = 255
_NAME = re.compile(
    r"(?P<encoder>[^/]+)/(?P<sampling>[^/]+?)(-a(?P<alpha>[0-9.e+-]+(?:to[0-9.e+-]+)?))?"
    r"/n(?P<num_pairs>all|\d+)(-mt(?P<num_translated>all|\d+))?/(?P<languages>[^/]+)/s(?P<seed>\d+)"
)


@dataclass(frozen=True)
class Run:
    """One grid point: an encoder trained with one sampling, on so many pairs, with one seed.

    `alpha` is a label: "0.5", or "1to0.5" where it changes over the training. `name` is the run's path below
    models/, embeddings/ and scores/.
    """

    encoder: str
    sampling: str
    alpha: str | None
    num_pairs: str
    num_translated: str
    languages: tuple[str, ...]
    seed: int

    @classmethod
    def untrained(cls, encoder: str) -> Self:
        """The encoder before any training."""
        return cls(encoder, UNTRAINED, None, "0", ALL, (), -1)

    @classmethod
    def parse(cls, name: str) -> Self:
        """The run of a `name`.

        Raises:
            ValueError: No run is called so.
        """
        encoder, _, rest = name.partition("/")
        if rest == UNTRAINED:
            return cls.untrained(encoder)
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no run's name")
        languages, translated = tuple(found["languages"].split("+")), found["num_translated"] or ALL
        return cls(
            encoder, found["sampling"], found["alpha"], found["num_pairs"], translated, languages, int(found["seed"])
        )

    @property
    def trained(self) -> bool:
        """Whether it is a training, not an encoder before any."""
        return self.sampling != UNTRAINED

    @property
    def name(self) -> str:
        """`<encoder>/<sampling>/n<num_pairs>[-mt<num_translated>]/<languages>/s<seed>`, or `<encoder>/untrained`."""
        if not self.trained:
            return f"{self.encoder}/{UNTRAINED}"
        size = self.num_pairs if self.num_translated == ALL else f"{self.num_pairs}-mt{self.num_translated}"
        arm = arm_label(self.sampling, self.alpha)
        return f"{self.encoder}/{arm}/n{size}/{languages_label(self.languages)}/s{self.seed}"

    @property
    def grid(self) -> dict[str, Any]:
        """The columns that score files carry (contracts.GRID_COLUMNS)."""
        return {
            "encoder": self.encoder,
            "sampling": self.sampling,
            "alpha": self.alpha,
            "num_pairs": self.num_pairs,
            "num_translated": self.num_translated,
            "languages": languages_label(self.languages),
            "seed": self.seed,
        }


def runs(config: Config) -> list[Run]:
    """All runs of a resolved config, each once, in the config's order; the untrained floor first."""
    study, languages = config["study"], tuple(config["languages"]["train"])
    grid: list[Run] = []
    for encoder in study["encoders"]:
        if study["untrained"]:
            grid.append(Run.untrained(encoder))
        for num_pairs, num_translated in itertools.product(study["num_pairs"], study["num_translated"]):
            for entry in study["runs"]:
                grid += [
                    Run(
                        encoder,
                        entry["sampling"],
                        alpha_label(alpha),
                        str(num_pairs),
                        # English batches see no translation: one run serves every number of them.
                        ALL if entry["sampling"] == "en-en" else str(num_translated),
                        languages,
                        seed,
                    )
                    for alpha in entry.get("alphas", [None])
                    for seed in entry["seeds"]
                ]
    return list(dict.fromkeys(grid))


def alpha_label(alpha: float | dict[str, float] | None) -> str | None:
    """How run names and score files spell an alpha of the config: "0.5", or "1to0.5" for {from: 1, to: 0.5}."""
    if isinstance(alpha, dict):
        return f"{alpha['from']:g}to{alpha['to']:g}"
    return None if alpha is None else f"{alpha:g}"


def arm_label(sampling: str, alpha: str | None) -> str:
    """How run names and tables spell a sampling with its alpha: "hybrid-a0.5"."""
    return sampling if alpha is None else f"{sampling}-a{alpha}"


def languages_label(languages: tuple[str, ...]) -> str:
    """How run names and score files spell the languages of a training."""
    return "+".join(languages)
