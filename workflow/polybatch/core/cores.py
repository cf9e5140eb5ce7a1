"""How many threads a job of a kind gets: a machine's cores, shared by the jobs of that kind that run at a time."""

from __future__ import annotations

import os


def threads_of(cores: int, memory_mb: int, *, jobs: int, job_memory_mb: int, most: int) -> int:
    """Threads for each of several equal jobs, so that no core of a machine is idle while they run.

    Args:
        cores, memory_mb: What the machine has for all of them.
        jobs: How many there are; as many as the memory holds run at a time, and no more than there are cores.
        job_memory_mb: What each of them may take.
        most: From how many threads on such a job is no faster.

    Returns:
        At least 1, at most `most`.
    """
    at_a_time = max(1, min(jobs, memory_mb // job_memory_mb, cores))
    return max(1, min(most, cores // at_a_time))


def machine_memory_mb() -> int:
    """The machine's memory in MB (10^6 bytes)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
