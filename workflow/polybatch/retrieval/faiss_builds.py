"""Which build of FAISS is installed: for CPUs or for cards, none, or two in each other's files.

inputs: the packages of this environment
outputs: an error that names the extra to install

Each build holds the same module `faiss`, and pip cannot say "instead of". So FAISS stands in the extras `cpu` and
`gpu`, not among the dependencies, and `make` takes one of them. What needs it asks here first.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from polybatch.core.errors import ConfigError

# Rules that index or search.
RULES = ("build_index", "score_run")
_BUILD = re.compile(r"faiss(-(cpu|gpu|cuda)(-\w+)*)?")
_INSTALL = (
    'pip install --editable ".[cpu]", or on a machine with NVIDIA cards ".[gpu]"; `make` takes the one that fits '
    "(docs/dependencies.md)"
)


def installed() -> dict[str, str]:
    """Name of a package that holds FAISS -> its version: one entry where all is well."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if _BUILD.fullmatch(name):
            found.setdefault(name, distribution.version)  # the first on the path is the one that is imported
    return dict(sorted(found.items()))


def require() -> None:
    """Raises unless there is one FAISS.

    Raises:
        ConfigError: There is none, or two of its builds were installed over each other.
    """
    if importlib.util.find_spec("faiss") is None:
        raise ConfigError(
            "FAISS is not installed, and indexes are built and searched with it.",
            where=sys.prefix,
            expected="one of its builds: faiss-cpu, or faiss-gpu for NVIDIA cards",
            found="no module faiss",
            remedy=_INSTALL,
        )
    builds = installed()
    if len(builds) > 1:
        both = " ".join(builds)
        raise ConfigError(
            "Several builds of FAISS are installed, and each has overwritten files of the others.",
            where=sys.prefix,
            expected="one of them",
            found=", ".join(f"{name} {version}" for name, version in builds.items()),
            remedy=f"pip uninstall --yes {both}; then {_INSTALL}",
        )


def require_for(workflow: Any) -> None:
    """Calls `require` before a run's first job, if the run is to index or to search.

    Args:
        workflow: Snakemake's, in `onstart`. Nothing is asked where jobs run in another environment than Snakemake:
            conda, containers, or another `python` on PATH.

    Raises:
        ConfigError: As `require`.
    """
    elsewhere = bool(workflow.deployment_settings.deployment_method) or not _jobs_run_here()
    if not elsewhere and _needed(job.rule.name for job in workflow.dag.needrun_jobs()):
        require()


def _needed(rules: Iterable[str]) -> bool:
    return any(rule in RULES for rule in rules)


def _jobs_run_here() -> bool:
    """Whether the `python` of the rules is the one that runs Snakemake. An environment is told by where it lies."""
    found = shutil.which("python")
    return found is not None and Path(found).parent == Path(sys.executable).parent
