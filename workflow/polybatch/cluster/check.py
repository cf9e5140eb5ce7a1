"""Before a Slurm cluster is given jobs: can it run each kind of job that a run will ask for?

inputs: the jobs that a run is about to submit; sinfo, sacctmgr and `sbatch --test-only`
outputs: none, or one error that tells every fault and the setting that mends it

The Snakefile's `onstart` calls `check`: after the jobs are known, before the first is submitted, and neither in dry
runs nor inside of jobs. Whether a request can be met is Slurm's own verdict (`sbatch --test-only` submits nothing);
what the partitions offer is compared only to say why it cannot.

`polybatch cluster check` tells what the partitions offer and whether Slurm would take the jobs that profiles/slurm
describes (offer.py); `polybatch cluster probe` runs a tiny job on a node of each partition and tells what it sees
there: the working directory, Python and this package, the hub's cache, cards, memory, disk (probe.py).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.cluster.slurm import (
    Answer,
    Cluster,
    Node,
    Partition,
    Request,
    plain_words,
    read_cluster,
    require_slurm,
    verdict,
)
from polybatch.core.errors import ConfigError

PROFILE = "profiles/slurm/config.yaml"
# File systems of one machine only: in its memory, or a container's own.
_LOCAL_KINDS = ("tmpfs", "ramfs", "overlay", "devtmpfs")
_LOCAL_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_SHARED_KINDS = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "panfs", "wekafs", "afs", "orangefs", "fuse", "9p")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what to set. Equal faults of several jobs are told once."""

    what: str
    remedy: str


def check(workflow: Any) -> None:
    """Raises unless the cluster can run every job of a run that is about to start; warns of what looks wrong.

    Args:
        workflow: Snakemake's, in `onstart`. Nothing happens unless its executor is `slurm`.

    Raises:
        ConfigError: All faults at once, or that there is no Slurm to ask.
    """
    if workflow.executor_plugin is None or workflow.executor_plugin.name != "slurm":
        return
    from snakemake.logging import logger

    require_slurm()
    settings = workflow.executor_settings
    requests = requests_of(workflow.dag, qos=settings.qos or "", reservation=settings.reservation or "")
    cluster = read_cluster()
    if settings.status_command != "squeue":
        logger.warning(
            "The profile does not say `slurm-status-command: squeue`. Asked with sacct, the executor (2.8) takes a "
            f"cancelled job for a running one and waits for ever; {PROFILE} sets it."
        )
    for warning in warnings(requests, cluster, Path.cwd()):
        logger.warning(warning)
    require_runnable(requests, cluster)


def requests_of(dag: Any, *, qos: str = "", reservation: str = "") -> dict[Request, list[str]]:
    """Request -> names of the rules that make it, for all jobs that Snakemake will submit.

    Args:
        dag: Snakemake's.
        qos, reservation: What `--slurm-qos` and `--slurm-reservation` say, for all jobs.
    """
    everywhere = f"--reservation={shlex.quote(reservation)}" if reservation else ""
    found: dict[Request, set[str]] = {}
    for job in dag.needrun_jobs():
        unit = dag.get_job_group(job) if job.group is not None else job
        if not unit.is_local:
            found.setdefault(_request(unit, qos, everywhere), set()).add(job.rule.name)
    return {request: sorted(rules) for request, rules in found.items()}


def _request(job: Any, qos: str, everywhere: str) -> Request:
    asked = job.resources

    def text(name: str) -> str:
        return str(asked.get(name) or "")

    def number(name: str) -> int | None:
        # A value that is not known before its inputs exist has a type of Snakemake's own: Slurm will judge it then.
        value = asked.get(name)
        return value if isinstance(value, int) else None

    cpus = number("cpus_per_task") or job.threads
    per_cpu = number("mem_mb_per_cpu")
    gpus = number("gpu") or 0
    return Request(
        partition=text("slurm_partition"),
        account=text("slurm_account"),
        qos=qos or text("qos"),
        constraint=text("constraint"),
        cpus=cpus,
        mem_mb=per_cpu * cpus if per_cpu else number("mem_mb"),
        minutes=number("runtime"),
        gpus=gpus,
        gpu_type=text("gpu_model") if gpus else "",
        extra=f"{text('slurm_extra')} {everywhere}".strip(),
    )


def require_runnable(
    requests: dict[Request, list[str]], cluster: Cluster, ask: Callable[[Request], Answer] | None = None
) -> None:
    """Raises a ConfigError with all faults of all requests.

    Args:
        requests: Request -> rules that make it.
        cluster: What there is.
        ask: Slurm's verdict on a request; `sbatch --test-only` unless given.
    """
    ask = ask or verdict
    rules_of: dict[Fault, set[str]] = {}
    for request, rules in requests.items():
        for fault in request_faults(request, cluster, ask(request)):
            rules_of.setdefault(fault, set()).update(rules)
    if not rules_of:
        return
    lines = []
    for number, (fault, names) in enumerate(rules_of.items(), 1):
        lines += [
            f"  {number}. {fault.what}",
            f"       asked by: {_some(sorted(names))}",
            f"       to do: {fault.remedy}",
        ]
    raise ConfigError(
        f"The cluster cannot run this as it is asked to: {len(rules_of)} fault(s). Nothing was submitted.\n"
        + "\n".join(lines)
    )


def request_faults(request: Request, cluster: Cluster, answer: Answer) -> Iterator[Fault]:
    """Every fault of one request: what Slurm takes but should not, then why it refuses what it refuses."""
    if request.mem_mb is None or request.minutes is None:
        lacking = " and ".join(
            name for name, value in (("mem_mb", request.mem_mb), ("runtime", request.minutes)) if value is None
        )
        yield Fault(f"no {lacking} is set for a job", f"add it to default-resources in the profile, as {PROFILE} does")
    foreign = bool(request.account and cluster.accounts) and request.account not in cluster.accounts
    if foreign:
        yield Fault(
            f"the account {request.account!r} is none of yours; yours: {', '.join(cluster.accounts)}",
            _setting("account", "POLYBATCH_ACCOUNT", "(empty: your default account)"),
        )
    partition = cluster.partition(request.partition)
    if partition is not None and partition.state != "up":
        yield Fault(f"the partition {partition.name!r} is {partition.state}, not up", _partition_setting(request))
    elif not answer.ok:
        reasons = list(_reasons(request, cluster, partition))
        if reasons or not foreign:
            yield from reasons or [_unexplained(request, cluster, answer.text)]


def _reasons(request: Request, cluster: Cluster, partition: Partition | None) -> Iterator[Fault]:
    """Why a partition cannot take a request, as far as its nodes and limits tell."""
    if partition is None:
        named = f"there is no partition {request.partition!r}" if request.partition else "there is no default partition"
        yield Fault(f"{named}; there are: {_partitions(cluster)}", _partition_setting(request))
        return
    cards = list(_card_reasons(request, cluster, partition)) if request.gpus else []
    if cards:  # another partition or card will do, so what this one's nodes have is not the point
        yield from cards
        return
    nodes = [node for node in partition.nodes if node.cards] if request.gpus else partition.nodes
    nodes = nodes or partition.nodes
    if nodes:
        most_cpus, most_mb = max(node.cpus for node in nodes), max(node.mem_mb for node in nodes)
        if request.cpus > most_cpus:
            yield Fault(
                f"{request.cpus} CPUs are asked for, but a node of {partition.name!r} has {most_cpus} at most",
                _setting("cpus_per_gpu", "POLYBATCH_CPUS_PER_GPU") if request.gpus else _rule_setting("cpus_per_task"),
            )
        if (request.mem_mb or 0) > most_mb:
            yield Fault(
                f"{request.mem_mb} MB are asked for, but a node of {partition.name!r} has {most_mb} MB at most",
                _setting("gpu_mem_mb", "POLYBATCH_GPU_MEM_MB")
                if request.gpus
                else _setting("job_mem_mb", "POLYBATCH_JOB_MEM_MB") + "; or " + _rule_setting("mem_mb"),
            )
    if partition.limit is not None and (request.minutes or 0) > partition.limit:
        yield Fault(
            f"{request.minutes} minutes are asked for, but {partition.name!r} allows {partition.limit}",
            _setting("gpu_minutes", "POLYBATCH_GPU_MINUTES") if request.gpus else _rule_setting("runtime"),
        )


def _card_reasons(request: Request, cluster: Cluster, partition: Partition) -> Iterator[Fault]:
    elsewhere = [f"{name} ({_cards(other)})" for name, other in cluster.partitions.items() if _cards(other)]
    if not _cards(partition):
        there = (
            f"partitions with cards: {', '.join(elsewhere)}" if elsewhere else "no partition of this cluster has any"
        )
        cpu_only = "POLYBATCH_GPUS=0 trains and encodes on CPUs"
        yield Fault(
            f"a card is asked for, but the partition {partition.name!r} has none; {there}",
            f"{_partition_setting(request)}; or {cpu_only}" if elsewhere else cpu_only,
        )
        return
    if request.gpu_type and not any(request.gpu_type in node.cards for node in partition.nodes):
        yield Fault(
            f"there is no card of the type {request.gpu_type!r} in {partition.name!r}; there are: {_cards(partition)}",
            _setting("gpu_type", "POLYBATCH_GPU_TYPE", "(empty: any)"),
        )
        return
    most = max(_number_of_cards(node, request.gpu_type) for node in partition.nodes)
    if request.gpus > most:
        yield Fault(
            f"{request.gpus} cards are asked for, but a node of {partition.name!r} has {most} at most",
            _setting("gpus", "POLYBATCH_GPUS"),
        )


def _unexplained(request: Request, cluster: Cluster, words: str) -> Fault:
    """Slurm's own words, where no single number explains them: limits of an account, a constraint, a combination."""
    asked = " ".join(request.arguments())
    if "account" in words.lower() and cluster.accounts:
        remedy = f"{_setting('account', 'POLYBATCH_ACCOUNT')}; yours: {', '.join(cluster.accounts)}"
    else:
        remedy = f"try `sbatch --test-only {asked} --wrap=true` until Slurm takes it, then change {PROFILE}"
    return Fault(f"Slurm refuses {asked}: {plain_words(words)}", remedy)


def _setting(name: str, variable: str, note: str = "") -> str:
    return f"set {name} in {PROFILE}, or export {variable} {note}".rstrip()


def _rule_setting(resource: str) -> str:
    return f"set-resources: RULE: {resource}=... in {PROFILE}"


def _partition_setting(request: Request) -> str:
    name, note = ("gpu_partition", "") if request.gpus else ("cpu_partition", "(empty: the default one)")
    return _setting(name, f"POLYBATCH_{name.upper()}", note)


def _partitions(cluster: Cluster) -> str:
    names = [name + (" (default)" if partition.default else "") for name, partition in cluster.partitions.items()]
    return ", ".join(names) or "none that you may see"


def _cards(partition: Partition) -> str:
    """`fake: 2, a100: 4`: for each type of card in a partition the most that one node has."""
    most: dict[str, int] = {}
    for node in partition.nodes:
        for kind, number in node.cards.items():
            most[kind] = max(most.get(kind, 0), number)
    return ", ".join(f"{kind or 'of no type'}: {number}" for kind, number in most.items())


def _number_of_cards(node: Node, kind: str) -> int:
    return node.cards.get(kind, 0) if kind else sum(node.cards.values())


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def warnings(requests: Iterable[Request], cluster: Cluster, folder: Path) -> Iterator[str]:
    """What Slurm takes and yet may fail: partitions whose nodes are all away, a folder that the nodes may not see."""
    asked = {request.partition for request in requests}
    used = [partition for name in sorted(asked) if (partition := cluster.partition(name)) is not None]
    for partition in used:
        if partition.nodes and not any(node.up for node in partition.nodes):
            yield f"No node of the partition {partition.name!r} is up: its jobs will wait until one is (`sinfo`)."
    this_host = os.uname().nodename.split(".")[0]
    if all(node.host == this_host for partition in used for node in partition.nodes):
        return
    kind, doubtful = file_system(folder)
    if doubtful:
        yield (
            f"The working directory {folder} ({kind}) looks like this machine's own, and nodes may not see it. "
            "It has to lie on a file system that all nodes share; `polybatch cluster probe` tells."
        )


def file_system(folder: Path, mounts: str | None = None) -> tuple[str, bool]:
    """The kind of file system that a folder lies on, and whether it looks like one that other machines do not see.

    Args:
        folder: An absolute path.
        mounts: As in /proc/self/mounts, which is read unless given.
    """
    if mounts is None:
        place = Path("/proc/self/mounts")
        mounts = place.read_text("utf-8") if place.exists() else ""
    kind, longest = "unknown", -1
    for line in mounts.splitlines():
        _, where, found = line.split()[:3]
        where = where.replace("\\040", " ")
        if folder.is_relative_to(where) and len(where) >= longest:
            kind, longest = found, len(where)
    if kind.startswith(_SHARED_KINDS):
        return kind, False
    return kind, kind in _LOCAL_KINDS or any(folder.is_relative_to(place) for place in _LOCAL_FOLDERS)
