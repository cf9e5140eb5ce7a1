"""The growth of the stages that take longest, up to a million rows: translate, train, encode; search to ten million.

Collecting, cleaning, looking for duplicates and decontaminating go from one million pairs to ten if `--stages collect`
names them: that takes half an hour of one processor, and 10 GB of disk where temporary files lie ($TMPDIR).

    python measurements/growth.py [--stages train encode] [--sizes 10000 100000 1000000]

Each stage as its own benchmark grows it, with models so small that a million rows take minutes: what is measured is
how time and memory grow, not how fast a stage is. `make bench` stops at smaller sizes to keep within half an hour:
collecting at 300,000 rows, searching at a million. Exact search takes ten times the rows here, in 64 dimensions, and
beside the largest stands an index that is not exact.

inputs: none
outputs: <out>/growth-<stage>.json for each stage, and the table and figure that report.py makes of it
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import collect
import encode
import measure
import search
import train
import translate

Grow = Callable[[argparse.Namespace, Iterable[int], Path], measure.Growth]
STAGES: dict[str, Grow] = {
    "translate": lambda args, sizes, _: translate.growth(args, sizes),
    "train": train.epoch_growth,
    "encode": encode.growth,
}
SEARCH, COLLECT = "search", "collect"
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (100, 200, 400)
COLLECT_SIZES = (1_000_000, 10_000_000)
PASSAGES_A_ROW, DIM, FACTORY = 10, 64, "IVF4096,PQ32x8"
TITLES = {
    "translate": "translate: there and back with the filter, shipped translator, greedy, int8, pairs of two sentences",
    "train": "train: one epoch of a very small encoder",
    "encode": "encode: 2 layers of 64",
    SEARCH: f"search: exact, {search.QUERIES_OF_GROWTH:,} queries, {DIM} dimensions",
}


def goals(stage: str, grown: measure.Growth) -> Iterator[measure.Goal]:
    """Between the two largest sizes, where start-up weighs least."""
    *_, before, largest = sorted(grown.sizes)
    sizes = f"{before:,} to {largest:,} {grown.unit}"
    yield measure.Goal(f"{stage}: exponent of time, {sizes}", grown.exponent(since=before), 1.1, at_least=False)
    said = [grown.sizes[size][-1].said for size in (before, largest)]
    whole, own = grown.memory_growth(before), "own_bytes" in said[0]
    yield measure.Goal(
        f"{stage}: peak memory, {sizes}" + (", pages of mapped files left out" if own else ""),
        said[1]["own_bytes"] / said[0]["own_bytes"] if own else whole,
        1.2,
        at_least=False,
        unit="x",
        note=f"With these pages, which the system takes back at need, {whole:.2f}." if own else "",
    )


def searched(sizes: Iterable[int], factory: str) -> tuple[measure.Growth, list[measure.Goal]]:
    """Exact search in vectors that are read in blocks, and an index of the largest number of them."""
    options = argparse.Namespace(dim=DIM, factory=factory)
    grown = measure.grow({n: partial(search.grown, "exact", n, options) for n in sizes}, unit="passages")
    *_, before, largest = sorted(grown.sizes)
    share = grown.median(largest, "peak_bytes") / (4 * DIM * largest)
    return grown, [
        measure.Goal(
            f"search: exponent of time, {before:,} to {largest:,} passages",
            grown.exponent(since=before),
            1.1,
            at_least=False,
        ),
        measure.Goal(
            f"search: peak memory, of what {largest:,} vectors are in bytes", share, 0.2, at_least=False, unit="x"
        ),
        search.beside(search.grown("approximate", largest, options).said),
    ]


def collected(by_stage: Mapping[str, measure.Growth]) -> Iterator[measure.Goal]:
    """Of each stage processor time, which other work on the machine disturbs least, and memory."""
    for stage, grown in by_stage.items():
        *_, before, largest = sorted(grown.sizes)
        sizes = f"{before:,} to {largest:,} pairs"
        time = grown.exponent("cpu_seconds", since=before)
        yield measure.Goal(f"{stage}: exponent of processor time, {sizes}", time, 1.05, at_least=False)
        memory = grown.memory_growth(before)
        yield measure.Goal(f"{stage}: peak memory, {sizes}", memory, 1.2, at_least=False, unit="x")


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=1)
    parser.add_argument("--stages", nargs="+", choices=[*STAGES, SEARCH, COLLECT], default=[*STAGES, SEARCH])
    parser.add_argument("--sizes", nargs="+", type=int, help="rows, at least two numbers")
    args = measure.settle(parser.parse_args(argv))
    sizes = args.sizes or (QUICK_SIZES if args.quick else SIZES)
    for stage in args.stages:
        if stage == COLLECT:
            with tempfile.TemporaryDirectory(prefix="polybatch-growth-") as folder:
                by_stage = collect.stage_growth(
                    args.sizes or (QUICK_SIZES if args.quick else COLLECT_SIZES), Path(folder)
                )
            measure.write(f"growth-{stage}{args.suffix}", by_stage, list(collected(by_stage)), folder=args.out)
            continue
        if stage == SEARCH:
            factory = search.default_factory(max(sizes), DIM) if args.quick else FACTORY
            grown, wished = searched([PASSAGES_A_ROW * size for size in sizes], factory)
        else:
            with tempfile.TemporaryDirectory(prefix="polybatch-growth-") as folder:
                grown = STAGES[stage](args, sizes, Path(folder))
            wished = list(goals(stage, grown))
        measure.write(f"growth-{stage}{args.suffix}", {TITLES[stage]: grown}, wished, folder=args.out)


if __name__ == "__main__":
    main()
