"""Ranked lists from FAISS indexes, and their merging.

An entry of a ranked list is one uint64 key: the high half falls as the score rises, the low half is the passage's
number. Sorting keys sorts by score, best first, and equal scores by number; numbers fall as the passage ids rise,
because trec_eval ranks equal scores so, and mteb with it. One vectorised sort of whole blocks does that, and merging
lists is sorting them together. The greatest key stands for
"no passage": FAISS fills lists that it could not complete, and such an entry must never become a passage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from polybatch import stage
from polybatch.device import given_cards
from polybatch.errors import ConfigError, DataError
from polybatch.metrics import PADDING

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

ALL = "all"
NO_PASSAGE = 2**64 - 1
_HALF = 32
_SIGN = 0x8000_0000
# The longest list that FAISS selects on a card (GPU_MAX_SELECTION_K in its gpu/utils/DeviceDefs.cuh).
_DEEPEST_ON_CARD = 2048


def pack(scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Keys of the given float32 scores and passage numbers below 2**32 - 1; a negative number is no passage."""
    import numpy as np

    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.uint32)  # adding zero makes -0.0 equal to 0.0
    rising = np.where(bits & _SIGN, ~bits, bits | np.uint32(_SIGN))
    keys = (~rising).astype(np.uint64) << np.uint64(_HALF) | numbers.astype(np.uint32)
    return np.where(numbers < 0, np.uint64(NO_PASSAGE), keys)


def numbers_of(keys: np.ndarray) -> np.ndarray:
    """The passage numbers of keys, int64; PADDING where there is no passage."""
    import numpy as np

    return np.where(keys == NO_PASSAGE, PADDING, (keys & np.uint64(0xFFFF_FFFF)).astype(np.int64))


def scores_of(keys: np.ndarray) -> np.ndarray:
    """The float32 scores of keys; without meaning where there is no passage."""
    import numpy as np

    rising = ~(keys >> np.uint64(_HALF)).astype(np.uint32)
    return np.where(rising & _SIGN, rising ^ np.uint32(_SIGN), ~rising).view(np.float32)


def merge(lists: Sequence[np.ndarray], depth: int | str) -> np.ndarray:
    """The ranking of the union of disjoint corpora, from (n, k) keys of each."""
    import numpy as np

    merged = np.sort(np.concatenate(lists, axis=1), axis=1)
    return merged if depth == ALL else merged[:, : int(depth)]


def without(keys: np.ndarray, numbers: np.ndarray, depth: int | str) -> np.ndarray:
    """Takes passages out of rankings.

    Args:
        keys: (n, k) keys, best first; changed in place.
        numbers: (n, E) passages to take out of each ranking, padded with PADDING.
        depth: Entries a list afterwards, or "all".
    """
    ranked = numbers_of(keys)
    for column in numbers.T:
        keys[(ranked == column[:, None]) & (column != PADDING)[:, None]] = NO_PASSAGE
    keys.sort(axis=1)
    return keys if depth == ALL else keys[:, : int(depth)]


@dataclass(frozen=True)
class Shard:
    """The index of one language's corpus.

    Attributes:
        index: Over the corpus in the order of its file, inner product.
        numbers: (rows,) the passages' numbers in the pool, int64.
        read_texts: Gives the passages, (rows,). Called for a full ranking alone, which is one of a small corpus.
        on_card: A copy of the index on a card, which answers what it can: lists of up to 2048. A full ranking stays on
            the CPU, whose sorting of all keys takes longer than the inner products.
    """

    index: faiss.Index
    numbers: np.ndarray
    read_texts: Callable[[], pa.Array]
    on_card: faiss.Index | None = None

    @cached_property
    def first_copy(self) -> np.ndarray:
        """(rows,) for each row, the first row with the same text."""
        return first_copies(self.read_texts())

    def search(self, queries: np.ndarray, depth: int | str) -> np.ndarray:
        """Ranks the corpus, or its best part, for each query.

        Args:
            queries: (n, dim) float32 of length 1.
            depth: Entries a list, or "all".

        Returns:
            (n, k) keys, best first; k is the depth, or the number of passages where that is less.
        """
        import faiss
        import numpy as np

        if depth == ALL and isinstance(self.index, faiss.IndexFlat):
            # Blocked matrix products give equal vectors scores that differ in the last bit.
            scores = self._all_scores(queries)[:, self.first_copy]
            keys = pack(scores, np.broadcast_to(self.numbers, scores.shape))
        else:
            k = self.index.ntotal if depth == ALL else min(int(depth), self.index.ntotal)
            serves = self.on_card is not None and k <= _DEEPEST_ON_CARD
            scores, rows = (self.on_card if serves else self.index).search(queries, k)  # type: ignore[union-attr]
            keys = pack(scores, np.where(rows < 0, PADDING, self.numbers[rows]))
        keys.sort(axis=1)
        return keys

    def _all_scores(self, queries: np.ndarray) -> np.ndarray:
        """(n, rows) inner products. A range without limit: three times as fast as a search as deep as the corpus."""
        import numpy as np

        limits, scores, rows = self.index.range_search(queries, -np.inf)
        if limits[-1] != len(queries) * self.index.ntotal:
            raise DataError(
                "Some inner products are not numbers.",
                expected=f"{self.index.ntotal} scores for each query",
                found=f"{limits[-1]} for {len(queries)} queries",
                remedy="delete the embeddings and the index, and make them again",
            )
        by_row = np.empty((len(queries), self.index.ntotal), np.float32)
        by_row[np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)).astype(np.int64)), rows] = scores
        return by_row


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
