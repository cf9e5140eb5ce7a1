"""Starts a stage with the cards that it was given: none, or exactly N that it has to itself, or shares with a few.

inputs: `--gpu N`, a module and its arguments; CUDA_VISIBLE_DEVICES, SLURM_JOB_ID, what `nvidia-smi` lists
outputs: the stage itself, in this process, with CUDA_VISIBLE_DEVICES set; a lock file for each card

Without cards the stage sees none, whatever the machine has. Inside a Slurm job the cards are those that Slurm shows.
On a workstation they are claimed (`cluster.claims`), for a job alone or, with POLYBATCH_JOBS_PER_GPU, for several.
Snakemake counts cards too (`resources: gpu=...`); the claims also keep two runs, or two users, apart.

With `--distributed` and several cards, torch's own launcher starts one process (rank) for each card on this machine.
Cards are NVIDIA's; others are not known here.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from polybatch.cluster.claims import CARDS_FOLDER, claim
from polybatch.core import stage
from polybatch.core.errors import ConfigError

_LISTING_S = 60
_NUMERIC_THREADS = ("OMP", "MKL", "OPENBLAS", "GOTO", "VECLIB_MAXIMUM", "NUMEXPR")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_CARD = re.compile(r"GPU (\d+): .*\(UUID: (\S+)\)")
_SLICE = re.compile(r"MIG .*\(UUID: (\S+)\)")
_LESS = "ask for fewer cards (POLYBATCH_GPUS, or set-resources in the profile)"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="polybatch.cluster.launch", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="cards that the stage gets; 0 hides them all")
    parser.add_argument("--distributed", action="store_true", help="with several cards: a process for each")
    parser.add_argument("--rank-of", type=int, default=0, metavar="PID", help=argparse.SUPPRESS)
    parser.add_argument("module", help="polybatch.training.train, for example")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the module")
    args = parser.parse_args(argv)

    if args.rank_of:
        die_with(args.rank_of)
        run_module(args.module, args.arguments)
        return
    if args.gpu < 0:
        raise ConfigError("A stage cannot get fewer than no cards.", where="--gpu", found=str(args.gpu))
    give_cards(args.gpu, os.environ)
    wait_briefly(os.environ)
    if args.distributed and args.gpu > 1:
        share_threads(args.gpu, os.environ)
        run_ranks(args.gpu, args.module, args.arguments)
    else:
        run_module(args.module, args.arguments)


def run_module(module: str, arguments: Sequence[str]) -> None:
    """Runs a module as `python -m` would, in this process."""
    sys.argv = [module, *arguments]  # runpy puts the module's path first
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def give_cards(wanted: int, environ: MutableMapping[str, str]) -> None:
    """Sets CUDA_VISIBLE_DEVICES so that the process sees exactly the wanted number of cards, claimed where needed.

    A claim lasts as long as this process. It waits while other jobs hold the cards.

    Raises:
        ConfigError: There are fewer cards than wanted, now and whenever other jobs end.
    """
    if wanted == 0:
        environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    job = environ.get("SLURM_JOB_ID", "")
    cards, listed = visible_cards(environ)
    if len(cards) < wanted:
        raise _too_few(wanted, cards, listed, in_slurm=bool(job))
    if wanted > 1 and any(card.startswith("MIG-") for card in cards):
        raise ConfigError(
            "A process cannot use several slices of cards (MIG) together.",
            expected="one slice a job, or whole cards",
            found=f"{wanted} wanted of {' '.join(cards)}",
            remedy="set gpu=1 for this rule, or switch MIG off on the cards",
        )
    if not job or len(cards) > wanted:
        # The jobs of a group, or of an interactive allocation, share what Slurm gave it; numbers are Slurm's own.
        folder = Path(environ.get("POLYBATCH_CARDS") or CARDS_FOLDER)
        cards = claim(cards, wanted, folder, prefix=f"slurm-{job}-" if job else "", sharers=jobs_per_card(environ))
    environ["CUDA_VISIBLE_DEVICES"] = ",".join(cards)
    stage.log.info("cards of this job: %s", " ".join(cards))


def visible_cards(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The cards that this process may choose from, as CUDA_VISIBLE_DEVICES takes them, and where that is known from.

    A CUDA_VISIBLE_DEVICES that was set already limits the choice. On a workstation its numbers are those of
    nvidia-smi (CUDA_DEVICE_ORDER=PCI_BUS_ID), and become UUIDs, which mean the same card in every process.
    """
    inherited = environ.get("CUDA_VISIBLE_DEVICES")
    tokens = [token.strip() for token in (inherited or "").split(",") if token.strip()]
    limit = f"CUDA_VISIBLE_DEVICES={inherited}"
    if environ.get("SLURM_JOB_ID"):
        return list(dict.fromkeys(tokens)), limit if inherited is not None else "CUDA_VISIBLE_DEVICES is not set"
    listed, told = installed_cards()
    if inherited is None:
        return [card for cards in listed.values() for card in cards], told
    if not listed and not shutil.which("nvidia-smi"):
        return list(dict.fromkeys(tokens)), f"{limit}; {told}"
    chosen = [card for token in tokens for card in _named(token, listed)]
    return list(dict.fromkeys(chosen)), f"{limit}; {told}"


def installed_cards() -> tuple[dict[str, list[str]], str]:
    """The number of each installed card -> its UUID, or those of its slices (MIG); and what was found, in words."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}, "nvidia-smi is not installed: there is no NVIDIA driver"
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_LISTING_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"nvidia-smi -L: {error}"
    if done.returncode:
        return {}, f"nvidia-smi -L: {' '.join((done.stdout + done.stderr).split())}"
    cards = parse_listing(done.stdout)
    return cards, f"nvidia-smi lists {len(cards)} card(s)"


def parse_listing(text: str) -> dict[str, list[str]]:
    """What `nvidia-smi -L` prints, as `installed_cards` gives it: the slices of a card stand below it."""
    cards: dict[str, list[str]] = {}
    slices: dict[str, list[str]] = {}
    number = ""
    for line in text.splitlines():
        if card := _CARD.match(line):
            number = card[1]
            cards[number], slices[number] = [card[2]], []
        elif (part := _SLICE.match(line.strip())) and number:
            slices[number].append(part[1])
    return {number: slices[number] or whole for number, whole in cards.items()}


def count_cards(wanted: int) -> int:
    """For profiles/gpu: how many cards jobs may claim here. Where a job's wish can never be met, a dry run is told so
    and goes on; anything else stops, because Snakemake would cut the wish down without a word, to none if need be."""
    cards, listed = visible_cards(os.environ)
    if len(cards) >= max(1, wanted):
        return len(cards)
    fault = _too_few(max(1, wanted), cards, listed, in_slurm=bool(os.environ.get("SLURM_JOB_ID")))
    if not any(re.fullmatch(r"--dry-?run|-[a-z]*n[a-z]*", word) for word in sys.argv[1:]):
        sys.exit(f"error: {fault}")  # Snakemake would put its whole usage before an exception's words
    print(f"A dry run as if there were enough cards. A real one would stop: {fault}", file=sys.stderr)
    return max(1, wanted)


def jobs_per_card(environ: Mapping[str, str]) -> int:
    """How many jobs may share a card, by POLYBATCH_JOBS_PER_GPU; one by default."""
    given = environ.get("POLYBATCH_JOBS_PER_GPU") or "1"
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(
            "POLYBATCH_JOBS_PER_GPU is no number of jobs.", expected="a whole number, at least 1", found=given
        )
    return int(given)


def count_jobs_per_card() -> int:
    """For profiles/gpu: `jobs_per_card` here; a fault ends Snakemake without its usage, as in `count_cards`."""
    try:
        return jobs_per_card(os.environ)
    except ConfigError as fault:
        sys.exit(f"error: {fault}")


def faiss_for_cards() -> int:
    """For profiles/gpu: 1 if a build of FAISS that computes on cards is installed, else 0."""
    from importlib.metadata import distributions

    names = {(distribution.name or "").lower() for distribution in distributions()}
    return int(any(re.match("faiss[-_](gpu|cuda)", name) for name in names))


def _named(token: str, listed: Mapping[str, list[str]]) -> list[str]:
    """The cards that one entry of CUDA_VISIBLE_DEVICES names: a number, or a UUID or its beginning."""
    if token.isdigit():
        return listed.get(str(int(token)), [])
    return [card for cards in listed.values() for card in cards if card.startswith(token)]


def _too_few(wanted: int, cards: list[str], listed: str, *, in_slurm: bool) -> ConfigError:
    here = "this Slurm job" if in_slurm else "this machine"
    if in_slurm:
        remedy = (
            "set the resource gpu of this rule, and for its partition the GRES of the cards, in profiles/slurm "
            "(docs/cluster.md); `scontrol show job` tells what this job was given"
        )
    elif cards:
        remedy = _LESS + ", or unset CUDA_VISIBLE_DEVICES where it hides cards"
    else:
        remedy = (
            "leave out --profile profiles/gpu, for the CPU; or install NVIDIA's driver; or unset CUDA_VISIBLE_DEVICES"
        )
    return ConfigError(
        f"A job asks for {wanted} GPU(s), and {here} has {len(cards) or 'none'}.",
        expected=f"{wanted} NVIDIA card(s)",
        found=listed,
        remedy=remedy,
    )


def wait_briefly(environ: MutableMapping[str, str]) -> None:
    """Lets threads that wait for one another fall asleep soon, unless the user says otherwise.

    By default libgomp's threads spin for much longer. Where something else keeps one of the cores, the others then burn
    theirs at every operation: a training was seen to take ten times as long beside a test suite, 82 % of it in that
    loop. On two idle cores a step takes .57 s like this, .64 s by default, and .70 s with OMP_WAIT_POLICY=PASSIVE
    (multilingual-e5-small, 128 texts of 12 tokens).
    """
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", "10000")


def share_threads(ranks: int, environ: MutableMapping[str, str]) -> None:
    """Divides the threads of a job among its ranks; where none are named, the cores that it may use."""
    environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    for name in (f"{library}_NUM_THREADS" for library in _NUMERIC_THREADS):
        if environ.get(name, "").isdigit():
            environ[name] = str(max(1, int(environ[name]) // ranks))


def run_ranks(ranks: int, module: str, arguments: Sequence[str]) -> None:
    """Runs a module in several processes, with torch's launcher in this one, and ends as the first of them failed.

    The launcher hands signals on to the ranks. Should it be killed outright, they die with it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    stage.log.info("%s: %d processes", module, ranks)
    started = ["--rank-of", str(os.getpid()), module, *arguments]
    try:
        run(parse_args(["--standalone", f"--nproc-per-node={ranks}", "--module", "polybatch.cluster.launch", *started]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        told = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        stage.log.error("process %d of %d ended with %s; what it said is above", rank, ranks, told)
        sys.exit(128 - code if code < 0 else code)
    except SignalException as error:
        stage.log.error("ended by %s, and the %d processes with it", error.sigval.name, ranks)
        signal.signal(error.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), error.sigval)


def die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent dies (Linux): an orphaned rank would hang on with its card."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("error: the process that started this one is gone.")


if __name__ == "__main__":
    stage.run(main)
