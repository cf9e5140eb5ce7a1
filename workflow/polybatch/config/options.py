"""The parts of the configuration that belong to no one stage: the grid, languages, where validation comes from."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field

from polybatch.config.grid import NONE, PROJECTION
from polybatch.core.contracts import OBJECTIVES, Objective, Sampling
from polybatch.core.option_types import DISTINCT, LanguageCodes, Name, Names, Said, Seed, Share, SomeLanguageCodes
from polybatch.core.options import ABSENT, REQUIRED, Section, option

SomeNames = Annotated[Names, Field(min_length=1)]
_SCHEDULE = Said("{from: ..., to: ...}", "{from: ..., to: ...}")


def _with_english(codes: list[str]) -> list[str]:
    if codes and "en" not in codes:
        raise ValueError("must contain 'en': training text starts from English pairs")
    return codes


def _known_projection(text: str) -> str:
    if text != NONE and not re.fullmatch(PROJECTION, text):
        raise ValueError(f"must be one of none, centring, lir, shift, or lir-r8 and the like, not {text!r}")
    return text


Projection = Annotated[
    str,
    AfterValidator(_known_projection),
    Field(pattern=f"^(?:{NONE}|{PROJECTION})$"),
    Said("a projection", "`none`, `centring`, `lir`, `lir-r<rank>` or `shift`"),
]


class ScheduleSection(Section):
    """An alpha that changes evenly from the first step to the last."""

    from_: Share = option(REQUIRED, "At the first step.", alias="from")
    to: Share = option(REQUIRED, "At the last step.")


class RunSection(Section):
    """An entry of `study.runs`."""

    sampling: Sampling | Literal["untrained"] = option(
        REQUIRED,
        "What a batch holds: [training.md](training.md#samplings). `untrained` is the encoder as it comes, for "
        "`projections` of it, and takes no other key.",
    )
    seeds: Annotated[list[Seed], DISTINCT, Field(min_length=1)] = option(
        ABSENT, "One training for each. `untrained` has none.", otherwise="required"
    )
    alphas: Annotated[list[Share | Annotated[ScheduleSection, _SCHEDULE]], Field(min_length=1)] = option(
        ABSENT,
        "Shares of monolingual batches. `{from: 1, to: 0.5}` changes evenly from the first step to the last; run "
        "names and tables spell it `1to0.5`. `hybrid` needs alphas, the others refuse them.",
    )
    objectives: Annotated[list[Objective], DISTINCT, Field(min_length=1)] = option(
        ABSENT,
        f"What the training minimises: [training.md](training.md). All but `{OBJECTIVES[0]}` compare translations, "
        "which `en-en` has none of.",
        otherwise=f"`[{OBJECTIVES[0]}]`",
    )
    begin: Annotated[list[Literal["none", "lir"]], DISTINCT, Field(min_length=1)] = option(
        ABSENT,
        "`lir` trains the encoder with the directions of language already projected out of it.",
        otherwise="`[none]`",
    )
    shares: Annotated[list[Annotated[float, Gt(0), Le(1)]], DISTINCT, Field(min_length=1)] = option(
        ABSENT,
        "Shares of the trained weights in a mixture with those before the training (WiSE-FT, Wortsman et al., arXiv "
        "2109.01903); 1 is the trained model. No training for each, but a model.",
        otherwise="`[1]`",
    )
    projections: Annotated[list[Projection], DISTINCT, Field(min_length=1)] = option(
        ABSENT,
        "What is done to embeddings afterwards, without training: [posthoc.md](posthoc.md). `lir` removes all "
        "directions in which the means of languages differ, `lir-r4` the four strongest.",
        otherwise="`[none]`",
    )


class StudySection(Section):
    """The grid of runs and the benchmarks that they are scored on."""

    name: Name = option(REQUIRED, "Tables go to `results/tables/<name>/`, the report to `results/reports/<name>.html`.")
    benchmarks: SomeNames = option(
        REQUIRED, "Entries of `benchmarks`, or of the catalogue, on which every run is scored."
    )
    encoders: SomeNames = option(REQUIRED, "Entries of `encoders`, or of the catalogue.")
    num_pairs: Annotated[list[Literal["all"] | Annotated[int, Ge(1)]], DISTINCT, Field(min_length=1)] = option(
        ["all"],
        "Training pairs to use; one run for each. A smaller number is a subset of a larger one; the choice depends "
        "on the pair ids alone.",
    )
    num_translated: Annotated[list[Literal["all"] | Annotated[int, Ge(0)]], DISTINCT, Field(min_length=1)] = option(
        ["all"],
        "Of the pairs with machine translations, how many keep them, in whatever languages they have them; one run "
        "for each. Nested like `num_pairs`. More than there are is an error. `en-en` sees no translation and has "
        "one run for all of them.",
    )
    untrained: bool = option(True, "Also score every encoder before training.")
    reference: str = option(
        ABSENT,
        "The sampling, as tables spell it, against which the main table tests significance; `untrained` for the "
        "encoder as it comes. The table of findings always compares with that. Without runs it is one of the encoders.",
        otherwise="`hybrid-a0.5`; without runs the first encoder",
    )
    runs: list[RunSection] = option(
        REQUIRED,
        "See below; the axes of an entry multiply. `[]` trains nothing: the encoders are scored [as they "
        "come](measure.md), and neither `source` nor `languages.train` is needed.",
    )


class LanguagesSection(Section):
    """The languages of training and of evaluation."""

    train: Annotated[LanguageCodes, AfterValidator(_with_english)] = option(
        ABSENT,
        "Languages of the training text, `en` among them. Their order is that of run names.",
        otherwise="required; none in a study without trainings",
    )
    evaluate: SomeLanguageCodes = option(
        REQUIRED, "Languages of queries and corpora, for benchmarks that do not name their own."
    )


class ValidationSection(Section):
    """Where the pairs come from whose loss ends a training."""

    source: Name = option(
        ABSENT,
        "A source that is not trained on, read for this alone. Without it, the dev split is used.",
        otherwise="none",
    )
    max_pairs: int = option(2000, "Pairs taken of it.", ge=2)


ParallelIn = LanguageCodes
