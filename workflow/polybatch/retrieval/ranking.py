"""Ranked lists from FAISS indexes or from all inner products, and ranks without a ranked list.

inputs: vectors, or FAISS indexes, of each language's corpus
outputs: keys of ranked lists (keys.py), ranks of given passages

A rank needs no sorting: it is one more than the number of passages that stand before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.device import given_cards
from polybatch.core.errors import ConfigError, DataError
from polybatch.embedding.vectors import VectorFile
from polybatch.retrieval import near_ties
from polybatch.retrieval.keys import ALL, at_least, best, least_of_best, merge, pack, scores_of
from polybatch.retrieval.metrics import PADDING
from polybatch.retrieval.options import faiss_reason

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

# The longest list that FAISS selects on a card (GPU_MAX_SELECTION_K in its gpu/utils/DeviceDefs.cuh).
_DEEPEST_ON_CARD = 2048
# Corpora up to this size stay in memory; greater ones are read again for each block of queries.
_RESIDENT_BYTES = 64 * 2**20
# Passages at a time: with a thousand queries, a block of their scores has 16 MB.
_PASSAGES_AT_A_TIME = 4096
# Comparing a row with so many scores takes as long as one of the steps of sorting it, of which there are log2(N).
_COMPARISONS_OF_A_SORT = 3
# Near ties at the end of a list are kept until it is this many times as long as wanted, and longer by a block's worth.
_WIDEST, _TIES = 2, 1024


def count_before(
    scores: np.ndarray, numbers: np.ndarray, own: np.ndarray, passages: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """How many passages of a corpus stand before given ones: greater scores, and equal ones with a lower number.

    Args:
        scores: (n, N) float32 of the corpus, C-contiguous.
        numbers: (N,) of its passages.
        own: (n, R) float32, the scores of the given passages, wherever they stand; NaN counts nothing.
        passages: (n, R) their numbers.
        held: (n, R) bool, whether this corpus holds them.

    Returns:
        (n, R) int64.
    """
    import numpy as np

    above, at_least = _counts(scores, own)
    ties = at_least - above - held
    for place in np.flatnonzero((ties > 0).any(axis=0)):
        rows = np.flatnonzero(ties[:, place] > 0)
        equal = scores[rows] == own[rows, place, None]
        above[rows, place] += _true_in_rows(equal & (numbers < passages[rows, place, None]))
    return above


def _counts(scores: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of a row's scores are above, and how many at least, each of some others: (n, R) int64 both."""
    import numpy as np

    above, at_least = (np.zeros(own.shape, np.int64) for _ in range(2))
    passages, each = scores.shape[1], own.shape[1]
    if each * _COMPARISONS_OF_A_SORT > math.log2(max(passages, 2)):
        for row, of_row in enumerate(np.sort(scores, axis=1)):
            above[row] = passages - of_row.searchsorted(own[row], "right")
            at_least[row] = passages - of_row.searchsorted(own[row])
    else:
        for place in range(each):
            above[:, place] = _true_in_rows(scores > own[:, place, None])
            at_least[:, place] = _true_in_rows(scores >= own[:, place, None])
    return above, at_least


def _true_in_rows(mask: np.ndarray) -> np.ndarray:
    """(n,) int64: how many are True in each row. Counting packed bits takes a third of the time of a sum."""
    import numpy as np

    counts: np.ndarray = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


@dataclass(frozen=True)
class Shard:
    """One language's corpus, ready to be searched.

    Attributes:
        index: Over the corpus in the order of its file, inner product. None for exact search without FAISS.
        numbers: (rows,) the passages' numbers in the pool, int64.
        read_texts: Gives the passages, (rows,). Called for a full ranking alone, which is one of a small corpus.
        on_card: A copy of the index on a card, which answers what it can: lists of up to 2048. A full ranking stays on
            the CPU, whose sorting of all keys takes longer than the inner products.
        vectors: The corpus's vectors; may be None if the index is a Flat one, which holds them.
    """

    index: faiss.Index | None
    numbers: np.ndarray
    read_texts: Callable[[], pa.Array]
    on_card: faiss.Index | None = None
    vectors: VectorFile | None = None

    @cached_property
    def first_copy(self) -> np.ndarray | None:
        """(rows,) for each row, the first row with the same text; None where no text is there twice."""
        import numpy as np

        first = first_copies(self.read_texts())
        return None if np.array_equal(first, np.arange(len(first))) else first

    @cached_property
    def exact(self) -> bool:
        """Whether every vector is compared with a query, as it is."""
        if self.index is None:
            return True
        import faiss

        return isinstance(self.index, faiss.IndexFlat)

    @cached_property
    def resident(self) -> np.ndarray:
        """(rows, dim) float32, the vectors in memory."""
        if self.vectors is not None:
            return self.vectors.read()
        import faiss

        index: Any = faiss.downcast_index(self.index)  # type: ignore[arg-type]
        vectors: np.ndarray = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(-1, index.d)
        return vectors

    def search(self, queries: np.ndarray, depth: int | str) -> np.ndarray:
        """Ranks the corpus, or its best part, for each query.

        Args:
            queries: (n, dim) float32 of length 1.
            depth: Entries a list, or "all".

        Returns:
            (n, k) keys, best first; k is the depth, or the number of passages where that is less.
        """
        import numpy as np

        k = len(self.numbers) if depth == ALL else min(int(depth), len(self.numbers))
        on_card = self.on_card is not None and k <= _DEEPEST_ON_CARD
        if self.exact and not on_card:
            return best(self.scores(queries), self.numbers, k) if depth == ALL else self.search_vectors(queries, k)
        try:
            scores, rows = (self.on_card if on_card else self.index).search(queries, k)  # type: ignore[union-attr]
        except RuntimeError as error:
            raise ConfigError(
                f"FAISS cannot search an index for lists of {k}.",
                expected="an index and search parameters that go together, for example nprobe of 1 and more",
                found=faiss_reason(error),
                remedy="change `search_parameters`, `depth` or the index, and run again",
            ) from error
        keys = pack(scores, np.where(rows < 0, PADDING, self.numbers[rows]))
        keys.sort(axis=1)
        return keys

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """(n, rows) float32 inner products; those of equal texts are equal.

        Raises:
            DataError: One is not a number.
        """
        import numpy as np

        scores = _finite(queries @ self.resident.T)
        # Products of matrices are made block by block, and copies of one vector may then differ in the last bit.
        return scores if self.first_copy is None else np.take(scores, self.first_copy, axis=1)

    def search_vectors(self, queries: np.ndarray, depth: int) -> np.ndarray:
        """The exact best of the corpus, whatever the index: (n, k) keys as of `search`.

        The vectors pass by in blocks, and of each block only what may be among the best is looked at. Memory depends on
        queries and depth alone. Which queries and passages share a block has no say in the order (`near_ties`).
        """
        import numpy as np

        depth, margin = min(depth, len(self.numbers)), near_ties.margin(queries)
        kept = np.empty((len(queries), 0), np.uint64)
        for start, block in self._blocks():
            last = kept[:, depth - 1] if kept.shape[1] >= depth else None
            # Not named here: its scores would be held beside those of the next block.
            found = _better(_finite(queries @ block.T), self.numbers[start : start + len(block)], depth, last, margin)
            kept = near_ties.reaching(merge([kept, found], ALL), depth, margin)
            if kept.shape[1] > _WIDEST * depth + _TIES:
                kept = near_ties.settled(kept, queries, self.vectors_of, margin, depth)
        return near_ties.settled(kept, queries, self.vectors_of, margin, depth)

    def vectors_of(self, passages: np.ndarray) -> np.ndarray:
        """(len(passages), dim) float32: the vectors of passages, by their numbers."""
        import numpy as np

        order = self._by_number
        return self.vectors_at(order[np.searchsorted(self.numbers, passages, sorter=order)])

    @cached_property
    def _by_number(self) -> np.ndarray:
        import numpy as np

        return np.argsort(self.numbers)

    def vectors_at(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), dim) float32: some of the corpus's vectors."""
        return self.vectors.at(rows) if self.vectors is not None and self._large else self.resident[rows]

    @property
    def _large(self) -> bool:
        return self.vectors is not None and self.vectors.rows * self.vectors.dim * 4 > _RESIDENT_BYTES

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        if self.vectors is not None and self._large:
            yield from self.vectors.blocks(_PASSAGES_AT_A_TIME)
            return
        for start in range(0, len(self.resident), _PASSAGES_AT_A_TIME):
            yield start, self.resident[start : start + _PASSAGES_AT_A_TIME]


def _better(
    scores: np.ndarray, numbers: np.ndarray, depth: int, last: np.ndarray | None, margin: np.float32
) -> np.ndarray:
    """(n, k) keys, in any order, of all (n, N) scores of a block that may be among the best.

    Args:
        scores, numbers: Of the block.
        depth: Entries of a list.
        last: (n,) keys, the last entries of the lists so far; None where they are shorter.
        margin: How far below it a score may be.
    """
    least = least_of_best(scores, depth) if last is None else scores_of(last)
    return at_least(scores, numbers, None if least is None else least - margin)


def _finite(scores: np.ndarray) -> np.ndarray:
    """The scores, unless one of them is not a number or infinite: then so is their sum."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        whole = np.isfinite(scores.sum())
    if not whole and not np.isfinite(scores).all():
        raise DataError(
            "Some inner products are not numbers.",
            expected=f"{scores.shape[1]} scores for each query",
            found=f"{int(np.isfinite(scores).sum(axis=1).min())} for one of {len(scores)} queries",
            remedy="delete the embeddings and the index, and make them again",
        )
    return scores


def set_search_parameters(index: faiss.Index, parameters: str) -> None:
    """Sets FAISS's parameters of a search, for example "nprobe=16" or "efSearch=128"."""
    import faiss

    try:
        faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot set the search parameters {parameters!r}.",
            expected="parameters of this kind of index, for example nprobe=16 (IVF) or efSearch=128 (HNSW)",
            found=str(error).rpartition(":")[2].strip(),
        ) from error


def copy_on_card(index: faiss.Index, depth: int | str, name: str) -> faiss.Index | None:
    """A copy of an index on the card of this job; None where there is none, the index has no place there, or the
    lists are too deep.

    Lists of equal depth hold the same passages as on the CPU, but where scores agree to the last digits.

    Args:
        index: With its search parameters, which the copy takes over.
        depth: Entries of the lists that are wanted.
        name: What it is called in the log.
    """
    if depth == ALL or int(depth) > _DEEPEST_ON_CARD or (resources := _card_resources()) is None:
        return None
    import faiss

    try:
        copy = faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError as error:  # a kind of index that FAISS has on the CPU alone, or one that does not fit
        reason = str(error).rpartition("Error: ")[2].strip()
        stage.log.warning("%s: searched on the CPU, because FAISS cannot put it on the card: %s", name, reason)
        return None
    stage.log.info("%s: searched on the card", name)
    return copy


@cache
def _card_resources() -> Any | None:
    """FAISS's working memory on a card, made once; None where this job was given no card, or FAISS cannot use it."""
    import faiss

    if not given_cards():
        return None
    built = hasattr(faiss, "StandardGpuResources")
    if built and faiss.get_num_gpus():
        return faiss.StandardGpuResources()
    stage.log.warning(
        "given the card(s) %s, BUT SEARCHING ON THE CPU: FAISS %s %s",
        given_cards(),
        faiss.__version__,
        "finds no card" if built else "is a build for CPUs; docs/gpu.md names the one for cards",
    )
    return None


def number_passages(ids: Sequence[pa.Array]) -> tuple[pa.Array, list[np.ndarray]]:
    """Numbers the passages of several corpora in the reverse order of their ids (byte by byte, over UTF-8).

    Returns:
        All ids in that order, and for each corpus the numbers of its rows, int64.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    together = pa.chunked_array(ids).combine_chunks()
    order = pc.array_sort_indices(together, order="descending")
    numbers = np.empty(len(together), np.int64)
    numbers[order.to_numpy()] = np.arange(len(together))
    return together.take(order), np.split(numbers, np.cumsum([len(part) for part in ids])[:-1])


def first_copies(texts: pa.Array) -> np.ndarray:
    """For each row, the first row that holds the same text, int64."""
    import numpy as np

    codes = texts.dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse]
