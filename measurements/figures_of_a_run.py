"""The figures of runs that are compared: one run of a command, paired ratios, growth with size, goals.

inputs: numbers that measure.py took, or that it wrote earlier
outputs: ratios, medians and exponents, in memory; plain JSON values of them
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polybatch.core.errors import DataError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
# Results of a quick run say nothing: they go where git does not look.
QUICK_RESULTS = ROOT / "build" / "measurements"

Of = Literal["rate", "inner_rate", "seconds", "inner_seconds", "cpu_seconds", "peak_bytes"]


def short_system(text: str) -> str:
    """A system with two numbers of its kernel's version: "Linux 6.18, x86_64" of "Linux 6.18.44-9-generic, x86_64"."""
    return re.sub(r"^(\w+ \d+\.\d+)[^,]*", r"\1", text)


@dataclass(frozen=True)
class Result:
    """One command, run once.

    Attributes:
        seconds: Wall clock from before the process is started until it is gone.
        cpu_seconds: Processor time, user and system, of the process and of every child that it waited for.
        peak_bytes: Peak memory of the process and its children together; see `run`.
        units: Amount of work that the command said it did.
        inner_seconds: The command's own time for the work without start-up; None where it did not say.
        said: The whole object that the command printed last.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    units: float
    inner_seconds: float | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    def get(self, of: Of) -> float:
        """One number of the result; a rate is in units per second.

        Raises:
            DataError: Inner seconds are asked for and the command did not print `seconds`.
        """
        if of == "rate":
            return self.units / self.seconds
        if of in ("inner_rate", "inner_seconds"):
            if self.inner_seconds is None:
                raise DataError("A benchmark asks for a time that its command does not print.", expected="seconds")
            return self.inner_seconds if of == "inner_seconds" else self.units / self.inner_seconds
        return float(getattr(self, of))


@dataclass(frozen=True)
class Ratio:
    """Paired ratios, one a round: `median`, `low` and `high` (the least and the greatest), and `each`."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    @property
    def low(self) -> float:
        return min(self.each)

    @property
    def high(self) -> float:
        return max(self.each)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Measurement:
    """Cases that did the same work, run alternately.

    Attributes:
        cases: Name of the case -> its results, one a round, in order.
        unit: What is counted, in the plural: "pairs".
        peer: Name of the case that the others are held against in tables; empty for the last one.
    """

    cases: Mapping[str, Sequence[Result]]
    unit: str = "rows"
    peer: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "peer", self.peer or list(self.cases)[-1])

    def ratio(self, a: str, b: str, of: Of = "rate") -> Ratio:
        """How many times `b` is in `a`, round by round: of rates (the default), "a is so many times as fast as b"."""
        pairs = zip(self.cases[a], self.cases[b], strict=True)
        return Ratio(tuple(left.get(of) / right.get(of) for left, right in pairs))

    def median(self, case: str, of: Of = "rate") -> float:
        """The median over rounds of one number of one case."""
        return statistics.median(result.get(of) for result in self.cases[case])


@dataclass(frozen=True)
class Growth:
    """One command at several sizes.

    Attributes:
        sizes: Number of rows -> results, one a round.
        unit: What is counted, in the plural.
    """

    sizes: Mapping[int, Sequence[Result]]
    unit: str = "rows"

    def median(self, size: int, of: Of = "seconds") -> float:
        """The median over rounds at one size."""
        return statistics.median(result.get(of) for result in self.sizes[size])

    def exponent(self, of: Of = "inner_seconds", since: int = 0) -> float:
        """The power of the number of rows that time grows with: slope of the line through log(rows), log(time).

        Args:
            of: Inner seconds by default, because a fixed start-up flatters the exponent of wall clock.
            since: Sizes below this are left out.
        """
        sizes = sorted(size for size in self.sizes if size >= since)
        across = [math.log(size) for size in sizes]
        return statistics.linear_regression(across, [math.log(self.median(size, of)) for size in sizes]).slope

    def memory_growth(self, since: int) -> float:
        """Peak memory at the largest size as a multiple of that at `since` rows: 1 is flat."""
        return self.median(max(self.sizes), "peak_bytes") / self.median(since, "peak_bytes")


@dataclass(frozen=True)
class Parts:
    """What one run's time went into.

    Attributes:
        seconds: What it was -> its seconds, in the order in which they are told; together the whole.
    """

    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """What was wished for and what came out.

    Attributes:
        name: One phrase: "pairs per second against the stock trainer".
        value: A ratio with its rounds, or one number.
        bound: The number that must be reached or not passed.
        at_least: True where more is better, False where less is.
        unit: Written behind the numbers: " s", " GB", "x".
        note: Why it was missed, or under which condition it holds; one sentence.
        missing: Not measured here; `value` is not looked at, and the note says why.
    """

    name: str
    value: Ratio | float
    bound: float
    at_least: bool = True
    unit: str = ""
    note: str = ""
    missing: bool = False

    @property
    def number(self) -> float:
        return self.value.median if isinstance(self.value, Ratio) else self.value

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where it was not measured."""
        if self.missing:
            return None
        return self.number >= self.bound if self.at_least else self.number <= self.bound


def as_json(measured: Measurement | Growth | Parts) -> dict[str, Any]:
    """Every single number of a measurement, as `<stage>.json` holds it."""
    if isinstance(measured, Parts):
        return {"kind": "parts", "order": list(measured.seconds), "seconds": dict(measured.seconds)}
    if isinstance(measured, Growth):
        sizes = {str(size): [asdict(result) for result in results] for size, results in measured.sizes.items()}
        return {"kind": "growth", "unit": measured.unit, "sizes": sizes}
    cases = {name: [asdict(result) for result in results] for name, results in measured.cases.items()}
    return {"kind": "paired", "unit": measured.unit, "peer": measured.peer, "order": list(cases), "cases": cases}


def goal_as_json(goal: Goal) -> dict[str, Any]:
    """A goal and what came out, as `<stage>.json` holds it."""
    each = list(goal.value.each) if isinstance(goal.value, Ratio) else [goal.value]
    return {
        "name": goal.name,
        "value": None if goal.missing else goal.number,
        "each": [] if goal.missing else each,
        "bound": goal.bound,
        "at_least": goal.at_least,
        "unit": goal.unit,
        "note": goal.note,
        "met": goal.met,
    }
