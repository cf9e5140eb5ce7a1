"""What a Slurm cluster offers, and whether it would take the jobs of profiles/slurm: `polybatch cluster check`.

inputs: sinfo, sacctmgr and `sbatch --test-only`; flags, or the variables that profiles/slurm reads
outputs: a table of partitions; exit code 1, with what to set, if Slurm would refuse such jobs

Nothing is submitted. A run asks the same of the jobs that it really has, before its first (check.py).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from polybatch.cluster.check import require_runnable
from polybatch.cluster.probe import add_places, places
from polybatch.cluster.slurm import Cluster, Partition, Request, read_cluster, require_slurm

# What profiles/slurm asks for where nothing else is exported: default-resources, and a job with cards.
_CPU_MB, _CPU_MINUTES, _CARD_MB, _CARD_MINUTES, _CARD_CPUS = 2000, 60, 32000, 720, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `check`. Their defaults are the variables that profiles/slurm reads."""
    add_places(parser, gpus=1)


def run(arguments: argparse.Namespace) -> None:
    """Prints what there is, then asks Slurm about each kind of job.

    Raises:
        ConfigError: With all faults of all kinds of jobs; or that there is no Slurm.
    """
    require_slurm()
    offered = read_cluster()
    print("\n".join(described(offered)), flush=True)
    requests = requests_of_profile(arguments)
    require_runnable(requests, offered)
    print(f"Slurm would take {' and '.join(rules[0] for rules in requests.values())}.")


def requests_of_profile(arguments: argparse.Namespace) -> dict[Request, list[str]]:
    """The kinds of jobs that profiles/slurm submits -> what they are, in words."""
    requests = {
        Request(name, arguments.account, mem_mb=_CPU_MB, minutes=_CPU_MINUTES): ["jobs without cards"]
        for name in places(arguments)
    }
    if arguments.gpus:
        cards = Request(
            arguments.gpu_partition,
            arguments.account,
            cpus=_variable("POLYBATCH_CPUS_PER_GPU", _CARD_CPUS) * arguments.gpus,
            mem_mb=_variable("POLYBATCH_GPU_MEM_MB", _CARD_MB) * arguments.gpus,
            minutes=_variable("POLYBATCH_GPU_MINUTES", _CARD_MINUTES),
            gpus=arguments.gpus,
            gpu_type=arguments.gpu_type,
        )
        requests[cards] = [f"trainings with {arguments.gpus} card(s)"]
    return requests


def described(cluster: Cluster) -> list[str]:
    """A table of the partitions, and the user's accounts."""
    rows: list[tuple[str, ...]] = [("partition", "state", "longest", "node: CPUs", "MB", "cards", "up")]
    rows += [row for partition in cluster.partitions.values() for row in _rows(partition)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    accounts = ", ".join(cluster.accounts) or "Slurm tells of none, so none has to be named"
    return [*lines, f"your accounts: {accounts}"]


def _rows(partition: Partition) -> Iterator[tuple[str, ...]]:
    """One for each kind of node of a partition."""
    limit = f"{partition.limit} min" if partition.limit is not None else "no limit"
    name = partition.name + (" (default)" if partition.default else "")
    kinds: dict[tuple[str, str, str], list[bool]] = {}
    for node in partition.nodes:
        cards = ", ".join(f"{number} {kind or 'of no type'}" for kind, number in node.cards.items())
        kinds.setdefault((str(node.cpus), str(node.mem_mb), cards or "none"), []).append(node.up)
    for kind, up in kinds.items() or [(("no nodes", "", ""), [])]:
        yield (name, partition.state, limit, *kind, f"{sum(up)} of {len(up)}")


def _variable(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
