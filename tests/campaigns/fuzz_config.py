"""Thousands of changed configurations: none may end in a traceback, and each that is refused must name the key.

    python tests/campaigns/fuzz_config.py --mutations 1000 --seed 1

mutates every shipped configuration so many times, prints what came of it, and exits 1 if anything went wrong. The unit
tests do the same for a few seconds (tests/unit/study/test_fuzz.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests/unit")]

from config_mutations import judge, mutations, shipped  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutations", type=int, default=1000, help="of each configuration")
    parser.add_argument("--changes", type=int, default=1, help="in each mutation")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    os.chdir(ROOT)
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    for number, (name, config) in enumerate(shipped().items()):
        for mutation in mutations(config, args.mutations, args.seed * 1000 + number, args.changes):
            try:
                counts["sound" if judge(mutation) else "refused in words"] += 1
            except Exception:
                counts["DEFECT"] += 1
                print(ascii(f"{name}: {mutation.told}"), traceback.format_exc(limit=-4), sep="\n")
    seconds = time.perf_counter() - started
    print(", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())), f"in {seconds:.0f} s")
    return 1 if counts["DEFECT"] else 0


if __name__ == "__main__":
    sys.exit(main())
