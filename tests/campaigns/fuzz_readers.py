"""Fuzzes the readers of the user's files for as long as asked, and says at the end what became of the files.

    PYTHONPATH=workflow python tests/campaigns/fuzz_readers.py --examples 20000

Fails at the first file that gives a traceback, or of which something is lost or changed without a word; hypothesis
makes it small and prints it. The unit tests run the same checks on fewer files (tests/unit/test_fuzz_readers.py).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
import reader_fuzz as fuzz


def campaign(examples: int, number: int) -> Counter[str]:
    """Runs all checks on so many files each; returns outcome -> files."""
    counts: Counter[str] = Counter()
    long = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)

    @seed(number)
    @long
    @given(fuzz.rows, st.sampled_from(fuzz.FORMS), st.sampled_from(fuzz.ENDS), st.booleans())
    def right(pairs: list, form: str, end: str, zipped: bool) -> None:
        with TemporaryDirectory() as folder:
            fuzz.require_unchanged(Path(folder), pairs, form, end, zipped)
        counts[f"{form}: right"] += 1

    @seed(number)
    @long
    @given(fuzz.rows, st.sampled_from(fuzz.FORMS), st.sampled_from(fuzz.ENDS), fuzz.damages)
    def damaged(pairs: list, form: str, end: str, damages: list) -> None:
        with TemporaryDirectory() as folder:
            fuzz.require_told(Path(folder), fuzz.damaged(fuzz.written(pairs, form, end), damages), form, counts)

    @seed(number)
    @long
    @given(fuzz.rows, st.sampled_from(fuzz.BENCHMARK_FILES), fuzz.damages)
    def benchmark(pairs: list, name: str, damages: list) -> None:
        with TemporaryDirectory() as folder:
            raw = fuzz.damaged(fuzz.benchmark_file(pairs, name), damages)
            fuzz.require_benchmark_told(Path(folder), raw, name, counts)

    for check in (right, damaged, benchmark):
        check()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=5_000, help="files for each of the three checks")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    counts = campaign(args.examples, args.seed)
    for outcome, number in sorted(counts.items()):
        print(f"{outcome:24} {number:8}")
    print(f"{'files in all':24} {counts.total():8}   no traceback, no silent change")


if __name__ == "__main__":
    main()
