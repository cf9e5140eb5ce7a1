"""Threads of jobs: all cores are used, none is asked for twice."""

from __future__ import annotations

import pytest

from polybatch.core.cores import machine_memory_mb, threads_of


@pytest.mark.parametrize(
    ("cores", "memory_mb", "jobs", "threads"),
    [
        (2, 24_000, 3, 2),  # one at a time, because two do not fit the memory
        (2, 64_000, 3, 1),  # two at a time
        (64, 256_000, 13, 4),  # thirteen at a time
        (64, 64_000, 13, 16),  # four at a time
        (64, 256_000, 1, 16),  # more than 16 do not help
        (1, 2_000, 1, 1),  # too little memory is another's fault to tell
        (3, 1_000_000, 2, 1),
    ],
)
def test_cores_are_shared_by_the_jobs_that_run_at_a_time(cores: int, memory_mb: int, jobs: int, threads: int) -> None:
    assert threads_of(cores, memory_mb, jobs=jobs, job_memory_mb=16_000, most=16) == threads


def test_two_that_fit_run_side_by_side_rather_than_one_on_two_threads() -> None:
    assert threads_of(2, 24_000, jobs=3, job_memory_mb=6_900, most=8) == 1
    assert threads_of(2, 24_000, jobs=1, job_memory_mb=6_900, most=8) == 2


def test_a_job_that_no_further_thread_helps_gets_one() -> None:
    assert threads_of(64, 256_000, jobs=1, job_memory_mb=1000, most=1) == 1


def test_the_machine_has_memory() -> None:
    assert machine_memory_mb() > 500
