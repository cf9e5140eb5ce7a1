"""Collecting, cleaning, deduplicating and decontaminating pairs: Polybatch against a script with datasets and rensa.

The peer is what a user would write: `datasets.map` over all cores for cleaning, keys and MinHash signatures, a
dictionary of bands for near duplicates, Python sets of n-grams for the overlap with evaluation text
(collect_peer.py). Both sides keep to the same rules; the ids of the pairs that are left must be the same, or the
benchmark fails.

Pairs are made from real text by repetition with changes: sentences of `--text` (a Parquet file with the columns query
and passage, such as collected/en.parquet of the default study) or, without one, of made-up words. A tenth are exact or
near duplicates of earlier ones, a twentieth break a rule, a fiftieth overlap with the evaluation text.

inputs: none, or a Parquet file of texts
outputs: <out>/collect.json, and the table and figure that report.py makes of it
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import measure

from polybatch.core.errors import DataError

SIZES = (10_000, 100_000, 300_000)  # more by growth.py
QUICK_SIZES = (300, 600)
PAIRED_ROWS = 30_000
EVALUATION_QUERIES, EVALUATION_PASSAGES = 2_000, 10_000
RULES = {"max_passages_per_query": 1000, "max_words": 400, "near_duplicate_threshold": 0.85}
_BASE_WORDS = 20_000
_SEED = 7


def base_texts(path: Path | None) -> list[str]:
    """Sentences to start from, of real text or of made-up words with Zipf's frequencies."""
    if path is not None:
        import pyarrow.parquet as pq

        return pq.read_table(path, columns=["passage"])["passage"].to_pylist()
    draw = random.Random(_SEED)
    words = _made_up_words(draw)
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [" ".join(draw.choices(words, weights, k=draw.randint(6, 24))).capitalize() + "." for _ in range(5_000)]


def _made_up_words(draw: random.Random) -> list[str]:
    return ["".join(draw.choices("etaoinshrdlucmfwypvbgkq", k=draw.randint(2, 9))) for _ in range(_BASE_WORDS)]


class Maker:
    """Makes texts from sentences: several joined, a third of their words exchanged."""

    def __init__(self, texts: list[str], seed: int) -> None:
        self._draw = random.Random(seed)
        self._texts = texts
        self._words = _made_up_words(random.Random(_SEED)) + [word for text in texts for word in text.split()]

    def pair(self) -> tuple[str, str]:
        draw, words = self._draw, self._words
        passage = [word for _ in range(draw.randint(2, 4)) for word in draw.choice(self._texts).split()]
        for at in range(len(passage)):
            if draw.random() < 0.35:
                passage[at] = draw.choice(words)
        start = draw.randrange(max(1, len(passage) - 4))
        query = ["what", "does", *passage[start : start + 4], draw.choice(words), draw.choice(words)]
        return " ".join(query) + "?", " ".join(passage)

    def rows(self, count: int, evaluation: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        draw, recent = self._draw, [self.pair()]
        for _ in range(count):
            at = draw.random()
            query, passage = draw.choice(recent)
            if at < 0.05:
                yield query.upper(), f"{passage} !"
            elif at < 0.10:
                words = passage.split()
                words[draw.randrange(len(words))] = "exchanged"
                yield query, " ".join(words)
            elif at < 0.15:
                yield draw.choice([("???", passage), (query, "Too short"), ("12 34", passage), (passage, passage)])
            elif at < 0.17 and evaluation:
                query, passage = draw.choice(evaluation)
                words = passage.split()
                cut = len(words) // 8
                yield self.pair()[0], " ".join(words[cut : len(words) - cut])
            else:
                query, passage = self.pair()
                recent.append((query, passage))
                if len(recent) > 20_000:  # some of them, so that making rows needs no memory either
                    recent = recent[10_000:]
                yield query, passage


def make(folder: Path, rows: int, text: Path | None) -> None:
    """Writes source.parquet and benchmarks/made/, as the pipeline's own stage would."""
    import pyarrow as pa

    from polybatch.core import contracts
    from polybatch.core.files import write_parquet, write_rows

    texts = base_texts(text)
    quick = rows <= max(QUICK_SIZES)
    queries, passages = (50, 200) if quick else (EVALUATION_QUERIES, EVALUATION_PASSAGES)
    maker = Maker(texts, _SEED)
    evaluation = [maker.pair() for _ in range(passages)]
    bench = folder / "benchmarks" / "made"
    corpus = [{"passage_id": f"p{i}", "lang": "en", "text": p, "group": f"g{i}"} for i, (_, p) in enumerate(evaluation)]
    asked = [
        {"query_id": f"q{i}", "lang": "en", "text": q, "group": f"g{i}"}
        for i, (q, _) in enumerate(evaluation[:queries])
    ]
    qrels = [{"query_id": f"q{i}", "passage_id": f"p{i}", "relevance": 1} for i in range(queries)]
    for name, values, schema in (
        ("corpus/en", corpus, contracts.CORPUS),
        ("queries/en", asked, contracts.QUERIES),
        ("qrels", qrels, contracts.QRELS),
    ):
        write_rows(bench / f"{name}.parquet", _filled(values, schema), schema)
    schema = pa.schema([("query", pa.string()), ("passage", pa.string())])
    stream = Maker(texts, _SEED + 1).rows(rows, evaluation)

    def tables() -> Iterator[pa.Table]:
        while chunk := list(itertools.islice(stream, 20_000)):
            yield pa.table([pa.array(side) for side in zip(*chunk, strict=True)], schema=schema)

    write_parquet(folder / "source.parquet", tables(), schema)


def _filled(rows: list[dict], schema: object) -> list[dict]:
    return [{name: row.get(name) for name in schema.names} for row in rows]  # type: ignore[attr-defined]


def stages(data: Path, work: Path, rules: dict[str, float]) -> dict[str, list[str]]:
    """Name -> command line of the pipeline's four stages, as its rules call them, in their order."""
    spec = json.dumps({"name": "made", "adapter": "local", "license": "CC0-1.0"})
    split = json.dumps({"test_passages": 0, "dev_passages": 0})
    source, collected, text = work / "sources" / "made.parquet", work / "en.parquet", work / "text"
    given = ["--cleaning", json.dumps(rules), "--output"]
    both = ["--sources", f"[{spec}]", "--files", f"{data}/source.parquet"]
    arguments = {
        "collect.one_source": ["--source", spec, "--file", f"{data}/source.parquet", *given, str(source)],
        "collect.english": [*both, "--collected", str(source), "--split", split, *given, str(collected)],
        "decontaminate.evaluation_text": ["--benchmarks", f"{data}/benchmarks/made", "--output", str(text)],
        "decontaminate.contaminated": [
            *("--text", str(text), "--collected", str(collected), "--output", str(work / "pairs.parquet")),
        ],
    }
    return {name: [sys.executable, "-m", f"polybatch.{name}", *given] for name, given in arguments.items()}


def stage_growth(sizes: Iterable[int], folder: Path) -> dict[str, measure.Growth]:
    """Each of the four stages at several sizes; of the files no more lie in `folder` than those of one size."""
    results: dict[str, dict[int, list[measure.Result]]] = {}
    for rows in sorted(sizes):
        data, work = made(folder / str(rows), rows, None), folder / f"{rows}-work"
        for name, line in stages(data, work, RULES).items():
            result = measure.run(line, units=rows)
            print(
                f"  {rows:,} pairs: {name}: {result.cpu_seconds:.1f} s of processor, {result.peak_bytes / 1e6:.0f} MB"
            )
            results.setdefault(name, {})[rows] = [result]
        shutil.rmtree(data)
        shutil.rmtree(work)
    return {name: measure.Growth(by_size, unit="pairs") for name, by_size in results.items()}


def polybatch_case(data: Path, work: Path, rules: dict[str, float]) -> dict[str, Any]:
    """The pipeline's four stages, each a process of its own as in a run; their seconds, and what was removed."""
    seconds = {}
    for name, line in stages(data, work, rules).items():
        start = time.perf_counter()
        subprocess.run(line, check=True)
        seconds[name] = round(time.perf_counter() - start, 3)
    record = json.loads((work / "sources" / "made.json").read_text("utf-8"))
    removed = {step["step"]: step["removed"] for step in record["counts"]}
    counts = {name: removed.pop(name, 0) for name in ("duplicate", "near duplicate")}
    return {"stages": seconds, "counts": {"faulty": sum(removed.values()), **counts}}


def peer_case(data: Path, work: Path, rules: dict[str, float]) -> dict[str, Any]:
    """The same by a script that uses datasets and rensa, on all cores."""
    import collect_peer

    return collect_peer.run(data, work, rules, processes=measure.cores())


def result(work: Path) -> dict[str, object]:
    """What is left of the pairs: how many, and a digest of their ids in order; how many texts overlap, and a digest."""
    import pyarrow.parquet as pq

    told: dict[str, object] = {}
    for name, file, columns in (
        ("kept", "en.parquet", ["pair_id"]),
        ("overlaps", "pairs.parquet", ["pair_id", "side", "overlap", "text_id"]),
    ):
        rows = sorted(map(tuple, zip(*pq.read_table(work / file, columns=columns).to_pydict().values(), strict=True)))
        told |= {name: len(rows), f"{name}_digest": hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}
    return told


def command(case: str, data: Path, *flags: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--case", case, "--data", str(data), *flags]


def run_case(case: str, data: Path, *, near_duplicates: bool) -> None:
    """One side, in a process of its own; its work is compared through what it prints."""
    rules = RULES if near_duplicates else {**RULES, "near_duplicate_threshold": 0}
    with tempfile.TemporaryDirectory(dir=data, prefix=f"{case}-") as folder:
        start = time.perf_counter()
        told = {"polybatch": polybatch_case, "peer": peer_case}[case](data, Path(folder), rules)
        seconds = time.perf_counter() - start
        # In a process of its own, so that what is left of the pairs is not part of this one's peak.
        reader = subprocess.run(
            [sys.executable, __file__, "--result", folder], check=True, capture_output=True, text=True
        )
    units = int((data / "rows").read_text())
    print(json.dumps({"units": units, "seconds": seconds, **told, **json.loads(reader.stdout)}))


def agreed(measured: measure.Measurement, *, near_duplicates: bool) -> None:
    """Raises a DataError unless both sides removed the same.

    Near duplicates are found by estimates, each side with hash functions of its own: their numbers agree within 5%,
    and those of the overlaps, looked for in what is left, within 1%. Without near duplicates the ids are the same.
    """
    ours, peers = (measured.cases[name][0].said for name in ("polybatch", "peer"))
    same = ("faulty", "duplicate")
    agree = [ours["counts"][name] == peers["counts"][name] for name in same]
    if near_duplicates:
        close = [(ours["counts"]["near duplicate"], peers["counts"]["near duplicate"], 0.05)]
        close += [(ours["overlaps"], peers["overlaps"], 0.01)]
        agree += [abs(a - b) <= max(2, share * b) for a, b, share in close]
    else:
        agree += [ours[name] == peers[name] for name in ("kept_digest", "overlaps_digest")]
    if not all(agree):
        raise DataError("The two sides of the benchmark did not remove the same.", found=f"{ours}\n{peers}")


def goals(paired: measure.Measurement, growth: measure.Growth) -> list[measure.Goal]:
    largest = max(growth.sizes)
    flat_since = sorted(growth.sizes)[-2]
    return [
        measure.Goal("pairs per second against datasets + rensa", paired.ratio("polybatch", "peer"), 1.0, unit="x"),
        measure.Goal("minutes for the largest size", growth.median(largest) / 60, 10, at_least=False, unit=" min"),
        measure.Goal("exponent of time against rows", growth.exponent("seconds"), 1.1, at_least=False),
        measure.Goal(f"peak memory, {largest} rows against {flat_since}", growth.memory_growth(flat_since), 1.2, False),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--text", type=Path, help="Parquet file with a column passage: sentences to make pairs from")
    parser.add_argument("--case", choices=("polybatch", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--exact", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", help="rows of the growth; by default 10k, 100k and 300k")
    args = measure.settle(parser.parse_args(argv))
    if args.result:
        print(json.dumps(result(args.result)))
        return
    if args.make:
        make(args.data, args.make, args.text)
        (args.data / "rows").write_text(str(args.make))
        return
    if args.case:
        run_case(args.case, args.data, near_duplicates=not args.exact)
        return
    sizes = args.sizes or (QUICK_SIZES if args.quick else SIZES)
    with tempfile.TemporaryDirectory(prefix="polybatch-collect-") as scratch:
        data = {rows: made(Path(scratch) / str(rows), rows, args.text) for rows in {*sizes, _paired_rows(args)}}
        side_by_side = data[_paired_rows(args)]
        sides = ("polybatch", "peer")
        exact: dict[str, measure.Case] = {name: command(name, data[min(sizes)], "--exact") for name in sides}
        agreed(measure.paired(exact, 1, unit="pairs"), near_duplicates=False)
        cases: dict[str, measure.Case] = {name: command(name, side_by_side) for name in sides}
        paired = measure.paired(cases, args.rounds, unit="pairs", peer="peer")
        agreed(paired, near_duplicates=True)
        growth = measure.grow({rows: command("polybatch", data[rows]) for rows in sizes}, unit="pairs")
        titles = {f"collect to decontaminate, {_paired_rows(args)} pairs": paired, "growth": growth}
        measure.write(f"collect{args.suffix}", titles, goals(paired, growth), folder=args.out)


def _paired_rows(args: argparse.Namespace) -> int:
    return min(QUICK_SIZES) if args.quick else PAIRED_ROWS


def made(folder: Path, rows: int, text: Path | None) -> Path:
    """The folder, with the data made in it by a process of its own, whose memory nobody measures."""
    folder.mkdir(parents=True)
    of = ["--text", str(text)] if text else []
    subprocess.run([sys.executable, __file__, "--make", str(rows), "--data", str(folder), *of], check=True)
    return folder


if __name__ == "__main__":
    main()
