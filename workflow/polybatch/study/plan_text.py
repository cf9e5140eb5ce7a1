"""A plan in words: what each stage costs, how long all takes on so many devices, where the time goes, and why.

inputs: the lines of a plan, schedules, rates
outputs: Markdown, within 100 columns where the terms of a study allow it
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from polybatch.config.grid import models, runs
from polybatch.config.values import Config
from polybatch.study.costs import Line, is_training, total_hours
from polybatch.study.rates import Rate
from polybatch.study.wall_clock import Schedule

_WIDTH = 100


class Simulated(NamedTuple):
    """One number of devices: its schedule with the rates as they are, and hours at the ends of their ranges."""

    usual: Schedule
    fast_hours: float
    slow_hours: float


def costs_text(config: Config, plan: Sequence[Line], of: Mapping[str, Rate]) -> list[str]:
    """What the study is, and what each of its stages costs; `of` are the rates that the lines were reckoned with."""
    grid, trained = runs(config), sum(map(is_training, models(config)))
    study = config["study"]
    data = ", ".join(source["name"] for source in config["source"]) or "none is trained on"
    disk = sum(line.disk for line in plan if line.disk is not None)
    stopping = " Early stopping makes trainings shorter." if any(run.trained for run in grid) else ""
    return [
        f"# Plan of the study {study['name']}",
        "",
        *wrapped(
            f"{len(grid)} runs ({trained} trainings) on {len(study['benchmarks'])} benchmark(s): "
            f"{', '.join(study['benchmarks'])}. Data: {data}."
        ),
        "",
        *markdown(
            ["stage", "on a", "hours", "rate", "disk"],
            [
                [
                    line.stage,
                    "device" if line.device else "core",
                    "" if line.hours is None else hours_text(line.hours),
                    f"{line.rate}, {of[line.rate_name].origin} *" if line.rate_name else line.rate,
                    "" if line.disk is None else _bytes(line.disk),
                ]
                for line in plan
            ],
        ),
        "",
        *(words for line in plan for words in wrapped(f"- {line.stage}: {line.work}")),
        "",
        *wrapped(
            f"Together about {total_hours(plan, device=True):,.1f} hours of one device, "
            f"{total_hours(plan, device=False):,.1f} hours of one core beside it, and {_bytes(disk)}, without "
            f"downloads.{stopping} Measured: from this machine's earlier runs. Stated: from the description of a data "
            "set, model or benchmark. Assumed, and what has a star: from polybatch/study/rates.yaml, which the end of "
            "this page lists; what is measured there was measured on another machine and text."
        ),
    ]


def jobs_text(jobs: Mapping[str, int], *, at_work: bool = False) -> list[str]:
    """The jobs that a dry run found; `at_work`: while another Snakemake did some of them."""
    if not jobs:
        return ["No job is left to do."]
    rows = [[name, str(count)] for name, count in jobs.items()]
    also = " Another Snakemake is at work in this folder; what it is doing is among them." if at_work else ""
    return [*wrapped(f"{sum(jobs.values())} jobs are left to do:{also}"), "", *markdown(["rule", "jobs"], rows)]


def wall_clock_text(simulated: Sequence[Simulated], shown: Simulated, chain: float, device: str) -> list[str]:
    """The wall clock on each number of devices, and where it goes on one of them."""
    rows = [
        [
            str(one.usual.machine.devices),
            hours_text(one.usual.wall_hours),
            f"{hours_text(one.fast_hours)} to {hours_text(one.slow_hours)}",
            f"{one.usual.utilisation:.0%}",
        ]
        for one in simulated
    ]
    usual = shown.usual
    stages = [
        [
            stage.stage,
            str(stage.jobs),
            hours_text(stage.device_hours) if stage.device_hours else "",
            hours_text(stage.wall_hours) if stage.wall_hours else "",
            f"{stage.wall_hours / usual.wall_hours:.0%}" if stage.wall_hours else "",
            f"{stage.idle_share:.0%}" if stage.wall_hours else "",
        ]
        for stage in usual.stages()
    ]
    number = usual.machine.devices
    return [
        "## Wall clock",
        "",
        *wrapped(
            f"The whole study from nothing, simulated: {device}. Jobs start when all that they wait for is there, the "
            "longest first. The range is from every rate of rates.yaml at its fastest to every one at its slowest; "
            "rates that earlier runs of this collection measured stay. Busy is the share of the devices' hours."
        ),
        "",
        *markdown(["devices", "wall clock, h", "range, h", "busy"], rows),
        "",
        *wrapped(f"The longest chain of jobs takes {hours_text(chain)} h: no number of devices is faster."),
        "",
        f"Where the wall clock goes with {number} device{'' if number == 1 else 's'}:",
        "",
        *markdown(["stage", "jobs", "device hours", "wall clock, h", "share", "devices idle meanwhile"], stages),
        "",
        *wrapped(f"The end waits for: {_chain_words(usual)}."),
    ]


def assumptions_text(rates: Mapping[str, Rate], more: Sequence[str]) -> list[str]:
    """All rates of rates.yaml with their ranges, and what else a simulated wall clock rests on."""
    what = "Values of rates.yaml, with their range from slowest to fastest. Files are those of measurements/results."
    lines = ["## What this rests on", "", *wrapped(what), ""]
    for name, rate in rates.items():
        ends = "" if rate.slow == rate.fast else f" ({_short(rate.slow)} to {_short(rate.fast)})"
        why = f": {rate.why}" if rate.why else ""
        lines += wrapped(f"- {name} {_short(rate.value)}{ends}, {rate.origin}{why}")
    return [*lines, "", *(words for one in more for words in wrapped(f"- {one}"))]


def _chain_words(schedule: Schedule) -> str:
    """The stages of the jobs that the end waits for, in their order: "collect 1.2 h, translate 11 h (4 jobs)"."""
    stages: list[tuple[str, int, float]] = []
    for span in schedule.critical():
        stage, hours = span.job.stage, span.end - span.start
        if stages and stages[-1][0] == stage:
            stages[-1] = (stage, stages[-1][1] + 1, stages[-1][2] + hours)
        else:
            stages.append((stage, 1, hours))
    words = [f"{stage} {hours_text(hours)} h" + (f" ({n} jobs)" if n > 1 else "") for stage, n, hours in stages]
    return ", then ".join(words) or "nothing"


def hours_text(hours: float) -> str:
    """Two significant digits, and whole hours from a hundred on: no plan is more exact."""
    if hours >= 100:
        return f"{float(f'{hours:.2g}'):,.0f}"
    if hours >= 10:
        return f"{hours:.0f}"
    return f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}" if hours >= 0.1 else f"{hours:.3f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def wrapped(text: str) -> list[str]:
    """The lines of a paragraph, or of an item of a list, which are indented below the first."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in (header, ["-" * max(width, 1) for width in widths], *rows)
    ]
    return [f"| {' | '.join(row)} |" for row in padded]


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
