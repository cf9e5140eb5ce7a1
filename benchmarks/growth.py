"""The growth of the stages that take longest, up to a million rows: translate, train and encode.

    python benchmarks/growth.py [--stages train encode] [--sizes 10000 100000 1000000]

Each stage as its own benchmark grows it, with models so small that a million rows take minutes: what is measured is
how time and memory grow, not how fast a stage is. `make bench` stops at smaller sizes to keep within half an hour;
collect and search go to a million rows there.

inputs: none
outputs: <out>/growth.json, and the table and figure that report.py makes of it
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import encode
import measure
import train
import translate

Grow = Callable[[argparse.Namespace, Iterable[int], Path], measure.Growth]
STAGES: dict[str, Grow] = {
    "translate": lambda args, sizes, _: translate.growth(args, sizes),
    "train": train.epoch_growth,
    "encode": encode.growth,
}
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (100, 200, 400)
TITLES = {
    "translate": "translate: there and back with the filter, shipped translator, greedy, int8, pairs of two sentences",
    "train": "train: one epoch of a very small encoder",
    "encode": "encode: 2 layers of 64",
}


def goals(stage: str, grown: measure.Growth) -> Iterator[measure.Goal]:
    """Between the two largest sizes, where start-up weighs least."""
    *_, before, largest = sorted(grown.sizes)
    sizes = f"{before:,} to {largest:,} {grown.unit}"
    yield measure.Goal(f"{stage}: exponent of time, {sizes}", grown.exponent(since=before), 1.1, at_least=False)
    yield measure.Goal(f"{stage}: peak memory, {sizes}", grown.memory_growth(before), 1.2, at_least=False, unit="x")


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=1)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--sizes", nargs="+", type=int, help="rows, at least two numbers")
    args = measure.settle(parser.parse_args(argv))
    sizes = args.sizes or (QUICK_SIZES if args.quick else SIZES)
    measured, wished = {}, []
    for stage in args.stages:
        with tempfile.TemporaryDirectory(prefix="polybatch-growth-") as folder:
            measured[TITLES[stage]] = grown = STAGES[stage](args, sizes, Path(folder))
        wished += goals(stage, grown)
    measure.write(f"growth{args.suffix}", measured, wished, folder=args.out)


if __name__ == "__main__":
    main()
