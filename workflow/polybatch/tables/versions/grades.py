"""Whether scores that were made again are those of a kept version: OK, close or FAIL for each of them.

inputs: the scores that a version keeps, those that were found, and why some were not
outputs: a `Graded` for every kept score, and for the averages over languages that tables print

How far a score may be from the kept one (`Tolerances`):

- The same kind of machine and the same packages: an encoder before training gives the same numbers, up to rounding.
- Another machine or other packages: half a percentage point, or a hundredth of a rank, since passages of nearly equal
  score change places; of averages less.
- A training: what two seeds differ by, 95 times in 100. Let s be the standard deviation over seeds, pooled over all
  kept arms of the encoder that have several, and f the degrees of freedom behind it; then t(0.975, f) * sqrt(2) * s.
  Cells of a setting (languages, or pairs of them) are pooled too, and averages have a spread of their own. Without an
  arm of several seeds a floor is stated.

OK is within the tolerance, close within twice of it, FAIL is all else: a score that is farther away, that is missing,
that is no number, or that is a mean over another number of queries.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from polybatch.core.contracts import GRID_COLUMNS
from polybatch.retrieval.metrics import LAST_RANK, RANK_DISTANCE, is_share

OK, CLOSE, FAIL = "OK", "close", "FAIL"
AVERAGE = "average"
GRID = tuple(name for name, _ in GRID_COLUMNS)
_RANKS = (RANK_DISTANCE, LAST_RANK)
_ROUNDING = 1e-6
# For one score, and for the average of a setting: of shares as they are, of ranks as parts of the kept value.
_ELSEWHERE = {"share": (0.005, 0.002), "rank": (0.01, 0.005)}
_ONE_SEED = {"share": (0.02, 0.01), "rank": (0.1, 0.05)}
_CLOSE_FACTOR = 2.0
_LEVEL = 0.975


class Place(NamedTuple):
    """Where a score stands: contracts.SCORES without its grid point. Of an average, both languages are "average"."""

    benchmark: str
    setting: str
    query_lang: str
    corpus_lang: str
    metric: str


class Score(NamedTuple):
    """A score and the number of queries that it is the mean of; of an average the number of its cells."""

    value: float | None
    number: int


# Run -> the scores of it.
Scores = Mapping[str, Mapping[Place, Score]]


@dataclass(frozen=True)
class KeptRun:
    """A run of a kept version.

    Attributes:
        arm: Its grid point without the seed.
        encoder, seed: Of its grid point; the seed of an encoder before training is negative.
        label: What tables of grades call its row.
    """

    arm: tuple
    encoder: str
    seed: int
    label: str

    @classmethod
    def of(cls, grid: Mapping[str, Any], label: str) -> KeptRun:
        """The run of a grid point."""
        arm = tuple(grid[name] for name in GRID if name != "seed")
        return cls(arm, str(grid["encoder"]), int(grid["seed"]), label)


@dataclass(frozen=True)
class Graded:
    """A kept score and what became of it.

    Attributes:
        run, row: The run's name, and its row.
        place: Where it stands.
        kept, found: The values; None where there is none.
        tolerance: How far apart they may be, to be OK.
        basis: What the tolerance rests on.
        grade: OK, close or FAIL.
        reason: Of a FAIL that no tolerance decides, why.
    """

    run: str
    row: str
    place: Place
    kept: float | None
    found: float | None
    tolerance: float
    basis: str
    grade: str
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Found minus kept; None where one is missing."""
        return None if self.kept is None or self.found is None else self.found - self.kept

    @property
    def excess(self) -> float:
        """The difference in tolerances; infinite where there is none."""
        return math.inf if self.reason or self.difference is None else abs(self.difference) / self.tolerance


def scores_of(rows: Iterable[Mapping[str, Any]]) -> dict[Place, Score]:
    """The scores of one run by their place, from rows of contracts.SCORES.

    A value that is no number is None. So is one that stands twice: which of the two counts is not known.
    """
    found: dict[Place, Score] = {}
    for row in rows:
        place, value = Place(*(str(row[name]) for name in Place._fields)), row["value"]
        number = float(value) if value is not None and math.isfinite(value) and place not in found else None
        found[place] = Score(number, int(row["num_queries"] or 0))
    return found


def averages_of(scores: Mapping[Place, Score], left_out: Mapping[str, Sequence[str]]) -> dict[Place, Score]:
    """The averages over the cells of each setting, as tables have them; None where a cell has no number.

    Args:
        scores: Of one run.
        left_out: Benchmark -> languages that its averages leave out (`tables.leave_out`).
    """
    cells: dict[Place, list[float | None]] = defaultdict(list)
    for place, score in scores.items():
        if not is_share(place.metric) and not {place.query_lang, place.corpus_lang} & {*left_out.get(place[0], ())}:
            cells[place._replace(query_lang=AVERAGE, corpus_lang=AVERAGE)].append(score.value)
    return {place: Score(_mean(values), len(values)) for place, values in cells.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class Tolerances:
    """How far scores may be from the kept ones.

    Attributes:
        same_machine: Whether machine and packages are those of the kept version.
        spreads: (encoder, benchmark, setting, metric, whether it is an average) -> standard deviation over seeds,
            its degrees of freedom, and the number of arms with several seeds.
    """

    same_machine: bool
    spreads: Mapping[tuple, tuple[float, int, int]]

    @classmethod
    def of(cls, runs: Mapping[str, KeptRun], scores: Scores, *, same_machine: bool) -> Tolerances:
        """From all kept runs, by name, and their scores and averages."""
        drawn: dict[tuple, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
        for name, run in runs.items():
            for place, score in scores[name].items() if run.seed >= 0 else ():
                if score.value is not None:
                    drawn[_kind(run, place)][run.arm, place].append(score.value)
        spreads = {kind: spread for kind, of_kind in drawn.items() if (spread := _spread(of_kind))}
        return cls(same_machine, spreads)

    def of_score(self, run: KeptRun, place: Place, kept: Score) -> tuple[float, str]:
        """The tolerance of a score, and what it rests on."""
        value = abs(kept.value or 0.0)
        rounding = _ROUNDING * max(1.0, value)
        if run.seed < 0:
            if self.same_machine:
                return rounding, "rounding"
            return _floor(_ELSEWHERE, place, value), "another machine or other packages"
        found = self.spreads.get(_kind(run, place))
        if found is None:
            return _floor(_ONE_SEED, place, value), "floor: no arm has several seeds"
        spread, freedom, arms = found
        basis = f"spread over seeds, {arms} arm{'s' if arms > 1 else ''}"
        # One query more or less that is answered must not fail what every seed gets wholly right.
        one_query = (
            1 / kept.number if kept.number and place.query_lang != AVERAGE and place.metric not in _RANKS else 0.0
        )
        return max(_quantile(freedom) * math.sqrt(2) * spread, one_query, rounding), basis


def _kind(run: KeptRun, place: Place) -> tuple:
    return run.encoder, place.benchmark, place.setting, place.metric, place.query_lang == AVERAGE


def _spread(of_kind: Mapping[tuple, Sequence[float]]) -> tuple[float, int, int] | None:
    """Standard deviation pooled over arms and cells; its degrees of freedom count seeds, which the cells share."""
    squares, freedom = 0.0, 0
    of_arm: dict[tuple, int] = {}
    for (arm, _), values in of_kind.items():
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
            of_arm[arm] = max(of_arm.get(arm, 0), len(values) - 1)
    return (math.sqrt(squares / freedom), sum(of_arm.values()), len(of_arm)) if freedom else None


def _floor(floors: Mapping[str, tuple[float, float]], place: Place, value: float) -> float:
    rank, average = place.metric in _RANKS, place.query_lang == AVERAGE
    floor = floors["rank" if rank else "share"][average]
    return max(floor * value, floor) if rank else floor


@cache
def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # that of Student's t; scipy.stats takes a second to import

    return float(stdtrit(freedom, _LEVEL))


def grade(
    runs: Mapping[str, KeptRun],
    kept: Scores,
    found: Scores,
    tolerances: Tolerances,
    problems: Mapping[tuple[str, str], str],
) -> Iterator[Graded]:
    """Grades every kept score.

    Args:
        runs: The runs to grade, by name.
        kept: Their scores, all of which are graded.
        found: The scores of the runs that were made again; a run that is not there has none.
        tolerances: How far apart they may be.
        problems: (run, benchmark) -> why it has no scores, where that is known.
    """
    for name, run in runs.items():
        there = found.get(name, {})
        for place, score in kept[name].items():
            tolerance, basis = tolerances.of_score(run, place, score)
            again = there.get(place)
            reason = _reason(score, again, problems.get((name, place.benchmark), ""))
            value = again.value if again else None
            verdict = FAIL if reason else _grade(score.value, value, tolerance)
            yield Graded(name, run.label, place, score.value, value, tolerance, basis, verdict, reason)


def _reason(kept: Score, found: Score | None, problem: str) -> str:
    """Why nothing can be compared; "" where it can."""
    if problem:
        return problem
    if found is None:
        return "missing: its file has no such score"
    if kept.value is None:
        return "the kept value is no number, or stands twice"
    if found.value is None:
        return "no number, or it stands twice"
    if kept.number != found.number:
        return f"a mean over {found.number}, not over {kept.number}"
    return ""


def _grade(kept: float | None, found: float | None, tolerance: float) -> str:
    assert kept is not None and found is not None
    apart = abs(found - kept)
    return OK if apart <= tolerance else CLOSE if apart <= _CLOSE_FACTOR * tolerance else FAIL
