"""A study of one tiny model on disk, from benchmark to tables, as the pipeline leaves it: made by the stages themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_benchmark import write_parallel
from small_pipeline import embed_and_index, write_tables
from tiny_models import save_tiny_model

from polybatch.config.grid import Run
from polybatch.config.paths import Paths
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import scoring_options
from polybatch.core.files import write_json
from polybatch.core.made_from import digest, record
from polybatch.core.sums import write_sums
from polybatch.embedding.options import EncodeOptions
from polybatch.export import make
from polybatch.retrieval.score import Job, ScoreOptions, score_benchmark
from polybatch.tables.chain import model_links

RUN = Run("tiny", "hybrid", "0.5", "all", "all", ("en", "de"), 1)
LANGUAGES = ["en", "de", "tr"]
PROMPTS = {"query": "query: ", "passage": "passage: "}
METRICS = ["map", "ndcg@10", "recall@1", "rank_distance", "language_share@10"]
CONFIG: dict[str, Any] = {
    "collection": "small",
    "study": {
        "name": "small",
        "benchmarks": ["test"],
        "encoders": ["tiny"],
        "untrained": True,
        "num_pairs": ["all"],
        "num_translated": ["all"],
        "runs": [{"sampling": "hybrid", "alphas": [0.5], "seeds": [1]}],
    },
    "data_mark": "toy data",
    "languages": {"train": ["en", "de"], "evaluate": LANGUAGES},
    "encoders": {"tiny": {"encoding": {}, "training": {}}},
    "encoding": {"shards": 1},
    "training": {},
    "source": [],
    "translation": {"languages": []},
    "index": {"factory": "Flat"},
    "scoring": {"metrics": METRICS},
    "benchmarks": {"test": {"split": "test", "scoring": {}, "settings": None}},
    "tables": {},
}
WHEEL = {
    "file": "packed.bin",
    "note": "What the 4 bits cost: nDCG@10 .662 in place of .676.",
    "platform": "any",
    "requirement": "packed==1.0",
    "sha256": "0" * 64,
    "weights_of": "org/tiny",
}


def write_study(results: Path, *, scored: bool = True, tables: bool = True) -> Paths:
    """Writes the untrained encoder `tiny`, a run of it, a benchmark, and what was made of both."""
    paths = Paths("small", "small", str(results))
    write_parallel(Path(paths.benchmark("test")), LANGUAGES, queries=6, passages=12)
    encoder = save_tiny_model(Path(paths.encoder("tiny")), prompts=PROMPTS)
    model = save_tiny_model(Path(paths.model(RUN.name)), prompts=PROMPTS, seed=1)
    for folder, run in ((encoder, Run.untrained("tiny")), (model, RUN)):
        write_json(folder / "encoder.json", training()["encoder_record"])
        if run.trained:
            write_json(folder / "training.json", {**training(), "made_from": made_from_of(paths)})
        write_sums(folder)
        if scored:
            evaluate(paths, folder, run)
    if tables:
        write_tables(results / "tables/small", CONFIG)
    return paths


def run(paths: Paths, to: Path, *more: str, name: str = RUN.name, study: str = "small") -> None:
    """Exports a run of the study, as the command does."""
    make.main([name, "--study", study, "--results", paths.results, "--to", str(to), *more])


def made_from_of(paths: Paths) -> dict[str, Any]:
    """What training.json says that the model of `RUN` was made from."""
    [link] = model_links(StudyPaths.of(CONFIG, paths.base), RUN)
    return record(link.options, lambda path: digest(path) if path.exists() else "", **link.inputs)


def evaluate(
    paths: Paths,
    folder: Path,
    run: Run,
    encoding: dict[str, Any] | None = None,
    config: dict[str, Any] = CONFIG,
) -> None:
    """Embeds the benchmark with a model, indexes it, and scores the run on it."""
    benchmark, embeddings = Path(paths.benchmark("test")), Path(paths.embeddings(run.name, "test"))
    index = Path(paths.index_record(run.name, "test")).parent
    options = EncodeOptions.from_values(encoding or {})
    embed_and_index(folder, benchmark, LANGUAGES, embeddings=embeddings, index=index, options=options)
    files = (paths.scores(run.name, "test"), paths.per_query(run.name, "test"), paths.ranked(run.name, "test"))
    job = Job(
        embeddings, index, benchmark, ScoreOptions.from_values(scoring_options(config, "test")), *map(Path, files)
    )
    score_benchmark(job, run.grid, trec_folder=Path(paths.base) / "trec" / run.encoder / str(run.seed))


def training() -> dict[str, Any]:
    """The record of a training, as `polybatch.training.train` writes it, as far as cards read it."""
    options = {
        "batch_size": 8,
        "learning_rate": 1e-3,
        "temperature": 0.05,
        "hard_negatives": 0,
        "matryoshka_dims": None,
        "freeze_layers": 0,
        "freeze_embeddings": False,
        "lora_r": None,
        "lora_alpha": 16,
    }
    origin = {"repo_id": "", "commit": "", "license": "mit", "trust_remote_code": False, "wheel": WHEEL}
    return {
        "encoder": "results/small/encoders/tiny",
        "encoder_record": origin,
        "begin": None,
        "objective": "infonce",
        "teacher": None,
        "teacher_record": None,
        "sampling": "hybrid",
        "alpha": "0.5",
        "num_pairs": "all",
        "num_translated": "all",
        "languages": ["en", "de"],
        "seed": 1,
        "steps": 4,
        "best_step": 4,
        "validation_loss": 0.5,
        "validation_pairs": 3,
        "options": options,
        "license": {"strings": "Apache-2.0"},
        "pairs": 20,
        "pairs_per_language": {"en": 20, "de": 15},
        "pairs_per_source": {"strings": 20},
        "machine_translated_per_language": {"en": 0, "de": 5},
    }
