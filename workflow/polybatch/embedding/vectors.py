"""Arrays of vectors, a file a language, each with a record beside it of what it was made from.

inputs: embeddings/<run>/<name>/<side>/<lang>.npy and .json
outputs: vectors, block by block; whether a file is up to date

A record is a JSON file with the array's or index's name. It decides what a rerun may keep: not the file that lists
all records, because a killed run has not written that one, and Snakemake may have deleted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, sha256_file

if TYPE_CHECKING:
    import numpy as np

_ROWS_AT_A_TIME = 16_384


def up_to_date_record(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a file that was made from just this and is still whole, else None."""
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return None
    record = record_or_empty(path.with_suffix(".json"))
    same = all(record.get(key) == value for key, value in wanted.items())
    return record if same and record.get("sha256") == sha256_file(path) else None


def record_or_empty(path: Path) -> dict[str, Any]:
    """A record; nothing, with a warning, where it is damaged: what it belongs to is made again."""
    try:
        record: dict[str, Any] = read_json(path)
    except DataError as error:
        stage.log.warning("what %s describes is made again. %s", path, error)
        return {}
    return record


def remove_other_languages(folder: Path, languages: Sequence[str], suffixes: Sequence[str]) -> None:
    """Deletes files of languages that are no longer asked for, lest someone takes them for current ones."""
    for path in folder.glob("*"):
        if path.suffix in suffixes and path.stem not in languages:
            path.unlink()
            stage.log.info("removed %s: this language is not asked for", path)


@dataclass(frozen=True)
class VectorFile:
    """Vectors in a file, read block by block, so that memory does not grow with their number.

    Attributes:
        path: The file.
        rows, dim: How many vectors, and how long.
        offset: Bytes before the first of them; they stand in C order.
        dtype: As numpy names it. Blocks are float32 all the same.
    """

    path: Path
    rows: int
    dim: int
    offset: int = 0
    dtype: str = "float32"

    def __len__(self) -> int:
        return self.rows

    def blocks(self, rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the number of a block's first row, and the block: (up to `rows`, dim) float32, C-contiguous.

        Raises:
            DataError: The file ends too early.
        """
        import numpy as np

        with open(self.path, "rb") as handle:
            handle.seek(self.offset)
            for start in range(0, self.rows, rows):
                wanted = min(rows, self.rows - start) * self.dim
                block = np.fromfile(handle, self.dtype, wanted)
                if len(block) != wanted:
                    raise DataError(
                        "A file of vectors ends too early.",
                        where=self.path,
                        expected=f"{self.rows} rows of {self.dim}",
                        found=f"{start + len(block) // self.dim} rows",
                        remedy="delete it, and run the stage that makes it again",
                    )
                yield start, np.ascontiguousarray(block.reshape(-1, self.dim), np.float32)

    def read(self) -> np.ndarray:
        """All of them: (rows, dim) float32."""
        return next((block for _, block in self.blocks(max(self.rows, 1))), self._none())

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Some of them, in any order: (len(rows), dim) float32. Reads of the file what they take."""
        import numpy as np

        return np.ascontiguousarray(self._in_file[rows], np.float32)

    @cached_property
    def _in_file(self) -> np.ndarray:
        """Mapped once: to map it anew takes as long as to read fifty of them."""
        import numpy as np

        return np.asarray(np.memmap(self.path, self.dtype, "r", self.offset, (self.rows, self.dim)))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some of them, by rising row numbers: (len(rows), dim) float32. Reads the file from its start to its end."""
        import numpy as np

        parts = [self._none()]
        for start, block in self.blocks(_ROWS_AT_A_TIME):
            first, last = np.searchsorted(rows, [start, start + len(block)])
            parts.append(block[rows[first:last] - start])
        return np.concatenate(parts)

    def _none(self) -> np.ndarray:
        import numpy as np

        return np.empty((0, self.dim), np.float32)


def open_vectors(path: Path, record: dict[str, Any]) -> VectorFile:
    """An embedding array, checked to be the one that its record describes. Its rows stay in the file.

    Raises:
        DataError: It is missing, or another one.
    """
    import numpy as np

    fault = "" if path.is_file() else "no such file"
    if not fault and sha256_file(path) != record["sha256"]:
        fault = "another content than was written"
    if not fault:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # for the header alone
        except ValueError as error:
            raise DataError("An embedding file is no array of numbers.", where=path, found=str(error)) from error
        if array.shape == (record["rows"], record["dim"]) and array.flags.c_contiguous:
            return VectorFile(path, record["rows"], record["dim"], array.offset, array.dtype.str)
        fault = f"shape {array.shape}" if array.flags.c_contiguous else "columns before rows"
    raise DataError(
        "An embedding file is not the one that its record describes.",
        where=path,
        expected=f"{record['rows']} rows of {record['dim']}, SHA-256 {record['sha256']}",
        found=fault,
        remedy="run polybatch.embedding.encode again; it replaces damaged files",
    )


def read_vectors(path: Path, record: dict[str, Any]) -> np.ndarray:
    """A whole embedding array, see `open_vectors`: (rows, dim) float32, C-contiguous, as FAISS takes it."""
    return open_vectors(path, record).read()
