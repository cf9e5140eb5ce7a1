"""One run's model with its vectors of a benchmark: ranks all passages for a question.

inputs: an `Indexed` run: its model, embeddings/<run>/<bench>/, index/<run>/<bench>/, benchmarks/<bench>/
outputs: a `Ranked` for each question

Every passage is compared with the question, whatever the kind of the run's index: what is shown is the model's ranking,
which an index that is not exact approximates, and the rank of any passage can be told. The vectors stay in their files,
mapped into memory. Scores, ties and exclusions are those of `retrieval.searchable`, with which runs are scored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.contracts import POOL
from polybatch.core.errors import DataError, made_again
from polybatch.core.files import read_json
from polybatch.embedding.embedder import Embedder, Model, model_digest
from polybatch.embedding.options import EncodeOptions
from polybatch.embedding.vectors import VectorFile, open_vectors
from polybatch.posthoc.projections import OTHER as OTHER_LANGUAGE
from polybatch.posthoc.saved import VECTORS as LANGUAGE_VECTORS
from polybatch.retrieval.keys import NO_PASSAGE, numbers_of, pack, scores_of
from polybatch.retrieval.metrics import PADDING
from polybatch.retrieval.ranking import Shard
from polybatch.retrieval.searchable import Collection, open_collection
from polybatch.search.indexed import Indexed

if TYPE_CHECKING:
    import numpy as np

# Of the options that embeddings were made with, those that a question's vector depends on.
_OF_QUERIES = ("query_prompt", "truncate_dim")
# torch is told its number of threads for a moment while a text is embedded (embedding.runner): one text at a time.
_ONE_AT_A_TIME = threading.Lock()


class Mapped(VectorFile):
    """Vectors that stay in their file and are paged in where they are read."""

    def read(self) -> np.ndarray:
        """All of them: (rows, dim), of the type in which they are stored."""
        import numpy as np

        # A plain array over the mapping: every result of computing with a memmap would be one too, and slow to use.
        return np.asarray(np.memmap(self.path, self.dtype, "r", self.offset, (self.rows, self.dim)))


@dataclass(frozen=True)
class Asked:
    """A question as a model takes it.

    Attributes:
        vector: (dim,) float32 of length 1.
        excluded: Numbers of passages that the benchmark takes out of this query's rankings.
        cut: Whether the model read only the beginning of the text.
    """

    vector: np.ndarray
    excluded: np.ndarray
    cut: bool = False


@dataclass(frozen=True)
class Ranked:
    """All passages of the pool, ranked for one question.

    Attributes:
        keys: (passages,) uint64 by passage number, see retrieval/ranking.py: the lower, the better.
        languages: (passages,) int, the language of each passage by number, see `Retriever.languages`.
    """

    keys: np.ndarray
    languages: np.ndarray

    def first(self, count: int, languages: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The best passages, of some languages or of all.

        Returns:
            Their numbers, (n,) int64, and scores, (n,) float32, best first; n is `count`, or less where there are less.
        """
        import numpy as np

        keys = self.keys if languages is None else self.keys[np.isin(self.languages, languages)]
        if count < len(keys):
            keys = np.partition(keys, count - 1)[:count]
        keys = np.sort(keys[keys != NO_PASSAGE])
        return numbers_of(keys), scores_of(keys)

    def ranks(self, passages: np.ndarray) -> np.ndarray:
        """(n,) int64: ranks of passages in the pool, from 1; 0 for one that is taken out."""
        import numpy as np

        own = self.keys[passages]
        before = np.fromiter((np.count_nonzero(self.keys < key) for key in own), np.int64, len(own))
        return np.where(own == NO_PASSAGE, 0, before + 1)

    def scores(self, passages: np.ndarray) -> np.ndarray:
        """(n,) float32: the cosines of passages and question."""
        return scores_of(self.keys[passages])


class Retriever:
    """A run's model and vectors, ready to be asked.

    Attributes:
        run: Its name.
        collection: The benchmark with the vectors, see `Collection`.
        factory: The kind of the run's index.
        model: See `Model`.
        prompt: Put before every question.
        taken_off: Language -> what is taken off the vectors of questions in it; empty where a question's language does
            not matter.
    """

    def __init__(self, indexed: Indexed, collection: Collection, model: Model, factory: str, prompt: str) -> None:
        self.run, self.collection, self.model = indexed.run, collection, model
        self.factory, self.prompt = factory, prompt
        self.taken_off = _taken_off(indexed.model)

    @property
    def languages(self) -> list[str]:
        """Of the corpus; the number of a language is its place."""
        return list(self.collection.shards)

    @cached_property
    def language_of(self) -> np.ndarray:
        """(passages,) int64: the language of each passage by number."""
        import numpy as np

        found = np.empty(len(self.collection.passage_ids), np.int64)
        for place, shard in enumerate(self.collection.shards.values()):
            found[shard.numbers] = place
        return found

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self.model.loaded, "queries", self.prompt, self.model.options)

    def embed(self, text: str, lang: str = "") -> Asked:
        """A question that somebody typed; `lang` is its language, where that matters."""
        import numpy as np
        import pyarrow as pa

        with _ONE_AT_A_TIME:
            prepared = self._embedder.prepare(pa.array(["your question"]), pa.array([text]))
            vector = self._embedder.embed(prepared)[0]
        taken_off = self.taken_off.get(lang, self.taken_off.get(OTHER_LANGUAGE))
        if taken_off is not None:
            vector = vector - taken_off
            vector = vector / max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))
        longest = self.model.loaded.max_seq_length
        cut = longest is not None and len(prepared.tokens[0]) >= longest
        return Asked(vector, np.empty(0, np.int64), cut)

    def stored(self, lang: str, row: int) -> Asked:
        """One of the benchmark's own queries, with the vector that the run was scored with."""
        import numpy as np

        excluded = self.collection.excluded.get(lang)
        none = np.empty(0, np.int64)
        taken = none if excluded is None else excluded[row][excluded[row] != PADDING]
        return Asked(self.collection.queries[lang][row], taken)

    def rank(self, asked: Asked) -> Ranked:
        """Compares all passages with a question."""
        import numpy as np

        keys = np.empty(len(self.collection.passage_ids), np.uint64)
        for lang, scores in self.collection.scores(asked.vector[None], self.languages).items():
            numbers = self.collection.shards[lang].numbers
            keys[numbers] = pack(scores[0], numbers)
        keys[asked.excluded] = NO_PASSAGE
        return Ranked(keys, self.language_of)

    def relevant(self, lang: str, row: int) -> np.ndarray:
        """(R,) int64: the passages of the pool that are relevant to one of the benchmark's queries."""
        passages, relevance = self.collection.judged[lang, POOL]
        found: np.ndarray = passages[row][relevance[row] > 0]
        return found[found < len(self.collection.passage_ids)]  # those that no corpus holds have no rank


def _taken_off(model: Path) -> dict[str, np.ndarray]:
    """The vectors of `Retriever.taken_off`, (dim,) float32, of a model's folder."""
    path = model / LANGUAGE_VECTORS
    if not path.is_file():
        return {}
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        vectors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            "The vectors of languages of a model cannot be read.", where=path, found=str(error), remedy=made_again(path)
        ) from error
    sides = {key: key.partition(".") for key in vectors}
    return {lang: vectors[key] for key, (side, _, lang) in sides.items() if side == "queries"}


def open_retriever(indexed: Indexed, told: Callable[[str], None]) -> Retriever:
    """Opens a run's vectors and loads its model.

    Args:
        indexed: The run.
        told: Is told what is being done, in a few words.

    Raises:
        DataError: A file is missing or damaged, or the vectors were made with another model or from other texts.
    """
    embedded, index = read_json(indexed.embeddings / "embeddings.json"), read_json(indexed.index / "index.json")
    told("checking that the model's files are those that made the vectors")
    _require_same_model(indexed, embedded)
    told("opening the vectors")
    collection = open_collection(indexed.embeddings, indexed.index, indexed.benchmark)
    shards = {lang: _mapped(shard, indexed, lang, embedded) for lang, shard in collection.shards.items()}
    records = list(embedded["queries"].values())
    options = records[0].get("options", {})
    kept = {name: options[name] for name in _OF_QUERIES if options.get(name) is not None}
    model = Model(indexed.model, EncodeOptions.from_values(kept))
    found = Retriever(
        indexed, replace(collection, shards=shards), model, str(index["factory"]), records[0].get("prompt", "")
    )
    told("loading the model")
    first = next(iter(collection.queries))
    asked = found.embed(collection.benchmark.queries[first].texts[0].as_py())  # the first text takes longest
    _require_width(indexed, found, asked)
    found.rank(asked)
    return found


def _require_same_model(indexed: Indexed, embedded: dict[str, Any]) -> None:
    if (there := model_digest(indexed.model)) != embedded.get("model"):
        raise DataError(
            f"The vectors of {indexed.run} were made with another model than the one that is there now.",
            where=indexed.embeddings,
            expected=f"vectors of the model in {indexed.model} (digest {there[:12]})",
            found=f"vectors of a model with the digest {str(embedded.get('model'))[:12]}",
            remedy="run `snakemake` for this study: it embeds and indexes again what is out of date",
        )


def _require_width(indexed: Indexed, found: Retriever, asked: Asked) -> None:
    dim = next(iter(found.collection.queries.values())).shape[1]
    if len(asked.vector) != dim:
        raise DataError(
            f"The model of {indexed.run} gives vectors of another length than those stored.",
            where=indexed.model,
            expected=f"{dim} dimensions",
            found=str(len(asked.vector)),
            remedy="run `snakemake` for this study: it embeds and indexes again what is out of date",
        )


def _mapped(shard: Shard, indexed: Indexed, lang: str, embedded: dict[str, Any]) -> Shard:
    """The exact search of a language over the vectors in their file, whatever the run's index is."""
    found = open_vectors(Path(indexed.embeddings) / "corpus" / f"{lang}.npy", embedded["corpus"][lang])
    vectors = Mapped(found.path, found.rows, found.dim, found.offset, found.dtype)
    return Shard(None, shard.numbers, shard.read_texts, vectors=vectors)
