"""The state of a folder that the user names, so that a rule re-runs after an edit within it.

inputs: a folder, such as an encoder or the files of a source
outputs: a digest of the names, sizes and times of its files

A folder's own time, by which Snakemake would judge, does not follow its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def folder_state(path: Path | str) -> str:
    """Names, sizes and times of a folder's files, as a digest of sixteen hexadecimal digits; "" for what is no folder.

    Names that begin with a dot do not count: editors, git and file managers write such files where nobody edited
    anything. Nor do links that lead nowhere, and files that go while this looks: there is nothing to read in them.
    """
    if not os.path.isdir(path):
        return ""
    return hashlib.sha256(repr(list(_states(os.fspath(path)))).encode()).hexdigest()[:16]


def _states(path: str) -> Iterator[tuple[str, int, int]]:
    for file in sorted(_files(path)):
        with contextlib.suppress(OSError):
            found = os.stat(file)
            yield file, found.st_size, found.st_mtime_ns


def _files(path: str) -> Iterator[str]:
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))
