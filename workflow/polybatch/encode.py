"""Embeds a benchmark's queries and corpus with one model, each language once.

inputs: models/<run>/ or encoders/<name>/ (a sentence-transformers folder), benchmarks/<name>/
outputs: embeddings/<run>/<name>/{queries,corpus}/<lang>.npy, rows in the order of the benchmark's file and of length
1, each with <lang>.json (what it was made from); last embeddings.json, which holds these records together

A rerun embeds again only what was made from other texts, model, options, code or libraries: adding a language
costs that language. The records beside the arrays, not embeddings.json, decide that: a killed run, and Snakemake,
which deletes a rule's declared output before it runs, lose nothing.

Texts are read and vectors written in chunks, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import contracts, stage
from polybatch.code import code_digest
from polybatch.errors import ConfigError, DataError
from polybatch.files import atomic_path, sha256_file, write_json
from polybatch.model import COMPUTE_DTYPES, load_model, require_whole
from polybatch.options import Options, require
from polybatch.records import remove_other_languages, up_to_date_record
from polybatch.streams import batches, open_parquet

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

SIDES = ("queries", "corpus")
DTYPES = ("float32", "float16")
PROMPT_NAMES = {"queries": ("query",), "corpus": ("document", "passage", "corpus")}

_ID = {"queries": "query_id", "corpus": "passage_id"}
_SCHEMA = {"queries": contracts.QUERIES, "corpus": contracts.CORPUS}
_JOB = {"benchmark": str, "output": str, "query_languages": list, "corpus_languages": list}
_CHUNK_ROWS = 50_000
_BATCHES_A_CALL = 16
_LINE_EVERY_S = 10.0
# Another version of one of these may embed another way.
_LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
# What lies in a model's folder and does not change its embeddings.
_NOT_THE_MODEL = {"training.json", "composition.json", "batches.parquet", "trainer_state.json", "training_args.bin"}
_NOT_THE_MODEL_SUFFIXES = {".md", ".log", ".tsv"}


@dataclass(frozen=True)
class EncodeOptions(Options):
    """How to embed.

    Attributes:
        batch_size: Most texts at a time; texts are sorted by length first.
        batch_tokens: Most tokens at a time, padding included; null sets no bound. With it, batch_size can be large:
            short texts go in large batches, and long ones in batches that still fit the memory.
        dtype: Of the stored embeddings: float32 or float16.
        compute_dtype: Of the model while it runs: float32, bfloat16 or float16.
        device: As torch names it; null takes an accelerator if there is one.
        query_prompt, passage_prompt: Put before every text; null takes the model's own.
        truncate_dim: Keep so many leading dimensions, and bring them to length 1 again (for models trained for it:
            Kusupati et al. 2022, arXiv 2205.13147); null keeps all.
    """

    batch_size: int = 64
    batch_tokens: int | None = None
    dtype: str = "float32"
    compute_dtype: str = "float32"
    device: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    truncate_dim: int | None = None

    def faults(self) -> Iterator[str]:
        yield from require(self.batch_size >= 1, "batch_size must be at least 1")
        yield from require(self.batch_tokens is None or self.batch_tokens >= 1, "batch_tokens must be at least 1")
        yield from require(self.dtype in DTYPES, f"dtype must be one of {', '.join(DTYPES)}")
        yield from require(
            self.compute_dtype in COMPUTE_DTYPES, f"compute_dtype must be one of {', '.join(COMPUTE_DTYPES)}"
        )
        yield from require(self.truncate_dim is None or self.truncate_dim >= 1, "truncate_dim must be at least 1")

    def affecting_values(self) -> dict[str, Any]:
        """The options on which an embedding depends, beyond rounding."""
        names = ("dtype", "compute_dtype", "query_prompt", "passage_prompt", "truncate_dim")
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
        return load_model(self.folder, device=self.options.device, compute_dtype=self.options.compute_dtype)


def encode(
    model: Model,
    benchmark: Path,
    languages: Sequence[str],
    output: Path,
    corpus_languages: Sequence[str] | None = None,
) -> dict[str, int]:
    """Brings the embeddings of one benchmark up to date.

    Args:
        model: The model and the options to embed with.
        benchmark: benchmarks/<name>.
        languages: Of the queries to embed; arrays of other languages are removed.
        output: embeddings/<run>/<name>.
        corpus_languages: Of the passages to embed; as `languages` if None.

    Returns:
        {"encoded": files written, "kept": files that were up to date}.

    Raises:
        DataError: A file is missing or cannot be read, or holds a row without id or text; the model cannot be
            loaded, or gives vectors that are not finite or zero.
        ConfigError: The model has fewer dimensions than are to be kept.
    """
    asked = {"queries": list(languages), "corpus": list(languages if corpus_languages is None else corpus_languages)}
    _require_files(benchmark, asked)
    made_from = {
        "model": model.digest,
        "options": model.options.affecting_values(),
        "code": code_digest("encode"),
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    records: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
    counts = {"encoded": 0, "kept": 0}
    for side in SIDES:
        remove_other_languages(output / side, asked[side], (".npy", ".json"))
        for lang in asked[side]:
            source, path = benchmark / side / f"{lang}.parquet", output / side / f"{lang}.npy"
            wanted = {**made_from, "input": texts_digest(source, side)}
            record = up_to_date_record(path, wanted)
            counts["encoded" if record is None else "kept"] += 1
            records[side][lang] = record or _encode_file(model, side, source, path, wanted)
    described = {"languages": asked["queries"], "corpus_languages": asked["corpus"], "model": model.digest}
    write_json(output / "embeddings.json", {**described, **records})
    return counts


def _require_files(benchmark: Path, asked: dict[str, list[str]]) -> None:
    for side, languages in asked.items():
        there = sorted(path.stem for path in (benchmark / side).glob("*.parquet"))
        missing = [lang for lang in languages if lang not in there]
        if missing or not languages or len(set(languages)) != len(languages):
            raise DataError(
                f"The languages whose {side} are to be embedded are none, named twice, or not there.",
                where=benchmark / side,
                expected=f"languages of {' '.join(there) or 'which there are none'}, each once",
                found=" ".join(languages) or "none",
                remedy="evaluate in languages that the benchmark has, or make it with these languages",
            )


def model_digest(folder: Path) -> str:
    """SHA-256 of all files of a model's folder that its embeddings depend on: weights, tokenizer, set-up."""
    require_whole(folder)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in _NOT_THE_MODEL
        and path.suffix not in _NOT_THE_MODEL_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    digest = sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


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


def texts_digest(path: Path, side: str) -> str:
    """SHA-256 of a file's ids and texts in their order, as `polybatch.benchmark.Texts.digest` has it."""
    digest = sha256()
    for column in (_ID[side], "text"):
        for batch in batches(path, _SCHEMA[side], [column], _CHUNK_ROWS):
            for value in batch.column(column).to_pylist():
                if value is None:
                    raise DataError(f"A row has no {column}.", where=path, remedy="make the benchmark again")
                raw = value.encode("utf-8")
                digest.update(b"%d:" % len(raw) + raw)
    return digest.hexdigest()


def _encode_file(model: Model, side: str, source: Path, path: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    """Embeds one file chunk by chunk into an array, of which the whole is never in memory."""
    import numpy as np

    rows = open_parquet(source).metadata.num_rows
    if not rows:
        raise DataError("There is no text to embed.", where=source, remedy="make the benchmark again")
    options = model.options
    embedder = Embedder(model.loaded, side, prompt_of(model.loaded, side, options), options)
    progress, dim, digest = _Progress(f"{path.parent.name}/{path.stem}", rows), 0, sha256()
    with atomic_path(path) as partial, open(partial, "wb") as handle:
        # Not a memory map: on a full disk it ends the process instead of raising an error.
        for batch in batches(source, _SCHEMA[side], [_ID[side], "text"], _CHUNK_ROWS):
            ids, texts = (column.combine_chunks() for column in batch.columns)
            vectors = embedder.embed(ids, texts, progress).astype(options.dtype)
            if not dim:
                dim = vectors.shape[1]
                digest.update(_write(handle, _npy_header(vectors.dtype, (rows, dim))))
            digest.update(_write(handle, np.ascontiguousarray(vectors).data))
    progress.end()
    record = {
        **made_from,
        "rows": rows,
        "dim": dim,
        "dtype": options.dtype,
        "prompt": embedder.prompt,
        "sha256": digest.hexdigest(),
    }
    write_json(path.with_suffix(".json"), record)
    stage.log.info("%s: %d rows of %d", path, rows, dim)
    return record


def _write(handle: Any, content: Any) -> Any:
    handle.write(content)
    return content


def _npy_header(dtype: np.dtype, shape: tuple[int, int]) -> bytes:
    import io

    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


class _Progress:
    """A line every ten seconds: how many texts are embedded, and how many a second."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self.start = self.last = time.monotonic()

    def add(self, texts: int) -> None:
        self.done += texts
        if time.monotonic() - self.last >= _LINE_EVERY_S:
            self.last = time.monotonic()
            self.end()

    def end(self) -> None:
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        stage.log.info("%s: %d/%d texts, %.1f texts/s", self.label, self.done, self.total, rate)


@dataclass(frozen=True)
class Embedder:
    """A model that embeds one side of a benchmark.

    Attributes:
        model: A sentence-transformers model.
        side: "queries" or "corpus".
        prompt: Put before every text.
        options: See EncodeOptions.
    """

    model: SentenceTransformer
    side: str
    prompt: str
    options: EncodeOptions

    def embed(self, ids: pa.Array, texts: pa.Array, progress: _Progress | None = None) -> np.ndarray:
        """Embeds texts that fit in memory; one that stands twice is embedded once.

        Returns:
            (rows, dim) float32, rows of length 1, in the order of `texts`.
        """
        import numpy as np

        column = texts.dictionary_encode()
        places = column.indices.to_numpy()
        vectors = self._embed_distinct(column.dictionary.to_pylist(), np.bincount(places), progress)
        vectors = vectors if self.options.truncate_dim is None else _leading(vectors, self.options.truncate_dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        usable = np.isfinite(norms[:, 0]) & (norms[:, 0] > np.finfo(np.float32).tiny)
        if not usable.all():
            rows = np.flatnonzero(~usable[places])
            raise DataError(
                "The model gives vectors that have no direction.",
                expected="finite vectors of a length above zero",
                found=f"{len(rows)} of {len(places)} {self.side}: "
                + ", ".join(f"{ids[i]} (length {norms[places[i], 0]})" for i in rows[:3].tolist()),
                remedy="look at the training of this model (loss, learning rate), or compute in float32",
            )
        return (vectors / norms)[places]

    def _embed_distinct(self, texts: list[str], copies: np.ndarray, progress: _Progress | None) -> np.ndarray:
        """(texts, dim) float32, as the model gives them; `copies` counts how many rows each text stands for."""
        import numpy as np

        encode_side = self.model.encode_query if self.side == "queries" else self.model.encode_document
        lengths = self.lengths(texts)
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((0, 0), np.float32)
        for start, stop, rows in calls(lengths[order], self.options):
            mine = order[start:stop]
            raw = encode_side(
                [texts[i] for i in mine],
                prompt=self.prompt,
                batch_size=rows,
                show_progress_bar=False,
                convert_to_tensor=True,
            )
            found = raw.float().cpu().numpy()
            vectors = vectors if len(vectors) else np.empty((len(texts), found.shape[1]), np.float32)
            vectors[mine] = found
            if progress is not None:
                progress.add(int(copies[mine].sum()))
        return vectors

    def lengths(self, texts: list[str]) -> np.ndarray:
        """How long each text is: in tokens, cut and with the prompt, if they bound the batches; else in characters."""
        import numpy as np

        if self.options.batch_tokens is None:
            return np.fromiter(map(len, texts), np.int64, len(texts))
        tokenizer: Any = self.model.tokenizer
        tokenized = tokenizer(
            [self.prompt + text for text in texts],
            truncation=True,
            max_length=self.model.max_seq_length,
            return_attention_mask=False,
        )
        return np.fromiter(map(len, tokenized["input_ids"]), np.int64, len(texts))


def calls(lengths: np.ndarray, options: EncodeOptions) -> Iterator[tuple[int, int, int]]:
    """Divides texts into calls of the model's `encode`.

    Args:
        lengths: Descending.
        options: See EncodeOptions.

    Yields:
        (start, stop, texts a batch): one batch, or several of equal size where tokens do not bound them.
    """
    start = 0
    while start < len(lengths):
        rows = options.batch_size
        if options.batch_tokens is not None:
            rows = max(1, min(rows, options.batch_tokens // max(1, int(lengths[start]))))
        stop = min(len(lengths), start + rows * (_BATCHES_A_CALL if options.batch_tokens is None else 1))
        yield start, stop, rows
        start = stop


def _leading(vectors: np.ndarray, dim: int) -> np.ndarray:
    if dim > vectors.shape[1]:
        raise ConfigError(
            "The model has fewer dimensions than are to be kept.",
            expected=f"truncate_dim of at most {vectors.shape[1]}",
            found=str(dim),
        )
    return vectors[:, :dim]


def parse_jobs(text: str) -> list[dict[str, Any]]:
    """Reads what to embed: a JSON list of {benchmark, output, query_languages, corpus_languages}.

    Raises:
        ConfigError: It is no such list.
    """
    expected = "a list of {" + ", ".join(_JOB) + "}"
    try:
        jobs = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError("The benchmarks are no JSON.", expected=expected, found=str(error)) from error
    if not isinstance(jobs, list) or not jobs:
        raise ConfigError("The benchmarks are no list, or an empty one.", expected=expected, found=text)
    for job in jobs:
        fits = isinstance(job, dict) and job.keys() == _JOB.keys()
        if not fits or not all(isinstance(job[key], kind) for key, kind in _JOB.items()):
            raise ConfigError("A benchmark to embed is not described as it must be.", expected=expected, found=str(job))
    return jobs


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.encode", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="a sentence-transformers folder")
    parser.add_argument("--benchmarks", required=True, help=f"JSON: a list of {{{', '.join(_JOB)}}}")
    parser.add_argument("--options", default="{}", help="EncodeOptions, as JSON")
    args = parser.parse_args(argv)

    jobs = parse_jobs(args.benchmarks)
    model = Model(args.model, EncodeOptions.from_json(args.options))
    for job in jobs:
        folder = Path(job["benchmark"])
        counts = encode(model, folder, job["query_languages"], Path(job["output"]), job["corpus_languages"])
        stage.log.info("%s: %d file(s) embedded, %d up to date", folder.name, counts["encoded"], counts["kept"])


if __name__ == "__main__":
    stage.run(main)
