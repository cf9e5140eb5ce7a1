"""Where the project's Snakefile is, and how Snakemake is called from a command of ours.

inputs: the folder that a command was called in; where this package lies
outputs: the path of the Snakefile; the words of a command line
"""

from __future__ import annotations

import sys
from pathlib import Path

import polybatch
from polybatch.core.errors import ConfigError

_PARTS = ("Snakefile", "rules/common.smk", "workflow/polybatch/__init__.py", "profiles/default/config.yaml")


def snakefile(folder: Path | None = None, package: Path | None = None) -> Path:
    """The Snakefile of the project that a folder is, else of the one that this package was installed from.

    Args:
        folder: Default: the working folder.
        package: The package's own folder; default: where this one lies. Only an editable installation, or
            `PYTHONPATH`, leads from there to a project.

    Raises:
        ConfigError: There is no project at either place.
    """
    folder = Path.cwd() if folder is None else folder
    package = Path(polybatch.__file__).resolve().parent if package is None else package
    for root in (folder, package.parents[1]):
        if all((root / part).is_file() for part in _PARTS):
            return (root / "Snakefile").resolve()
    raise ConfigError(
        "The project's Snakefile is not found.",
        where=folder,
        expected=f"a folder of the project ({', '.join(_PARTS[:3])}), or an installation that leads to one",
        found=f"none here, and the package was installed without its project, in {package}",
        remedy="cd to the folder that was cloned; or, to have the command everywhere: pip install --editable FOLDER",
    )


def snakemake_call(snakefile: Path, *words: str) -> list[str]:
    """The command line of Snakemake with the project's own profile, for a call from any folder."""
    profile = snakefile.parent / "profiles/default"
    return [sys.executable, "-m", "snakemake", "-s", str(snakefile), "--workflow-profile", str(profile), *words]
