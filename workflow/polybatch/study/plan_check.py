"""What a plan would have said of a study that is done, beside what its jobs took (`polybatch plan --check`).

inputs: the resolved config; results/<collection>/ with timings/**/*.tsv, which the rules write
outputs: a table, predicted / measured for each stage; the wall clock that the same scheduling gives, and the real one

The amounts (pairs, texts, bytes) are those on disk. The rates are those of rates.yaml alone, which no job of this study
went into: nothing is predicted from the time that it is held against. Beside that, each job is predicted from the other
jobs of its stage, itself left out: what a plan says once a part of a study has run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polybatch.config.paths import Paths
from polybatch.config.values import Config
from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.study.amounts import amounts
from polybatch.study.costs import Known, lines, trainings
from polybatch.study.earlier import Timing, timing, training_record
from polybatch.study.job_graph import jobs
from polybatch.study.plan_text import markdown, wrapped
from polybatch.study.rates import at, rates
from polybatch.study.wall_clock import Job, Machine, schedule

_SECONDS = 3600
# What computes with torch on all cores where there is no card; trainings say themselves on how many threads they ran.
_ON_ALL_CORES = ("train", "encode", "project")


@dataclass(frozen=True)
class StageCheck:
    """One stage: what was predicted, and what was measured.

    Attributes:
        jobs: That have a timing.
        predicted, measured: Seconds of all of them.
        left_out: Predicted / measured of each job, predicted from the other jobs of the stage; none of a single job.
    """

    stage: str
    jobs: int
    predicted: float
    measured: float
    left_out: tuple[float, ...]


def kind_of(config: Config, base: Path) -> str:
    """What the study ran on, as its trainings and translations say: "cpu" or "gpu"."""
    found = [
        training_record(base, run).get("device")
        for name in config["study"]["encoders"]
        for run in trainings(config, name)
    ]
    found += [read_json(path).get("device") for path in Path(Paths.below(base).translations()).glob("*/*.stats.json")]
    return "gpu" if any(device and device != "cpu" for device in found) else "cpu"


def timings_of(graph: Sequence[Job], base: Path) -> dict[str, Timing]:
    """Job -> its timing, of those that have one."""
    paths = {job.name: Path(f"{Paths.below(base).timings()}/{job.name}.tsv") for job in graph}
    return {name: timing(path) for name, path in paths.items() if path.exists()}


def stage_checks(graph: Sequence[Job], taken: Mapping[str, Timing]) -> list[StageCheck]:
    """Each stage of the graph, as far as its jobs have timings."""
    checks = []
    for stage in dict.fromkeys(job.stage for job in graph if job.name in taken):
        own = [job for job in graph if job.stage == stage and job.name in taken]
        predicted = [job.hours * _SECONDS for job in own]
        measured = [taken[job.name].seconds for job in own]
        checks.append(StageCheck(stage, len(own), sum(predicted), sum(measured), left_out(predicted, measured)))
    return checks


def left_out(predicted: Sequence[float], measured: Sequence[float]) -> tuple[float, ...]:
    """Predicted / measured of each job, with the rate that the other jobs had and not its own."""
    ratios = []
    for mine, took in zip(predicted, measured, strict=True):
        others, took_others = sum(predicted) - mine, sum(measured) - took
        if len(predicted) > 1 and took > 0 and others > 0:
            ratios.append(mine * took_others / others / took)
    return tuple(ratios)


def time_at_work(taken: Sequence[Timing]) -> float:
    """Seconds in which at least one of the jobs ran: a wall clock that leaves out pauses between calls."""
    busy, until = 0.0, float("-inf")
    for start, end in sorted((one.ended - one.seconds, one.ended) for one in taken):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy


def as_they_ran(
    graph: Sequence[Job], seconds: Mapping[str, float], threads: Mapping[str, int | None], cores: int
) -> list[Job]:
    """The jobs on a machine without a card: those that compute take threads in its place.

    Args:
        graph: The jobs.
        seconds: Job -> how long it took; of one that is not named, no time.
        threads: Run -> the threads that its training ran on, if its record says so; what else computes for the run
            is taken to have had as many.
        cores: Of the machine.
    """
    return [
        replace(
            job,
            hours=seconds.get(job.name, 0.0) / _SECONDS,
            devices=0,
            cores=min(cores, _threads_of(job, threads) or cores) if job.stage in _ON_ALL_CORES else 1,
        )
        for job in graph
    ]


def _threads_of(job: Job, threads: Mapping[str, int | None]) -> int | None:
    """Those of the run that a job is about: `train/a/s1`, `encode/a/s1-w0.5/study` are both about `a/s1`."""
    about = job.name.partition("/")[2]
    return threads.get(max((run for run in threads if about.startswith(run)), key=len, default=""))


def check(config: Config, base: Path, cores: int, on: str | None = None, own_rates: Path | None = None) -> str:
    """The comparison, as it is printed.

    Args:
        config: Resolved.
        base: results/<collection>.
        cores: That the study ran on.
        on: "cpu" or "gpu"; default: as the study's records say.
        own_rates: In the place of ours.

    Raises:
        DataError: No job of the study has a timing.
    """
    kind = on or kind_of(config, base)
    values = at(rates(kind, own_rates))
    known = Known.of(config, base, amounts(config, base)).unmeasured()
    graph = jobs(known, values, list(lines(known, values)))
    taken = timings_of(graph, base)
    if not taken:
        raise DataError(
            "Nothing of this study was measured.",
            where=Paths.below(base).timings(),
            expected="timings of its jobs, which Snakemake writes",
            remedy="run the study first, or name another with --configfile",
        )
    missing = len(graph) - len(taken)
    lines_ = [
        f"# The plan of {config['study']['name']}, checked against what its jobs took",
        "",
        *wrapped(
            f"{len(taken)} jobs have timings; {missing} of the plan's do not. Amounts are those on disk, rates those "
            f"of rates.yaml for {'a card' if kind == 'gpu' else 'two cores'}: none is from this study. The last column "
            "predicts each job from the others of its stage, itself left out: the least and the greatest ratio."
        ),
        "",
        *markdown(
            ["stage", "jobs", "predicted, s", "measured, s", "predicted/measured", "from other jobs"],
            [_row(one) for one in stage_checks(graph, taken)],
        ),
        "",
    ]
    if kind == "cpu":
        lines_ += _wall_clock_lines(graph, taken, config, base, cores)
    return "\n".join(lines_) + "\n"


def _row(one: StageCheck) -> list[str]:
    ratio = f"{one.predicted / one.measured:.2f}" if one.measured else ""
    others = f"{min(one.left_out):.2f} to {max(one.left_out):.2f}" if one.left_out else ""
    return [one.stage, str(one.jobs), f"{one.predicted:,.1f}", f"{one.measured:,.1f}", ratio, others]


def _wall_clock_lines(
    graph: Sequence[Job], taken: Mapping[str, Timing], config: Config, base: Path, cores: int
) -> list[str]:
    """The wall clock: scheduled with measured times, scheduled with predicted ones, and the one that passed."""
    machine = Machine(0, cores)
    really = time_at_work(list(taken.values()))
    measured = {name: one.seconds for name, one in taken.items()}
    predicted = {job.name: job.hours * _SECONDS for job in graph if job.name in taken}
    threads = {
        run.name: training_record(base, run).get("threads")
        for encoder in config["study"]["encoders"]
        for run in trainings(config, encoder)
    }
    rows = []
    for name, seconds in (("jobs as they were measured", measured), ("jobs as predicted", predicted)):
        found = schedule(as_they_ran(graph, seconds, threads, cores), machine).wall_hours * _SECONDS
        rows.append([name, f"{found:,.0f}", f"{really:,.0f}", f"{found / really:.2f}"])
    return [
        *wrapped(
            f"Wall clock on {cores} cores. What passed is the time in which at least one of these jobs ran, from their "
            "timings' files: copied files say nothing of it, and other work on the machine is in it."
        ),
        "",
        *markdown(["", "scheduled, s", "passed, s", "scheduled/passed"], rows),
    ]
