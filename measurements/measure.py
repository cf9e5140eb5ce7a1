"""Measures commands side by side, each in a process of its own: wall clock, processor time, peak memory, work done.

What is compared are command lines, run alternately (A B A B), so that imports, start-up and peak memory are those that
a user sees, and so that a disturbance of the machine meets both sides. A command prints as its last line of output a
JSON object with at least `units`, the amount of work that it did (rows, pairs, sentences); `seconds`, if there, is the
time of the work itself, without start-up. Everything else in the object is kept beside the numbers.

Memory is read from /proc, so on Linux only; see `peak memory` at `run`.

inputs: commands.
outputs: <folder>/<stage>.json with every single number, and from it, by report.py, <stage>.md and a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from figures_of_a_run import (
    HERE,
    QUICK_RESULTS,
    RESULTS,
    ROOT,
    Goal,
    Growth,
    Measurement,
    Of,
    Parts,
    Ratio,
    Result,
    as_json,
    goal_as_json,
    short_system,
)

import report
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, write_json

__all__ = [
    "HERE",
    "RESULTS",
    "ROOT",
    "Case",
    "Goal",
    "Growth",
    "Measurement",
    "Of",
    "Parts",
    "Ratio",
    "Result",
    "arguments",
    "cores",
    "grow",
    "machine",
    "paired",
    "run",
    "settle",
    "write",
]

# Memory is looked at 50 times a second, and seldom enough to take no more than this share of one processor.
_LOOK_EVERY_S = 0.02
_LOOK_SHARE = 0.02
_STDERR_LINES = 25
_LIBRARIES = (
    "polybatch",
    "snakemake",
    "torch",
    "transformers",
    "sentence-transformers",
    "ctranslate2",
    "datasets",
    "mteb",
    "faiss-cpu",
    "numpy",
    "pyarrow",
    "pytrec_eval",
    "datatrove",
)


Command = Sequence[str]
# A callable does what must not be timed (an empty output folder) and gives back what `run` gave it.
Case = Command | Callable[[], Result]


def paired(
    cases: Mapping[str, Case],
    rounds: int = 3,
    *,
    unit: str = "rows",
    peer: str = "",
    threads: int | None = None,
    warm: bool = False,
) -> Measurement:
    """Runs the cases alternately, `rounds` times each: A B A B.

    Args:
        cases: Name -> command line, or a callable that prepares what must not be timed and returns `run(...)`.
        rounds: How often each is run.
        unit: What is counted.
        peer: The case that the others are held against in tables; the last one by default.
        threads: Threads of every case's libraries; `cores()` by default. Not for callables.
        warm: One round before, unmeasured, for caches of files and of compiled code.

    Raises:
        DataError: A command failed or said nothing about its work.
    """
    results: dict[str, list[Result]] = {name: [] for name in cases}
    for number in range(-int(warm), rounds):
        for name, case in cases.items():
            result = case() if callable(case) else run(case, threads=threads)
            told = "warm" if number < 0 else f"round {number + 1}"
            print(f"  {told}: {name}: {_line(result, unit)}", file=sys.stderr, flush=True)
            if number >= 0:
                results[name].append(result)
    return Measurement(results, unit=unit, peer=peer)


def grow(cases: Mapping[int, Case], rounds: int = 1, *, unit: str = "rows", threads: int | None = None) -> Growth:
    """Runs one command at several sizes, the smallest first, all of them `rounds` times; see `paired`."""
    named: dict[str, Case] = {str(size): cases[size] for size in sorted(cases)}
    measured = paired(named, rounds, unit=unit, threads=threads)
    return Growth({int(size): results for size, results in measured.cases.items()}, unit=unit)


def cores() -> int:
    """The processors that this process may use: all, or fewer under `taskset`, by which one core is measured."""
    return len(os.sched_getaffinity(0))


def run(
    command: Command,
    *,
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    units: float | None = None,
) -> Result:
    """Runs one command in a process of its own and measures it.

    Peak memory: the process's resident set where it is alone; where it has children, the sum over all of their
    proportional sets (PSS: a page shared by two counts half for each), looked at up to 50 times a second, but
    less often where that is dear (many processes, many pages). Where the kernel's own record of the largest single
    process is higher, that is taken.

    Args:
        command: Program and arguments.
        threads: OMP_NUM_THREADS of the command; `cores()` by default.
        env: More of the environment; stands over everything else.
        cwd: Working directory.
        units: Amount of work, for a command that does not print it (Snakemake). Its output is then not looked at.

    Raises:
        DataError: The command failed, or its last line is not JSON with `units`.
    """
    ours = os.pathsep.join(filter(None, [str(ROOT / "workflow"), os.environ.get("PYTHONPATH")]))
    outside = {**os.environ, "PYTHONPATH": ours, "OMP_NUM_THREADS": str(threads or cores()), **(env or {})}
    start = time.perf_counter()
    child = subprocess.Popen(
        list(command), env=outside, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    said: dict[str, bytes] = {}
    readers = [
        threading.Thread(target=lambda name, pipe: said.update({name: pipe.read()}), args=(name, pipe))
        for name, pipe in (("out", child.stdout), ("err", child.stderr))
    ]
    watch = _Watch(child.pid)
    for thread in (*readers, watch):
        thread.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    watch.stop()
    for thread in readers:
        thread.join()
    out, err = (said[name].decode("utf-8", "replace") for name in ("out", "err"))
    if child.returncode:
        raise DataError(
            f"A command of a benchmark ended with {child.returncode}.",
            where=" ".join(command),
            found="\n" + "\n".join((err or out).splitlines()[-_STDERR_LINES:]),
        )
    printed = {"units": units} if units is not None else _last_object(command, out)
    return Result(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=max(watch.peak, _kernels_peak(usage.ru_maxrss * 1024)),
        units=float(printed["units"]),
        inner_seconds=printed.get("seconds"),
        said=printed,
    )


def _last_object(command: Command, out: str) -> dict[str, Any]:
    """The JSON object on the last line of a command's output."""
    lines = out.strip().splitlines()
    try:
        printed = json.loads(lines[-1])
        float(printed["units"])
    except (IndexError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "A command of a benchmark does not say how much work it did.",
            where=" ".join(command),
            expected='a last line of output such as {"units": 1000, "seconds": 1.5}',
            found=lines[-1][:200] if lines else "no output",
        ) from error
    return dict(printed)


def _kernels_peak(maxrss: int) -> int:
    """The kernel's record of the largest process of a finished tree, or 0 where it may not be the tree's own.

    A process starts with the record of the one that started it, even across exec: only what is above our own peak
    is the command's.
    """
    ours = _kilobytes(Path("/proc/self/status"), "VmHWM") * 1024
    return maxrss if maxrss > ours else 0


class _Watch(threading.Thread):
    """Looks at a process and its descendants until told to stop; `peak` is the most memory seen, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        wait = _LOOK_EVERY_S
        while not self._done.wait(wait):
            start = time.thread_time()
            pids = _tree(self._pid)
            field_, file = ("VmHWM", "status") if len(pids) == 1 else ("Pss", "smaps_rollup")
            now = sum(_kilobytes(Path(f"/proc/{pid}/{file}"), field_) for pid in pids) * 1024
            self.peak = max(self.peak, now)
            wait = max(_LOOK_EVERY_S, (time.thread_time() - start) / _LOOK_SHARE)

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    """A process and its living descendants."""
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        try:
            for task in Path(f"/proc/{current}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _kilobytes(path: Path, name: str) -> int:
    """A line `name: 123 kB` of a file of /proc; 0 where the process is gone."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def _line(result: Result, unit: str) -> str:
    return (
        f"{result.seconds:.2f} s, {result.cpu_seconds:.2f} s of processor, "
        f"{result.peak_bytes / 1e6:.0f} MB, {result.get('rate'):.1f} {unit}/s"
    )


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, versions: what a number means nothing without."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": _gpus(),
        "system": short_system(f"{platform.system()} {platform.release()}, {platform.machine()}"),
        "python": platform.python_version(),
        "versions": {name: version for name in _LIBRARIES if (version := _version(name))},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return match[1].strip() if match else platform.processor() or "unknown"


def _gpus() -> list[str]:
    """Names of the cards as the driver tells them; no card is no fault."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return []
    return [line.strip() for line in told.stdout.splitlines() if line.strip()] if told.returncode == 0 else []


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def write(
    stage: str,
    measurements: Mapping[str, Measurement | Growth | Parts],
    goals: Sequence[Goal],
    *,
    folder: Path = RESULTS,
    earlier: Callable[[str], bool] = lambda title: False,
) -> Path:
    """Writes <folder>/<stage>.json with everything, draws table and figure beside it, and prints the table.

    Args:
        stage: "translate", "train", ...; on a GPU with a suffix: "encode-cuda".
        measurements: Title -> measurement. One table each.
        goals: What was wished for.
        folder: `arguments().parse_args().out`.
        earlier: Whether a table or goal of this name stays as the file that is there has it, before the new ones.
    """
    path = folder / f"{stage}.json"
    here = machine()
    kept = _kept(path, here, earlier)
    write_json(
        path,
        {
            "stage": stage,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": here,
            "measurements": kept["measurements"] | {title: as_json(one) for title, one in measurements.items()},
            "goals": [*kept["goals"], *map(goal_as_json, goals)],
        },
    )
    print(report.write_stage(path))
    return path


def _kept(path: Path, here: Mapping[str, Any], wanted: Callable[[str], bool]) -> dict[str, Any]:
    """What stays of the results of an earlier call: nothing that another machine or other libraries measured."""
    found = read_json(path) if path.is_file() else {"machine": here, "measurements": {}, "goals": []}
    if found["machine"] != here:
        print(f"  {path} was measured elsewhere, or with other libraries: nothing of it is kept", file=sys.stderr)
        return {"measurements": {}, "goals": []}
    return {
        "measurements": {title: one for title, one in found["measurements"].items() if wanted(title)},
        "goals": [goal for goal in found["goals"] if wanted(goal["name"])],
    }


def arguments(doc: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """The options that every benchmark has: --rounds, --quick, --device, --out (a folder; see `settle`)."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each side is run, alternately")
    parser.add_argument("--quick", action="store_true", help="in seconds, on next to nothing: says nothing about speed")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where the models run")
    parser.add_argument("--out", type=Path, help="folder of the results; measurements/results, or build/ if --quick")
    return parser


def settle(args: argparse.Namespace) -> argparse.Namespace:
    """Fills in what --quick and --device mean for the folder, the rounds and the name of the results."""
    if args.quick:
        args.rounds = 1
    args.out = args.out or (QUICK_RESULTS if args.quick else RESULTS)
    args.suffix = "" if args.device == "cpu" else f"-{args.device}"
    if cores() < (os.cpu_count() or 1):
        args.suffix += f"-{cores()}-of-{os.cpu_count()}-cores"
    return args
