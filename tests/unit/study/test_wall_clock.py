"""The wall clock of jobs on a machine, against times that were reckoned by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybatch.core.errors import DataError
from polybatch.study.wall_clock import Job, Machine, longest_chain, schedule


def on_devices(*hours: float, stage: str = "train") -> list[Job]:
    return [Job(f"{stage} {i}", stage, each, devices=1) for i, each in enumerate(hours)]


def test_three_jobs_of_two_hours_on_two_devices_take_four() -> None:
    found = schedule(on_devices(2, 2, 2), Machine(2, 8))
    assert found.wall_hours == 4
    assert found.device_hours == 6
    assert found.utilisation == 6 / 8


def test_the_longest_go_first() -> None:
    # As they stand: 1 and 1, then 2 and 3 from hour 1: four hours. The longest first: 3 beside 2 and 1, 1 more: four
    # device hours on the one, three on the other.
    found = schedule(on_devices(1, 1, 2, 3), Machine(2, 8))
    assert [span.job.hours for span in found.spans] == [3, 2, 1, 1]
    assert found.wall_hours == 4
    assert schedule(on_devices(1, 1, 1, 3), Machine(2, 8)).wall_hours == 3


def test_a_chain_is_no_faster_on_more_devices() -> None:
    chain = [Job("a", "a", 1, 1), Job("b", "b", 2, 1, after=("a",)), Job("c", "c", 3, 1, after=("b",))]
    assert [schedule(chain, Machine(cards, 8)).wall_hours for cards in (1, 8)] == [6, 6]
    assert longest_chain(chain) == 6


def test_amdahls_bound() -> None:
    """One hour that cannot be divided and eight that can: 1 + 8 / n hours, and never less than one."""
    jobs = [Job("collect", "collect", 1)]
    jobs += [Job(f"shard {i}", "translate", 1 / 8, 1, after=("collect",)) for i in range(64)]
    for cards in (1, 2, 4, 8, 16, 32, 64):
        assert schedule(jobs, Machine(cards, 64)).wall_hours == pytest.approx(1 + 8 / cards)
    assert longest_chain(jobs) == pytest.approx(1 + 1 / 8)


def test_where_the_time_goes_adds_up_and_idle_devices_are_told() -> None:
    jobs = [Job("collect", "collect", 1)]
    jobs += [Job(f"train {i}", "train", 2, 1, after=("collect",)) for i in range(3)]
    jobs += [Job("score", "score", 0.5, after=("train 0", "train 1", "train 2"))]
    found = schedule(jobs, Machine(2, 4))
    collect, train, score = found.stages()
    assert found.wall_hours == 5.5
    assert [one.wall_hours for one in (collect, train, score)] == [1, 4, 0.5]
    assert (collect.idle_share, score.idle_share) == (1, 1)
    # Two of the three trainings on the one device, one on the other: 6 of 8 device hours.
    assert train.idle_share == pytest.approx(2 / 8)
    assert (train.jobs, train.device_hours, train.core_hours) == (3, 6, 6)
    assert [span.job.stage for span in found.critical()] == ["collect", "train", "train", "score"]


def test_cores_and_several_devices_of_a_job_bound_it_too() -> None:
    assert schedule([Job("a", "a", 1, cores=2), Job("b", "b", 1, cores=2)], Machine(0, 3)).wall_hours == 2
    # Two trainings of two cards each on three cards: one after the other.
    assert schedule([Job("a", "a", 1, 2), Job("b", "b", 1, 2)], Machine(3, 8)).wall_hours == 2


def test_no_jobs_take_no_time() -> None:
    found = schedule([], Machine(1, 1))
    assert (found.wall_hours, found.utilisation, found.stages(), longest_chain([])) == (0, 0, [], 0)


def test_jobs_without_hours_are_no_cause_of_themselves() -> None:
    found = schedule([Job("a", "a", 0), Job("b", "b", 0, after=("a",)), Job("c", "c", 1, after=("b",))], Machine(0, 1))
    assert found.wall_hours == 1
    assert sum(one.wall_hours for one in found.stages()) == 1


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        ([Job("a", "a", 1), Job("a", "a", 1)], "one name"),
        ([Job("a", "a", 1, after=("b",))], "not there"),
        ([Job("a", "a", 1, after=("b",)), Job("b", "b", 1, after=("a",))], "circle"),
        ([Job("a", "a", 1, devices=3)], "larger than the machine"),
    ],
)
def test_what_cannot_run_is_told(jobs: list[Job], text: str) -> None:
    with pytest.raises(DataError, match=text):
        schedule(jobs, Machine(2, 2))


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    hours=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    links=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12),
    cards=st.integers(1, 5),
)
def test_bounds_of_every_list_schedule(hours: list[int], links: list[tuple[int, int]], cards: int) -> None:
    """Work / devices and the longest chain below; Graham's bound, work / m + (1 - 1/m) chain, above."""
    after: dict[int, set[str]] = {i: set() for i in range(len(hours))}
    for one, other in links:
        if one < other < len(hours):
            after[other].add(str(one))
    jobs = [Job(str(i), str(i % 3), each, 1, after=tuple(sorted(after[i]))) for i, each in enumerate(hours)]
    found = schedule(jobs, Machine(cards, len(jobs)))
    chain, work = longest_chain(jobs), sum(hours)
    assert max(chain, work / cards) <= found.wall_hours <= work / cards + (1 - 1 / cards) * chain + 1e-9
    assert sum(one.wall_hours for one in found.stages()) == pytest.approx(found.wall_hours)
