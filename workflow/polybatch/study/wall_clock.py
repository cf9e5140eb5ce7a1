"""How long jobs take on a machine: list scheduling, and where the time goes.

inputs: jobs with their hours, cards and cores, and the jobs that each waits for; a machine
outputs: when each starts and ends; the wall clock divided among stages; what no machine could be faster than

Jobs start as soon as all that they wait for has ended and cards and cores are free, the longest of those that could
first (longest processing time first, Graham 1969, "Bounds on multiprocessing timing anomalies"): on m equal devices
such a schedule takes at most 2 - 1/m times as long as the best one. Snakemake's own choice is greedy too.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from polybatch.core.errors import DataError


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: Unlike that of any other job.
        stage: What it counts for where the time is divided among stages.
        hours: How long it runs.
        devices, cores: What it has to itself for so long.
        after: Names of the jobs that it waits for.
    """

    name: str
    stage: str
    hours: float
    devices: int = 0
    cores: int = 1
    after: tuple[str, ...] = ()


class Machine(NamedTuple):
    """What all jobs share: devices (cards), and cores."""

    devices: int
    cores: int


class Span(NamedTuple):
    """When a job runs, in hours from the start of the first one."""

    job: Job
    start: float
    end: float


@dataclass(frozen=True)
class StageTime:
    """What one stage takes of a schedule.

    Attributes:
        device_hours, core_hours: Of all its jobs.
        wall_hours: Its part of the wall clock: how long it was a job of this stage that the end had to wait for. The
            parts of all stages make the whole.
        idle_share: Of the devices, while the end waited for this stage; 0 where the machine has none.
    """

    stage: str
    jobs: int
    device_hours: float
    core_hours: float
    wall_hours: float
    idle_share: float


@dataclass(frozen=True)
class Schedule:
    """When each job runs.

    Attributes:
        machine: The one that they run on.
        spans: In the order of their starts.
    """

    machine: Machine
    spans: tuple[Span, ...]

    @property
    def wall_hours(self) -> float:
        """From the first start to the last end."""
        return max((span.end for span in self.spans), default=0.0)

    @property
    def device_hours(self) -> float:
        """In which a device is held."""
        return sum(span.job.hours * span.job.devices for span in self.spans)

    @property
    def utilisation(self) -> float:
        """The share of all devices' hours in which they are held; 0 where there is no device or no time."""
        whole = self.wall_hours * self.machine.devices
        return self.device_hours / whole if whole else 0.0

    def critical(self) -> list[Span]:
        """The jobs that the end waits for, the first one first: each begins when the one before it ends.

        A job starts late because one that it waits for ends then, or because one that holds cards or cores does. The
        first kind is looked for first.
        """
        ending: dict[float, list[Span]] = {}
        for each in self.spans:
            ending.setdefault(each.end, []).append(each)
        chain: list[Span] = []
        span: Span | None = max(self.spans, key=lambda one: one.end, default=None)
        while span is not None:
            chain.append(span)
            # A job without hours ends when it starts: it must not be taken for its own cause.
            before = [one for one in ending.get(span.start, ()) if one.start < span.start]
            needed = [one for one in before if one.job.name in span.job.after]
            span = max(needed or before, key=lambda one: one.job.hours, default=None)
        return chain[::-1]

    def stages(self) -> list[StageTime]:
        """What each stage takes, in the order in which stages first start."""
        critical = self.critical()
        busy = _Busy(self.spans)
        times = []
        for name in dict.fromkeys(span.job.stage for span in self.spans):
            own = [span.job for span in self.spans if span.job.stage == name]
            waits = [span for span in critical if span.job.stage == name]
            wall = sum(span.end - span.start for span in waits)
            held = sum(busy.between(span.start, span.end) for span in waits)
            whole = wall * self.machine.devices
            times.append(
                StageTime(
                    name,
                    len(own),
                    sum(job.hours * job.devices for job in own),
                    sum(job.hours * job.cores for job in own),
                    wall,
                    1 - held / whole if whole else 0.0,
                )
            )
        return times


class _Busy:
    """Device hours that are held before any moment: linear between the moments at which a job starts or ends."""

    def __init__(self, spans: Sequence[Span]) -> None:
        import numpy as np

        changes: dict[float, int] = {}
        for span in spans:
            changes[span.start] = changes.get(span.start, 0) + span.job.devices
            changes[span.end] = changes.get(span.end, 0) - span.job.devices
        self._moments = np.array(sorted(changes))
        held = np.cumsum([changes[moment] for moment in self._moments])
        self._sums = np.concatenate([[0.0], np.cumsum(held[:-1] * np.diff(self._moments))])

    def between(self, start: float, end: float) -> float:
        import numpy as np

        before, after = np.interp([start, end], self._moments, self._sums)
        return float(after - before)


def schedule(jobs: Sequence[Job], machine: Machine) -> Schedule:
    """Runs the jobs on the machine, greedily, the longest first; ties in the order of `jobs`.

    Raises:
        DataError: Two jobs have one name, a job waits for one that is not there or for itself, or is larger than the
            machine.
    """
    waiting, followers = _dependencies(jobs, machine)
    ready = [_rank(i, jobs) for i, count in enumerate(waiting) if not count]
    running: list[tuple[float, int]] = []
    free, now, spans = machine, 0.0, []
    while ready or running:
        left = []
        for rank in sorted(ready):
            job = jobs[rank[1]]
            if job.devices <= free.devices and job.cores <= free.cores:
                free = Machine(free.devices - job.devices, free.cores - job.cores)
                heapq.heappush(running, (now + job.hours, rank[1]))
                spans.append(Span(job, now, now + job.hours))
            else:
                left.append(rank)
        ready, now = left, running[0][0]
        while running and running[0][0] == now:
            _, ended = heapq.heappop(running)
            free = Machine(free.devices + jobs[ended].devices, free.cores + jobs[ended].cores)
            for i in followers[ended]:
                waiting[i] -= 1
                if not waiting[i]:
                    ready.append(_rank(i, jobs))
    if len(spans) < len(jobs):
        stuck = [jobs[i].name for i, count in enumerate(waiting) if count]
        raise DataError("Jobs wait for one another in a circle.", found=", ".join(stuck[:5]))
    return Schedule(machine, tuple(spans))


def _rank(i: int, jobs: Sequence[Job]) -> tuple[float, int]:
    return -jobs[i].hours, i


def _dependencies(jobs: Sequence[Job], machine: Machine) -> tuple[list[int], list[list[int]]]:
    """How many jobs each one waits for, and which ones wait for it."""
    places = {job.name: i for i, job in enumerate(jobs)}
    if len(places) < len(jobs):
        raise DataError("Two jobs have one name.", expected=f"{len(jobs)} names", found=f"{len(places)}")
    followers: list[list[int]] = [[] for _ in jobs]
    for i, job in enumerate(jobs):
        if job.devices > machine.devices or job.cores > machine.cores:
            raise DataError(
                f"The job {job.name!r} is larger than the machine.",
                expected=f"at most {machine.devices} devices and {machine.cores} cores",
                found=f"{job.devices} devices and {job.cores} cores",
            )
        for name in set(job.after):
            if name not in places:
                raise DataError(f"The job {job.name!r} waits for one that is not there.", found=repr(name))
            followers[places[name]].append(i)
    return [len(set(job.after)) for job in jobs], followers


def longest_chain(jobs: Sequence[Job]) -> float:
    """Hours of the longest chain of jobs that wait for one another: no number of devices is faster."""
    if not jobs:
        return 0.0
    machine = Machine(max(1, sum(job.devices for job in jobs)), max(1, sum(job.cores for job in jobs)))
    return schedule(jobs, machine).wall_hours
