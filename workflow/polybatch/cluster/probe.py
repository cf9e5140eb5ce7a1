"""What a node of a partition sees, found out by a tiny job on it: `polybatch cluster probe`.

inputs: the partitions to ask, from flags or from the variables that profiles/slurm reads
outputs: a few lines for each partition; exit code 1, with what to set, if jobs would fail there

The job is a few lines of shell given to srun, whose output comes over the network: so it can tell what is missing on a
node that sees neither this folder nor this Python.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polybatch.cluster.check import PROFILE, require_runnable
from polybatch.cluster.slurm import Answer, Request, read_cluster, require_slurm, run_command
from polybatch.core.errors import ConfigError

# Modules without which no job runs; found, not imported, because importing torch takes seconds.
_MODULES = ("polybatch", "snakemake", "snakemake_executor_plugin_slurm_jobstep", "torch", "sentence_transformers")
_FIND = f"from importlib.util import find_spec; print(*[m for m in {_MODULES} if not find_spec(m)] or ['ok'])"
_SCRIPT = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
folder=$1 token=$2 python=$3 hub=$4 code=$5
say host "${SLURMD_NODENAME:-$(hostname)}"
say token "$(cat "$folder/$token" 2>/dev/null)"
(echo "$token" > "$folder/$token.node") 2>/dev/null && say written yes
say python "$("$python" -c "$code" 2>&1 | tail -n 1)"
say path_python "$(command -v python)"
[ -d "$hub" ] && say hub yes
say cards "$CUDA_VISIBLE_DEVICES"
say driver "$(nvidia-smi -L 2>/dev/null | grep -c GPU)"
say memory_kb "$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)"
say disk_kb "$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 {print $4}')"
"""
_LATENCY_S = 30.0


@dataclass(frozen=True)
class Here:
    """What the submitting machine has, and a node should see.

    Attributes:
        folder: The working directory.
        token: Name of a file in it, and its content.
        python: This interpreter.
        hub: The hub's cache; None if there is none here either.
    """

    folder: Path
    token: str
    python: str
    hub: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `probe`. Their defaults are the variables that profiles/slurm reads."""
    add_places(parser, gpus=0)
    parser.add_argument("--wait", type=int, default=120, help="seconds to wait for a free node (default 120)")


def add_places(parser: argparse.ArgumentParser, *, gpus: int) -> None:
    """The flags that say where jobs would run, and with how many cards unless POLYBATCH_GPUS says so."""
    value = os.environ.get
    parser.add_argument("--partition", action="append", help="for jobs without cards; repeat for several")
    parser.add_argument("--gpu-partition", default=value("POLYBATCH_GPU_PARTITION", ""), help="for jobs with cards")
    parser.add_argument("--gpus", type=int, default=value("POLYBATCH_GPUS", str(gpus)), help="cards to ask for")
    parser.add_argument("--gpu-type", default=value("POLYBATCH_GPU_TYPE", ""), help="as `sinfo -o %%G` names it")
    parser.add_argument("--account", default=value("POLYBATCH_ACCOUNT", ""), help="who pays")


def places(arguments: argparse.Namespace) -> list[str]:
    """The partitions for jobs without cards that were named, else that of the environment; empty: the default one."""
    return arguments.partition or [os.environ.get("POLYBATCH_CPU_PARTITION", "")]


def run(arguments: argparse.Namespace) -> None:
    """Probes each partition in turn and prints what was found.

    Raises:
        ConfigError: With all faults of all partitions; or that there is no Slurm.
    """
    require_slurm()
    offered = read_cluster()
    small = {"account": arguments.account, "mem_mb": 500, "minutes": 5}
    requests = [Request(partition=name, **small) for name in places(arguments)]
    if arguments.gpus or arguments.gpu_partition:
        cards = {"gpus": max(1, arguments.gpus), "gpu_type": arguments.gpu_type}
        requests.append(Request(partition=arguments.gpu_partition, **cards, **small))
    require_runnable({request: ["the probe"] for request in requests}, offered)
    faults: list[str] = []
    for request in requests:
        name = request.partition or "the default partition"
        found = probe(request, arguments.wait)
        print(f"{name}: {'as it should be' if not found else f'{len(found)} fault(s)'}", flush=True)
        faults += [f"{name}: {fault}" for fault in found]
    if faults:
        numbered = [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
        raise ConfigError("Jobs would fail on these nodes.\n" + "\n".join(numbered))


def probe(request: Request, wait_s: int) -> list[str]:
    """Runs the probe's job on one node and prints what it saw; the faults of that node."""
    here = _here()
    token = here.folder / here.token
    token.write_text(here.token, "utf-8")
    try:
        command = ["srun", "--quiet", "--chdir=/", f"--immediate={wait_s}", "--export=ALL", *request.arguments()]
        command += ["--job-name=polybatch-probe", "sh", "-c", _SCRIPT, "sh", str(here.folder), here.token]
        answer = run_command([*command, here.python, str(here.hub or ""), _FIND], wait_s + 120.0)
        values = read_values(answer.text)
        if "host" not in values:
            return [_did_not_run(answer, wait_s)]
        _print(values, here)
        came_back = bool(values.get("written")) and _appears(token.with_name(f"{here.token}.node"))
        return list(node_faults(values, here, request, came_back=came_back))
    finally:
        token.unlink(missing_ok=True)
        token.with_name(f"{here.token}.node").unlink(missing_ok=True)


def node_faults(values: dict[str, str], here: Here, request: Request, *, came_back: bool) -> Iterator[str]:
    """What would make jobs fail on a node, each with what to do.

    Args:
        values: What the node said, by name: see the script above.
        here: What it should have seen.
        request: What was asked for.
        came_back: Whether the file that the node wrote appeared here.
    """
    node = values["host"]
    if values.get("token") != here.token:
        yield (
            f"the node {node} does not see the working directory {here.folder}. Move the project to a file system that "
            "all nodes share (often the home directory, or what your cluster calls scratch or work), and run it there; "
            f"or choose a partition whose nodes share it, in {PROFILE}"
        )
    elif not came_back:
        yield (
            f"the node {node} reads {here.folder}, but what it writes there does not arrive here. The file system has "
            f"to be writable from the nodes; where it is only slow, raise latency-wait in {PROFILE}"
        )
    told = values.get("python", "")
    if told != "ok":
        lacking = f"lacks modules: {told}" if _are_modules(told) else f"cannot run {here.python}: {told or 'no answer'}"
        yield (
            f"the node {node} {lacking}. Make the virtual environment on a file system that all nodes share, activate "
            "it, and run snakemake from it (docs/cluster.md)"
        )
    elif not values.get("path_python"):
        yield f"the node {node} has no `python` on its PATH. Activate the virtual environment before `snakemake`"
    if here.hub is not None and not values.get("hub"):
        yield (
            f"the node {node} does not see the hub's cache {here.hub}. Put it on a file system that all nodes share: "
            "export HF_HOME=/that/folder, there and in later runs, and run `snakemake prefetch`"
        )
    if request.gpus and not values.get("cards"):
        yield (
            f"the node {node} was given {request.gpus} card(s), but CUDA_VISIBLE_DEVICES is not set in the job. The "
            "cluster's gres.conf has to name the cards' device files: ask its administrators"
        )


def read_values(text: str) -> dict[str, str]:
    """The script's lines, name -> value. Other lines, such as Slurm's own, are left out."""
    pairs = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return {name: value.strip() for name, value in pairs}


def _here() -> Here:
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    return Here(Path.cwd(), f".polybatch-probe-{secrets.token_hex(4)}", sys.executable, hub if hub.is_dir() else None)


def _are_modules(words: str) -> bool:
    return bool(words) and all(word in _MODULES for word in words.split())


def _did_not_run(answer: Answer, wait_s: int) -> str:
    words = " ".join(answer.text.split())
    if "Unable to allocate resources" in words or "did not answer" in words:
        return f"no node became free within {wait_s} s ({words}). Ask again with a larger --wait, or see `sinfo`"
    return f"the probe's job did not run: {words or 'no answer'}"


def _print(values: dict[str, str], here: Here) -> None:
    cards = values.get("cards") or "none"
    driver = values.get("driver", "0")
    print(f"  node {values['host']}, working directory {'seen' if values.get('token') == here.token else 'NOT seen'}")
    print(f"  Python and package {values.get('python') or 'no answer'}; hub's cache {_seen(values, here)}")
    print(f"  CUDA_VISIBLE_DEVICES {cards}, cards that nvidia-smi lists {driver}")
    print(f"  memory free {_gigabytes(values.get('memory_kb'))}, disk free {_gigabytes(values.get('disk_kb'))}")


def _seen(values: dict[str, str], here: Here) -> str:
    if here.hub is None:
        return "not made yet"
    return "seen" if values.get("hub") else "NOT seen"


def _gigabytes(kilobytes: str | None) -> str:
    return f"{int(kilobytes) / 1e6:.1f} GB" if kilobytes and kilobytes.isdigit() else "unknown"


def _appears(path: Path) -> bool:
    """Whether a file that a node wrote is seen here, within the seconds that a network file system may take."""
    deadline = time.monotonic() + _LATENCY_S
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        os.listdir(path.parent)  # makes NFS look again
        time.sleep(0.5)
    return True
