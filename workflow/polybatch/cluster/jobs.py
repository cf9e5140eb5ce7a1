"""What Slurm knows of a job that is over: its state, what it asked for and used, and what its log says.

inputs: numbers of jobs; `sacct` where Slurm keeps accounts, else `scontrol`; the text of Slurm's log of a job
outputs: `SlurmFacts`, in memory

Neither command is waited for longer than a few seconds, and neither has to exist. The fields of `sacct` are those of
its manual (https://slurm.schedmd.com/sacct.html); `scontrol` forgets a job after Slurm's MinJobAge.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

_FIELDS = "JobID,JobName,State,MaxRSS,ReqMem,Timelimit,Elapsed,NodeList,ExitCode"
_TIMEOUT_S = 10
# Each job is a call of its own; after so many only accounts would help.
_MOST_SCONTROL = 20
_SIZE = re.compile(r"([\d.]+)([KMGT]?)")
_IN_MIB = {"": 1 / 2**20, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}

# What slurmstepd and srun write into a job's log when Slurm ends it; later versions and cgroups word it differently.
_WORDS = (
    ("OUT_OF_MEMORY", re.compile(r"exceeded (?:job |step )?memory limit|oom[-_ ]kill|out of memory", re.I)),
    ("TIMEOUT", re.compile(r"DUE TO TIME LIMIT")),
    ("PREEMPTED", re.compile(r"DUE TO PREEMPTION")),
    ("NODE_FAIL", re.compile(r"DUE TO NODE FAILURE|Node failure on", re.I)),
    ("CANCELLED", re.compile(r"\*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT \S+ \*\*\*")),
)
_SLURM_SPEAKS = re.compile(r"(?:slurmstepd|slurmd|srun)\S*: ")
_MEMORY = re.compile(r"exceeded memory limit \((\d+) > (\d+)\)")


@dataclass(frozen=True)
class SlurmFacts:
    """What is known of one job; empty or None where it is not.

    Attributes:
        name: Its name, which says what run it is of: numbers start again when Slurm is set up anew.
        state: Slurm's word for how it ended: FAILED, TIMEOUT, OUT_OF_MEMORY, CANCELLED, ...
        by: Who cancelled it.
        asked_mib: Memory that it asked for, in MiB.
        peak_mib: The most memory that was measured, in MiB; Slurm looks every few seconds, so it may miss a peak.
        limit: Its time limit, as Slurm writes it.
        elapsed: How long it ran.
        nodes: Where.
        exit_code: As Slurm writes it, exit status:signal.
        stopped: Whether Slurm ended it from outside: a job that had time to end by itself then reads FAILED,
            preempted ones among them.
    """

    name: str = ""
    state: str = ""
    by: str = ""
    asked_mib: float | None = None
    peak_mib: float | None = None
    limit: str = ""
    elapsed: str = ""
    nodes: str = ""
    exit_code: str = ""
    stopped: bool = False


def look_up(numbers: Sequence[str], name: str) -> dict[str, SlurmFacts]:
    """Asks Slurm for the jobs of a run.

    Args:
        numbers: Slurm's numbers of them.
        name: The name that they all have; others are not of this run. Empty if it is not known.

    Returns:
        Number -> facts, of those that Slurm still knows; empty where there is no Slurm or it does not answer.
    """
    known = sorted({number for number in numbers if re.fullmatch(r"\d+(_\d+)?", number)})
    if not known:
        return {}
    answer = _output(["sacct", "--noheader", "--parsable2", f"--format={_FIELDS}", "--jobs", ",".join(known)])
    facts = parse_sacct(answer or "")
    for number in [number for number in known if number not in facts][:_MOST_SCONTROL]:
        answer = _output(["scontrol", "--oneliner", "show", "job", number])
        if answer is None:
            break
        if answer:
            facts[number] = parse_scontrol(answer)
    return {number: fact for number, fact in facts.items() if not name or fact.name == name}


def parse_sacct(text: str) -> dict[str, SlurmFacts]:
    """Number -> facts, from `sacct --noheader --parsable2`; the peak is that of the largest step."""
    facts: dict[str, SlurmFacts] = {}
    peaks: dict[str, float] = {}
    for line in text.splitlines():
        values = line.split("|")
        if len(values) != len(_FIELDS.split(",")):
            continue
        number, name, state, peak, asked, limit, elapsed, nodes, code = values
        job = number.partition(".")[0]
        peaks[job] = max(peaks.get(job, 0.0), _mib(peak) or 0.0)
        if number == job:
            state, _, uid = state.partition(" by ")
            facts[job] = SlurmFacts(name, state, _user(uid), _mib(asked), None, limit, elapsed, nodes, code)
    return {number: replace(fact, peak_mib=peaks[number] or None) for number, fact in facts.items()}


def parse_scontrol(text: str) -> SlurmFacts:
    """Facts from `scontrol --oneliner show job`."""
    values = dict(re.findall(r"(\w+)=(\S*)", text))
    asked = re.search(r"\bmem=([\d.]+[KMGT]?)", text)
    return SlurmFacts(
        name=values.get("JobName", ""),
        state=values.get("JobState", ""),
        asked_mib=_mib(asked[1]) if asked else None,
        limit=values.get("TimeLimit", ""),
        elapsed=values.get("RunTime", ""),
        nodes=values.get("NodeList", "").replace("(null)", ""),
        exit_code=values.get("ExitCode", ""),
    )


def told(log: str) -> SlurmFacts:
    """The facts that stand in Slurm's log of a job, for a job that Slurm itself has forgotten.

    Args:
        log: Its text. Only lines of Slurm itself count, not those of what ran in the job.

    Returns:
        The state, empty if Slurm says nothing; with memory, where it gives numbers.
    """
    own = own_lines(log)
    state = next((state for state, words in _WORDS if words.search(own)), "")
    memory = _MEMORY.search(own)
    facts = SlurmFacts(state=state, stopped=bool(state))
    return replace(facts, asked_mib=int(memory[2]) / 2**20, peak_mib=int(memory[1]) / 2**20) if memory else facts


def own_lines(log: str) -> str:
    """The lines of a job's log that Slurm itself wrote, each once."""
    return "\n".join(dict.fromkeys(line for line in log.splitlines() if _SLURM_SPEAKS.match(line)))


def merged(known: SlurmFacts | None, words: SlurmFacts) -> SlurmFacts:
    """Slurm's answer, completed by its log: where memory is watched by sampling, a kill only reads FAILED."""
    if known is None or not known.state:
        return words
    killed = words.state == "OUT_OF_MEMORY" and known.state in ("FAILED", "CANCELLED")
    return replace(
        known,
        state=words.state if killed else known.state,
        asked_mib=known.asked_mib or words.asked_mib,
        peak_mib=max((peak for peak in (known.peak_mib, words.peak_mib) if peak), default=None),
        stopped=words.stopped,
    )


def _output(command: Sequence[str]) -> str | None:
    """What a command prints; "" if it fails, None if it is not there or does not answer."""
    try:
        answer = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else ""


def _mib(size: str) -> float | None:
    """MiB of 500M, 4G, 796841K; older versions append n (a node) or c (a CPU). A size without unit is in bytes."""
    match = _SIZE.fullmatch(size.rstrip("nc"))
    return float(match[1]) * _IN_MIB[match[2]] if match else None


def _user(uid: str) -> str:
    if not uid.isdigit():
        return uid
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except KeyError:
        return f"user {uid}"
