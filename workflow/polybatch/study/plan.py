"""What a study will cost before it starts: jobs, sentences, steps, passages, hours, disk, and how long it takes.

inputs: the resolved config, the output of a dry run, whatever earlier runs measured below results/<collection>/, and
    the stated defaults of polybatch/study/rates.yaml for the rest
outputs: a plan in Markdown, printed and written

A number taken from a file that exists is called measured, one from a data set's or benchmark's description is called
stated, one from rates.yaml is called assumed. Hours are those of one device of the kind that was measured; where
nothing was, of one card as rates.yaml describes it. The wall clock on several devices is simulated (`wall_clock`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from polybatch.config.values import Config
from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path
from polybatch.study.amounts import amounts
from polybatch.study.costs import Known
from polybatch.study.costs import lines as lines_of
from polybatch.study.job_graph import jobs
from polybatch.study.plan_options import add_plan_options
from polybatch.study.plan_text import Simulated, assumptions_text, costs_text, jobs_text, wall_clock_text
from polybatch.study.rates import Bound, Rate, at, rates
from polybatch.study.wall_clock import Job, Machine, longest_chain, schedule

# What Snakemake says in a dry run beside another one that is at work, which changes nothing of it.
_AT_WORK = re.compile(r"^.*Directory cannot be locked\. Another Snakemake instance is running\..*\n?", re.MULTILINE)
_COUNT = re.compile(r"^\s*([a-z_]+)\s+(\d+)\s*$", re.MULTILINE)
# Where the wall clock goes is told for so many devices, or for the most that were asked for if that is fewer.
_SHOWN = 8
_DEVICE = {
    "gpu": "a device is one card, measured where a rate at the end says so (an NVIDIA H100, one run each) and assumed "
    "where not: TRANSLATION ON A CARD WAS NOT MEASURED",
    "cpu": "a device is a machine of the two cores that docs/performance.md describes",
}
_ALSO = (
    "A job without a card takes one core, of those that are left to such jobs; a job on a card brings its own.",
    "Memory bounds nothing, disks and networks are as fast with many jobs as with one, no job fails, none waits in a "
    "queue. Not reckoned: downloads, the strings and the conversion of translators that are trained here, translated "
    "queries.",
    "A training takes all its steps; most stop earlier.",
)


def parse_jobs(text: str) -> dict[str, int]:
    """rule -> jobs, from what `snakemake --dry-run --quiet rules` prints."""
    return {name: int(count) for name, count in _COUNT.findall(text) if name != "total"}


def simulate(known: Known, of: Mapping[str, Rate], devices: Sequence[int], cards: int) -> tuple[list[Simulated], float]:
    """The study's wall clock on so many devices each, and the hours of its longest chain of jobs.

    Args:
        known: What the study has to do, and what was measured.
        of: The rates, with their ranges.
        devices: Numbers of devices.
        cards: Of them, those of each training; all, where there are fewer.
    """

    def on(number: int, bound: Bound) -> tuple[list[Job], Machine]:
        values = at(of, bound)
        machine = Machine(number, max(1, round(number * values["cores_per_device"])))
        return jobs(known, values, list(lines_of(known, values)), min(cards, number)), machine

    found = [
        Simulated(
            schedule(*on(number, "usual")),
            schedule(*on(number, "fast")).wall_hours,
            schedule(*on(number, "slow")).wall_hours,
        )
        for number in devices
    ]
    return found, longest_chain(on(max(devices), "usual")[0])


def plan_text(
    known: Known, of: Mapping[str, Rate], left: Mapping[str, int], args: argparse.Namespace, *, at_work: bool = False
) -> str:
    """The plan in Markdown.

    Args:
        known: What the study has to do, and what was measured.
        of: The rates, with their ranges.
        left: rule -> jobs, of the dry run.
        args: As `add_plan_options` reads them.
        at_work: Whether another Snakemake is doing some of these jobs.
    """
    simulated, chain = simulate(known, of, args.devices, args.cards)
    numbers = [one.usual.machine.devices for one in simulated]
    shown = simulated[numbers.index(_SHOWN) if _SHOWN in numbers else numbers.index(max(numbers))]
    also = [f"{args.cards} cards compute each training, where there are as many."] if args.cards > 1 else []
    parts = [
        costs_text(known.config, list(lines_of(known, at(of))), of),
        wall_clock_text(simulated, shown, chain, _DEVICE[args.on or "gpu"]),
        jobs_text(left, at_work=at_work),
        assumptions_text(of, [*also, *_ALSO]),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.study.plan", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, type=json.loads, help="the resolved config, as JSON")
    parser.add_argument("--base", required=True, type=Path, help="results/<collection>")
    parser.add_argument("--jobs", required=True, type=Path, help="what `snakemake --dry-run --quiet rules` printed")
    parser.add_argument("--output", required=True, type=Path)
    add_plan_options(parser)
    args = parser.parse_args(argv)
    text, at_work = _AT_WORK.subn("", args.jobs.read_text("utf-8"))
    left = parse_jobs(text)
    if not left and "Error" in text:  # the rule sees the exit status; this is for a stage that is called alone
        raise DataError("The dry run failed.", where=args.jobs, found=text[-2000:])
    config: Config = args.config
    known = Known.of(config, args.base, amounts(config, args.base, args.pairs, args.translated))
    plan = plan_text(known, rates(args.on or "gpu", args.rates), left, args, at_work=at_work > 0)
    with atomic_path(args.output) as partial:
        partial.write_text(plan, "utf-8")
    sys.stdout.write(plan)
    stage.log.info("written to %s", args.output)


if __name__ == "__main__":
    stage.run(main)
