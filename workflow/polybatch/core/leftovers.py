"""Half-written files of jobs that were killed, found by their temporary names and removed.

inputs: folders of outputs
outputs: none; what was removed, counted

`files.atomic_path` removes its temporary file when a stage fails. A stage that is killed outright cannot, so the next
run does it: only where the name says that this machine wrote it, and only if the process that it names is gone.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from polybatch.core.files import parse_temporary, this_host

# A number that belongs to a living process may have been given anew since; clocks of file servers differ from ours.
_CLOCK_SLACK_S = 3600


@dataclass(frozen=True)
class Leftovers:
    """What was found.

    Attributes:
        removed: Files and folders that were removed.
        size: Their bytes.
        kept: Those of other machines, whose processes cannot be asked for here.
    """

    removed: int = 0
    size: int = 0
    kept: int = 0

    def __str__(self) -> str:
        """One line, empty if there is nothing to tell."""
        words = []
        if self.removed:
            words.append(f"Removed {self.removed} half-written output(s) of killed jobs ({self.size / 1e6:,.1f} MB).")
        if self.kept:
            words.append(
                f"{self.kept} half-written output(s) of other machines are kept. When no job runs any more: "
                "find results -name '.*.partial' -prune -exec rm -r {} +"
            )
        return " ".join(words)


def clear(folders: Iterable[Path | str]) -> Leftovers:
    """Removes what killed processes of this machine left below folders.

    Args:
        folders: Searched with all that is in them; those that are not there are passed over.
    """
    return _clear(path for folder in folders for path in _temporary(str(folder)))


def clear_beside(target: Path) -> Leftovers:
    """The same of one output, whose temporary names alone are looked for: it may lie in a folder of the user's."""
    return _clear(path for path in target.parent.glob(f".{glob.escape(target.name)}.*") if parse_temporary(path.name))


def _clear(paths: Iterable[Path]) -> Leftovers:
    removed = size = kept = 0
    for path in paths:
        written_by = parse_temporary(path.name)
        assert written_by is not None  # that is what was looked for
        host, pid = written_by
        if host != this_host():
            kept += 1
        elif not _lives(pid, path):
            size += _size(path)
            _remove(path)
            removed += 1
    return Leftovers(removed, size, kept)


def _temporary(folder: str) -> Iterator[Path]:
    """Files and folders with temporary names; what is inside of such a folder goes with it."""
    for here, names, files in os.walk(folder):
        found = [name for name in [*names, *files] if parse_temporary(name)]
        names[:] = [name for name in names if name not in found]
        yield from (Path(here, name) for name in found)


def _lives(pid: int, path: Path) -> bool:
    """Whether the process that wrote a file is alive, as far as can be told: in doubt it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # someone else's
    import psutil

    try:
        return psutil.Process(pid).create_time() < path.lstat().st_mtime + _CLOCK_SLACK_S
    except (psutil.Error, OSError):
        return True


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(here, name)).st_size for here, _, names in os.walk(path) for name in names)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
