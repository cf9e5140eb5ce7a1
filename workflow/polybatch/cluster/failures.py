"""Tells what failed in a run: which jobs, why in words, the last lines of their logs, and what to do.

inputs: the recorded events of the run (events.py; default: the newest that ran jobs), or Snakemake's log of it; the
    logs of its jobs; Slurm where it is used
outputs: a report on stderr

The Snakefile calls it when a run fails; `polybatch failures` tells the same again. Jobs that failed
and then succeeded get a line each. Slurm is asked for states and memory; without it, the logs' words have to do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from polybatch.cluster import causes, events, jobs, run_log
from polybatch.cluster.causes import Cause
from polybatch.cluster.jobs import SlurmFacts
from polybatch.cluster.run_log import Fault, Job, RunLog, Try
from polybatch.core import stage
from polybatch.core.errors import DataError

_LINES = 15
# More of a log is not read; what ended the job stands at its end.
_MOST_BYTES = 4 * 2**20
_TAIL_LINES = 2000
_WIDEST = 300
_MOST_TOLD = 10
_MOST_NAMED = 4
_GROWING = (("mem_mb", "MB"), ("runtime", "min"))
_MOST_LISTED = 50
# A log that is this much older than the try that failed was left by an earlier try; clocks may differ a little.
_CLOCK_SLACK = timedelta(seconds=30)

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STATE = re.compile(r"SLURM status is: '(\w+)'")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch failures", description=__doc__.split("\n")[0])
    parser.add_argument("--log", type=Path, help=f"Snakemake's log of a run; default: the newest in {events.LOGS}")
    parser.add_argument("--lines", type=int, default=_LINES, help=f"of each job's log; default: {_LINES}")
    args = parser.parse_args(argv)
    log = (args.log or newest()).absolute()
    # Logs of rules are named from the folder of the run.
    folder = log.parents[2] if log.parent.parts[-2:] in (events.LOGS.parts, events.FOLDER.parts) else Path()
    with contextlib.chdir(folder):
        print(told(log, lines=args.lines), file=sys.stderr)


def tell(logs: Sequence[str]) -> None:
    """Prints the report of a run that just failed; for the Snakefile's `onerror`, where `log` is a list.

    A report that cannot be made must not hide why the run failed, so a fault of this module is told in a line.
    """
    where = logs[0] if logs else str(events.LOGS)
    try:
        recorder = events.attached()
        if recorder is not None and recorder.fault is None and recorder.run.jobs:
            report = _told(recorder.end(), events.log_of(recorder.path), _LINES)
        else:
            report = told(Path(where) if logs else newest())
        print(f"\n{report}", file=sys.stderr, flush=True)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        print(f"The failed jobs cannot be told ({fault}); {where} names their logs.", file=sys.stderr, flush=True)


def newest() -> Path:
    """Snakemake's log of the newest run in this folder that started jobs.

    Raises:
        DataError: There is none.
    """
    names = {events.log_of(path) for path in events.FOLDER.glob("*.jsonl")} | set(events.LOGS.glob("*.snakemake.log"))
    logs = sorted(names, reverse=True)
    for log in logs:
        if _read(log).jobs:
            return log
    raise DataError(
        "There is no run to report on.",
        where=events.LOGS,
        expected="a log of Snakemake in which jobs were started",
        found=f"{len(logs)} logs, none of them with jobs" if logs else "no log",
        remedy="call this in the folder in which Snakemake was started, or name a log with --log",
    )


def told(log: Path, *, lines: int = _LINES) -> str:
    """The report of a run.

    Args:
        log: Snakemake's log of it, or its recorded events.
        lines: How many of the last lines of a failed job's log are shown.

    Returns:
        Text of several lines.

    Raises:
        DataError: There is no such log.
    """
    try:
        run = _read(log)
    except OSError as error:
        raise DataError(
            "The log of the run cannot be read.", where=log, found=str(error), remedy="name it with --log"
        ) from error
    return _told(run, log, lines)


def _read(log: Path) -> RunLog:
    """A run as it was recorded, else as its log tells it, from which `--quiet` may have kept most."""
    if log.suffix == ".jsonl":
        return events.read(log)
    among_logs = log.absolute().parent.parts[-2:] == events.LOGS.parts
    recorded = events.events_of(log.absolute()) if among_logs else log.with_suffix(".jsonl")
    return events.read(recorded) if recorded.is_file() else run_log.read(log)


def _told(run: RunLog, log: Path, lines: int) -> str:
    known = jobs.look_up(run.submitted, run.slurm_name)
    return "\n".join(report(run, known, log=log, lines=lines))


def report(run: RunLog, known: Mapping[str, SlurmFacts], *, log: Path, lines: int = _LINES) -> list[str]:
    """The report as lines; reads the logs of the jobs that failed.

    Args:
        run: The run.
        known: What Slurm says: its number of a job -> facts.
        log: Snakemake's log, to name it.
        lines: How many of the last lines of a failed job's log are shown.
    """
    if not run.jobs:
        return [f"Nothing is known of this run's jobs. What Snakemake said is in {log}."]
    failures = find(run, known)
    out = [f"{'What' if failures else 'No job'} failed (Snakemake's own words: {log})", ""]
    for number, failure in enumerate(failures[:_MOST_TOLD], 1):
        out += [f"[{number}] {failure.title}", *(f"    {line}" for line in _details(failure, lines)), ""]
    more = failures[_MOST_TOLD:]
    out += [f"Also failed: {failure.title}: {failure.cause.words}" for failure in more[:_MOST_LISTED]]
    if len(more) > _MOST_LISTED:
        out.append(f"... and {len(more) - _MOST_LISTED} more; {log} names them.")
    saved = list(_saved(run, known))
    return [*out, *([""] if more else []), *saved, *([""] if saved else []), *_ending(run, failures, known)]


@dataclass(frozen=True)
class Failure:
    """Jobs that failed together: one job, or those of one Slurm job.

    Attributes:
        jobs: Those that failed; of a group, those that failed inside, or all if nobody says which.
        others: Jobs of the same Slurm job that have to be done again, though the fault is not theirs.
        facts: What Slurm knows; None for a local job.
        cause: Why, and what to do.
        tried: What was tried, in words.
        log: The log to show; None if there is none.
        said: The lines in that log that tell the fault; empty if it has none.
    """

    jobs: list[Job]
    others: list[Job]
    facts: SlurmFacts | None
    cause: Cause
    tried: str
    log: Path | None
    said: list[str]

    @property
    def title(self) -> str:
        """The jobs by name."""
        return _some([job.name for job in self.jobs])


def find(run: RunLog, known: Mapping[str, SlurmFacts]) -> list[Failure]:
    """The jobs that failed for good, with causes; jobs of one Slurm job are one failure."""
    together: dict[str, list[Job]] = defaultdict(list)
    for job in run.jobs.values():
        if job.last.outcome == "failed":
            together[job.last.slurm_id or f"local {job.number}"].append(job)
    return [_failure(group, known) for group in together.values()]


def _failure(group: list[Job], known: Mapping[str, SlurmFacts]) -> Failure:
    last = group[0].last
    slurm_text = _text(last.slurm_log)
    faults = run_log.parse(slurm_text).faults
    # The Snakemake inside blames all jobs that it ran together; only the guilty have an exit or a message.
    proven = [fault for fault in faults if fault.exit or fault.message] or faults
    culprits = [job for job in group if any(fault.is_of(job) for fault in proven)] or group
    last = _completed(culprits[0].last, [fault for fault in faults if fault.is_of(culprits[0])])
    facts = _facts(last, known) if last.slurm_id else None
    log = _fresh_log(culprits[0], last)
    words = (_tail(_text(log)) or causes.unsaid(log, last)) if log else ""
    slurm_tail = _tail(slurm_text)
    return Failure(
        jobs=culprits,
        others=[job for job in group if job not in culprits],
        facts=facts,
        cause=causes.explain(culprits[0].rule, last, facts, log=words, slurm_log=slurm_tail),
        tried=_tried(culprits[0], known),
        log=log if log and _text(log).strip() else Path(last.slurm_log) if slurm_tail.strip() else None,
        said=causes.stated_fault(words),
    )


def _completed(last: Try, faults: Sequence[Fault]) -> Try:
    """A try, with what only the log of its Slurm job tells."""
    exits = [last.exit, *(fault.exit for fault in faults)]
    messages = [last.message, *(fault.message for fault in faults)]
    return replace(last, exit=next(filter(None, exits), ""), message="\n".join(dict.fromkeys(filter(None, messages))))


def _facts(attempt: Try, known: Mapping[str, SlurmFacts]) -> SlurmFacts:
    """What Slurm says of a try, else what its log says, else what Snakemake was told while it ran."""
    facts = jobs.merged(known.get(attempt.slurm_id), jobs.told(_tail(_text(attempt.slurm_log))))
    stated = _STATE.search(attempt.message)
    return replace(facts, state=stated[1]) if stated and not facts.state else facts


def _details(failure: Failure, lines: int) -> Iterable[str]:
    yield f"cause: {failure.cause.words}"
    last = failure.jobs[0].last
    if last.slurm_id:
        state = failure.facts.state if failure.facts and failure.facts.state else "state not known"
        ran = f" after {failure.facts.elapsed}" if failure.facts and failure.facts.elapsed else ""
        yield f"Slurm: job {last.slurm_id}, {state}{ran}, log {_here(last.slurm_log)}"
    yield f"tried: {failure.tried}"
    if failure.others:
        names = _some([job.name for job in failure.others])
        yield f"in the same Slurm job, to be done again with it: {names}"
    yield from _shown(failure, lines)
    yield from _said_elsewhere(failure)
    yield f"to do: {failure.cause.to_do}"


def _shown(failure: Failure, lines: int) -> Iterable[str]:
    named = failure.jobs[0].logs
    if failure.log is None:
        yield f"log: {named[0]} is empty or was not written in this try" if named else "log: none"
        return
    text = _text(failure.log)
    if str(failure.log) == failure.jobs[0].last.slurm_log:
        # Around what Slurm says stand two Snakemakes with their banners.
        text = jobs.own_lines(text) or text
    written = [line for line in text.splitlines() if line.strip()]
    last = written[-lines:] if lines > 0 else []
    missing = [line for line in failure.said if line not in last]
    follows = len(written) > len(last) and missing and written[-len(last) - 1] == missing[-1]
    shown = [*missing, *([] if follows or not missing else ["..."]), *last]
    yield f"log: {_here(failure.log)}" + (f", its last {len(last)} lines:" if len(last) > 1 else "")
    yield from (f"  | {line if len(line) <= _WIDEST else f'{line[:_WIDEST]} ...'}" for line in shown)


def _said_elsewhere(failure: Failure) -> Iterable[str]:
    """A last try that could not start says nothing; then an earlier one, or a job of the same group, may have."""
    for job in [] if failure.said else [*failure.jobs, *failure.others]:
        for path in map(Path, job.logs):
            if path == failure.log or not _written_since(path, job.tries[0]):
                continue
            text = _tail(_text(path))
            words = " ".join(causes.stated_fault(text)[:1]) or causes.last_exception(text)
            if words:
                yield f"said before, in {path}: {words}"


def _tried(job: Job, known: Mapping[str, SlurmFacts]) -> str:
    """Once, or how often and with what that grew from try to try."""
    if len(job.tries) == 1:
        return "once"
    grown = []
    for name, unit in _GROWING:
        values = [attempt.resources.get(name, "?") for attempt in job.tries]
        if len(set(values)) > 1:
            grown.append(f" with {', '.join(values)} {unit}")
    slurm = [f"{attempt.slurm_id} {_facts(attempt, known).state}" for attempt in job.tries if attempt.slurm_id]
    return f"{len(job.tries)} times{' and'.join(grown)}" + (f" (Slurm jobs {', '.join(slurm)})" if slurm else "")


def _saved(run: RunLog, known: Mapping[str, SlurmFacts]) -> Iterable[str]:
    """A line for each job that failed at first and then succeeded."""
    for job in run.jobs.values():
        if job.last.outcome != "finished" or len(job.tries) == 1:
            continue
        grown = [
            f"{job.last.resources[name]} {unit}"
            for name, unit in _GROWING
            if job.last.resources.get(name) != job.tries[0].resources.get(name)
        ]
        tries = f"{len(job.tries)}{' with ' + ' and '.join(grown) if grown else ''}"
        first = _facts(job.tries[0], known)
        how = "stopped by Slurm from outside" if first.stopped and first.state == "FAILED" else first.state
        yield f"Succeeded on try {tries}: {job.name}" + (f" (at first {how})" if how else "")


def _ending(run: RunLog, failures: Sequence[Failure], known: Mapping[str, SlurmFacts]) -> Iterable[str]:
    failed = sum(len(failure.jobs) + len(failure.others) for failure in failures)
    begun = [job for job in run.jobs.values() if job.last.outcome == "running"]
    waiting = max(run.total - run.done - failed - len(begun), 0)
    if run.total:
        stopped = f", {len(begun)} were stopped or still run" if begun else ""
        yield f"{run.done} of {run.total} steps are done, {failed} failed{stopped}, {waiting} wait or were not begun."
    if not run.ended and not run.interrupted:
        yield from _without_end(run, known)
        return
    if run.interrupted:
        yield "The run was stopped by a user; its jobs were cancelled."
    yield f"What is done is kept. Go on with the same command: {_command(run)}"


def _without_end(run: RunLog, known: Mapping[str, SlurmFacts]) -> Iterable[str]:
    """The run goes on, or nobody could clean up after it."""
    yield "This run has no end in its log: it is still running, or it was killed."
    lost = [number for number in run.submitted if known.get(number, _UNKNOWN).state == "PREEMPTED"]
    if lost:
        yield f"Slurm took {', '.join(lost)} away for good (PREEMPTED), which Snakemake does not see: press Ctrl-C."
    left = [number for number in run.submitted if known.get(number, _UNKNOWN).state in _LIVE]
    if left:
        yield "Slurm still has jobs of it, and a new run would start them again, beside these and on the same files."
        yield f"If Snakemake is gone: scancel {' '.join(left)}"
    else:
        yield "If Snakemake is gone:"
    yield "then: snakemake --unlock"
    yield f"then: {_command(run)}"


_UNKNOWN = SlurmFacts()
_LIVE = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "STOPPED")


def _command(run: RunLog) -> str:
    """The command line of the run as a user types it."""
    program, _, rest = run.command.partition(" ")
    return f"snakemake {rest}".strip() if program else "snakemake"


def _fresh_log(job: Job, last: Try) -> Path | None:
    """The rule's log, if the try that failed wrote it."""
    return next((path for path in map(Path, job.logs) if _written_since(path, last)), None)


def _written_since(path: Path, attempt: Try) -> bool:
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime)
    except OSError:
        return False
    return attempt.started is None or written >= attempt.started - _CLOCK_SLACK


def _text(path: str | Path) -> str:
    """A log, without colours; of a progress bar only how far it came. Empty if there is no such file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _MOST_BYTES, 0))
            data = file.read()
    except OSError:
        return ""
    lines = _ANSI.sub("", data.decode("utf-8", errors="replace")).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _tail(text: str) -> str:
    """The end of a log, in which the reason of its end stands."""
    return "\n".join(text.split("\n")[-_TAIL_LINES:])


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _here(path: str | Path) -> str:
    """A path as seen from the current folder."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    stage.run(main)
