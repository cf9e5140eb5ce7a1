"""The collected English pairs without their texts: which are held out, and which translators must not see.

inputs: collected/en.parquet
outputs: sorted 64-bit keys of ids, in memory
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.collect.source import Pair
from polybatch.collect.translation_cleaning import EnglishPassages
from polybatch.core import contracts
from polybatch.core.streams import batches, id_key
from polybatch.core.text import same_hash, same_key


def texts(pairs: Iterable[Pair | dict[str, Any]]) -> set[str]:
    """The keys of all queries and passages (`text.same_key`)."""
    keys: set[str] = set()
    for pair in pairs:
        row = pair if isinstance(pair, dict) else {"query": pair.query, "passage": pair.passage}
        keys |= {same_key(row["query"]), same_key(row["passage"])}
    return keys


class Collected:
    """The ids of collected/en.parquet, by what may be done with the pairs.

    Attributes:
        rows: Number of pairs.
        passages: Their English passages.
        ids, held_out, secret: Sorted uint64 keys of all pairs; of those of dev and test; of those and the
            English-only ones, which translators must not see.
    """

    def __init__(self, path: Path) -> None:
        every, held_out, secret = array("Q"), array("Q"), array("Q")
        passages = array("Q")
        for table in batches(path, contracts.COLLECTED, ["pair_id", "split", "kind", "passage"]):
            columns = [table.column(name).to_pylist() for name in ("pair_id", "split", "kind", "passage")]
            for pair_id, split, kind, passage in zip(*columns, strict=True):
                key = id_key(pair_id)
                every.append(key)
                passages.append(same_hash(passage))
                if split != "train":
                    held_out.append(key)
                if split != "train" or kind == "english_only":
                    secret.append(key)
        self.rows = len(every)
        self.passages = EnglishPassages(np.array(every, dtype=np.uint64), np.array(passages, dtype=np.uint64))
        self.ids, self.held_out, self.secret = (
            np.sort(np.array(a, dtype=np.uint64)) for a in (every, held_out, secret)
        )


def holds(keys: np.ndarray, pair_id: str) -> bool:
    """Whether a pair's key is among sorted keys, (n,) uint64."""
    if not len(keys):
        return False
    key = np.uint64(id_key(pair_id))
    at = int(np.searchsorted(keys, key))
    return at < len(keys) and bool(keys[at] == key)
