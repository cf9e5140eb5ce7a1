"""The grid of runs that a study asks for, and how a run and its alpha are spelled: here and nowhere else.

inputs: a resolved configuration, or a name that was made here
outputs: `Run`s, and their names
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from polybatch.core.contracts import PLAIN_OBJECTIVE

Config = dict[str, Any]
UNTRAINED = "untrained"
ALL = "all"
# No projection before a training, or after it.
NONE = "none"
# The weights as the training left them.
WHOLE = "1"
# What a file system takes as one part of a path.
LONGEST_PART = 255
# How a projection is spelled: `lir-r8` keeps at most eight directions of language.
PROJECTION = r"centring|lir(?:-r[1-9][0-9]*)?|shift"
_NAME = re.compile(
    r"(?P<encoder>[^/]+)/(?P<sampling>[^/+]+?)(-a(?P<alpha>[0-9.e+-]+(?:to[0-9.e+-]+)?))?"
    r"(\+(?!from-)(?P<objective>[a-z0-9]+))?(\+from-(?P<begin>[a-z0-9]+))?"
    r"/n(?P<num_pairs>all|\d+)(-mt(?P<num_translated>all|\d+))?/(?P<languages>[^/]+)"
    rf"/s(?P<seed>\d+)(-w(?P<share>[0-9.]+(?:e-[0-9]+)?))?(-(?P<projection>{PROJECTION}))?"
)
_UNTRAINED_NAME = re.compile(rf"(?P<encoder>[^/]+)/{UNTRAINED}(-(?P<projection>{PROJECTION}))?")


@dataclass(frozen=True)
class Run:
    """One grid point: an encoder trained with one sampling, on so many pairs, with one seed.

    `alpha` is a label: "0.5", or "1to0.5" where it changes over the training. `objective` is what the training
    minimises. `begin` is the projection that the encoder had before its training, `projection` the one that comes after
    all else; `share` is the share of the trained weights in a mixture with those before the training (WiSE-FT,
    Wortsman et al., arXiv 2109.01903), as a label. `name` is the run's path below models/, embeddings/ and scores/.
    """

    encoder: str
    sampling: str
    alpha: str | None
    num_pairs: str
    num_translated: str
    languages: tuple[str, ...]
    seed: int
    objective: str = PLAIN_OBJECTIVE
    begin: str = NONE
    share: str = WHOLE
    projection: str = NONE

    @classmethod
    def untrained(cls, encoder: str, projection: str = NONE) -> Self:
        """The encoder before any training."""
        return cls(encoder, UNTRAINED, None, "0", ALL, (), -1, projection=projection)

    @classmethod
    def parse(cls, name: str) -> Self:
        """The run of a `name`.

        Raises:
            ValueError: No run is called so.
        """
        if found := _UNTRAINED_NAME.fullmatch(name):
            return cls.untrained(found["encoder"], found["projection"] or NONE)
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no run's name")
        return cls(
            found["encoder"],
            found["sampling"],
            found["alpha"],
            found["num_pairs"],
            found["num_translated"] or ALL,
            tuple(found["languages"].split("+")),
            int(found["seed"]),
            objective=found["objective"] or PLAIN_OBJECTIVE,
            begin=found["begin"] or NONE,
            share=found["share"] or WHOLE,
            projection=found["projection"] or NONE,
        )

    @property
    def trained(self) -> bool:
        """Whether a training of ours is part of it, so that it has a sampling and a seed."""
        return self.sampling != UNTRAINED

    @property
    def before(self) -> Run | None:
        """The run that this one is made of without a training: `s1-w0.5` of `s1-w0.5-lir`, `s1` of `s1-w0.5`."""
        if self.projection != NONE:
            return replace(self, projection=NONE)
        return replace(self, share=WHOLE) if self.share != WHOLE else None

    @property
    def start(self) -> Run:
        """The untrained encoder whose weights a training starts from."""
        return Run.untrained(self.encoder, self.begin)

    @property
    def name(self) -> str:
        """`<encoder>/<arm>/n<num_pairs>[-mt<num_translated>]/<languages>/s<seed>[-w<share>][-<projection>]`.

        An untrained one is `<encoder>/untrained[-<projection>]`.
        """
        after = "" if self.projection == NONE else f"-{self.projection}"
        if not self.trained:
            return f"{self.encoder}/{UNTRAINED}{after}"
        after = (f"-w{self.share}" if self.share != WHOLE else "") + after
        size = self.num_pairs if self.num_translated == ALL else f"{self.num_pairs}-mt{self.num_translated}"
        arm = training_label(self.sampling, self.alpha, self.objective, self.begin)
        return f"{self.encoder}/{arm}/n{size}/{languages_label(self.languages)}/s{self.seed}{after}"

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
            "objective": self.objective,
            "begin": self.begin,
            "share": self.share,
            "projection": self.projection,
        }


def runs(config: Config) -> list[Run]:
    """All runs of a resolved config, each once, in the config's order; the untrained floor first."""
    study = config["study"]
    grid: list[Run] = []
    for encoder in study["encoders"]:
        if study["untrained"]:
            grid.append(Run.untrained(encoder))
        for entry in study["runs"]:
            if entry["sampling"] == UNTRAINED:
                grid += [Run.untrained(encoder, projection) for projection in entry.get("projections", [NONE])]
        for num_pairs, num_translated in itertools.product(study["num_pairs"], study["num_translated"]):
            for entry in study["runs"]:
                if entry["sampling"] != UNTRAINED:
                    grid += _runs_of(entry, config, encoder, num_pairs, num_translated)
    return list(dict.fromkeys(grid))


def _runs_of(entry: dict[str, Any], config: Config, encoder: str, num_pairs: Any, num_translated: Any) -> Iterator[Run]:
    """The runs of one entry with one number of pairs: its axes multiply, the last one fastest."""
    axes = (
        entry.get("alphas", [None]),
        entry.get("objectives", [PLAIN_OBJECTIVE]),
        entry.get("begin", [NONE]),
        entry["seeds"],
        entry.get("shares", [1]),
        entry.get("projections", [NONE]),
    )
    for alpha, objective, begin, seed, share, projection in itertools.product(*axes):
        yield Run(
            encoder,
            entry["sampling"],
            alpha_label(alpha),
            str(num_pairs),
            # English batches see no translation: one run serves every number of them.
            ALL if entry["sampling"] == "en-en" else str(num_translated),
            tuple(config["languages"]["train"]),
            seed,
            objective=objective,
            begin=begin,
            share=share_label(share),
            projection=projection,
        )


def models(config: Config) -> list[Run]:
    """The runs of a config and those whose models these are made of, each before what is made of it."""
    return _with_those_before(runs(config), start=True)


def made_of(run: Run) -> list[Run]:
    """A run and those whose models its own is made of, each before what is made of it: as `models`, of one run."""
    return _with_those_before([run], start=True)


def embedded(config: Config) -> list[Run]:
    """The runs of a config and those whose embeddings theirs are projections of, each before what is made of it."""
    return _with_those_before(runs(config), start=False)


def _with_those_before(grid: list[Run], *, start: bool) -> list[Run]:
    """`start`: also what a training or mixture of weights starts from; else only what projections are of."""
    found: dict[Run, None] = {}

    def add(run: Run) -> None:
        before = run.before
        if before is not None and (start or run.projection != NONE):
            add(before)
        if start and run.trained and run.projection == NONE:
            add(run.start)
        found[run] = None

    for run in grid:
        add(run)
    return list(found)


def alpha_label(alpha: float | dict[str, float] | None) -> str | None:
    """How run names and score files spell an alpha of the config: "0.5", or "1to0.5" for {from: 1, to: 0.5}."""
    if isinstance(alpha, dict):
        return f"{alpha['from']:g}to{alpha['to']:g}"
    return None if alpha is None else f"{alpha:g}"


def share_label(share: float) -> str:
    """How run names and score files spell a share of trained weights: "0.5"; "1" for the weights as they are."""
    return f"{share:g}"


def rank_of(projection: str) -> int | None:
    """The number of directions that a projection's label names: 8 of `lir-r8`, None of `lir` and all others."""
    _, named, rank = projection.partition("-r")
    return int(rank) if named else None


def sides_of(projection: str) -> tuple[str, ...]:
    """The sides of the training text whose means a projection is estimated from."""
    return ("queries", "corpus") if projection == "centring" else ("corpus",)


def arm_label(sampling: str, alpha: str | None) -> str:
    """How run names and tables spell a sampling with its alpha: "hybrid-a0.5"."""
    return sampling if alpha is None else f"{sampling}-a{alpha}"


def training_label(sampling: str, alpha: str | None, objective: str, begin: str) -> str:
    """How run names spell a way of training: "hybrid-a0.5+lakda+from-lir"."""
    told = f"+{objective}" if objective != PLAIN_OBJECTIVE else ""
    told += f"+from-{begin}" if begin != NONE else ""
    return arm_label(sampling, alpha) + told


def languages_label(languages: tuple[str, ...]) -> str:
    """How run names and score files spell the languages of a training."""
    return "+".join(languages)
