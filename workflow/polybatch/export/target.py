"""The folder that an export is written to: whose it is, whether there is room, and that it is whole or absent.

inputs: the folder's name, and what is to be written
outputs: the folder with export.json (what it holds and what it was made from) and SHA256SUMS; or, where an export would
overwrite something else or does not fit on the disk, a ConfigError or DataError before anything is written
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, sha256_file, write_json
from polybatch.core.sums import SUMS, read_sums, write_sums

RECORD = "export.json"
_MAKER = "polybatch export"
_TOLD = 5
# File systems take more than the bytes of files.
_MARGIN = 1.05


def require_own(target: Path, inputs: Iterable[Path], *, force: bool) -> Path:
    """The folder to write to, as an absolute path.

    Args:
        target: As the user names it.
        inputs: Folders that are read; they are never overwritten.
        force: Whether a folder of something else may be replaced.

    Raises:
        ConfigError: It is no folder; it holds, or lies in, what is read, or holds the working folder; or it is neither
            empty nor an export as it was written, and `force` is not given.
    """
    absolute = target.resolve()
    for path in (Path.cwd(), *(folder.resolve() for folder in inputs)):
        inside = absolute.is_relative_to(path) and path != Path.cwd()
        if path.is_relative_to(absolute) or inside:
            raise ConfigError(
                "An export cannot be written there: it would replace what it is made from, or the working folder.",
                where=target,
                expected="a folder of its own",
                found=f"it {'lies in' if inside else 'holds'} {path}",
                remedy="name another folder after --to",
            )
    if absolute.exists() and not absolute.is_dir():
        raise ConfigError("An export is a folder, and a file has that name.", where=target)
    others = _not_ours(absolute)
    if others and not force:
        more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
        raise ConfigError(
            "The folder holds something else than an export, and is not overwritten.",
            where=target,
            expected=f"no folder, an empty one, or an export as it was written ({RECORD}, {SUMS})",
            found=", ".join(others[:_TOLD]) + more,
            remedy="name another folder after --to, or replace all that is in it with --force",
        )
    return absolute


def _not_ours(folder: Path) -> list[str]:
    """What in a folder no export wrote, or was changed since; nothing for one that is empty or not there."""
    if not folder.is_dir():
        return []
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    try:
        ours = read_json(folder / RECORD).get("made_by") == _MAKER
        sums = read_sums(folder) if ours else None
    except DataError:
        return there
    if sums is None:
        return there
    known = {SUMS, *(name for name, digest in sums.items() if _is(folder / name, digest))}
    return [name for name in there if name not in known]


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def require_space(target: Path, needed: int) -> None:
    """Raises a DataError unless the disk of a folder that is to be made has so many bytes free."""
    place = next(parent for parent in target.parents if parent.is_dir())
    free, wanted = shutil.disk_usage(place).free, int(needed * _MARGIN)
    if free < wanted:
        raise DataError(
            "The export does not fit on the disk.",
            where=place,
            expected=f"{wanted / 1e6:.0f} MB free",
            found=f"{free / 1e6:.0f} MB",
            remedy="free some space, name a folder on another disk, or choose parts with --only",
        )


def finish(folder: Path, record: dict[str, Any]) -> None:
    """Writes what the export holds, and the sums of all its files."""
    write_json(folder / RECORD, {"made_by": _MAKER, **record})
    write_sums(folder)


def size_of(*paths: Path) -> int:
    """Bytes of files, and of the files in folders; of what is not there none."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files)
