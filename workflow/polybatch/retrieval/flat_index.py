"""The exact index: FAISS's flat file, written and read without holding it in memory.

inputs: (rows, dim) float32 vectors of length 1, in blocks
outputs: <lang>.faiss, byte for byte as faiss.write_index writes it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.embedding.vectors import VectorFile
from polybatch.retrieval.options import EXACT

ROWS_AT_A_TIME = 32_768


def write_flat(vectors: VectorFile, path: Path) -> None:
    """Writes what faiss.write_index writes for a Flat index, without holding the vectors.

    FAISS's file ends with the number of floats and the floats (write_index in its impl/index_write.cpp): all before
    them is what it writes for an index that is empty but for its count. Read back, for the case that this changes.
    """
    import faiss
    import numpy as np

    empty = faiss.index_factory(vectors.dim, EXACT, faiss.METRIC_INNER_PRODUCT)
    empty.ntotal = vectors.rows
    head = faiss.serialize_index(empty).tobytes()
    count = np.uint64(vectors.rows * vectors.dim).tobytes()
    last = np.empty((0, vectors.dim), np.float32)
    with open(path, "wb") as handle:
        handle.write(head[: -len(count)] + count)
        for _, block in vectors.blocks(ROWS_AT_A_TIME):
            block.tofile(handle)
            last = block[-1:]
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if index.ntotal != vectors.rows or not np.array_equal(index.reconstruct(vectors.rows - 1)[None], last):
        raise DataError("FAISS reads another index than was written.", where=path, found=f"FAISS {faiss.__version__}")


def flat_vectors(path: Path, record: dict[str, Any]) -> VectorFile:
    """The vectors of an index of the factory EXACT, where they stand in its file, which is checked to be long enough.

    Args:
        path: The index.
        record: Its record, see `build_indexes`.
    """
    size, behind = path.stat().st_size, record["rows"] * record["dim"] * 4
    if size <= behind:
        raise DataError(
            "An index is too short for its vectors.", where=path, expected=f"above {behind}", found=f"{size} bytes"
        )
    return VectorFile(path, record["rows"], record["dim"], offset=size - behind)
