"""Scores equal those of mteb's own evaluator, to four decimals, on the same model and data.

What differs is said here too: a query that is judged but has no relevant passage counts as zero in mteb's mean, and
is left out of ours.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standins"))

import benchmarks as standins
from hub_cache import HubCache

from polybatch.benchmarks.mteb import build, task_repo
from polybatch.benchmarks.mteb_tasks import chosen_subsets, retrieval_task
from polybatch.core.hub import Snapshot
from polybatch.embedding.embedder import Model
from polybatch.embedding.encode import encode
from polybatch.embedding.options import EncodeOptions
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.judging import score
from polybatch.retrieval.options import IndexOptions, ScoreOptions
from polybatch.retrieval.searchable import open_collection

PROMPTS = {"query": "query: ", "document": "passage: "}
METRICS = {"ndcg@10": "ndcg_at_10", "map@1000": "map_at_1000", "recall@100": "recall_at_100", "mrr@10": "mrr_at_10"}
# What each of them is for: titles; grades, and a query without relevant passage; copies and an empty passage; a query
# that stands in the corpus, and a relevant passage that does not; several languages; other languages of the corpus.
TASKS = {
    "SciFact": ["en"],
    "NFCorpus": ["en"],
    "FiQA2018": ["en"],
    "ArguAna": ["en"],
    "MIRACLRetrievalHardNegatives": ["en", "th", "zh"],
    "BelebeleRetrieval": ["en", "de", "zh"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that reads single characters, of any script."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = {standins.word(lang, i) for lang in ("en", "de", "th", "zh") for i in range(400)}
    characters = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz :.?。ABDFGHKLMNPRSTVWZ"))
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder / "parts")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=128,
    ).save_pretrained(folder / "parts")
    modules = [Transformer(str(folder / "parts"), max_seq_length=128), Pooling(32, pooling_mode="mean")]
    SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> HubCache:
    return HubCache(tmp_path_factory.mktemp("hub"))


def snapshot_of(cache: HubCache, task: str) -> Snapshot:
    folder = standins.add_task(cache, task, {})
    repo, revision, _ = task_repo(task)
    return Snapshot(repo, "dataset", revision, folder.name, folder)


def mteb_scores(task: str, snapshot: Snapshot, model: Path, subsets: list[str], cache: Path) -> dict[str, dict]:
    """subset -> mteb's scores, from its own loader and evaluator."""
    import datasets
    import mteb
    from sentence_transformers import SentenceTransformer

    made = mteb.get_task(task)
    dataset = {**made.metadata.dataset, "path": str(snapshot.folder)}
    made.metadata = made.metadata.model_copy(update={"dataset": dataset})
    if made.metadata.is_multilingual:
        made.hf_subsets = subsets
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, cache
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = mteb.evaluate(
                SentenceTransformer(str(model), device="cpu"),
                made,
                cache=None,
                co2_tracker=False,
                show_progress_bar=False,
                encode_kwargs={"batch_size": 64, "show_progress_bar": False},
            )
    finally:
        datasets.config.HF_DATASETS_CACHE = before
    (split,) = result.task_results[0].scores.values()
    return {scores["hf_subset"]: scores for scores in split}


def our_scores(folder: Path, model: Path, card: dict[str, Any], work: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(query language, corpus language) -> our scores, by the stages' own functions."""
    languages = list(card["queries"])
    encode(Model(model, EncodeOptions()), folder, languages, work / "embeddings", list(card["passages"]))
    build_indexes(work / "embeddings", list(card["passages"]), "Flat", IndexOptions(), work / "index")
    settings = ["monolingual", "cross_lingual"] if card["task"] == "BelebeleRetrieval" else ["monolingual"]
    options = ScoreOptions(settings=settings, metrics=list(METRICS), depth=1000)
    return {
        (cell.query_lang, cell.corpus_lang): {name: float(np.nanmean(cell.values[name])) for name in METRICS}
        for cell in score(open_collection(work / "embeddings", work / "index", folder), options)
    }


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_mteb(task: str, cache: HubCache, model: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(cache, task)
    card = build(task, snapshot, tmp_path / "benchmark", TASKS[task])
    ours = our_scores(tmp_path / "benchmark", model, card, tmp_path)
    theirs = mteb_scores(task, snapshot, model, card["subsets"], tmp_path / "arrow")
    subsets = chosen_subsets(retrieval_task(task), TASKS[task], TASKS[task], "")
    assert len(theirs) == len(subsets) == {"BelebeleRetrieval": 7}.get(task, len(TASKS[task]))
    for subset in subsets:
        pair = subset.query_lang, subset.corpus_lang
        unanswerable = card["queries_without_relevant_passage"].get("-".join(pair), 0)
        queries = standins.QUERIES * (1 if task != "BelebeleRetrieval" else 2)
        counted = 1 - unanswerable / queries
        for metric, name in METRICS.items():
            value = ours[pair][metric] * counted
            assert value == pytest.approx(theirs[subset.name][name], abs=5e-5), (pair, metric)
    values = {round(value, 4) for scores in ours.values() for value in scores.values()}
    assert len(values) > 2
    assert values - {0, 1}  # the model is neither so bad nor so good that every ranking scores the same
