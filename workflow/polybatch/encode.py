"""Embeds a benchmark's queries and corpus with one model, each language once.

inputs: models/<run>/ (a sentence-transformers folder), benchmarks/<name>/
outputs: embeddings/<run>/<name>/{queries,corpus}/<lang>.npy, rows in the order of the benchmark's file and of length
1, each with <lang>.json (what it was made from); last embeddings.json, which holds these records together

A rerun embeds again only what was made from other texts, model, options, code or libraries: adding a language
costs that language. The records beside the arrays, not embeddings.json, decide that: a killed run, and Snakemake,
which deletes a rule's declared output before it runs, lose nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import stage
from polybatch.benchmark import Benchmark, Texts, load
from polybatch.code import code_digest
from polybatch.errors import ConfigError, DataError
from polybatch.files import atomic_path, sha256_file, write_json
from polybatch.options import Options, require
from polybatch.records import remove_other_languages, up_to_date_record

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

SIDES = ("queries", "corpus")
DTYPES = ("float32", "float16")
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")
PROMPT_NAMES = {"queries": ("query",), "corpus": ("document", "passage", "corpus")}

# Another version of one of these may embed another way.
_LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
# What lies in a model's folder and does not change its embeddings.
_NOT_THE_MODEL = {"training.json", "composition.json", "trainer_state.json", "training_args.bin"}
_NOT_THE_MODEL_SUFFIXES = {".md", ".log", ".tsv"}


@dataclass(frozen=True)
class EncodeOptions(Options):
    """How to embed.

    Attributes:
        batch_size: Texts at a time; texts are sorted by length first.
        dtype: Of the stored embeddings: float32 or float16.
        compute_dtype: Of the model while it runs: float32, bfloat16 or float16.
        device: As torch names it; null takes an accelerator if there is one.
        query_prompt, passage_prompt: Put before every text; null takes the model's own.
    """

    batch_size: int = 64
    dtype: str = "float32"
    compute_dtype: str = "float32"
    device: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None

    def faults(self) -> Iterator[str]:
        yield from require(self.batch_size >= 1, "batch_size must be at least 1")
        yield from require(self.dtype in DTYPES, f"dtype must be one of {', '.join(DTYPES)}")
        yield from require(
            self.compute_dtype in COMPUTE_DTYPES, f"compute_dtype must be one of {', '.join(COMPUTE_DTYPES)}"
        )

    def affecting_values(self) -> dict[str, Any]:
        """The options on which an embedding depends, beyond rounding."""
        names = ("dtype", "compute_dtype", "query_prompt", "passage_prompt")
        return {name: getattr(self, name) for name in names}


class Model:
    """A sentence-transformers folder, loaded at its first use: where all is up to date, nothing is loaded.

    Args:
        folder: The model.
        options: See EncodeOptions.
    """

    def __init__(self, folder: Path, options: EncodeOptions) -> None:
        self.folder, self.options = folder, options
        self.digest = model_digest(folder)

    @cached_property
    def loaded(self) -> SentenceTransformer:
        return load_model(self.folder, self.options)


def encode(model: Model, benchmark: Benchmark, output: Path) -> dict[str, int]:
    """Brings the embeddings of one benchmark up to date.

    Args:
        model: The model and the options to embed with.
        benchmark: Its languages are embedded; arrays of other languages are removed.
        output: embeddings/<run>/<name>.

    Returns:
        {"encoded": files written, "kept": files that were up to date}.

    Raises:
        DataError: The model cannot be loaded, or gives vectors that are not finite or zero.
    """
    made_from = {
        "model": model.digest,
        "options": model.options.affecting_values(),
        "code": code_digest("encode"),
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    records: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
    counts = {"encoded": 0, "kept": 0}
    for side, texts_of in zip(SIDES, (benchmark.queries, benchmark.corpus), strict=True):
        remove_other_languages(output / side, benchmark.languages, (".npy", ".json"))
        for lang, texts in texts_of.items():
            path = output / side / f"{lang}.npy"
            wanted = {**made_from, "input": texts.digest()}
            record = up_to_date_record(path, wanted)
            counts["encoded" if record is None else "kept"] += 1
            records[side][lang] = record or _encode_file(model, side, texts, path, wanted)
    write_json(output / "embeddings.json", {"languages": benchmark.languages, "model": model.digest, **records})
    return counts


def model_digest(folder: Path) -> str:
    """SHA-256 of all files of a model's folder that its embeddings depend on: weights, tokenizer, set-up."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in _NOT_THE_MODEL
        and path.suffix not in _NOT_THE_MODEL_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not (folder / "modules.json").is_file():
        raise DataError(
            "The model is no sentence-transformers folder.",
            where=folder,
            expected="modules.json and the modules that it names",
            found=", ".join(path.name for path in files[:5]) or "no file",
            remedy="train the model with polybatch.train, or save one with SentenceTransformer.save_pretrained",
        )
    digest = sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def load_model(folder: Path, options: EncodeOptions) -> SentenceTransformer:
    """Loads a sentence-transformers folder from the disk; no code and nothing from a network comes with it."""
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder),
            device=options.device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        return model.to(getattr(torch, options.compute_dtype))  # heads too, and whatever type the file holds
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            "The model cannot be loaded.",
            where=folder,
            expected="a sentence-transformers folder with safetensors weights",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="make the model again",
        ) from error


def prompt_of(model: SentenceTransformer, side: str, options: EncodeOptions) -> str:
    """The text put before every query or passage.

    Not `encode_document`'s own choice: sentence-transformers fills a missing prompt `document` with an empty one and
    then prefers it to the prompt `passage` of models that were saved with that name.
    """
    chosen = options.query_prompt if side == "queries" else options.passage_prompt
    if chosen is not None:
        return chosen
    own = (model.prompts.get(name) for name in PROMPT_NAMES[side])
    return next(filter(None, own), "")


def _encode_file(model: Model, side: str, texts: Texts, path: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    options = model.options
    prompt = prompt_of(model.loaded, side, options)
    vectors = embed(model.loaded, side, texts, prompt, options.batch_size).astype(options.dtype)
    with atomic_path(path) as partial, open(partial, "wb") as handle:
        np.save(handle, vectors, allow_pickle=False)
    record = {
        **made_from,
        "rows": len(vectors),
        "dim": vectors.shape[1],
        "dtype": options.dtype,
        "prompt": prompt,
        "sha256": sha256_file(path),
    }
    write_json(path.with_suffix(".json"), record)
    stage.log.info("%s: %d rows of %d", path, *vectors.shape)
    return record


def embed(model: SentenceTransformer, side: str, texts: Texts, prompt: str, batch_size: int) -> np.ndarray:
    """Embeds one side in one language; a text that stands twice is embedded once.

    Returns:
        (rows, dim) float32, rows of length 1, in the order of `texts`.
    """
    import numpy as np

    column = texts.texts.dictionary_encode()
    encode_side = model.encode_query if side == "queries" else model.encode_document
    raw = encode_side(
        column.dictionary.to_pylist(),
        prompt=prompt,
        batch_size=batch_size,
        show_progress_bar=False,
        convert_to_tensor=True,
    )
    vectors = raw.float().cpu().numpy()[column.indices.to_numpy()]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unusable = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > np.finfo(np.float32).tiny)))
    if len(unusable):
        raise DataError(
            "The model gives vectors that have no direction.",
            expected="finite vectors of a length above zero",
            found=f"{len(unusable)} of {len(vectors)} {side}: "
            + ", ".join(f"{texts.ids[i]} (length {norms[i, 0]})" for i in unusable[:3].tolist()),
            remedy="look at the training of this model (loss, learning rate), or compute in float32",
        )
    return vectors / norms


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.encode", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="a sentence-transformers folder")
    parser.add_argument("--benchmark", required=True, type=Path, nargs="+", help="one or more benchmark folders")
    parser.add_argument("--languages", required=True, nargs="+")
    parser.add_argument("--options", default="{}", type=EncodeOptions.from_json, help="EncodeOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path, nargs="+", help="one folder for each benchmark")
    args = parser.parse_args(argv)

    if len(args.benchmark) != len(args.output):
        raise ConfigError(
            "Each benchmark needs one output folder.",
            expected=f"{len(args.benchmark)} after --output",
            found=str(len(args.output)),
        )
    model = Model(args.model, args.options)
    for folder, output in zip(args.benchmark, args.output, strict=True):
        counts = encode(model, load(folder, args.languages), output)
        stage.log.info("%s: %d file(s) embedded, %d up to date", folder.name, counts["encoded"], counts["kept"])


if __name__ == "__main__":
    stage.run(main)
