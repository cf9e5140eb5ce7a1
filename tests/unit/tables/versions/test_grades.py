"""Grades of scores that were made again: what is OK, close and FAIL, and what a tolerance rests on."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t

from polybatch.tables.versions.grades import (
    AVERAGE,
    CLOSE,
    FAIL,
    GRID,
    OK,
    Graded,
    KeptRun,
    Place,
    Score,
    Tolerances,
    averages_of,
    grade,
    scores_of,
)

EN = Place("test", "monolingual", "en", "en", "map")
DE = EN._replace(query_lang="de", corpus_lang="de")
MEAN = EN._replace(query_lang=AVERAGE, corpus_lang=AVERAGE)
RANK = Place("test", "multilingual", "en", "all", "rank_distance")


def run(sampling: str, seed: int, encoder: str = "tiny") -> KeptRun:
    grid = {name: sampling if name == "sampling" else None for name in GRID}
    return KeptRun.of({**grid, "encoder": encoder, "seed": seed}, f"{encoder}/{sampling}")


def graded(kept: dict, found: dict, *, same_machine: bool = True, problems: dict | None = None) -> dict:
    """(run, place) -> grade; `kept` and `found` are {(sampling, seed): {place: value or Score}}."""
    runs = {f"{sampling}/{seed}": run(sampling, seed) for sampling, seed in kept}
    sides = [
        {
            f"{s}/{seed}": {p: v if isinstance(v, Score) else Score(v, 100) for p, v in of.items()}
            for (s, seed), of in side.items()
        }
        for side in (kept, found)
    ]
    tolerances = Tolerances.of(runs, sides[0], same_machine=same_machine)
    return {(one.run, one.place): one for one in grade(runs, *sides, tolerances, problems or {})}


def one(
    kept: float | Score | None, found: float | Score | None, seed: int = -1, place: Place = EN, **more: object
) -> Graded:
    """The grade of a single score of a single run."""
    (only,) = graded({("x", seed): {place: kept}}, {("x", seed): {place: found}}, **more).values()
    return only


def test_on_the_same_machine_an_untrained_encoder_differs_by_rounding_alone() -> None:
    assert one(0.5, 0.5 + 5e-7).grade == OK
    assert one(0.5, 0.5 + 1.5e-6).grade == CLOSE
    assert one(0.5, 0.5 + 3e-6).grade == FAIL
    assert one(5000.0, 5000.004, place=RANK).grade == OK  # a rank's rounding grows with it
    assert one(0.5, 0.5).basis == "rounding"


@pytest.mark.parametrize(
    ("place", "value", "tolerance"), [(EN, 0.5, 0.005), (MEAN, 0.5, 0.002), (RANK, 800.0, 8.0), (RANK, 0.1, 0.01)]
)
def test_on_another_machine_it_has_a_floor(place: Place, value: float, tolerance: float) -> None:
    found = [one(value, value + k * tolerance, place=place, same_machine=False) for k in (0.99, -1.99, 2.01)]
    assert [each.grade for each in found] == [OK, CLOSE, FAIL]
    assert found[0].basis == "another machine or other packages"


def test_one_seed_has_a_floor_that_says_so() -> None:
    found = one(0.5, 0.515, seed=1)
    assert (found.grade, found.tolerance, found.basis) == (OK, 0.02, "floor: no arm has several seeds")


def test_seeds_give_the_tolerance_worked_out_by_hand() -> None:
    """Seeds of .50 .52 .54 and .40 .44: squares .0004 + .0004 + .0008 over 2 + 1 degrees of freedom."""
    values = {("x", 1): 0.50, ("x", 2): 0.52, ("x", 3): 0.54, ("y", 1): 0.40, ("y", 2): 0.44}
    kept = {key: {EN: value} for key, value in values.items()}
    found = graded(kept, kept)["y/1", EN]
    spread = math.sqrt((0.0008 + 0.0008) / 3)
    assert found.tolerance == pytest.approx(t.ppf(0.975, 3) * math.sqrt(2) * spread)
    assert found.basis == "spread over seeds, 2 arms"


def test_an_arm_of_one_seed_takes_the_spread_of_the_others() -> None:
    kept = {("x", 1): {EN: 0.5}, ("x", 2): {EN: 0.52}, ("lone", 1): {EN: 0.3}}
    found = graded(kept, kept)["lone/1", EN]
    assert found.basis == "spread over seeds, 1 arm"
    assert found.tolerance == pytest.approx(t.ppf(0.975, 1) * math.sqrt(2) * math.sqrt(0.0002))


def test_cells_are_pooled_but_count_no_further_degrees_of_freedom() -> None:
    kept = {("x", 1): {EN: 0.5, DE: 0.3}, ("x", 2): {EN: 0.52, DE: 0.34}}
    found = graded(kept, kept)["x/1", DE]
    assert found.tolerance == pytest.approx(t.ppf(0.975, 1) * math.sqrt(2) * math.sqrt((0.0002 + 0.0008) / 2))


def test_what_every_seed_gets_wholly_right_may_miss_one_query() -> None:
    kept = {("x", seed): {EN: Score(1.0, 50), MEAN: Score(1.0, 2)} for seed in (1, 2)}
    assert graded(kept, kept)["x/1", EN].tolerance == pytest.approx(0.02)
    assert graded(kept, kept)["x/1", MEAN].tolerance == pytest.approx(1e-6)


def test_encoders_do_not_lend_one_another_their_spread() -> None:
    runs = {"a": run("x", 1), "b": run("x", 2), "c": run("x", 1, encoder="other")}
    scores = {name: {EN: Score(value, 100)} for name, value in zip(runs, (0.5, 0.6, 0.5), strict=True)}
    tolerances = Tolerances.of(runs, scores, same_machine=True)
    assert tolerances.of_score(runs["c"], EN, Score(0.5, 100))[1] == "floor: no arm has several seeds"


@pytest.mark.parametrize(
    ("kept", "found", "reason"),
    [
        (0.5, None, "no number, or it stands twice"),
        (None, 0.5, "the kept value is no number, or stands twice"),
        (Score(0.5, 100), Score(0.5, 99), "a mean over 99, not over 100"),
    ],
)
def test_what_cannot_be_compared_fails_and_says_why(kept: object, found: object, reason: str) -> None:
    failed = one(kept, found, seed=1)  # type: ignore[arg-type]
    assert (failed.grade, failed.reason, failed.excess) == (FAIL, reason, math.inf)


def test_a_missing_score_and_a_missing_run_fail_and_are_no_zero() -> None:
    kept = {("x", 1): {EN: 0.0, DE: 0.5}, ("y", 1): {EN: 0.0}}
    found = graded(kept, {("x", 1): {DE: 0.5}}, problems={("y/1", "test"): "no score file"})
    assert len(found) == 3
    assert found["x/1", EN].reason == "missing: its file has no such score"
    assert found["y/1", EN].reason == "no score file"
    assert {each.found for key, each in found.items() if key != ("x/1", DE)} == {None}
    assert [each.grade for each in found.values()] == [FAIL, OK, FAIL]


def test_a_crashed_benchmark_fails_also_where_an_older_file_gave_scores() -> None:
    found = graded({("x", 1): {EN: 0.5}}, {("x", 1): {EN: 0.5}}, problems={("x/1", "test"): "damaged"})
    assert found["x/1", EN].grade == FAIL


def test_scores_that_are_no_numbers_or_stand_twice_have_no_value() -> None:
    row = {**EN._asdict(), "value": 0.5, "num_queries": 7}
    other = {**DE._asdict(), "value": math.nan, "num_queries": 7}
    assert scores_of([row, other]) == {EN: Score(0.5, 7), DE: Score(None, 7)}
    assert scores_of([row, row]) == {EN: Score(None, 7)}


def test_averages_leave_out_what_tables_leave_out_and_need_every_cell() -> None:
    share = EN._replace(metric="language_share@10")
    cells = {EN: Score(0.2, 9), DE: Score(0.4, 9), share: Score(0.5, 9)}
    assert averages_of(cells, {}) == {MEAN: Score(pytest.approx(0.3), 2)}
    assert averages_of(cells, {"test": ["de"]}) == {MEAN: Score(0.2, 1)}
    assert averages_of({**cells, DE: Score(None, 9)}, {}) == {MEAN: Score(None, 2)}


def test_a_cell_too_few_fails_the_average_too() -> None:
    kept = {EN: Score(0.2, 9), DE: Score(0.4, 9)}
    found = {EN: Score(0.3, 9)}
    both = [{("x", -1): cells | averages_of(cells, {})} for cells in (kept, found)]
    assert graded(*both)["x/-1", MEAN].reason == "a mean over 1, not over 2"
