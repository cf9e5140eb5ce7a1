"""Versions of a study's tables: folders `v1`, `v2`, ... that are written once, and `latest`, a copy of the newest.

inputs: a folder filled by the caller
outputs: root/v<N>, root/latest

A version is built under a temporary name and renamed, so it is whole or absent, and a rename never replaces a
version. Two processes take turns through a lock beside the versions; where the file system has no locks, the
rename still keeps them apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, read_json, sha256_text
from polybatch.tables.forms.table import Table

log = logging.getLogger("polybatch.tables.versions.versions")

TABLES, MANIFEST, SCORES, GROUPS = "tables.json", "manifest.json", "scores.parquet", "groups.parquet"
VERSION_FILE = "VERSION"
_BUILDING = ".building-"
_ABANDONED_S = 3600
_NAME = re.compile(r"v([1-9]\d*)")


@dataclass(frozen=True)
class Version:
    """A version as read back."""

    path: Path
    manifest: dict[str, Any]
    tables: list[Table]

    @property
    def name(self) -> str:
        """`v3`, also for a copy of it."""
        return str(self.manifest["version"])

    def table(self, name: str) -> Table:
        """One of the tables by name."""
        for table in self.tables:
            if table.name == name:
                return table
        raise DataError(f"Version {self.name} has no table {name}.", where=self.path / TABLES)


def list_versions(root: Path | str) -> list[Path]:
    """The folders v1, v2, ... below `root`, oldest first."""
    root = Path(root)
    if not root.is_dir():
        return []
    found = [(int(match.group(1)), path) for path in root.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def read_version(path: Path | str) -> Version:
    """Reads a version's manifest and tables.

    Raises:
        DataError: There is no such version, or it is damaged: a file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        others = ", ".join(other.name for other in list_versions(path.parent))
        if not others:
            raise _no_tables(path.parent)
        raise DataError(
            "There is no such version of the tables.",
            where=path,
            found=f"versions here: {others}",
            remedy="name one of the versions found",
        )
    lacking = [name for name in (MANIFEST, TABLES, SCORES, GROUPS) if not (path / name).is_file()]
    if lacking:
        raise DataError(
            f"A version of the tables is damaged: {', '.join(lacking)} missing.",
            where=path,
            remedy="restore the folder, or delete it and run the pipeline again",
        )
    manifest, tables = read_json(path / MANIFEST), read_json(path / TABLES)
    try:
        version = Version(path, manifest, [Table.from_dict(table) for table in tables])
        _ = (version.name, manifest["fingerprint"], manifest["content"], manifest["config"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError("A version of the tables is damaged.", where=path, found=repr(error)) from error
    return version


def newest(root: Path | str) -> Version:
    """The newest version below `root`."""
    versions = list_versions(root)
    if not versions:
        raise _no_tables(Path(root))
    return read_version(versions[-1])


def _no_tables(root: Path) -> DataError:
    """The remedy for a study without tables: it may have another name, or another folder may be meant."""
    studies = sorted(path.name for path in root.parent.glob("*") if list_versions(path))
    if studies:
        found, remedy = f"tables of the studies {', '.join(studies)}", "name one of these studies, or run the pipeline"
    elif root.parent.is_dir():
        found, remedy = f"no tables in {root.parent}", "run the pipeline: it ends with the tables"
    else:
        found = f"no folder {root.parent} in {Path.cwd()}"
        remedy = "call this in the project's folder after a run of `snakemake`, or name the folder with --tables"
    return DataError("There are no tables of this study.", where=root, found=found, remedy=remedy)


def content_digest(tables: list[Table]) -> str:
    """A digest of what the tables say, without the volatile ones (timings)."""
    from json import dumps

    return sha256_text(*(dumps(table.to_dict(), sort_keys=True) for table in tables if not table.volatile))


def publish(
    root: Path | str, latest: Path | str, identity: tuple[str, str], fill: Callable[[Path, str], None]
) -> tuple[Path, bool]:
    """Makes a new version unless the newest one has the same identity; then `latest` mirrors the newest.

    Args:
        root: results/tables/<study>.
        latest: The folder that copies the newest version.
        identity: (fingerprint, content digest).
        fill: Called with an empty folder and the version's name; writes all files into it.

    Returns:
        The version's folder, and whether it was made now.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with _turn(root / ".lock"):
        _sweep(root)
        known = list_versions(root)
        made = not known or _identity(known[-1]) != identity
        version = _make(root, int(known[-1].name[1:]) + 1 if known else 1, fill) if made else known[-1]
        mirror(version, latest)
    return version, made


def _sweep(root: Path) -> None:
    """Removes what a killed run left half written; younger folders may be another process's."""
    for folder in root.glob(f"{_BUILDING}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)


def _make(root: Path, number: int, fill: Callable[[Path, str], None]) -> Path:
    """Fills root/v<number>, or the next number that is free when the rename comes."""
    while True:
        building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=root))
        try:
            fill(building, f"v{number}")
            if _rename_if_absent(building, root / f"v{number}"):
                return root / f"v{number}"
        finally:
            shutil.rmtree(building, ignore_errors=True)
        number += 1


def _identity(path: Path) -> tuple[str, str] | None:
    try:
        manifest = read_version(path).manifest
    except DataError as error:
        log.warning("the newest version cannot be read, so a new one is made: %s", error)
        return None
    return manifest["fingerprint"], manifest["content"]


def _rename_if_absent(source: Path, target: Path) -> bool:
    """Renames a filled folder; False where `target` is there already (rename(2) refuses a folder that is not empty)."""
    os.chmod(source, 0o755)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    with open(path, "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("no file locks here (%s): two table runs at once may make one version each", error.strerror)
        yield


def mirror(version: Path | str, latest: Path | str) -> None:
    """Makes `latest` a copy of the version, with a VERSION file that names it.

    The copies get the present time: Snakemake takes a file older than its inputs for outdated.
    """
    version = Path(version)
    with atomic_path(latest) as partial:
        shutil.copytree(version, partial, copy_function=shutil.copyfile)
        (partial / VERSION_FILE).write_text(version.name + "\n", "utf-8")
