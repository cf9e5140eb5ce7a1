"""Fetches LibreOffice's help in one language with apt, or finds it where it was put by hand; nothing is installed.

inputs: none (the network: `apt-get download`), or a folder that holds packages or unpacked ones
outputs: the package, in the folder of packages; and a record (JSON) of its version, checksum, licence and place

A package that is in its place is not fetched again: the distribution goes on to other versions, and all languages
should be of one. Delete the packages to have new ones.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from polybatch.collect.adapters.libreoffice_package import describe, find, package_name
from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, scratch_folder, sha256_file, write_json
from polybatch.core.languages import LANGUAGES, language

_PREFIX = "libreoffice-help-"
_TIMEOUT_S = 600


def fetch_help(lang: str, packages: Path, record: Path, folder: Path | None = None) -> None:
    """Writes the record of the help in a language, once it is there.

    Args:
        lang: ISO code.
        packages: Where packages that are fetched go, and are looked for first.
        record: Where the record goes.
        folder: A folder of the user's, from which alone the help is then taken.

    Raises:
        DataError: The folder does not hold it; apt is not there, knows no such package or cannot fetch it; or what is
            there is damaged.
    """
    path = _find_by_hand(folder, lang) if folder else _find_fetched(packages, lang) or _download(lang, packages)
    entry = describe(path, lang)
    write_json(record, entry)
    stage.log.info("%s: %s %s, %d pages", path, entry["package"], entry["version"] or "unpacked", entry["pages"])


def _find_by_hand(folder: Path, lang: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            "There is no folder of LibreOffice's help.", where=folder, remedy="correct sources.<name>.folder"
        )
    path = find(folder, lang)
    if path is None:
        there = [iso for iso, entry in LANGUAGES.items() if entry.libreoffice and find(folder, iso)]
        raise DataError(
            f"A folder holds no help in {language(lang).name}.",
            where=folder,
            expected=f"{package_name(lang)}_<version>_all.deb, or help/{language(lang).libreoffice}/text, unpacked",
            found=f"help in {' '.join(there)}" if there else "no help in any language",
            remedy="put it there, or name the languages that are there in sources.<name>.languages",
        )
    return path


def _find_fetched(packages: Path, lang: str) -> Path | None:
    """The package, if it is as it was fetched; one that was put there by hand is taken as it is."""
    path = find(packages, lang) if packages.is_dir() else None
    if path is None:
        return None
    checksum = _checksum_file(path)
    if not checksum.is_file():
        stage.log.warning("%s was put there by hand", path)
    elif read_json(checksum)["sha256"] != sha256_file(path):
        stage.log.warning("%s is not as it was fetched: fetching it again", path)
        return None
    return path


def _checksum_file(package: Path) -> Path:
    return package.with_name(f".{package.name}.fetched.json")


def _download(lang: str, packages: Path) -> Path:
    name = package_name(lang)
    if not shutil.which("apt-get"):
        raise DataError(
            "LibreOffice's help is fetched with apt-get, which is not on this machine.",
            expected="Debian or Ubuntu",
            remedy=_by_hand(name, packages),
        )
    with scratch_folder(packages / name) as folder:
        done = _run(["apt-get", "download", "--quiet", name], folder)
        found = list(folder.glob("*.deb"))
        if done.returncode or len(found) != 1:
            raise _not_fetched(lang, packages, (done.stderr or done.stdout).strip()[-600:])
        path = packages / found[0].name
        # Before the package itself: a run killed between the two leaves a package that is not as its checksum says.
        write_json(_checksum_file(path), {"sha256": sha256_file(found[0])})
        os.replace(found[0], path)
    return path


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_TIMEOUT_S} seconds")


def _not_fetched(lang: str, packages: Path, found: str) -> DataError:
    """Tells a language that the distribution has no package of from a network that does not answer."""
    name = package_name(lang)
    known = _run(["apt-cache", "pkgnames", _PREFIX], packages).stdout.split() if shutil.which("apt-cache") else []
    codes = {f"{_PREFIX}{entry.libreoffice}": iso for iso, entry in LANGUAGES.items() if entry.libreoffice}
    if known and name not in known:
        return DataError(
            f"This distribution has no help in {language(lang).name}.",
            expected=name,
            found="help in " + " ".join(sorted(codes[package] for package in known if package in codes)),
            remedy="name the languages that there are in sources.<name>.languages, or " + _by_hand(name, packages),
        )
    update = "" if known else "run `apt-get update` once, or "
    return DataError(
        f"apt-get could not download {name}.",
        found=found or "no package came",
        remedy=f"{update}check the network and run the same command again, or {_by_hand(name, packages)}",
    )


def _by_hand(name: str, packages: Path) -> str:
    return (
        f"fetch it elsewhere (`apt-get download {name}`, or packages.debian.org) and put it into {packages}, "
        "or into a folder of your own that sources.<name>.folder names"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.prefetch.fetch_help", description=__doc__.split("\n")[0])
    parser.add_argument("--lang", required=True)
    parser.add_argument("--packages", required=True, type=Path, help="where packages that are fetched go")
    parser.add_argument("--folder", type=Path, help="where the help was put by hand")
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args(argv)
    fetch_help(args.lang, args.packages, args.record, args.folder)


if __name__ == "__main__":
    stage.run(main)
