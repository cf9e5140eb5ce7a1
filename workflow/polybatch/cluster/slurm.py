"""Asks Slurm: its partitions, the user's accounts, and whether it would take a job.

inputs: Slurm's commands: sinfo, sacctmgr, scontrol, `sbatch --test-only`
outputs: `Cluster` and `Answer`, in memory, for check.py, offer.py and probe.py
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from polybatch.core.errors import ConfigError

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
# sbatch gives up on a controller that does not answer after 18 s (Slurm 22.05).
_TIMEOUT_S = 60

Runner = Callable[[Sequence[str]], "Answer"]


@dataclass(frozen=True)
class Request:
    """What jobs of one kind ask of Slurm. Equal requests are checked once.

    Attributes:
        partition, account, qos, constraint: As sbatch takes them; empty for the cluster's default.
        cpus: CPUs of the job.
        mem_mb: Memory of the job in MB; None if the profile sets none.
        minutes: Time limit; None if the profile sets none.
        gpus: Number of cards.
        gpu_type: Kind of card as in Slurm's gres.conf; empty for any.
        extra: Further options of sbatch (`slurm_extra`).
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    cpus: int = 1
    mem_mb: int | None = None
    minutes: int | None = None
    gpus: int = 0
    gpu_type: str = ""
    extra: str = ""

    def arguments(self) -> list[str]:
        """The options of sbatch, in the way in which the executor plugin (2.8) gives them."""
        options = [f"--cpus-per-task={self.cpus}"]
        options += [] if self.gpus else ["--ntasks=1"]
        options += [f"--partition={self.partition}"] if self.partition else []
        options += [f"--account={self.account}"] if self.account else []
        options += [f"--qos={self.qos}"] if self.qos else []
        options += [f"--constraint={self.constraint}"] if self.constraint else []
        options += [f"--mem={self.mem_mb}"] if self.mem_mb is not None else []
        options += [f"--time={self.minutes}"] if self.minutes is not None else []
        options += [f"--gpus={self.gpu_type + ':' if self.gpu_type else ''}{self.gpus}"] if self.gpus else []
        return options + shlex.split(self.extra)


@dataclass(frozen=True)
class Node:
    """One kind of node in a partition: `cards` maps a type (empty if Slurm names none) to their number."""

    cpus: int
    mem_mb: int
    cards: dict[str, int]
    up: bool
    host: str


@dataclass
class Partition:
    """A partition: `limit` is the longest time in minutes, None for no limit."""

    name: str
    state: str
    default: bool
    limit: int | None
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Cluster:
    """What a cluster offers. `accounts` are the user's; empty where Slurm keeps none or does not tell."""

    partitions: dict[str, Partition]
    accounts: tuple[str, ...] = ()

    def partition(self, name: str) -> Partition | None:
        """The partition of that name, the default one for an empty name."""
        if name:
            return self.partitions.get(name)
        return next((partition for partition in self.partitions.values() if partition.default), None)


@dataclass(frozen=True)
class Answer:
    """How a command of Slurm ended. `text` is what it said on both streams."""

    ok: bool
    text: str


def verdict(request: Request) -> Answer:
    """Whether Slurm would take such a job, in its own words if not. Submits nothing."""
    return run_command(["sbatch", "--test-only", *request.arguments(), "--wrap=true"])


def require_slurm() -> None:
    """Raises a ConfigError unless Slurm's commands are there and its controller answers."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            "There is no Slurm on this machine.",
            expected="the commands " + ", ".join(COMMANDS),
            found="not on PATH: " + ", ".join(missing),
            remedy="run on the cluster's login node (`module load slurm` where it needs that), or without a cluster: "
            "--profile profiles/default, or profiles/gpu on a workstation with graphics cards",
        )
    answer = run_command(["scontrol", "ping"])
    if " is UP" not in answer.text:
        raise ConfigError(
            "Slurm's controller does not answer.",
            expected="`scontrol ping` says that slurmctld is UP",
            found=plain_words(answer.text.replace("*", "")),
            remedy="wait until it is back, or ask the cluster's administrators; finished results are kept",
        )


def read_cluster(run: Runner | None = None) -> Cluster:
    """The partitions and the user's accounts, as sinfo and sacctmgr tell them.

    Raises:
        ConfigError: sinfo does not answer.
    """
    run = run or run_command
    answer = run(["sinfo", "--all", "--noheader", "--format=%P|%a|%l|%c|%m|%G|%T|%n"])
    if not answer.ok:
        raise ConfigError("Slurm does not tell its partitions.", where="sinfo", found=plain_words(answer.text))
    # Clusters without accounting have no sacctmgr, or one that fails: then nobody is refused for an account.
    columns = ["format=account", f"user={getpass.getuser()}"]
    accounts = run(["sacctmgr", "--noheader", "--parsable2", "list", "associations", *columns])
    names = sorted(set(accounts.text.split())) if accounts.ok else []
    return Cluster(read_partitions(answer.text), tuple(names))


def read_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from sinfo's `%P|%a|%l|%c|%m|%G|%T|%n`, a line for each kind of node or each node."""
    partitions: dict[str, Partition] = {}
    for line in text.splitlines():
        if line.count("|") != 7:
            continue  # a remark of sinfo's
        name, state, limit, cpus, mem_mb, gres, condition, host = line.split("|")
        plain = name.removesuffix("*")
        partition = partitions.setdefault(plain, Partition(plain, state, name != plain, read_minutes(limit)))
        if host:
            # A trailing + says that nodes of this line differ and gives the least; * that one does not answer.
            up = condition.rstrip("*$@+^-").startswith(("idle", "mixed", "alloc", "compl", "plan", "resv"))
            up = up and not condition.endswith("*")
            partition.nodes.append(Node(int(cpus.rstrip("+")), int(mem_mb.rstrip("+")), read_cards(gres), up, host))
    return partitions


def read_minutes(text: str) -> int | None:
    """Slurm's time limit (`7-00:00:00`, `10:00` for minutes and seconds) in minutes; None for none."""
    if text in ("infinite", "UNLIMITED", "n/a"):
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, _ = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + minutes


def read_cards(gres: str) -> dict[str, int]:
    """Cards by type, of a node's generic resources: `gpu:a100:4(S:0-1),lustre:1` gives {a100: 4}, `gpu:2` {"": 2}."""
    cards: dict[str, int] = {}
    # What stands in brackets is a node's sockets, and may hold commas.
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        parts = entry.split(":")
        if parts[0] == "gpu":
            kind = parts[1] if len(parts) == 3 or (len(parts) == 2 and not parts[1].isdigit()) else ""
            number = int(parts[-1]) if parts[-1].isdigit() else 1
            cards[kind] = cards.get(kind, 0) + number
    return cards


def run_command(command: Sequence[str], timeout_s: float = _TIMEOUT_S) -> Answer:
    """Runs a command of Slurm outside of any job that this process may itself be in. Never raises."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    if "SLURM_CONF" in os.environ:
        environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        return Answer(False, f"there is no command {command[0]}")
    except subprocess.TimeoutExpired:
        return Answer(False, f"{command[0]} did not answer within {timeout_s:.0f} s")
    return Answer(done.returncode == 0, done.stdout + done.stderr)


def plain_words(text: str) -> str:
    """What Slurm said, in one line, without the names of its commands."""
    lines = [line.split("error: ")[-1].removeprefix("allocation failure: ").strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or "no reason given"
