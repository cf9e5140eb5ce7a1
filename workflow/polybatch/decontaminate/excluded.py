"""Which pairs must not be trained on, because something is evaluated on their text.

inputs: decontamination/pairs.parquet, translated/<lang>.parquet
outputs: keys and ids of pairs, in memory
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polybatch.core import contracts, streams
from polybatch.core.streams import batches, id_keys

if TYPE_CHECKING:
    pass


EVALUATION_TEXT = "evaluation text"  # the filter's reason for what overlaps with a benchmark


def excluded_keys(contaminated: Sequence[Path], translated: Sequence[Path]) -> np.ndarray:
    """Sorted keys of the pairs that overlap with evaluation text, in English or in any language.

    Args:
        contaminated: contracts.CONTAMINATED files.
        translated: contracts.TRANSLATED files of all languages.
    """
    import pyarrow.compute as pc

    parts = [np.zeros(0, dtype=np.uint64)]
    for path in contaminated:
        parts += [id_keys(table.column("pair_id")) for table in batches(path, contracts.CONTAMINATED, ["pair_id"])]
    for path in translated:
        for table in batches(path, contracts.TRANSLATED, ["pair_id", "reason"]):
            parts.append(id_keys(table.filter(pc.equal(table.column("reason"), EVALUATION_TEXT)).column("pair_id")))
    return np.unique(np.concatenate(parts))


def contaminated_pairs(path: Path | None) -> frozenset[str]:
    """The ids of the pairs that the decontamination takes out, in whatever language it found them; none for None."""
    if path is None:
        return frozenset()
    tables = streams.batches(path, contracts.CONTAMINATED, ["pair_id"])
    return frozenset(pair_id for table in tables for pair_id in table["pair_id"].to_pylist())
