"""Which training texts projections are estimated from: as many as asked for, the same whatever order files have.

inputs: parallel/<lang>.parquet, the training text alone: what overlaps with evaluation text is not in it
outputs: distinct texts of one language, and the texts of the same pairs in another

Texts are chosen by hashes of their pairs' ids, so that languages share most of their pairs: means of languages then
differ by language more than by content.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from polybatch.core import contracts
from polybatch.core.streams import batches

# Side of a benchmark -> column of the training text.
COLUMNS = {"queries": "query", "corpus": "passage"}
# What a mean is of: all texts that were chosen in a language; those of them that have their English; that English.
ALL, WITH_ENGLISH, ENGLISH = "all", "with_english", "english"


class Text(NamedTuple):
    """A text, and a pair that it is of."""

    pair_id: str
    text: str


def choose(path: Path, column: str, limit: int) -> list[Text]:
    """Chooses distinct texts.

    Args:
        path: parallel/<lang>.parquet.
        column: "query" or "passage".
        limit: How many, at most.

    Returns:
        Of the texts of all pairs in the order of the pairs' hashes, each text once, the first `limit`.
    """
    kept: dict[bytes, tuple[bytes, Text]] = {}
    for table in batches(path, contracts.PARALLEL, ["pair_id", column]):
        for pair_id, text in zip(table["pair_id"].to_pylist(), table[column].to_pylist(), strict=True):
            place, of_text = _hash(pair_id), _hash(text)
            if of_text not in kept or place < kept[of_text][0]:
                kept[of_text] = (place, Text(pair_id, text))
        if len(kept) > 2 * limit:
            kept = _first(kept, limit)
    return [text for _, text in sorted(_first(kept, limit).values())]


def texts_of(path: Path, column: str, pairs: Collection[str]) -> dict[str, str]:
    """pair_id -> text, of those of the pairs that a file has."""
    wanted, found = set(pairs), dict[str, str]()
    for table in batches(path, contracts.PARALLEL, ["pair_id", column]):
        rows = zip(table["pair_id"].to_pylist(), table[column].to_pylist(), strict=True)
        found.update((pair_id, text) for pair_id, text in rows if pair_id in wanted)
    return found


def _first(kept: dict[bytes, tuple[bytes, Text]], limit: int) -> dict[bytes, tuple[bytes, Text]]:
    return dict(heapq.nsmallest(limit, kept.items(), key=lambda item: item[1][0]))


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8"), digest_size=16).digest()
