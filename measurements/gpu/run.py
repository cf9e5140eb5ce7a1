"""The measurements on a card, on a machine without a network: one command, steps with limits, results as they come.

    python measurements/gpu/run.py --carry build/gpu --out OUT --steps study train-e5 train-xlmr
    python measurements/gpu/run.py --rehearse --carry build/gpu --out OUT      # all steps on a CPU, tiny

Each step is a process of its own; one that fails or takes too long is told and the next one is begun. What was
unpacked stays in --work, and a later command on the same machine unpacks only what is new.

inputs: loads of prepare.py below --carry; --work, of an earlier command
outputs: <out>/results.jsonl, a line a step: what it measured, or how it ended; <out>/<step>.log
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Step(NamedTuple):
    """A function of steps.py, and the seconds after which it is ended."""

    name: str
    limit_s: int


# What matters most first. Together they may take longer than one command: --steps says which.
STEPS = [
    Step("environment", 40),
    Step("loss-curve", 60),
    Step("train", 230),
    Step("profile", 120),
    Step("train-4096", 150),
    Step("encode", 90),
    Step("study", 240),
    Step("study-shared", 200),
    Step("translate", 120),
    Step("translate-nllb", 170),
    Step("two-ranks", 80),
    Step("faiss", 40),
]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--carry", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--work", type=Path, default=Path("/tmp/polybatch-gpu"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", nargs="+", choices=[step.name for step in STEPS], help="all by default")
    parser.add_argument("--seconds", type=float, default=570, help="no step is begun that may end after these")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with next to nothing: says nothing of speed")
    args = parser.parse_args(argv)
    end = time.monotonic() + (float("inf") if args.rehearse else args.seconds)
    args.out.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    unpack(args.carry, args.work)
    for step in STEPS:
        if args.steps is None or step.name in args.steps:
            left = end - time.monotonic()
            tell(
                args.out,
                run(step, args, min(step.limit_s, left)) if left > 10 else {"step": step.name, "ended": "no time"},
            )


def unpack(carry: Path, work: Path) -> None:
    """Unpacks each load once, and installs its wheels where nothing but these steps sees them."""
    for archive in sorted(carry.glob("load-*/content.tar.xz")):
        done = work / f"{archive.parent.name}.done"
        if done.exists():
            continue
        folder = work / archive.parent.name
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="tar")  # with the times of files
        if (folder / "data").is_dir():
            (work / "data").symlink_to(folder / "data")
        if wheels := sorted(map(str, folder.glob("wheels/*.whl"))):
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
            pip += ["--disable-pip-version-check", "--upgrade", "--target", str(work / "site"), *wheels]
            subprocess.run(pip, check=True)
        done.touch()


def run(step: Step, args: argparse.Namespace, limit: float) -> dict[str, object]:
    """One step in a process group of its own, ended with all its children when its time is over."""
    command = [sys.executable, str(HERE / "steps.py"), step.name, "--work", str(args.work)]
    command += ["--rehearse"] if args.rehearse else []
    paths = [args.work / "site", ROOT / "workflow", ROOT / "measurements", HERE]
    own = os.environ.get("PYTHONPATH")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *([own] if own else [])])}
    env |= {"PATH": f"{args.work / 'site' / 'bin'}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    start = time.monotonic()
    log = args.out / f"{step.name}.log"
    with log.open("w") as told:
        child = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=told, text=True, start_new_session=True, cwd=ROOT
        )
        try:
            printed, _ = child.communicate(timeout=None if args.rehearse else limit)
            ended = f"exit {child.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            printed, _ = child.communicate()
            ended = f"ended after {limit:.0f} s"
    seconds = round(time.monotonic() - start, 1)
    lines = printed.strip().splitlines()
    said = [json.loads(line) for line in lines if line.startswith('{"')]  # libraries print as well
    result: dict[str, object] = {"step": step.name, "seconds": seconds, "ended": ended, "said": said}
    if child.returncode:
        result["log"] = log.read_text("utf-8", errors="replace").splitlines()[-12:]
    return result


def tell(out: Path, result: dict[str, object]) -> None:
    line = json.dumps(result)
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
