"""How near the vectors of an ONNX graph come to those of the model that it was made from, and what that does to scores.

inputs: a model and its graphs; a benchmark's texts
outputs: cosines on a sample of these texts; on demand the study's scores, with all texts embedded by a graph

Scores are made by the stages that made the study's (`polybatch.retrieval.index`, `polybatch.retrieval.score`), in a
temporary folder.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.config import values
from polybatch.core import made_from, stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, write_json
from polybatch.embedding.benchmark_texts import Job, TextFile
from polybatch.embedding.embedder import npy_header, prompt_of, write_to
from polybatch.embedding.options import EncodeOptions
from polybatch.export import scores
from polybatch.export.onnx_graph import OnnxEncoder
from polybatch.export.source import Source
from polybatch.retrieval.options import EXACT, ScoreOptions

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from polybatch.export.scores import Scores

SAMPLE = 256
# Two computations of one model in float32 differ by rounding alone.
LEAST_COSINE = 0.9999
_ROWS_AT_A_TIME = 1024


def sample_texts(source: Source, benchmark: str, model: SentenceTransformer, most: int = SAMPLE) -> list[str]:
    """Texts of a benchmark with their prompts: as many queries as passages, evenly from all languages and files.

    Returns:
        At most `most`, each once.
    """
    languages = source.languages(benchmark)
    job = Job(source.benchmark_folder(benchmark), Path(), *languages)
    files, options = job.files(), EncodeOptions.from_values(source.encoding)
    share = max(1, most // len(files))
    found: list[str] = []
    for file in files:
        step = max(1, len(file.rows) // share)
        prompt = prompt_of(model, file.side, options)
        chosen = itertools.islice(itertools.islice(_texts(file), 0, None, step), share)
        found += [prompt + text for text in chosen]
    return list(dict.fromkeys(found))[:most]


def _texts(file: TextFile) -> Iterator[str]:
    for batch in file.read(["text"], file.rows):
        yield from batch["text"].to_pylist()


def cosines(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Of each vector with the one that it should be: {"mean", "p05" (the 5th percentile), "min", "texts"}.

    Args:
        expected, found: (texts, dim), of length 1.

    Raises:
        DataError: A vector holds what is no number: every comparison with such a cosine would come out as "no fault".
    """
    import numpy as np

    each = (expected * found).sum(axis=1)
    if wrong := int((~np.isfinite(each)).sum()):
        raise DataError(
            "The ONNX graph, or the model, gives vectors that are no numbers.",
            expected="vectors of length 1",
            found=f"{wrong} of {len(each)} texts whose cosine is no number",
            remedy="leave onnx out with --only, and please report it with the model's name",
        )
    return {
        "mean": round(float(each.mean()), 6),
        "p05": round(float(np.quantile(each, 0.05)), 6),
        "min": round(float(each.min()), 6),
        "texts": len(each),
    }


def embed_originals(model: SentenceTransformer, texts: Sequence[str], truncate_dim: int | None) -> np.ndarray:
    """(texts, dim) float32, of length 1: what sentence-transformers gives for texts that have their prompts already."""
    import numpy as np

    vectors = model.encode(list(texts), prompt="", convert_to_numpy=True, show_progress_bar=False)[:, :truncate_dim]
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def require_same(found: dict[str, float], where: Path) -> None:
    """Raises a DataError unless a graph in float32 gives the model's vectors up to rounding."""
    if found["min"] < LEAST_COSINE:
        raise DataError(
            "The ONNX graph gives other vectors than the model.",
            where=where,
            expected=f"cosines of at least {LEAST_COSINE}",
            found=str(found["min"]),
            remedy="leave onnx out with --only, and please report it with the model's name",
        )


def score(source: Source, benchmark: str, encoder: OnnxEncoder, model: SentenceTransformer, label: str) -> Scores:
    """Embeds a whole benchmark with a graph and scores it as the study does, with an exact index.

    Raises:
        DataError: The benchmark is not there, or a stage fails; what it said was printed.
    """
    folder = source.benchmark_folder(benchmark)
    options = EncodeOptions.from_values(source.encoding)
    with tempfile.TemporaryDirectory(prefix="polybatch-export-") as place:
        temporary = Path(place)
        job = Job(folder, temporary / "embeddings", *source.languages(benchmark))
        records = []
        for file in job.files():
            prompt = prompt_of(model, file.side, options)
            records.append((file, _embed(file, encoder, prompt, f"{label}, {file.label}")))
        job.finish("", records, made_from.record({"graph": label}))
        _index_and_score(source, benchmark, temporary)
        found = scores.read_files([temporary / "scores.parquet"], source.config)
    assert found is not None
    return found


def _embed(file: TextFile, encoder: OnnxEncoder, prompt: str, label: str) -> dict[str, Any]:
    """Writes the vectors of a file's texts as `polybatch.embedding.encode` does, and gives their record."""
    import numpy as np

    progress, digest, dim = stage.Progress(label, len(file.rows), "texts"), sha256(), 0
    with atomic_path(file.path) as partial, open(partial, "wb") as handle:
        for texts in _blocks(_texts(file)):
            vectors = encoder.embed([prompt + text for text in texts])
            if not dim:
                dim = vectors.shape[1]
                digest.update(write_to(handle, npy_header("float32", (len(file.rows), dim))))
            digest.update(write_to(handle, np.ascontiguousarray(vectors, np.float32).data))
            progress.add(len(texts))
    progress.end()
    record = {"rows": len(file.rows), "dim": dim, "dtype": "float32", "prompt": prompt}
    record |= {"input": file.digests(file.rows)[0], "sha256": digest.hexdigest()}
    write_json(file.path.with_suffix(".json"), record)
    return record


def _blocks(texts: Iterator[str]) -> Iterator[list[str]]:
    while block := list(itertools.islice(texts, _ROWS_AT_A_TIME)):
        yield block


def _index_and_score(source: Source, benchmark: str, place: Path) -> None:
    config = source.config
    known = bool(config) and benchmark in config["benchmarks"]
    options = values.scoring_options(config, benchmark) if known else _options_of(source, benchmark)
    index = ["--embeddings", place / "embeddings", "--factory", EXACT, "--output", place / "index"]
    files = {"scores": "scores.parquet", "per-query": "per_query.parquet", "run": "run.parquet"}
    scoring = ["--embeddings", place / "embeddings", "--index", place / "index"]
    scoring += ["--benchmark", source.benchmark_folder(benchmark), "--grid", json.dumps(source.run.grid)]
    scoring += ["--options", json.dumps(options)]
    scoring += [word for flag, name in files.items() for word in (f"--{flag}", place / name)]
    for name, arguments in (("index", index), ("score", scoring)):
        _call(f"polybatch.retrieval.{name}", arguments)


def _options_of(source: Source, benchmark: str) -> dict[str, Any]:
    """The scoring options where there is no configuration: all settings that the languages allow."""
    return {**ScoreOptions().as_dict(), "settings": values.possible_settings(*source.languages(benchmark))}


def _call(module: str, arguments: Sequence[object]) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=False, env=None)
    if done.returncode:
        raise DataError(
            "A graph's vectors could not be scored.",
            where=module,
            found=f"exit status {done.returncode}; what it said stands above",
            remedy="export without --score",
        )
