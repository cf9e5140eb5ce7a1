"""Scores of many runs put together: the arms of a study, their macro averages, and what is missing.

inputs: score files (contracts.SCORES)
outputs: data frames, one row a (arm, seed, benchmark, setting, metric)

An arm is a grid point without its seed. A macro average is the plain mean over a setting's cells: over
languages (monolingual), over ordered pairs of different languages (cross_lingual), over query languages
(multilingual). The cells are those of the benchmark, but for languages that its averages leave out (arXiv 2408.10536
averages MIRACL without English); a run that lacks one of them has no average, because one over fewer languages is
another quantity. It is missing, and listed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polybatch.config.grid import arm_label, training_label
from polybatch.core.contracts import GRID_DEFAULTS, POOL, SAMPLINGS, SCORES, SETTINGS
from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import (
    FIRST_PASSAGE,
    LANGUAGE_DISTANCE,
    LANGUAGE_SHARE,
    LAST_RANK,
    OTHER_RECALL,
    OWN_FIRST,
    OWN_NDCG,
    RANK_DISTANCE,
    TOKEN_F1,
    is_share,
    macro_average,
)
from polybatch.tables import cures

if TYPE_CHECKING:
    import pandas as pd

UNTRAINED = "untrained"
ARM_COLUMNS = [
    *("encoder", "sampling", "alpha", "num_pairs", "num_translated", "languages"),
    *("objective", "begin", "share", "projection"),
]
CELL_COLUMNS = ["benchmark", "setting", "metric", "query_lang", "corpus_lang"]
LOWER_IS_BETTER = frozenset({RANK_DISTANCE, LAST_RANK, LANGUAGE_DISTANCE})
# Metrics of which neither end is better in itself.
NEUTRAL = frozenset({OWN_FIRST, LANGUAGE_SHARE, *FIRST_PASSAGE[1:]})
METRIC_LABELS = {
    **{"map": "mAP", "mrr": "MRR", "ndcg": "nDCG", "recall": "R", "precision": "P", "f1": "retrieval F1"},
    **{TOKEN_F1: "token F1", OWN_NDCG: "own-language nDCG", LANGUAGE_DISTANCE: "language distance"},
    **{OWN_FIRST: "own language first", OTHER_RECALL: "TLR"},
    **dict(
        zip(
            FIRST_PASSAGE,
            ("first: relevant, own language", "relevant, other", "wrong, own language", "wrong, other"),
            strict=True,
        )
    ),
}
SETTING_LABELS = {"monolingual": "Monolingual", "cross_lingual": "Cross-lingual", "multilingual": "Multilingual"}
_ORDER = (UNTRAINED, *SAMPLINGS)


class Arm(NamedTuple):
    """A grid point without its seed.

    Attributes:
        encoder, sampling: Names.
        alpha: None where the sampling has none, else "0.5", or "1to0.5" where it changes over the training.
        num_pairs, num_translated: A number or "all"; "" for an untrained encoder, and `num_translated` for en-en too,
            which sees no translation.
        languages: Joined by "+".
        objective, begin, share, projection: As of `config.grid.Run`.
    """

    encoder: str
    sampling: str
    alpha: str | None
    num_pairs: str
    num_translated: str
    languages: str
    objective: str = GRID_DEFAULTS["objective"]
    begin: str = GRID_DEFAULTS["begin"]
    share: str = GRID_DEFAULTS["share"]
    projection: str = GRID_DEFAULTS["projection"]

    @property
    def sampling_label(self) -> str:
        """`hybrid-a0.5` for hybrid, the sampling's name otherwise, and what else was done: `x-y, LaKDA`."""
        return cures.spelled(arm_label(self.sampling, self.alpha), *self[-4:])

    @property
    def training(self) -> str:
        """How run names spell the way in which it was trained."""
        return training_label(self.sampling, self.alpha, self.objective, self.begin)

    @property
    def curve(self) -> str:
        """What arms have in common that one line of a figure may join: all but alpha."""
        return cures.spelled(self.sampling, *self[-4:])

    @property
    def plain(self) -> bool:
        """Whether it is a training, or an encoder as it comes, and nothing else."""
        return self[-4:] == tuple(GRID_DEFAULTS.values())

    @property
    def as_it_comes(self) -> bool:
        """Whether it is an encoder to which nothing was done."""
        return self.sampling == UNTRAINED and self.plain

    @property
    def constant_alpha(self) -> float | None:
        """Alpha as a number; None where there is none and where it changes over the training."""
        return None if self.alpha is None or self.schedule else float(self.alpha)

    @property
    def schedule(self) -> tuple[float, float] | None:
        """Alpha at the first and at the last step, where it changes over the training."""
        first, to, last = (self.alpha or "").partition("to")
        return (float(first), float(last)) if to else None

    @property
    def trained_languages(self) -> frozenset[str]:
        """The languages that training showed to this arm."""
        if self.sampling == UNTRAINED:
            return frozenset()
        return frozenset({"en"}) if self.sampling == "en-en" else frozenset(self.languages.split("+"))

    def label(self, varying: Sequence[str]) -> str:
        """The sampling and whatever else the study varies, in one line."""
        parts = [self.sampling_label]
        if "encoder" in varying:
            parts.insert(0, self.encoder)
        if self.sampling != UNTRAINED:
            parts += [f"n={self.num_pairs}"] if "num_pairs" in varying else []
            parts += [f"mt={self.num_translated}"] if "num_translated" in varying and self.num_translated else []
            parts += [self.languages] if "languages" in varying else []
        return " · ".join(parts)


class Missing(NamedTuple):
    """Cells without a value in one run's setting."""

    arm: Arm
    seed: int
    benchmark: str
    setting: str
    metric: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """The scores of all runs, averaged, and what is missing of them.

    Attributes:
        scores: SCORES rows of all runs, with an `arm` column of `Arm`s in place of its parts.
        macro: arm, seed, benchmark, setting, metric, value; NaN where a cell is missing.
        missing: What is missing, one entry a run, setting and metric.
        arms: The arms in the order in which tables list them.
        varying: The parts of an arm, beyond the sampling, that take several values.
        left_out: Benchmark -> languages that its averages leave out.
    """

    scores: pd.DataFrame
    macro: pd.DataFrame
    missing: list[Missing]
    arms: list[Arm]
    varying: list[str]
    left_out: Mapping[str, Collection[str]] = field(default_factory=dict)

    def label(self, arm: Arm) -> str:
        """The arm's name within this study."""
        return arm.label(self.varying)

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that have scores."""
        return list(dict.fromkeys(self.scores["benchmark"]))


def metric_label(metric: str) -> str:
    """`ndcg@10` as papers print it: nDCG@10."""
    name, at, depth = metric.partition("@")
    return METRIC_LABELS.get(name, name.replace("_", " ")) + at + depth


def better(metric: str) -> str:
    """Which way the best value of a metric lies: "higher", "lower", or "" where neither end is better."""
    name = metric.partition("@")[0]
    return "" if name in NEUTRAL else "lower" if name in LOWER_IS_BETTER else "higher"


def digits(metric: str) -> int:
    """Digits behind the point: ranks need fewer than shares."""
    return 1 if metric in (RANK_DISTANCE, LAST_RANK) else 3


def summarise(paths: Iterable[Path | str], left_out: Mapping[str, Collection[str]] | None = None) -> Summary:
    """Reads the score files and averages them.

    Args:
        paths: Score files.
        left_out: Benchmark -> languages whose cells its averages leave out.

    Raises:
        DataError: No file, an empty one, an unknown setting, or two values for one cell.
    """
    scores = read_scores(paths)
    macro, missing = macro_averages(scores, left_out)
    arms = sorted(set(scores["arm"]), key=_arm_order)
    return Summary(scores, macro, missing, arms, varying_parts(arms), left_out or {})


def read_scores(paths: Iterable[Path | str]) -> pd.DataFrame:
    """All rows of the score files in one frame; the columns of an arm become one `arm` column."""
    import pandas as pd

    frames = []
    for path in paths:
        frame = cures.read_with_grid(path, SCORES).to_pandas()
        if frame.empty:
            raise DataError("A score file has no rows.", where=path, remedy="delete it and run the evaluation again")
        frames.append(frame.assign(file=str(path)))
    if not frames:
        raise DataError("There are no score files to put into a table.", expected="at least one file of scores")
    scores = pd.concat(frames, ignore_index=True)
    unknown = sorted(set(scores["setting"]) - set(SETTINGS))
    if unknown:
        raise DataError("Scores of an unknown setting.", found=", ".join(unknown), expected=", ".join(SETTINGS))
    return _reject_duplicates(with_arm(scores)).drop(columns="file")


def with_arm(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its arm columns replaced by one column of `Arm`s."""
    unique = frame[ARM_COLUMNS].drop_duplicates()
    arms = {tuple(_key(row)): _to_arm(row) for row in unique.itertuples(index=False, name=None)}
    column = [arms[tuple(_key(row))] for row in frame[ARM_COLUMNS].itertuples(index=False, name=None)]
    return frame.drop(columns=ARM_COLUMNS).assign(arm=column)


def without_arm(frame: pd.DataFrame) -> pd.DataFrame:
    """The inverse of `with_arm`; alpha is None where there is none."""
    parts = {name: [getattr(arm, name) for arm in frame["arm"]] for name in ARM_COLUMNS}
    return frame.drop(columns="arm").assign(**parts)


def _key(row: tuple) -> list:
    return [None if isinstance(value, float) and math.isnan(value) else value for value in row]


def _to_arm(row: tuple) -> Arm:
    encoder, sampling, alpha, num_pairs, num_translated, languages, *cure = _key(row)
    trained, translated = sampling != UNTRAINED, sampling not in (UNTRAINED, "en-en")
    return Arm(
        encoder,
        sampling,
        str(alpha) if sampling == "hybrid" and alpha is not None else None,
        num_pairs or "" if trained else "",
        num_translated or "" if translated else "",
        languages or "" if trained else "",
        *(value if value is not None else usual for value, usual in zip(cure, GRID_DEFAULTS.values(), strict=True)),
    )


def _reject_duplicates(scores: pd.DataFrame) -> pd.DataFrame:
    twice = scores[scores.duplicated(["arm", "seed", *CELL_COLUMNS], keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise DataError(
            f"{len(twice)} score rows share their grid point, benchmark, setting, languages and metric.",
            found=f"{first['arm'].sampling_label}, seed {first['seed']}, {first['benchmark']}, {first['metric']}",
            where=", ".join(sorted(set(twice["file"]))[:4]),
            remedy="give each score file once",
        )
    return scores


def macro_averages(
    scores: pd.DataFrame, left_out: Mapping[str, Collection[str]] | None = None
) -> tuple[pd.DataFrame, list[Missing]]:
    """Macro averages of every run, and the cells for want of which one is missing.

    Args:
        scores: Rows with arm, seed, benchmark, setting, metric, query_lang, corpus_lang, value.
        left_out: Benchmark -> languages whose cells are left out.

    Returns:
        (arm, seed, benchmark, setting, metric, value) for every run and every (setting, metric) that any run of
        the benchmark has, NaN where a cell lacks a finite value; and what was lacking. Shares of languages have no
        average: they are parts of a whole.
    """
    import pandas as pd

    rows: list[tuple] = []
    missing: list[Missing] = []
    runs = scores[["arm", "seed", "benchmark"]].drop_duplicates()
    for benchmark, of_benchmark in scores.groupby("benchmark", sort=False):
        here = list(runs[runs["benchmark"] == benchmark][["arm", "seed"]].itertuples(index=False, name=None))
        absent = set((left_out or {}).get(str(benchmark), ()))
        for (setting, metric), part in of_benchmark.groupby(["setting", "metric"], sort=False):
            if is_share(metric):
                continue
            cells = [cell for cell in _cells(part) if not absent & set(cell)]
            known: dict[tuple, dict] = {key: {} for key in here}
            columns = part[["arm", "seed", "query_lang", "corpus_lang", "value"]]
            for arm, seed, query_lang, corpus_lang, value in columns.itertuples(index=False, name=None):
                known[arm, seed][query_lang, corpus_lang] = value
            for (arm, seed), values in known.items() if cells else ():
                lacking = tuple("-".join(cell) for cell in cells if not math.isfinite(values.get(cell, math.nan)))
                mean = math.nan if lacking else macro_average(setting, values, cells)
                rows.append((arm, seed, benchmark, setting, metric, mean))
                if lacking:
                    missing.append(Missing(arm, seed, benchmark, setting, metric, lacking))
    frame = pd.DataFrame(rows, columns=["arm", "seed", "benchmark", "setting", "metric", "value"])
    return frame, missing


def _cells(part: pd.DataFrame) -> list[tuple[str, str]]:
    """The (query_lang, corpus_lang) of some rows of scores, each once: all that any run was scored in."""
    return list(dict.fromkeys(zip(part["query_lang"], part["corpus_lang"], strict=True)))


def averaged_cells(summary: Summary, benchmark: str, setting: str, metric: str) -> list[tuple[str, str]]:
    """The (query_lang, corpus_lang) behind a macro average."""
    scores = summary.scores
    mine = (scores["benchmark"] == benchmark) & (scores["setting"] == setting) & (scores["metric"] == metric)
    absent = set(summary.left_out.get(benchmark, ()))
    return [cell for cell in _cells(scores[mine]) if not absent & set(cell)]


def varying_parts(arms: Sequence[Arm]) -> list[str]:
    """Which of encoder, num_pairs, num_translated and languages take more than one value among the trained arms."""
    trained = [arm for arm in arms if arm.sampling != UNTRAINED]
    encoders = {arm.encoder for arm in arms}
    parts = ["encoder"] if len(encoders) > 1 else []
    for name in ("num_pairs", "num_translated", "languages"):
        parts += [name] if len({getattr(arm, name) for arm in trained} - {""}) > 1 else []
    return parts


def size_order(size: str) -> tuple[float, str]:
    """Sorts numbers by their value, and "all" behind them."""
    return (float(size) if size.isdigit() else math.inf, size)


def _arm_order(arm: Arm) -> tuple:
    place = _ORDER.index(arm.sampling) if arm.sampling in _ORDER else len(_ORDER)
    alpha = arm.constant_alpha
    sizes = (size_order(arm.num_pairs), size_order(arm.num_translated))
    kind = (place, arm.sampling, math.inf if alpha is None else alpha, arm.alpha or "")
    cure = cures.order(*arm[-4:])
    return (arm.encoder, *kind, cure, *sizes, len(arm.languages.split("+")), arm.languages)


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None, int]:
    """Mean, sample standard deviation (None for fewer than two) and number of the finite values."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None, None, 0
    mean = math.fsum(finite) / len(finite)
    if len(finite) == 1:
        return mean, None, 1
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1)), len(finite)


def missing_notes(summary: Summary, benchmark: str, limit: int = 12) -> list[str]:
    """One sentence a run and setting that lacks scores."""
    grouped: dict[tuple, list[Missing]] = {}
    for entry in summary.missing:
        if entry.benchmark == benchmark:
            grouped.setdefault((entry.arm, entry.seed, entry.setting, entry.cells), []).append(entry)
    notes = []
    for (arm, seed, setting, cells), entries in grouped.items():
        shown = ", ".join(cells[:6]) + (f" and {len(cells) - 6} more" if len(cells) > 6 else "")
        metrics = ", ".join(metric_label(entry.metric) for entry in entries)
        run = summary.label(arm) + ("" if seed < 0 else f" seed {seed}")
        notes.append(f"Missing: {run}, {SETTING_LABELS[setting].lower()}, {metrics}: no value for {shown}.")
    hidden = len(notes) - limit
    return notes[:limit] + ([f"Missing: {hidden} more runs and settings lack scores."] if hidden > 0 else [])


def languages_of(summary: Summary, benchmark: str) -> tuple[list[str], list[str]]:
    """The benchmark's languages: those that some arm was trained on, and those only evaluated."""
    part = summary.scores[summary.scores["benchmark"] == benchmark]
    found = set(part["query_lang"]) | (set(part["corpus_lang"]) - {POOL})
    named = [arm.languages.split("+") for arm in summary.arms if arm.sampling != UNTRAINED]
    in_order = list(dict.fromkeys(lang for langs in named for lang in langs))
    trained_on = frozenset().union(*(arm.trained_languages for arm in summary.arms))
    trained = [lang for lang in in_order if lang in found and lang in trained_on]
    return trained, sorted(found - set(trained))
