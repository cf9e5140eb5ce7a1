"""The peers of search.py, and our metrics alone, each over the settings of one query language.

inputs: a folder that search_data.make filled; for the comparison of means scores.parquet of the stage
outputs: {"units": settings, "seconds", "scores": corpus language -> metric -> mean, "lang"}, as a dictionary
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_data import identifier, languages_of

from polybatch.core import contracts
from polybatch.core.contracts import POOL
from polybatch.core.errors import DataError
from polybatch.core.files import read_parquet
from polybatch.retrieval.metrics import METRICS, RANK_DISTANCE, is_rank_metric

if TYPE_CHECKING:
    import numpy as np

DEPTH = 1000
CUTS = (1, 10, 100, DEPTH)
# Ours -> each peer's name. The means of peers that multiply in another order differ where two scores agree to seven
# digits and change places: by at most one query in 1,190 for a pair.
SAME = {"ndcg@10": "ndcg_cut_10", "recall@1": "recall_1", "recall@10": "recall_10", f"map@{DEPTH}": f"map_cut_{DEPTH}"}
TOLERANCE = 2e-3


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


PEERS = {"mteb": with_mteb, "sentence-transformers": with_sentence_transformers}
PARTS = {**PEERS, "pytrec_eval": with_pytrec_eval, "metrics": our_metrics}
