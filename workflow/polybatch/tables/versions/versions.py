"""Versions of a study's tables: folders `v1`, `v2`, ... that are written once, and `latest`, a copy of the newest.

inputs: a folder filled by the caller
outputs: root/v<N>, each with its checksums; root/latest, which has pictures in pixels too; root/versions.json, the
    ledger of the numbers given so far

A version is built under a temporary name and renamed, so it is whole or absent, and a rename never replaces a
version. Two processes take turns through a lock beside the versions; where the file system has no locks, the
rename still keeps them apart. A number is given once, also if its version was deleted. A version that is no longer as
it was written is set aside, and never becomes `latest`.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, read_json, sha256_file, sha256_text, write_json
from polybatch.core.sums import SUMS, check_sums, read_sums, set_aside, write_sums
from polybatch.tables.forms.table import Table
from polybatch.tables.names import DRAWN

log = logging.getLogger("polybatch.tables.versions.versions")

TABLES, MANIFEST, SCORES, GROUPS = "tables.json", "manifest.json", "scores.parquet", "groups.parquet"
VERSION_FILE, LEDGER = "VERSION", "versions.json"
_BUILDING = ".building-"
_ABANDONED_S = 3600
_NAME = re.compile(r"v([1-9]\d*)")
_EVER = re.compile(r"(v[1-9]\d*)(?:\.damaged-\d+)?$")


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
        DataError: There is no such version, or it is damaged: a file is missing, cannot be read, or was changed.
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
    sums = read_sums(path) or {}
    copy = (path / VERSION_FILE).is_file()  # `latest` has this and pictures beside what it is a copy of
    check_sums(path, lambda name: name in sums or not (copy and (name == VERSION_FILE or name.endswith(DRAWN))))
    manifest, tables = read_json(path / MANIFEST), read_json(path / TABLES, list)
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
    root: Path | str,
    latest: Path | str,
    identity: tuple[str, str],
    fill: Callable[[Path, str], None],
    complete: Callable[[Path], None] = lambda folder: None,
) -> tuple[Path, bool]:
    """Makes a new version unless the newest one has the same identity; then `latest` mirrors the newest.

    Args:
        root: results/tables/<study>.
        latest: The folder that copies the newest version.
        identity: (fingerprint, content digest).
        fill: Called with an empty folder and the version's name; writes all files into it.
        complete: Called with the copy that becomes `latest`; writes what only that has.

    Returns:
        The version's folder, and whether it was made now.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with _turn(root / ".lock"):
        _sweep(root)
        ledger = _read_ledger(root)
        newest_one = next(filter(None, (_unchanged(path, ledger) for path in reversed(list_versions(root)))), None)
        made = newest_one is None or _identity_of(newest_one) != identity
        if newest_one is None or made:
            path = _make(root, max(map(_number, ledger), default=0) + 1, fill)
            write_json(root / LEDGER, {**ledger, path.name: sha256_file(path / SUMS)})
        else:
            path = newest_one.path
        mirror(path, latest, complete)
    return path, made


def _number(name: str) -> int:
    return int(name.removeprefix("v"))


def _read_ledger(root: Path) -> dict[str, str]:
    """Name of every version that there ever was -> SHA-256 of its checksums, "" where it is not known.

    What lies in the folder counts too: a ledger that is lost or damaged is made again from it.
    """
    ledger: dict[str, str] = {}
    path = root / LEDGER
    if path.exists():
        try:
            ledger = {name: str(digest) for name, digest in read_json(path).items() if _NAME.fullmatch(name)}
        except DataError as error:
            set_aside(path, error)
    there = [match[1] for path in root.iterdir() if (match := _EVER.match(path.name))]
    return {**dict.fromkeys(there, ""), **ledger}


def _unchanged(path: Path, ledger: Mapping[str, str]) -> Version | None:
    """A version as it was written. One that was damaged or edited is set aside; what lies before it counts then."""
    try:
        version = read_version(path)
        known = ledger.get(path.name)
        if known and sha256_file(path / SUMS) != known:
            raise DataError(
                "A version's checksums are not those that were written with it.",
                where=path / SUMS,
                expected=f"SHA-256 {known}, as {LEDGER} has it",
                found="another content",
            )
    except DataError as error:
        set_aside(path, f"It does not become `latest`, and its number is not given again. {error}")
        return None
    return version


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
            write_sums(building)
            if _rename_if_absent(building, root / f"v{number}"):
                return root / f"v{number}"
        finally:
            shutil.rmtree(building, ignore_errors=True)
        number += 1


def _identity_of(version: Version) -> tuple[str, str]:
    return version.manifest["fingerprint"], version.manifest["content"]


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


def mirror(version: Path | str, latest: Path | str, complete: Callable[[Path], None] = lambda folder: None) -> None:
    """Makes `latest` a copy of the version, with what `complete` adds and a VERSION file that names it.

    The copies get the present time: Snakemake takes a file older than its inputs for outdated.
    """
    version = Path(version)
    with atomic_path(latest) as partial:
        shutil.copytree(version, partial, copy_function=shutil.copyfile)
        complete(partial)
        (partial / VERSION_FILE).write_text(version.name + "\n", "utf-8")
