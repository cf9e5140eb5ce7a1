"""A small model, training text in three languages and a benchmark in four, for the tests of projections."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from parallel_files import parallel_row, write_parallel
from small_benchmark import write_qrels, write_side
from tiny_models import save_tiny_model

from polybatch.config.grid import sides_of
from polybatch.core.files import read_parquet
from polybatch.embedding.embedder import Model
from polybatch.embedding.encode import encode
from polybatch.embedding.options import EncodeOptions
from polybatch.posthoc import estimate, means, project

LANGUAGES = ("en", "de", "tr")
WORDS = {"en": "the red house", "de": "das haus rot", "tr": "opens closes light", "th": "sensor garden door"}
PROMPTS = {"query": "query : ", "passage": "passage : "}


def text(lang: str, number: int) -> str:
    return f"{WORDS[lang]} {number} {number * 7 % 89}"


def make_model(folder: Path, seed: int = 0) -> Path:
    return save_tiny_model(folder, prompts=PROMPTS, seed=seed)


def make_parallel(base: Path, pairs: int = 60) -> dict[str, Path]:
    """Training text; Turkish lacks every third pair, and every fifth English passage stands twice."""
    return {
        lang: write_parallel(
            base / f"{lang}.parquet",
            [
                parallel_row(i, text(lang, 200 + i), text(lang, i - 1 if lang == "en" and i % 5 == 4 else i))
                for i in range(pairs)
                if lang != "tr" or i % 3
            ],
        )
        for lang in LANGUAGES
    }


def make_benchmark(folder: Path) -> Path:
    """Queries and passages in the languages of training, and in Thai, which has no training text."""
    draw = random.Random(3)
    languages = (*LANGUAGES, "th")
    for lang in languages:
        for side, name in (("queries", "q"), ("corpus", "p")):
            rows = [(f"{name}{i}-{lang}", text(lang, draw.randrange(1000)), f"g{i}") for i in range(5)]
            write_side(folder, side, lang, rows)
    write_qrels(folder, [(f"q{i}-{a}", f"p{i}-{b}", 1) for a in languages for b in languages for i in range(5)])
    return folder


def embed(model: Path, benchmark: Path, output: Path, options: EncodeOptions | None = None) -> Path:
    encode(Model(model, options or EncodeOptions()), benchmark, [*LANGUAGES, "th"], output)
    return output


def project_to(model: Path, benchmark: Path, before: Path, output: Path) -> Path:
    languages = [*LANGUAGES, "th"]
    job = {
        "benchmark": str(benchmark),
        "output": str(output),
        "query_languages": languages,
        "corpus_languages": languages,
    }
    project.main(["--model", str(model), "--embeddings", str(before), "--benchmarks", json.dumps([job])])
    return output


def means_file(
    model: Path, parallel: dict[str, Path], side: str, output: Path, texts: int = 500, **encoding: int
) -> Path:
    """The means of one side of the training text."""
    files = [f"{lang}={path}" for lang, path in parallel.items()]
    named = ["--model", str(model), "--parallel", *files, "--side", side, "--output", str(output)]
    means.main([*named, "--texts", str(texts), "--encoding", json.dumps(encoding)])
    return output


def projected_from(model: Path, files: list[Path], projection: str, output: Path, **options: float) -> Path:
    """A projection that is estimated from files of means."""
    given = json.dumps({"min_texts": 20, **options})
    named = ["--model", str(model), "--means", *map(str, files), "--output", str(output)]
    estimate.main([*named, "--projection", projection, "--options", given])
    return output


def projected(model: Path, parallel: dict[str, Path], projection: str, output: Path, **options: float) -> Path:
    """A projection, with its means beside it."""
    beside = [output.with_name(f"{output.name}-{side}.parquet") for side in sides_of(projection)]
    files = [means_file(model, parallel, file.stem.rpartition("-")[2], file) for file in beside]
    return projected_from(model, files, projection, output, **options)


def vectors(folder: Path, side: str, lang: str) -> np.ndarray:
    return np.load(folder / side / f"{lang}.npy")


def by_hand(model: Path, texts: list[str], prompt: str) -> np.ndarray:
    """What sentence-transformers alone gives, of length 1."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model), device="cpu").encode(texts, prompt_name=prompt, normalize_embeddings=True)


def texts_in(benchmark: Path, side: str, lang: str) -> list[str]:
    return read_parquet(benchmark / side / f"{lang}.parquet")["text"].to_pylist()
