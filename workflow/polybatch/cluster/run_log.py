"""What is known of a run's jobs, every try of each and how it ended; and how to read it from Snakemake's words.

inputs: Slurm's log of one job, in which a Snakemake of its own ran; a message of Snakemake's that has no facts beside
    its words; a log of `.snakemake/log`, for runs whose events were not recorded (events.py)
outputs: a `RunLog`, in memory

The formats are those of Snakemake 9 (`snakemake/logging.py`) and of the Slurm executor plugin 2 (its `run_job` and
`check_active_jobs`). Lines that are not known are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

_TIME = re.compile(r"\s*\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\]")
_JOB = re.compile(r"(\s*)(?:local)?(?:rule|checkpoint) (\S+):$")
_ERROR = re.compile(r"(\s*)Error in rule (.+):$")
_GROUP_ERROR = re.compile(r"    message: Error in group ")
_KEY = re.compile(r"(\s*)(\w[\w-]*): ?(.*)$")
_MEMBER = re.compile(r"( {4,})(?:rule )?(\w[\w-]*): ?(.*)$")
_SUBMITTED = re.compile(r"Job (\S+) has been submitted with SLURM jobid (\S+) \(log: (.*)\)\.$")
_FINISHED = re.compile(r"Finished jobid: (\d+) \(Rule: ")
_STEPS = re.compile(r"(\d+) of (\d+) steps \(")
_NO_OUTPUT_OF = re.compile(r"MissingOutputException in rule (\S+) in file")
_NO_OUTPUT = re.compile(r"Job (\d+)\s+completed successfully, but some output.* after (\d+) seconds")
_COMMAND = "Command '"
_HOW = re.compile(r"' (returned non-zero exit status \d+|died with <Signals\.(\w+): \d+>)\.?$")
_CHECKED = " (check log file(s) for error details)"
_LOCAL_CALL_ENDS = "(command exited with non-zero exit code)"
_LONGEST_COMMAND = 500  # lines; more than any rule's


@dataclass
class Try:
    """One attempt at a job.

    Attributes:
        resources: What it asked for, as Snakemake prints it: mem_mb -> "2000".
        started: When Snakemake started or submitted it, local time; None if the log does not say.
        slurm_id: Slurm's number of it; empty for a local job.
        slurm_log: Where Slurm wrote what it printed.
        message: What Snakemake or its plugin said of the failure.
        exit: How the rule's command ended: "returned non-zero exit status 1", "died with <Signals.SIGKILL: 9>".
        outcome: "running" until the log says "failed" or "finished".
    """

    resources: dict[str, str] = field(default_factory=dict)
    started: datetime | None = None
    slurm_id: str = ""
    slurm_log: str = ""
    message: str = ""
    exit: str = ""
    outcome: str = "running"


@dataclass
class Job:
    """One job of a run.

    Attributes:
        number: Snakemake's number of it.
        rule: Its rule.
        wildcards: As Snakemake prints them: "lang=de, shard=1".
        logs: The rule's log files.
        outputs: The rule's output files.
        tries: Its attempts, in order; at least one.
    """

    number: str
    rule: str
    wildcards: str = ""
    logs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)

    @property
    def last(self) -> Try:
        """The attempt that decides."""
        return self.tries[-1]

    @property
    def name(self) -> str:
        """The rule and its wildcards in one line."""
        return f"{self.rule} ({self.wildcards})" if self.wildcards else self.rule


@dataclass(frozen=True)
class Fault:
    """One failure, as a log tells it: for the log of a Slurm job, where numbers of jobs say nothing.

    Attributes:
        rule: The rule that failed.
        outputs: Its outputs, which tell jobs of one rule apart; empty if the log does not say.
        exit: As in Try.
        message: As in Try.
    """

    rule: str
    outputs: list[str] = field(default_factory=list)
    exit: str = ""
    message: str = ""

    def is_of(self, job: Job) -> bool:
        """Whether a job may be the one that failed."""
        return self.rule == job.rule and self.outputs in ([], job.outputs)


@dataclass
class RunLog:
    """One run of Snakemake.

    Attributes:
        jobs: Number -> job, of those that were started.
        submitted: Slurm's numbers of all jobs that were submitted, in order.
        faults: Every failure that is told, in order; one may be told several times.
        slurm_name: The name that all its Slurm jobs have.
        command: The command line of the run.
        total: Steps of the run; 0 if the log does not say.
        done: Steps that are done.
        interrupted: Whether a user stopped it.
        ended: Whether it came to its end, rather than being killed or running still.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    slurm_name: str = ""
    command: str = ""
    total: int = 0
    done: int = 0
    interrupted: bool = False
    ended: bool = False


def read(path: str | Path) -> RunLog:
    """Reads a log file; bytes that are no UTF-8 are replaced."""
    return parse(Path(path).read_text(encoding="utf-8", errors="replace"))


def parse(text: str) -> RunLog:
    """Reads the text of a log.

    Args:
        text: Of Snakemake's log, or of Slurm's log of a job.

    Returns:
        What could be understood; empty where that is nothing.
    """
    reader = TextReader()
    reader.read(text)
    return reader.run


class TextReader:
    """Goes through the lines of a text once; messages of several lines are taken whole.

    Attributes:
        run: What was understood by now.
    """

    def __init__(self) -> None:
        self.run = RunLog()
        self._lines: list[str] = []
        self._at = 0
        self._time: datetime | None = None
        self._exits: list[tuple[str, str]] = []  # (command, how it ended) that no error was told for yet

    def read(self, text: str) -> None:
        """Understands a log, or one message of Snakemake's."""
        self._lines, self._at = text.splitlines(), 0
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            self._take(line)

    def _take(self, line: str) -> None:
        """Understands one line, and what belongs to it."""
        if match := _TIME.match(line):
            self._time = datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y")
        elif line.lstrip().startswith("Logfile "):
            self._skip_shown_log()
        elif _GROUP_ERROR.match(line):
            self._group_error()
        elif match := _ERROR.match(line):
            self._error(match[2], len(match[1]))
        elif match := _JOB.match(line):
            self._job(match[2], len(match[1]))
        elif line.startswith(_COMMAND):
            self._exit(line)
        elif match := _SUBMITTED.match(line):
            self._submitted(*match.groups())
        elif match := _NO_OUTPUT_OF.match(line):
            self._no_output(match[1])
        else:
            self._plain(line)

    def _plain(self, line: str) -> None:
        if match := _FINISHED.match(line):
            if match[1] in self.run.jobs:
                self.run.jobs[match[1]].last.outcome = "finished"
        elif match := _STEPS.match(line):
            self.run.done, self.run.total = int(match[1]), int(match[2])
        elif re.fullmatch(r"total\s+\d+\s*", line):
            self.run.total = int(line.split()[1])
        elif line.startswith("  Command: "):
            self.run.command = line.removeprefix("  Command: ")
        elif line.startswith("SLURM run ID: "):
            self.run.slurm_name = line.removeprefix("SLURM run ID: ")
        elif line.startswith("Terminating processes on user request"):
            self.run.interrupted = True
        elif line.startswith(("Exiting because", "Elapsed time:", "Complete log(s):")):
            self.run.ended = True

    def _skip_shown_log(self) -> None:
        """Logs that `show-failed-logs` copied stand between two equal lines; their words are of another run."""
        if self._at >= len(self._lines) or not re.fullmatch(r"\s*={8,}", self._lines[self._at]):
            return
        fence = self._lines[self._at].strip()
        for end in range(self._at + 1, len(self._lines)):
            if self._lines[end].strip() == fence:
                self._at = end + 1
                return

    def _facts(self, indent: int) -> Iterator[tuple[str, str]]:
        """The `key: value` lines below a heading that is indented by so much."""
        while self._at < len(self._lines):
            match = _KEY.match(self._lines[self._at])
            if not match or len(match[1]) != indent + 4:
                return
            self._at += 1
            if match[2] == "message":
                yield match[2], "\n".join([match[3], *self._until_job_number(indent + 4)])
            elif match[2] == "shell":
                yield match[2], "\n".join(self._until_call_ends())
            else:
                yield match[2], match[3]

    def _until_job_number(self, indent: int) -> Iterator[str]:
        """The rest of a message, which has lines of any kind: the job's number comes after it."""
        end = next(
            (at for at in range(self._at, len(self._lines)) if self._lines[at].startswith(" " * indent + "jobid: ")),
            self._at,
        )
        yield from self._lines[self._at : end]
        self._at = end

    def _until_call_ends(self) -> Iterator[str]:
        for end in range(self._at, min(len(self._lines), self._at + _LONGEST_COMMAND)):
            if self._lines[end].strip() == _LOCAL_CALL_ENDS:
                yield from self._lines[self._at : end]
                self._at = end + 1
                return

    def _job(self, rule: str, indent: int) -> None:
        facts = dict(self._facts(indent))
        if "jobid" not in facts:
            return
        job = self.run.jobs.get(facts["jobid"])
        if job is None or job.rule != rule:  # the Snakemakes within a Slurm job all count from 0
            job = self.run.jobs[facts["jobid"]] = Job(facts["jobid"], rule)
        job.wildcards = facts.get("wildcards", "")
        job.logs, job.outputs = _names(facts.get("log")), _names(facts.get("output"))
        resources = dict(re.findall(r"(\w+)=([^,]*)", facts.get("resources", "")))
        job.tries.append(Try(resources, self._time))

    def _submitted(self, number: str, slurm_id: str, slurm_log: str) -> None:
        self.run.submitted.append(slurm_id)
        # A group has no number but an identifier; its jobs learn Slurm's number when it fails.
        if number in self.run.jobs:
            self.run.jobs[number].last.slurm_id, self.run.jobs[number].last.slurm_log = slurm_id, slurm_log

    def _error(self, rule: str, indent: int) -> None:
        facts = dict(self._facts(indent))
        how = self.take_exit(facts.get("shell", ""))
        self.run.faults.append(Fault(rule, _names(facts.get("output")), how))
        job = self.run.jobs.get(facts.get("jobid", ""))
        if job is None or job.rule != rule:
            return
        job.last.outcome = "failed"
        job.last.exit = job.last.exit or how
        job.last.slurm_id = job.last.slurm_id or facts.get("external_jobid", "")
        if indent == 0 and facts.get("message", "None") != "None":
            job.last.message = facts["message"]

    def _group_error(self) -> None:
        """Every job of a group is told as failed; which of them did is in Slurm's log."""
        slurm_log, members = "", []
        while self._at < len(self._lines) and (match := _MEMBER.match(self._lines[self._at])):
            if len(match[1]) == 4 and match[2] == "log":
                slurm_log = _names(match[3])[-1]
            elif len(match[1]) == 12 and match[2] == "jobid":
                members.append(match[3])
            self._at += 1
        for number in members:
            if number in self.run.jobs:
                last = self.run.jobs[number].last
                last.outcome = "failed"
                last.slurm_log, last.slurm_id = slurm_log, Path(slurm_log).stem if slurm_log else ""

    def _no_output(self, rule: str) -> None:
        match = _NO_OUTPUT.match(self._lines[self._at]) if self._at < len(self._lines) else None
        if not match:
            return
        message = f"its command ended well, but outputs were not seen within {match[2]} s"
        self.run.faults.append(Fault(rule, message=message))
        job = self.run.jobs.get(match[1])
        if job and job.rule == rule:
            job.last.outcome, job.last.message = "failed", message

    def _exit(self, line: str) -> None:
        """How a rule's command ended; the command may go over several lines."""
        parts = [line.removeprefix(_COMMAND)]
        end = self._at
        while not _HOW.search(parts[-1]):
            if end >= len(self._lines) or end - self._at > _LONGEST_COMMAND:
                return
            parts.append(self._lines[end])
            end += 1
        self._at = end
        how = _HOW.search(parts[-1])
        assert how is not None  # the loop ended on it
        parts[-1] = parts[-1][: how.start()]
        self._exits.append((_squeezed("\n".join(parts)), how[1]))

    def take_exit(self, call: str) -> str:
        """How a rule's command ended, if a message told it; each is told once."""
        call = _squeezed(call)
        for at, (command, how) in enumerate(self._exits):
            if call and command.endswith(call):
                del self._exits[at]
                return how
        return ""


def _names(value: str | None) -> list[str]:
    return value.removesuffix(_CHECKED).split(", ") if value else []


def _squeezed(text: str) -> str:
    return " ".join(text.split())
