"""Why a job failed, in words, and what a user can do about it.

inputs: what Snakemake and Slurm say of the job, the ends of its logs
outputs: a `Cause`, in memory

The surest evidence comes first: what Slurm decided, then what the stage said itself, then how its process ended.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from polybatch.cluster.jobs import SlurmFacts
from polybatch.cluster.run_log import Try

_WIDEST = 300
_NO_ROOM = 2**20  # bytes left on a disk on which not even a log was written
_AGAIN = "start the same command again"
_RANK = re.compile(r"^\[rank\d+\]:\s?")
_SIGNAL = re.compile(r"died with <Signals\.(\w+)")
_STATUS = re.compile(r"returned non-zero exit status (\d+)")
_REFUSED = re.compile(r"SLURM sbatch failed\. The error message was '(.*?)'\.", re.S)
_NOT_SUBMITTED = re.compile(r"Job submission failed with exception: (.*)")
_CARD_MEMORY = re.compile(
    r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory|CUDA failed with error out"
)
_MEMORY_ERROR = re.compile(r"^[\w.]*MemoryError\b.*|.*std::bad_alloc.*|.*DefaultCPUAllocator: can't allocate.*", re.M)
_NO_STEP = re.compile(r"^srun: error: (Unable to create step .*|.*[Ii]nvalid .*|.*not available.*)", re.M)
_NODE_LACKS = re.compile(
    r"couldn't chdir to .*|[Uu]nable to create .*: No such file.*|Could not open std\w+ file .*|"
    r"No module named '?snakemake.*|Snakefile .* not found.*|"
    r"\S*(?:python[\d.]*|snakemake): (?:No such file or directory|not found|Permission denied).*"
)

_REFUSAL_REMEDY = (
    "correct account, partition or what the rule asks for in the profile; `sinfo -o '%P %l %c %m %G'` lists "
    "partitions with their longest time, CPUs, MB and cards of a node"
)
_STEP_REMEDY = "compare what the rule asks for (set-threads and set-resources in the profile) with what it was given"
_FAULT_REMEDY = f"correct what its words name, then {_AGAIN}"
_NODE_REMEDY = f"nothing is wrong with the job: {_AGAIN}; a node that fails often: --slurm-exclude-failed-nodes"
_PREEMPTED_REMEDY = (
    f"{_AGAIN}: training goes on from its last checkpoint; each preemption may use up one of the retries"
)
_CARD_REMEDY = (
    "a smaller training.mini_batch_size (the batch stays whole) or encoding batch; or cards with more memory "
    "(POLYBATCH_GPU_TYPE)"
)


@dataclass(frozen=True)
class Cause:
    """Why a job failed.

    Attributes:
        words: One line.
        to_do: One line.
    """

    words: str
    to_do: str


def explain(rule: str, attempt: Try, facts: SlurmFacts | None, *, log: str, slurm_log: str) -> Cause:
    """Finds the cause of a failure.

    Args:
        rule: The rule.
        attempt: The try that failed, with what Snakemake says of it.
        facts: What Slurm says; None for a local job.
        log: The end of the rule's own log.
        slurm_log: The end of Slurm's log of the job.
    """
    return (
        _refused(attempt)
        or (_by_slurm(rule, attempt, facts) if facts else None)
        or _by_own_words(rule, attempt, log)
        or _by_node(slurm_log)
        or (_by_launch(facts) if facts else None)
        or _by_step(slurm_log)
        or _by_missing_output(attempt)
        or _by_exit(rule, attempt)
    )


def stated_fault(log: str) -> list[str]:
    """The lines of the last `error: ...` of a stage, its indented facts with it; empty if there is none."""
    lines = [_RANK.sub("", line) for line in log.splitlines()]
    starts = [at for at, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return []
    end = starts[-1] + 1
    while end < len(lines) and lines[end].startswith("  "):
        end += 1
    return lines[starts[-1] : end]


def last_exception(log: str) -> str:
    """The last line of the last traceback, but not that of a launcher which only says that its process failed."""
    found = ""
    in_traceback = False
    for raw in log.splitlines():
        line = _RANK.sub("", raw)
        if line.startswith("Traceback (most recent call last):"):
            in_traceback = True
        elif in_traceback and line and not line.startswith((" ", "\t")):
            in_traceback = False
            if "ChildFailedError" not in line:
                found = line[:_WIDEST]
    return found


def _refused(attempt: Try) -> Cause | None:
    refused = _REFUSED.search(attempt.message)
    if refused:
        words = "; ".join(line.removeprefix("sbatch: error: ") for line in refused[1].splitlines())
        return Cause(f"Slurm refused the job: {words}", _REFUSAL_REMEDY)
    failed = _NOT_SUBMITTED.search(attempt.message)
    return Cause(f"the job could not be submitted: {failed[1]}", _REFUSAL_REMEDY) if failed else None


def _by_slurm(rule: str, attempt: Try, facts: SlurmFacts) -> Cause | None:
    where = f" on {facts.nodes}" if facts.nodes else ""
    limit = f" of {facts.limit}" if facts.limit else ""
    state = "STOPPED" if facts.state == "FAILED" and facts.stopped else facts.state
    causes = {
        "OUT_OF_MEMORY": (f"out of memory{where}: {_memory(attempt, facts)}", _more(rule, attempt, "mem_mb")),
        "TIMEOUT": (f"stopped at its time limit{limit}{where}", _more(rule, attempt, "runtime")),
        "DEADLINE": (f"stopped at its deadline{where}", _more(rule, attempt, "runtime")),
        "NODE_FAIL": (f"the node failed{where}", _NODE_REMEDY),
        "BOOT_FAIL": (f"the node did not start{where}", _NODE_REMEDY),
        "PREEMPTED": (f"preempted{where}: Slurm gave its place to another job", _PREEMPTED_REMEDY),
        "CANCELLED": (f"cancelled by {facts.by or 'a user or Slurm'}{where}", f"if that was not meant, {_AGAIN}"),
        "STOPPED": (f"stopped by Slurm from outside{where}: preempted, or cancelled", _PREEMPTED_REMEDY),
    }
    return Cause(*causes[state]) if state in causes else None


def _memory(attempt: Try, facts: SlurmFacts) -> str:
    asked = f"{facts.asked_mib:.0f} MiB" if facts.asked_mib else f"{attempt.resources.get('mem_mb', '?')} MB"
    return f"asked for {asked}" + (f", measured {facts.peak_mib:.0f} MiB" if facts.peak_mib else "")


def _more(rule: str, attempt: Try, resource: str) -> str:
    """How to raise memory (MB) or time (minutes) for a rule."""
    now = attempt.resources.get(resource, "")
    had = f"the last try had {now}" if now else "it had none"
    if attempt.resources.get("gpu", "0") not in ("", "0"):
        name = {"mem_mb": "POLYBATCH_GPU_MEM_MB", "runtime": "POLYBATCH_GPU_MINUTES"}[resource]
        return f"a larger {name} ({had}, for all its cards together)"
    raised = str(2 * int(now)) if now.isdigit() else "..."
    if attempt.slurm_id:
        return f'`export POLYBATCH_RESOURCES="{rule}:{resource}={raised}"` before the next run ({had})'
    return f"in the profile, `set-resources: {rule}: {resource}: {raised}` ({had})"


def _by_own_words(rule: str, attempt: Try, log: str) -> Cause | None:
    """What the stage itself said last: its own error, a library's lack of memory, a Python exception."""
    fault = stated_fault(log)
    if fault:
        remedies = [line.strip().removeprefix("to do:").strip() for line in fault if line.startswith("  to do:")]
        return Cause(fault[0].removeprefix("error: "), " ".join(remedies) or _FAULT_REMEDY)
    if _CARD_MEMORY.search(log):
        return Cause("out of memory of the card", _CARD_REMEDY)
    short = _MEMORY_ERROR.search(log)
    if short:
        return Cause(
            f"out of memory: {short[0][:_WIDEST]}", f"fewer jobs at a time, or {_more(rule, attempt, 'mem_mb')}"
        )
    exception = last_exception(log)
    if exception:
        return Cause(
            f"a Python exception: {exception}", "look at the traceback; if it is a defect, report it with the log"
        )
    return None


def _by_node(slurm_log: str) -> Cause | None:
    lacking = _NODE_LACKS.search(slurm_log)
    if not lacking:
        return None
    return Cause(
        f"the node does not see what the job needs: {lacking[0].strip()[:_WIDEST]}",
        "folder and environment must be on a file system that all nodes share: docs/cluster.md",
    )


def _by_launch(facts: SlurmFacts) -> Cause | None:
    """Slurm 22.05 ends a job whose log cannot be opened with signal 53, before it begins and without a word."""
    if facts.exit_code != "0:53":
        return None
    return Cause(
        f"{facts.nodes or 'the node'} could not open the job's log: it does not see this folder",
        "a folder on a file system that all nodes share, or other nodes; "
        "`polybatch cluster probe --partition NAME` tells what they see",
    )


def _by_step(slurm_log: str) -> Cause | None:
    """The node was there, but srun could not start the job on it."""
    failed = _NO_STEP.findall(slurm_log)
    return Cause(f"Slurm could not start it on its node: {failed[-1]}", _STEP_REMEDY) if failed else None


def _by_missing_output(attempt: Try) -> Cause | None:
    words = attempt.message.splitlines()[-1:]
    if not words or "outputs were not seen" not in words[0]:
        return None
    return Cause(
        words[0], "where the log tells no fault, the shared file system is slow: a larger latency-wait in the profile"
    )


def _by_exit(rule: str, attempt: Try) -> Cause:
    name, status = _signal(attempt.exit), _STATUS.search(attempt.exit)
    if name == "SIGKILL":
        return Cause(
            "killed (SIGKILL), mostly by the system for want of memory, else by a user",
            f"{_AGAIN}; if it is memory, fewer jobs at a time (--cores) or {_more(rule, attempt, 'mem_mb')}",
        )
    if name:
        return Cause(f"ended by the signal {name}", f"{_AGAIN}; if it comes again, report it with the log")
    words = f"ended with exit status {status[1]}, and does not say why" if status else "failed, and nothing says why"
    return Cause(words, f"look at its logs; to run it alone: the same command with `--until {rule} --verbose`")


def unsaid(log: Path, attempt: Try) -> str:
    """What a job would have written into a log that is empty: where its disk is full, it could not say so either."""
    try:
        free = shutil.disk_usage(log.parent).free
    except OSError:
        return ""
    if free >= _NO_ROOM or _signal(attempt.exit):
        return ""
    return (
        f"error: the disk is full.\n  where: {log.parent}, with {free // 1024} KiB left\n"
        "  to do: free some space and run the same command again; finished files are kept."
    )


def _signal(ended: str) -> str:
    """The signal that ended a command, or what the shell ran for it (a status of 128 and more); "" if none did."""
    found, status = _SIGNAL.search(ended), _STATUS.search(ended)
    if found:
        return found[1]
    number = int(status[1]) - 128 if status else 0
    return Signals(number).name if number in set(Signals) else ""
