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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure

from polybatch.benchmarks.benchmark import load
from polybatch.benchmarks.squad import PUBLISHED
from polybatch.core import contracts
from polybatch.core.contracts import POOL
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, read_parquet, sha256_file, write_json, write_rows
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.metrics import METRICS, RANK_DISTANCE, is_rank_metric
from polybatch.retrieval.options import IndexOptions

if TYPE_CHECKING:
    import numpy as np

OURS, WITH_LISTS = "polybatch", "polybatch, and lists of 100"
DIM = 384
DEPTH = 1000
CUTS = (1, 10, 100, DEPTH)
# Ours -> each peer's name. The means of peers that multiply in another order differ where two scores agree to seven
# digits and change places: by at most one query in 1,190 for a pair.
SAME = {"ndcg@10": "ndcg_cut_10", "recall@1": "recall_1", "recall@10": "recall_10", f"map@{DEPTH}": f"map_cut_{DEPTH}"}
TOLERANCE = 2e-3
GRID = {name: 1 if name == "seed" else "1" for name, _ in contracts.GRID_COLUMNS}
SIZES = (10_000, 100_000, 1_000_000)
QUERIES_OF_GROWTH, TOP_OF_GROWTH = 1000, 100


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
            "from inner products to means, against pytrec_eval",
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


# What is searched.


def make(folder: Path, share: float, languages: int) -> None:
    """A benchmark with its embeddings and indexes, as the stages before leave them."""
    import numpy as np

    rng = np.random.default_rng(0)
    sizes = dict(list(PUBLISHED["xquad-r"]["candidates"].items())[:languages])
    queries = int(share * 1190)
    topics = rng.standard_normal((queries, DIM))
    vectors: dict[str, dict[str, np.ndarray]] = {"queries": {}, "corpus": {}}
    answers = {}
    for lang, size in sizes.items():
        passages = int(share * size)
        answers[lang] = rng.integers(0, passages, queries)
        middle, accent = rng.standard_normal((passages, DIM)), 0.7 * rng.standard_normal(DIM)
        np.add.at(middle, answers[lang], topics)
        vectors["corpus"][lang] = unit(middle + accent + 0.5 * rng.standard_normal((passages, DIM)))
        vectors["queries"][lang] = unit(topics + accent + 1.8 * rng.standard_normal((queries, DIM)))
    write_benchmark(folder / "benchmark", vectors, answers)
    write_embeddings(folder, vectors)
    build_indexes(folder / "embeddings", list(sizes), "Flat", IndexOptions(), folder / "index")


def unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_benchmark(folder: Path, vectors: Mapping[str, Mapping[str, np.ndarray]], answers: Mapping[str, Any]) -> None:
    schemas = {"queries": ("query_id", contracts.QUERIES), "corpus": ("passage_id", contracts.CORPUS)}
    for side, (name, schema) in schemas.items():
        for lang, of_lang in vectors[side].items():
            rows = [
                {
                    name: identifier(side, lang, i),
                    "lang": lang,
                    "text": f"text {i} in {lang}",
                    "group": f"g{i}" if side == "queries" else "",
                }
                for i in range(len(of_lang))
            ]
            write_rows(folder / side / f"{lang}.parquet", rows, schema)
    judgements = [
        {"query_id": identifier("queries", a, i), "passage_id": identifier("corpus", b, found), "relevance": 1}
        for a in vectors["queries"]
        for b in vectors["corpus"]
        for i, found in enumerate(answers[b])
    ]
    write_rows(folder / "qrels.parquet", judgements, contracts.QRELS)


def identifier(side: str, lang: str, row: int) -> str:
    return f"{lang}-{'q' if side == 'queries' else 'p'}{row}"


def write_embeddings(folder: Path, vectors: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    import numpy as np

    languages = list(vectors["queries"])
    loaded = load(folder / "benchmark", languages)
    records: dict[str, Any] = {"languages": languages, "queries": {}, "corpus": {}}
    for side, of_side in vectors.items():
        for lang, array in of_side.items():
            path = folder / "embeddings" / side / f"{lang}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
            digest = getattr(loaded, side)[lang].digest()
            shape = {"rows": len(array), "dim": array.shape[1]}
            records[side][lang] = {**shape, "input": digest, "sha256": sha256_file(path)}
    write_json(folder / "embeddings" / "embeddings.json", records)


def languages_of(folder: Path) -> list[str]:
    languages: list[str] = read_json(folder / "embeddings" / "embeddings.json")["languages"]
    return languages


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


class Settings:
    """What a peer is given: the vectors of one query language and of all corpora, ids, and judgements."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self.languages = languages_of(folder)
        self.lang = self.languages[0]
        self.queries = np.load(folder / "embeddings" / "queries" / f"{self.lang}.npy")
        self.query_ids = [identifier("queries", self.lang, i) for i in range(len(self.queries))]
        self.corpora = {lang: np.load(folder / "embeddings" / "corpus" / f"{lang}.npy") for lang in self.languages}
        self.ids = {lang: [identifier("corpus", lang, i) for i in range(len(v))] for lang, v in self.corpora.items()}
        self.corpora[POOL] = np.concatenate(list(self.corpora.values()))
        self.ids[POOL] = [passage for ids in self.ids.values() for passage in ids]
        self.qrels: dict[str, dict[str, int]] = {query: {} for query in self.query_ids}
        rows = read_parquet(folder / "benchmark" / "qrels.parquet", contracts.QRELS)
        for query, passage in zip(rows["query_id"].to_pylist(), rows["passage_id"].to_pylist(), strict=True):
            if query in self.qrels:
                self.qrels[query][passage] = 1

    def __iter__(self) -> Iterator[tuple[str, list[str], np.ndarray, dict[str, dict[str, int]]]]:
        """Corpus language, ids, vectors and the judgements within that corpus."""
        for lang, ids in self.ids.items():
            held = set(ids)
            qrels = {query: {p: 1 for p in found if p in held} for query, found in self.qrels.items()}
            yield lang, ids, self.corpora[lang], qrels


class Looker:
    """A model whose answers are there already, with what the evaluators ask of one."""

    similarity_fn_name = "dot"
    mteb_model_meta = None

    def __init__(self, queries: np.ndarray) -> None:
        import torch

        self.queries = self.passages = torch.from_numpy(queries)

    def of(self, passages: np.ndarray) -> Looker:
        import torch

        self.passages = torch.from_numpy(passages)
        return self

    def similarity(self, queries: Any, passages: Any) -> Any:
        return queries @ passages.T

    def encode_query(self, *_: Any, **__: Any) -> Any:
        return self.queries

    def encode_document(self, *_: Any, **__: Any) -> Any:
        return self.passages

    def encode(self, *_: Any, prompt_type: Any = None, **__: Any) -> Any:
        return self.queries if str(getattr(prompt_type, "value", prompt_type)) == "query" else self.passages


def with_mteb(folder: Path) -> dict[str, Any]:
    import datasets
    from mteb import get_task
    from mteb._evaluators.retrieval_evaluator import RetrievalEvaluator
    from mteb.models.search_wrappers import SearchEncoderWrapper
    from mteb.timing import TimingStack

    settings = Settings(folder)
    metadata, model, scores = get_task("SciFact").metadata, Looker(settings.queries), {}
    queries = datasets.Dataset.from_dict({"id": settings.query_ids, "text": settings.query_ids})
    start = time.perf_counter()
    for lang, ids, vectors, qrels in settings:
        evaluator = RetrievalEvaluator(
            datasets.Dataset.from_dict({"id": ids, "text": ids, "title": [""] * len(ids)}),
            queries,
            task_metadata=metadata,
            hf_split="test",
            hf_subset="default",
            top_k=DEPTH,
            timer=TimingStack(),
        )
        run = evaluator(SearchEncoderWrapper(model.of(vectors)), {"batch_size": 32, "show_progress_bar": False})
        found = evaluator.evaluate(qrels, run, CUTS)
        scores[lang] = {
            "ndcg@10": found.ndcg["NDCG@10"],
            "recall@1": found.recall["Recall@1"],
            "recall@10": found.recall["Recall@10"],
            f"map@{DEPTH}": found.map[f"MAP@{DEPTH}"],
            "mrr@10": found.mrr["MRR@10"],
        }
    return {"units": len(scores), "seconds": time.perf_counter() - start, "scores": scores, "lang": settings.lang}


def with_sentence_transformers(folder: Path) -> dict[str, Any]:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    settings = Settings(folder)
    model, scores = Looker(settings.queries), {}
    queries = {query: query for query in settings.query_ids}
    start = time.perf_counter()
    for lang, ids, vectors, qrels in settings:
        evaluator = InformationRetrievalEvaluator(
            queries,
            {passage: passage for passage in ids},
            {query: set(found) for query, found in qrels.items()},
            precision_recall_at_k=[1, 10, 100],
            map_at_k=[DEPTH],
            accuracy_at_k=[1],
            write_csv=False,
        )
        found = evaluator.compute_all_metrics(_scored(evaluator, model.of(vectors)))["dot"]
        scores[lang] = {
            "ndcg@10": float(found["ndcg@k"][10]),
            "recall@1": float(found["recall@k"][1]),
            "recall@10": float(found["recall@k"][10]),
            f"map@{DEPTH}": float(found["map@k"][DEPTH]),
            "mrr@10": float(found["mrr@k"][10]),
        }
    return {"units": len(scores), "seconds": time.perf_counter() - start, "scores": scores, "lang": settings.lang}


def _scored(evaluator: Any, model: Looker) -> Looker:
    """The evaluator asks a real model for its similarity when it is called; here it is told."""
    evaluator.score_functions, evaluator.score_function_names = {"dot": model.similarity}, ["dot"]
    return model


def with_pytrec_eval(folder: Path) -> dict[str, Any]:
    """From inner products, which are there before the clock starts, to means: rankings, dictionaries, evaluation."""
    import numpy as np
    import pytrec_eval

    settings = Settings(folder)
    measures = {"map_cut.1000", "ndcg_cut.10", "recall.1,10,100", "recip_rank", "P.10"}
    seconds, evaluating, scores = 0.0, 0.0, {}
    for lang, ids, vectors, qrels in settings:
        names, found = np.array(ids), settings.queries @ vectors.T
        start = time.perf_counter()
        top = np.argpartition(-found, min(DEPTH, len(ids)) - 1, axis=1)[:, :DEPTH]
        run = {
            query: dict(zip(names[places].tolist(), row[places].tolist(), strict=True))
            for query, places, row in zip(settings.query_ids, top, found, strict=True)
        }
        between = time.perf_counter()
        values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
        scores[lang] = {
            ours: sum(of_query[theirs] for of_query in values.values()) / len(values) for ours, theirs in SAME.items()
        }
        seconds += time.perf_counter() - start
        evaluating += time.perf_counter() - between
    require_close(folder, settings.lang, scores, TOLERANCE)
    told = {"scores": scores, "lang": settings.lang, "evaluate_seconds": evaluating}
    return {"units": len(scores), "seconds": seconds, **told}


def our_metrics(folder: Path) -> dict[str, Any]:
    """Metrics alone, from inner products: the kinds that pytrec_eval has, of full rankings, and the first hundred."""
    from polybatch.retrieval import by_ranx
    from polybatch.retrieval.judging import score
    from polybatch.retrieval.options import ScoreOptions
    from polybatch.retrieval.searchable import open_collection

    collection = open_collection(folder / "embeddings", folder / "index", folder / "benchmark")
    lang = next(iter(collection.queries))
    for shard in collection.shards.values():
        known: dict[bytes, Any] = {}
        _remember(shard, known, collection.queries[lang], ScoreOptions().block)
    only = replace(collection, queries={lang: collection.queries[lang]})
    metrics = [name for name in METRICS if is_rank_metric(name)]
    by_ranx.get_ready(metrics)
    start = time.perf_counter()
    cells = list(score(only, ScoreOptions(metrics=metrics)))
    return {"units": len(cells), "seconds": time.perf_counter() - start}


def _remember(shard: Any, known: dict[bytes, Any], queries: np.ndarray, block: int) -> None:
    """Has a shard give inner products that were made before, so that they do not count."""
    scores = type(shard).scores
    for start in range(0, len(queries), block):
        rows = queries[start : start + block]
        known[rows.tobytes()] = scores(shard, rows)
    object.__setattr__(shard, "scores", lambda rows: known[rows.tobytes()])


PEERS = {"mteb": with_mteb, "sentence-transformers": with_sentence_transformers}
PARTS = {**PEERS, "pytrec_eval": with_pytrec_eval, "metrics": our_metrics}


def require_equal(folder: Path, settings: measure.Measurement) -> None:
    for peer in PEERS:
        for result in settings.cases[peer]:
            require_close(folder, result.said["lang"], result.said["scores"], TOLERANCE)


def require_close(folder: Path, lang: str, theirs: Mapping[str, Mapping[str, float]], tolerance: float) -> None:
    """A DataError unless all means of one query language are the stage's own."""
    rows = read_parquet(folder / "scores.parquet", contracts.SCORES).to_pylist()
    mine = {(row["corpus_lang"], row["metric"]): row["value"] for row in rows if row["query_lang"] == lang}
    if (POOL, RANK_DISTANCE) not in mine:
        raise DataError("The stage wrote no rank distance.", where=folder)
    other = [
        f"{corpus} {metric}: {mine[corpus, metric]:.5f} and {value:.5f}"
        for corpus, values in theirs.items()
        for metric, value in values.items()
        if abs(mine[corpus, metric] - value) > tolerance
    ]
    if other:
        raise DataError("The two sides do not agree.", expected=f"within {tolerance}", found="; ".join(other[:5]))


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


def make_vectors(folder: Path, rows: int, dim: int) -> None:
    """Vectors around some thousand centres, as texts of few topics have, and queries near some of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, dim)).astype(np.float32)

    def some(count: int) -> np.ndarray:
        near = centres[rng.integers(0, len(centres), count)]
        return unit(near + 0.7 * rng.standard_normal((count, dim), np.float32))

    np.save(folder / "queries.npy", some(QUERIES_OF_GROWTH))
    with open(folder / "vectors", "wb") as handle:
        for start in range(0, rows, 100_000):
            some(min(100_000, rows - start)).tofile(handle)


def shard_of(folder: Path, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    from polybatch.embedding.vectors import VectorFile
    from polybatch.retrieval.ranking import Shard

    dim = (folder / "vectors").stat().st_size // rows // 4
    return Shard(None, np.arange(rows), lambda: pa.array([]), vectors=VectorFile(folder / "vectors", rows, dim))


def exact_search(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    queries, shard = np.load(args.folder / "queries.npy"), shard_of(args.folder, args.rows)
    start = time.perf_counter()
    shard.search_vectors(queries, TOP_OF_GROWTH)
    return {"units": args.rows, "seconds": time.perf_counter() - start}


def approximate(args: argparse.Namespace) -> dict[str, Any]:
    """An IVF/PQ index of the same vectors: its size, its time and its recall@10, searched as the stage searches."""
    import os

    import faiss
    import numpy as np

    from polybatch.retrieval.index import build_index
    from polybatch.retrieval.ranking import numbers_of, set_search_parameters

    queries, shard = np.load(args.folder / "queries.npy"), shard_of(args.folder, args.rows)
    index = build_index(shard.vectors, args.factory, IndexOptions(threads=os.cpu_count() or 1))
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
