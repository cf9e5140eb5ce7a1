"""Embeds texts of a benchmark with one model: the part of `encode` on which the vectors depend.

inputs: models/<run>/ or encoders/<name>/ (a sentence-transformers folder), benchmarks/<name>/<side>/<lang>.parquet
outputs: a .npy of the vectors of consecutive rows, of length 1, and beside it a .json of what they were made from

Texts are read and vectors written in chunks, so that memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from polybatch.core import made_from, stage
from polybatch.core.digest import code_digest
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, write_json
from polybatch.core.sums import check_sums, sums_of
from polybatch.embedding.benchmark_texts import TextFile
from polybatch.embedding.options import EncodeOptions
from polybatch.embedding.runner import Runner, ahead
from polybatch.embedding.token_batches import Tokens, plan
from polybatch.encoders.kernels import multiply_with_onednn
from polybatch.encoders.load import load_model, require_whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

PROMPT_NAMES = {"queries": ("query",), "corpus": ("document", "passage", "corpus")}

# On a CPU what is between two layers stays in the cache; a card wants more to do at a time.
_BATCH_TOKENS_CPU = 1024
_BATCH_TOKENS_CARD = 16_384
# Another version of one of these may embed another way.
_LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
# What lies in a model's folder and does not change its embeddings.
_NOT_THE_MODEL = {"training.json", "composition.json", "batches.parquet", "trainer_state.json", "training_args.bin"}
_NOT_THE_MODEL_SUFFIXES = {".md", ".log", ".tsv"}


class Model:
    """A sentence-transformers folder, loaded at its first use: where all is up to date, nothing is loaded.

    Attributes:
        folder: The model.
        options: As they are resolved on this machine.
        digest: SHA-256 of what its embeddings depend on.
        record: Of the folder, and of the options as they were given.
    """

    def __init__(self, folder: Path, options: EncodeOptions) -> None:
        self.folder, self.options = folder, options.resolved()
        self.digest = model_digest(folder)
        self.record = record_of(folder, options)

    @property
    def made_from(self) -> dict[str, Any]:
        """The part of an embedding's record that is not about its text: model, options, code and library versions."""
        return {
            "model": self.digest,
            "options": self.options.affecting_values(),
            "code": code_digest("embedding.embedder"),
            "versions": {name: version(name) for name in _LIBRARIES},
        }

    @cached_property
    def loaded(self) -> SentenceTransformer:
        """The model on its device, in its type, on a CPU multiplied by oneDNN (`encoders.kernels`)."""
        model = load_model(self.folder, device=self.options.device, compute_dtype=self.options.compute_dtype)
        layers = multiply_with_onednn(model)
        way = f", {layers} layers by oneDNN" if layers else ""
        stage.log.info("%s on %s, in %s%s", self.folder, model.device, self.options.compute_dtype, way)
        return model


def record_of(folder: Path, options: EncodeOptions) -> dict[str, Any]:
    """What embeddings.json says that embeddings were made from."""
    return made_from.record({"encoding": options.given()}, model=folder)


def model_digest(folder: Path) -> str:
    """SHA-256 of all files of a model's folder that its embeddings depend on: weights, tokenizer, set-up."""
    require_whole(folder)
    sums = check_sums(folder)
    return digest_of_sums(sums_of(folder) if sums is None else sums)


def digest_of_sums(sums: Mapping[str, str]) -> str:
    """`model_digest` by the SHA-256 of the files of a model's folder."""
    digest = sha256()
    for name in sorted(map(PurePosixPath, sums)):
        if name.name not in _NOT_THE_MODEL and name.suffix not in _NOT_THE_MODEL_SUFFIXES:
            digest.update(f"{name} {sums[str(name)]}\n".encode())
    return digest.hexdigest()


def embed_rows(model: Model, file: TextFile, rows: range, path: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    """Embeds rows of a file chunk by chunk into an array, of which the whole is never in memory.

    Args:
        model: The model.
        file: Whose texts.
        rows: Which of them. Texts are put into batches within the chunks of `TextFile.read`: where these are chunks of
            the whole file too, the vectors are the same as those of the whole file.
        path: The .npy to write, with its record beside it.
        made_from: Goes into the record.

    Returns:
        The record.
    """
    import numpy as np

    options = model.options
    embedder = Embedder(model.loaded, file.side, prompt_of(model.loaded, file.side, options), options)
    progress, dim, digest = stage.Progress(file.label, len(rows), "texts"), 0, sha256()
    with atomic_path(path) as partial, open(partial, "wb") as handle:
        # Not a memory map: on a full disk it ends the process instead of raising an error.
        for prepared in ahead(_prepared(embedder, file, rows)):
            vectors = embedder.embed(prepared, progress).astype(options.dtype)
            if not dim:
                dim = vectors.shape[1]
                digest.update(write_to(handle, npy_header(options.dtype, (len(rows), dim))))
            digest.update(write_to(handle, np.ascontiguousarray(vectors).data))
    progress.end()
    record = {
        **made_from,
        "rows": len(rows),
        "dim": dim,
        "dtype": options.dtype,
        "prompt": embedder.prompt,
        "sha256": digest.hexdigest(),
    }
    write_json(path.with_suffix(".json"), record)
    stage.log.info("%s: %d rows of %d", path, len(rows), dim)
    return record


def _prepared(embedder: Embedder, file: TextFile, rows: range) -> Iterator[Prepared]:
    for batch in file.read([file.id_column, "text"], rows):
        ids, texts = (column.combine_chunks() for column in batch.columns)
        yield embedder.prepare(ids, texts)


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


def write_to(handle: Any, content: Any) -> Any:
    """Writes and gives back what was written."""
    handle.write(content)
    return content


def npy_header(dtype: str, shape: tuple[int, int]) -> bytes:
    """The header of a .npy file that holds an array of this dtype and shape in C order."""
    import io

    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


@dataclass(frozen=True)
class Prepared:
    """Texts that fit in memory, ready to be embedded.

    Attributes:
        ids: (rows,) Of the rows.
        places: (rows,) int. Which of `texts` each row has.
        texts: The distinct texts.
        tokens: Of each distinct text, its token ids.
    """

    ids: pa.Array
    places: np.ndarray
    texts: list[str]
    tokens: list[np.ndarray]


class Embedder:
    """A model that embeds one side of a benchmark.

    Attributes:
        model: A sentence-transformers model.
        side: "queries" or "corpus".
        prompt: Put before every text.
        options: See EncodeOptions.
    """

    def __init__(self, model: SentenceTransformer, side: str, prompt: str, options: EncodeOptions) -> None:
        self.model, self.side, self.prompt, self.options = model, side, prompt, options
        self._task = "query" if side == "queries" else "document"
        self._tokens = Tokens(model, prompt, self._task)
        self._runner = Runner(model, self._task)
        on_cpu = model.device.type == "cpu"
        self._batch_tokens = options.batch_tokens or (_BATCH_TOKENS_CPU if on_cpu else _BATCH_TOKENS_CARD)

    def prepare(self, ids: pa.Array, texts: pa.Array) -> Prepared:
        """Tokenises texts; one that stands twice is embedded once."""
        column = texts.dictionary_encode()
        distinct = column.dictionary.to_pylist()
        return Prepared(ids, column.indices.to_numpy(), distinct, self._tokens.of(distinct))

    def embed(self, prepared: Prepared, progress: stage.Progress | None = None) -> np.ndarray:
        """Embeds prepared texts.

        Returns:
            (rows, dim) float32, rows of length 1, in the order of the rows.
        """
        import numpy as np

        places = prepared.places
        vectors = self._embed_distinct(prepared, progress)
        vectors = vectors if self.options.truncate_dim is None else _leading(vectors, self.options.truncate_dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        usable = np.isfinite(norms[:, 0]) & (norms[:, 0] > np.finfo(np.float32).tiny)
        if not usable.all():
            rows = np.flatnonzero(~usable[places])
            raise DataError(
                "The model gives vectors that have no direction.",
                expected="finite vectors of a length above zero",
                found=f"{len(rows)} of {len(places)} {self.side}: "
                + ", ".join(f"{prepared.ids[i]} (length {norms[places[i], 0]})" for i in rows[:3].tolist()),
                remedy="look at the training of this model (loss, learning rate), or compute in float32",
            )
        return (vectors / norms)[places]

    def _embed_distinct(self, prepared: Prepared, progress: stage.Progress | None) -> np.ndarray:
        """(texts, dim) float32, as the model gives them."""
        import numpy as np
        import torch

        copies = np.bincount(prepared.places, minlength=len(prepared.texts))
        lengths = np.fromiter(map(len, prepared.tokens), np.int64, len(prepared.tokens))
        batches = plan(lengths, self.options.batch_size, self._batch_tokens)

        def features(batch: int) -> dict[str, Any]:
            mine = batches[batch]
            return self._tokens.features([prepared.texts[i] for i in mine], [prepared.tokens[i] for i in mine])

        embedded = []
        for batch, vectors in self._runner.run(features, len(batches), int(lengths.max())):
            embedded.append((batches[batch], vectors))
            if progress is not None:
                progress.add(int(copies[batches[batch]].sum()))
        found = torch.cat([vectors for _, vectors in embedded]).float().cpu().numpy()
        ordered = np.empty_like(found)
        ordered[np.concatenate([rows for rows, _ in embedded])] = found
        return ordered


def _leading(vectors: np.ndarray, dim: int) -> np.ndarray:
    if dim > vectors.shape[1]:
        raise ConfigError(
            "The model has fewer dimensions than are to be kept.",
            expected=f"truncate_dim of at most {vectors.shape[1]}",
            found=str(dim),
        )
    return vectors[:, :dim]
