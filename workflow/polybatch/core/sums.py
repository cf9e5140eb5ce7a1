"""SHA-256 of the files of a folder: written with it, checked where it is used.

inputs: a folder that is being filled, or one that is about to be read
outputs: `SHA256SUMS` in it, as `sha256sum --check` reads it

Sizes and times of change prove nothing, so every check reads the bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polybatch.core.errors import DataError, made_again
from polybatch.core.files import sha256_file, write_text
from polybatch.core.stage import log

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_TOLD = 5


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is written, front to back."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self.digest = handle, hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        return self._handle.write(data)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._handle.tell()


class SummedFolder:
    """A folder whose files are hashed while they are written; `finish` writes their sums."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._digests = folder, dict[str, str]()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A new file to be written front to back."""
        with open(self.folder / name, "wb") as handle:
            hashed = _Hashed(handle)
            yield hashed  # type: ignore[misc]
        self._digests[name] = hashed.digest.hexdigest()

    def finish(self) -> None:
        """Writes the sums; files that were not written through `open` are read for them."""
        write_sums(self.folder, self._digests)


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Writes the sums of all files of a folder.

    Args:
        folder: Whole, but for this file.
        known: File -> its SHA-256, where it was worked out while it was written.

    Returns:
        File -> SHA-256.
    """
    sums = sums_of(folder, known)
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return sums


def sums_of(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """File -> SHA-256 of what lies in a folder now."""
    return {name: (known or {}).get(name) or sha256_file(folder / name) for name in _files(folder)}


def read_sums(folder: Path) -> dict[str, str] | None:
    """File -> SHA-256 as they were written; None where no sums lie.

    Raises:
        DataError: They cannot be read.
    """
    path = folder / SUMS
    if not path.exists():
        return None
    try:
        lines = [_LINE.fullmatch(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("A folder's checksums cannot be read.", where=path, found=str(error)) from error
    if not lines or None in lines:
        raise DataError(
            "A folder's checksums are damaged.",
            where=path,
            expected="lines of a SHA-256, two blanks and a name",
            found="no line" if not lines else f"another line {lines.index(None) + 1}",
            remedy=made_again(folder),
        )
    return {line[2]: line[1] for line in lines if line}


def check_sums(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, str] | None:
    """Reads a folder's files and compares them with their sums.

    Args:
        folder: Any folder; one without sums (of the user's own, or of a hub) cannot be checked.
        wanted: Which files are to be read; by default all.

    Returns:
        File -> SHA-256 of what was checked; None if there are no sums.

    Raises:
        DataError: A file is missing, is not the one that was written, or was added.
    """
    sums = read_sums(folder)
    if sums is None:
        return None
    there = set(_files(folder))
    faults = [f"{name}: missing" for name in sums if wanted(name) and name not in there]
    faults += [f"{name}: not there when the sums were written" for name in sorted(there - sums.keys()) if wanted(name)]
    checked = {name: digest for name, digest in sums.items() if wanted(name) and name in there}
    faults += [f"{name}: another content" for name, digest in checked.items() if sha256_file(folder / name) != digest]
    if faults:
        more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        raise DataError(
            "A folder is damaged, or was changed after it was written.",
            where=folder,
            expected=f"the files whose SHA-256 stand in {SUMS}",
            found="; ".join(faults[:_TOLD]) + more,
            remedy=made_again(folder),
        )
    return checked


def set_aside(path: Path, reason: object, name: Path | None = None) -> Path:
    """Renames what is damaged to `<name>.damaged-<n>`, with a warning, so that it can be made again.

    Args:
        path: A file or folder.
        reason: What is wrong with it.
        name: Where it goes, before the number; its own place if None.
    """
    base, number = name or path, 1
    while (target := base.with_name(f"{base.name}.damaged-{number}")).exists():
        number += 1
    path.rename(target)
    log.warning("%s is damaged. It is kept as %s and made again. %s", path, target, reason)
    return target


def _files(folder: Path) -> list[str]:
    """Names of the files in it, at whatever depth, without hidden ones and the sums."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
    return [name for name in names if name != SUMS]
