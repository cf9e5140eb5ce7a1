"""Where numba keeps what it compiled of ranx, so that one job's compiling serves later jobs and other clones.

inputs: NUMBA_CACHE_DIR, XDG_CACHE_HOME, the home folder
outputs: ~/.cache/polybatch/numba/<versions and processor>/, machine code

numba by itself writes next to the compiled module, into the environment, which every clone has for itself. What it
keeps is good for one version of ranx, numba, Python and one kind of processor, which name the folder; each function is
stored with the digest of its source. Jobs may start together: one compiles, the others wait for it. Files are written
under another name and renamed, so that nobody reads half of one where a file system has no locks.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import UserProvidedCacheLocator

from polybatch.core import stage
from polybatch.core.files import sha256_text

PACKAGE = "ranx"
_LONGEST_WAIT_S = 300
config: Any = numba.config


class SharedLocator(UserProvidedCacheLocator):
    """numba's locator of a folder of the user's choice, in which a module's place does not tell of the environment."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        parts = Path(py_file).parts[:-1]
        return "_".join(parts[len(parts) - 1 - parts[::-1].index(PACKAGE) :])

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> SharedLocator | None:
        if PACKAGE not in Path(py_file).parts[:-1]:
            return None
        found: SharedLocator | None = super().from_function(py_func, py_file)
        return found


@contextmanager
def kept() -> Iterator[Path]:
    """A context: numba keeps on disk what it compiles of functions that are defined in it; yields the folder."""
    folder = _folder()
    before = config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES
    config.CACHE_DIR = str(folder)
    config.CACHE_LOCATOR_CLASSES = f"{__name__}.{SharedLocator.__name__},UserProvidedCacheLocator"
    try:
        yield folder
    finally:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = before


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """A context that one job at a time is in (a lock in the folder), so that what the first compiles serves the others.

    A job that waited long, or cannot lock the folder, goes on without: the same code is then compiled twice, no more.
    """
    from filelock import FileLock

    lock = FileLock(folder / "lock", timeout=_LONGEST_WAIT_S)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # filelock's Timeout is a TimeoutError
        stage.log.info("%s is not locked: %s", folder, error)
    try:
        yield
    finally:
        lock.release()


def _folder() -> Path:
    """The folder of these versions on this processor; a passing one, with a warning, where it cannot be written."""
    base = config.CACHE_DIR or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "polybatch" / "numba"
    folder = Path(base) / _versions_and_processor()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        stage.log.warning(
            "ranx is compiled anew in this job, and in each to come (some 20 s), because %s cannot be written (%s); "
            "set NUMBA_CACHE_DIR to a folder of your own that can",
            folder,
            error.strerror,
        )
        folder = Path(tempfile.mkdtemp(prefix="polybatch-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _versions_and_processor() -> str:
    from llvmlite import binding

    versions = [f"{name}-{version(name)}" for name in (PACKAGE, "numba", "llvmlite", "numpy")]
    name = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    return "_".join([*versions, sys.implementation.cache_tag, platform.machine(), name, sha256_text(features)[:8]])
