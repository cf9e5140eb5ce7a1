"""Search and scoring: every setting of a benchmark of XQuAD-R's size, and exact search while the corpus grows.

Side by side: `polybatch.retrieval.score` as the workflow runs it, from files to files, one thread for linear algebra,
start-up included, against evaluators that are called once a setting. Peers get the same vectors, ready in memory,
through a model that looks them up. They do the settings of one query language (one monolingual, ten cross-lingual, one
multilingual), which is an eleventh of all; what this takes is multiplied by eleven, their start-up is counted once.
They look at the first 1,000 passages, mteb's own depth, and give means; the stage looks at all passages, and writes the
values of every query besides. It also keeps the first 100 passages of every ranked list, which no peer does, so it is
measured with these lists and with lists of one passage.

What a user of the peers would write:
    mteb: RetrievalEvaluator(corpus, queries, ..., top_k=1000)(SearchEncoderWrapper(model)), then .evaluate(qrels, ...)
    sentence-transformers: InformationRetrievalEvaluator(queries, corpus, relevant_docs, map_at_k=[1000])(model)
    pytrec_eval: RelevanceEvaluator(qrels, measures).evaluate(run), the run being a dictionary of the first 1,000

inputs: none; vectors are made here, as numerous as XQuAD-R's queries and sentences (github.com/google-research-
datasets/lareqa), of 384 dimensions
outputs: see measure.py
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
from search_data import DIM, QUERIES_OF_GROWTH, languages_of, make, make_vectors, shard_of
from search_peers import DEPTH, PARTS, PEERS, TOLERANCE, require_close

from polybatch.core import contracts
from polybatch.retrieval.metrics import METRICS
from polybatch.retrieval.options import IndexOptions

if TYPE_CHECKING:
    pass

OURS, WITH_LISTS = "polybatch", "polybatch, and lists of 100"
GRID = {name: 1 if name == "seed" else "1" for name, _ in contracts.GRID_COLUMNS}
SIZES = (10_000, 100_000, 1_000_000)
TOP_OF_GROWTH = 100


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="passages of the exact search")
    parser.add_argument("--dim", type=int, default=DIM, help="of the exact search's vectors")
    parser.add_argument("--factory", default="", help="the index beside it, at the second greatest size")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--do", choices=(*PARTS, *OF_VECTORS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    args = measure.settle(parser.parse_args(argv))
    if args.do in OF_VECTORS:
        print(json.dumps(OF_VECTORS[args.do](args)))
    elif args.do:
        print(json.dumps(PARTS[args.do](args.folder)))
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="polybatch-search-") as name:
        folder = Path(name)
        make(folder, share=0.03 if args.quick else 1.0, languages=3 if args.quick else 11)
        settings = measure.paired(
            {
                OURS: partial(ours, folder, top_k=1),
                WITH_LISTS: partial(ours, folder, top_k=100),
                **{peer: partial(scaled, folder, peer) for peer in PEERS},
            },
            args.rounds,
            unit="settings",
            peer="mteb",
        )
        require_equal(folder, settings)
        metrics = measure.paired(
            {"polybatch": command("metrics", folder), "pytrec_eval": command("pytrec_eval", folder)},
            args.rounds,
            unit="settings",
        )
        sizes = [1000, 4000] if args.quick else args.sizes
        growth = measure.grow({size: partial(grown, "exact", size, args) for size in sizes}, unit="passages")
        beside_rows = sorted(sizes)[-2:][0]  # the training of a greater one takes minutes
        args.factory = args.factory or default_factory(beside_rows, args.dim)
        write(args, settings, metrics, growth, grown("approximate", beside_rows, args).said)


def write(
    args: argparse.Namespace,
    settings: measure.Measurement,
    metrics: measure.Measurement,
    growth: measure.Growth,
    recall: Mapping[str, Any],
) -> None:
    flat_since = sorted(growth.sizes)[-2]
    goals = [
        *(
            measure.Goal(f"all settings{told}, against {peer} once a setting", settings.ratio(case, peer), 20, unit="x")
            for case, told in ((OURS, ""), (WITH_LISTS, ", ranked lists kept"))
            for peer in PEERS
        ),
        measure.Goal(
            "from inner products to means, start-up left out, against pytrec_eval",
            metrics.ratio("polybatch", "pytrec_eval", "inner_rate"),
            20,
            unit="x",
        ),
        measure.Goal("memory of all settings", settings.median(WITH_LISTS, "peak_bytes") / 1e9, 2, False, " GB"),
        measure.Goal("exact search: exponent of time", growth.exponent(), 1.1, False),
        measure.Goal(
            f"exact search: memory at most against {flat_since:,} passages",
            growth.memory_growth(flat_since),
            1.2,
            False,
        ),
        beside(recall),
    ]
    measurements = {
        "All settings of XQuAD-R's size": settings,
        "From inner products to means": metrics,
        f"Exact search, {QUERIES_OF_GROWTH:,} queries, {args.dim} dimensions": growth,
    }
    measure.write(f"search{args.suffix}", measurements, goals, folder=args.out)


def beside(recall: Mapping[str, Any]) -> measure.Goal:
    """What an index that is not exact finds of the exact lists, from what `approximate` said."""
    return measure.Goal(
        f"{recall['factory']} of {recall['units']:,} passages: recall@10 against exact (told, not wished for)",
        recall["recall"],
        0.5,
        note=f"{recall['search_parameters']}, {recall['bytes_of_index'] / recall['bytes_of_vectors']:.2f} of the "
        f"vectors' bytes, searched in {recall['seconds']:.1f} s, exact in {recall['exact_seconds']:.1f} s",
    )


def command(part: str, folder: Path, *more: str) -> list[str]:
    return [sys.executable, __file__, "--do", part, "--folder", str(folder), *more]


# The two sides.


def ours(folder: Path, top_k: int) -> measure.Result:
    """The score stage, by its command line."""
    options = {"metrics": [*METRICS, f"map@{DEPTH}"], "top_k": top_k}
    files = {flag: folder / f"{flag}.parquet" for flag in ("scores", "per-query", "run")}
    flags = {
        "embeddings": folder / "embeddings",
        "index": folder / "index",
        "benchmark": folder / "benchmark",
        "grid": json.dumps(GRID),
        "options": json.dumps(options),
        **files,
    }
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    languages = len(languages_of(folder))
    words = [sys.executable, "-m", "polybatch.retrieval.score", *words]
    return measure.run(words, units=languages * (languages + 1), threads=1)


def scaled(folder: Path, peer: str) -> measure.Result:
    """A peer on the settings of one query language, its time multiplied to all of them; start-up counts once."""
    result = measure.run(command(peer, folder))
    times = len(languages_of(folder))
    inner = float(result.inner_seconds or 0)
    return replace(
        result,
        seconds=result.seconds + (times - 1) * inner,
        cpu_seconds=result.cpu_seconds * (1 + (times - 1) * inner / result.seconds),
        units=result.units * times,
        inner_seconds=times * inner,
        said={**result.said, "measured_seconds": result.seconds, "times": times},
    )


def require_equal(folder: Path, settings: measure.Measurement) -> None:
    for peer in PEERS:
        for result in settings.cases[peer]:
            require_close(folder, result.said["lang"], result.said["scores"], TOLERANCE)


# Growth.


def grown(part: str, rows: int, args: argparse.Namespace) -> measure.Result:
    """Searches a corpus of so many passages, which is made before and removed after."""
    with tempfile.TemporaryDirectory(prefix="polybatch-vectors-") as name:
        make_vectors(Path(name), rows, args.dim)
        more = ["--factory", args.factory] if part == "approximate" else []
        return measure.run(command(part, Path(name), "--rows", str(rows), *more))


def default_factory(rows: int, dim: int) -> str:
    """Lists of some two hundred passages, and an eighth of the vectors' bytes; of few passages less can be learnt."""
    lists = 2 ** int(math.log2(max(4, 2 * rows**0.5)))
    return f"IVF{lists},PQ{dim // 4}x{8 if rows >= 100_000 else 4}" if rows >= 10_000 else f"IVF4,PQ{dim // 32}x4"


def exact_search(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    queries, shard = np.load(args.folder / "queries.npy"), shard_of(args.folder, args.rows)
    start = time.perf_counter()
    shard.search_vectors(queries, TOP_OF_GROWTH)
    return {"units": args.rows, "seconds": time.perf_counter() - start}


def approximate(args: argparse.Namespace) -> dict[str, Any]:
    """An IVF/PQ index of the same vectors: its size, its time and its recall@10, searched as the stage searches."""

    import faiss
    import numpy as np

    from polybatch.retrieval.index import build_index
    from polybatch.retrieval.keys import numbers_of
    from polybatch.retrieval.ranking import set_search_parameters

    queries, shard = np.load(args.folder / "queries.npy"), shard_of(args.folder, args.rows)
    index = build_index(shard.vectors, args.factory, IndexOptions(threads=measure.cores()))
    probed = max(1, faiss.extract_index_ivf(index).nlist // 16)
    set_search_parameters(index, f"nprobe={probed}")
    start = time.perf_counter()
    wanted = numbers_of(shard.search_vectors(queries, 10))
    between = time.perf_counter()
    _, found = index.search(queries, 10)
    return {
        "units": args.rows,
        "seconds": time.perf_counter() - between,
        "exact_seconds": between - start,
        "factory": args.factory,
        "search_parameters": f"nprobe={probed}",
        "recall": float(np.mean([len(np.intersect1d(*lists)) / 10 for lists in zip(wanted, found, strict=True)])),
        "bytes_of_index": len(faiss.serialize_index(index)),
        "bytes_of_vectors": shard.vectors.rows * shard.vectors.dim * 4,
    }


OF_VECTORS = {"exact": exact_search, "approximate": approximate}


if __name__ == "__main__":
    main()
