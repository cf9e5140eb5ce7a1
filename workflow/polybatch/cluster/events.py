"""Records the events of a run of Snakemake while it goes on, however quiet it was told to be.

inputs: the events of Snakemake's logger (snakemake_interface_logger_plugins.common.LogEvent)
outputs: .snakemake/polybatch/<time>.jsonl, an event a line, of runs that start jobs; a `RunLog`, in memory

`--quiet` takes events out of what Snakemake prints and of its log file, not out of its logger. A handler on that logger
sees all of them, with their facts as values. It is attached by the Snakefile, because a logger plugin would have to be
installed, and named on every command line or in every profile. A fault of this module must not harm a run: it ends the
recording, and Snakemake's own log file has to do (run_log.py), as it has for runs of before.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from polybatch.cluster.run_log import Fault, Job, RunLog, TextReader, Try

FOLDER = Path(".snakemake/polybatch")
LOGS = Path(".snakemake/log")
_LOG_ENDS, _ENDS = ".snakemake.log", ".jsonl"
_LOGGER = "snakemake.logging"
_MOST_TEXT = 64 * 2**10

Event = dict[str, Any]


def attach(workflow: Any) -> Recorder | None:
    """Records the run that is about to start; nothing is written before its first job.

    Args:
        workflow: Snakemake's, while the Snakefile is read.

    Returns:
        The recorder; None for dry runs and for the Snakemakes inside of jobs.
    """
    logger = logging.getLogger(_LOGGER)
    try:
        manager = workflow.logger_manager
        if manager.settings.dryrun or workflow.exec_mode.name != "DEFAULT":  # ExecMode
            return None
        log = next(iter(manager.get_logfile()), None)
    except AttributeError as error:
        logger.warning("This Snakemake is built otherwise (%s): failed jobs are told from its log file alone.", error)
        return None
    for handler in [handler for handler in logger.handlers if isinstance(handler, Recorder)]:
        logger.removeHandler(handler)
    started = Path(log) if log else LOGS.absolute() / f"{datetime.now().isoformat().replace(':', '')}{_LOG_ENDS}"
    recorder = Recorder(events_of(started))
    logger.addHandler(recorder)
    return recorder


def attached() -> Recorder | None:
    """The recorder of the run that goes on in this process."""
    return next((handler for handler in logging.getLogger(_LOGGER).handlers if isinstance(handler, Recorder)), None)


def began(rule: str) -> bool:
    """Whether the run that goes on in this process has begun a job of a rule."""
    recorder = attached()
    return recorder is not None and any(job.rule == rule for job in recorder.run.jobs.values())


def events_of(log: Path) -> Path:
    """Where the events of a run are, by the name of Snakemake's log of it."""
    return log.parents[1] / FOLDER.name / f"{log.name.removesuffix(_LOG_ENDS)}{_ENDS}"


def log_of(events: Path) -> Path:
    """Snakemake's log of a run, by the name of its events."""
    return events.parents[1] / LOGS.name / f"{events.name.removesuffix(_ENDS)}{_LOG_ENDS}"


class Recorder(logging.Handler):
    """Keeps the events of a run, in memory and in a file.

    Attributes:
        path: The file; there is none before the first job.
        fault: Why the recording ended early; None while all is well. A full disk ends the file, not the memory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self.path = path
        self.fault: Exception | None = None
        self._reader = Reader()
        self._waiting: list[Event] = []
        self._file: TextIO | None = None

    @property
    def run(self) -> RunLog:
        """What is known of the run by now."""
        return self._reader.run

    def end(self) -> RunLog:
        """The run, which is over; for Snakemake's `onerror`, before it ends its logging."""
        self._reader.end()
        return self.run

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record; called under the handler's lock, from any thread."""
        if self.fault is not None:
            return
        try:
            event = described(record)
            if event is not None:
                self._reader.take(event)
                self._write(event)
        except Exception as error:
            self.fault = error

    def close(self) -> None:
        """Snakemake ends its logging when the run is over."""
        try:
            if self._file is not None:
                self._write({"event": "ended"})
                self._file.close()
        except (OSError, ValueError):
            pass  # a file without its end reads as that of a killed run
        self._file = None
        super().close()

    def _write(self, event: Event) -> None:
        if self._file is None:
            self._waiting.append(event)
            if event["event"] != "job_info":
                return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed with the handler)
            for waiting in self._waiting or [event]:
                self._file.write(json.dumps(waiting, ensure_ascii=False) + "\n")
            self._waiting.clear()
            self._file.flush()
        except OSError:
            # No room, or no right to write here: what is in memory can still be told at the run's end.
            self._waiting.clear()


def described(record: logging.LogRecord) -> Event | None:
    """The facts of a record as plain values; None for those that tell nothing of a job's fate."""
    facts = vars(record)
    name = str(facts.get("event") or "")
    make = _DESCRIBED.get(name)
    return None if make is None else {"event": name or "message", "time": record.created, **make(record, facts)}


def _job_info(record: logging.LogRecord, facts: Mapping[str, Any]) -> Event:
    wildcards = facts.get("wildcards") or {}
    resources = {name: str(value) for name, value in (facts.get("resources") or {}).items() if name[0] != "_"}
    return {
        "job": str(facts["jobid"]),
        "rule": facts["rule_name"],
        "wildcards": ", ".join(f"{name}={value}" for name, value in wildcards.items()),
        "logs": _texts(facts.get("log")),
        "outputs": _texts(facts.get("output")),
        "resources": resources,
    }


def _job_error(record: logging.LogRecord, facts: Mapping[str, Any]) -> Event:
    return {
        "job": str(facts["jobid"]),
        "rule": facts["rule_name"],
        "outputs": _texts(facts.get("output")),
        "logs": _texts(facts.get("log")),
        "message": _text(facts.get("rule_msg")),
        "shell": _text(facts.get("shellcmd")),
        "slurm_id": _text((facts.get("aux") or {}).get("external_jobid")),
        "of_group": bool(facts.get("indent")),
    }


def _group_error(record: logging.LogRecord, facts: Mapping[str, Any]) -> Event:
    return {
        "jobs": [str(job["jobid"]) for job in facts.get("job_error_info") or []],
        "logs": _texts(facts.get("aux_logs")),
        "slurm_id": _text(facts.get("external_jobid")),
    }


_DESCRIBED = {
    "": lambda record, facts: {"text": record.getMessage()[:_MOST_TEXT]},
    "error": lambda record, facts: {"text": record.getMessage()[:_MOST_TEXT]},
    "workflow_started": lambda record, facts: {"command": _text(facts.get("cmd"))},
    "run_info": lambda record, facts: {"total": int((facts.get("stats") or {}).get("total", 0))},
    "progress": lambda record, facts: {"done": int(facts["done"]), "total": int(facts["total"])},
    "job_info": _job_info,
    "job_error": _job_error,
    "group_error": _group_error,
    "job_finished": lambda record, facts: {"job": str(facts["job_id"])},
}


class Reader:
    """Puts a run together from its events, in their order."""

    def __init__(self) -> None:
        self._words = TextReader()
        self._finishes_told = False
        self.run = self._words.run

    def take(self, event: Event) -> None:
        """Understands one event; those of unknown names are passed over."""
        kind = event.get("event")
        if kind in ("message", "error"):
            self._words.read(event["text"])
        elif kind == "job_info":
            self._job(event)
        elif kind == "job_error":
            self._error(event)
        elif kind == "group_error":
            self._group_error(event)
        elif kind == "job_finished":
            self._finishes_told = True
            if event["job"] in self.run.jobs:
                self.run.jobs[event["job"]].last.outcome = "finished"
        elif kind == "progress":
            self.run.done, self.run.total = event["done"], event["total"]
        elif kind == "run_info":
            self.run.total = event["total"]
        elif kind == "workflow_started":
            self.run.command = event["command"]
        elif kind == "ended":
            self.end()

    def end(self) -> None:
        """The run is over: Snakemake waited for what it had begun, unless a user stopped it.

        Under `--quiet progress` it tells nobody that a job has finished, not even its logger.
        """
        self.run.ended = True
        if not self._finishes_told and not self.run.interrupted:
            for job in self.run.jobs.values():
                if job.last.outcome == "running":
                    job.last.outcome = "finished"
            self.run.done = sum(job.last.outcome == "finished" for job in self.run.jobs.values())

    def _job(self, event: Event) -> None:
        job = self.run.jobs.setdefault(event["job"], Job(event["job"], event["rule"]))
        job.wildcards, job.logs, job.outputs = event["wildcards"], event["logs"], event["outputs"]
        job.tries.append(Try(event["resources"], datetime.fromtimestamp(event["time"])))

    def _error(self, event: Event) -> None:
        how = self._words.take_exit(event["shell"])
        self.run.faults.append(Fault(event["rule"], event["outputs"], how))
        job = self.run.jobs.get(event["job"])
        if job is None:
            return
        last = job.last
        last.outcome = "failed"
        last.exit = last.exit or how
        last.slurm_id = last.slurm_id or event["slurm_id"]
        # The executor appends the log of its own job to those of the rule.
        added = [path for path in event["logs"] if path not in job.logs]
        if event["slurm_id"] and added:
            last.slurm_log = last.slurm_log or added[-1]
        if not event["of_group"]:
            last.message = event["message"] or last.message

    def _group_error(self, event: Event) -> None:
        """Every job of a group is told as failed; which of them did is in Slurm's log."""
        slurm_log = event["logs"][-1] if event["logs"] else ""
        for number in event["jobs"]:
            if number in self.run.jobs:
                last = self.run.jobs[number].last
                last.outcome, last.slurm_log = "failed", slurm_log
                last.slurm_id = event["slurm_id"] or Path(slurm_log).stem


def read(path: Path) -> RunLog:
    """Reads the events of a run; a last line that was cut off, as a kill leaves it, is passed over.

    Raises:
        OSError: There is no such file.
    """
    reader = Reader()
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict):
                reader.take(event)
    return reader.run


def _texts(values: Any) -> list[str]:
    return [os.fspath(value) if isinstance(value, os.PathLike) else str(value) for value in values or []]


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:_MOST_TEXT]


def tell_refusal(workflow: Any, error: Exception) -> None:
    """Prints why nothing is begun where Snakemake will not: `--quiet all` keeps even that from its user.

    Args:
        workflow: Snakemake's.
        error: What is wrong with the configuration or the machine.
    """
    quiet = {kind.name for kind in workflow.output_settings.quiet or ()}
    if "ALL" in quiet and not workflow.dryrun:
        print(error, file=sys.stderr, flush=True)
