"""Small Debian packages of LibreOffice's help, written by the tests."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path

from polybatch.prefetch.fetch_help import fetch_help

COPYRIGHT = "Format: 1.0\nUpstream-Name: LibreOffice\n\nFiles: *\nLicense: MPL-2.0\n"
LOCALES = {"en": "en-US", "de": "de", "pt": "pt-BR"}


def tar(files: Mapping[str, bytes | str]) -> bytes:
    """A tar archive; a text instead of bytes is where a link leads."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ar archive, as deb(5) describes it."""
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        parts += [header, data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def package(path: Path, fields: str, files: Mapping[str, bytes | str], ending: str = ".xz") -> Path:
    """A .deb whose data is compressed as its ending says."""
    control, data = tar({"./control": fields.encode()}), tar(files)
    compress = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes, ".zst": _zstd, ".bz2": bytes}[ending]
    members = {"debian-binary": b"2.0\n", "control.tar.xz": lzma.compress(control), f"data.tar{ending}": compress(data)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ar(members))
    return path


def _zstd(data: bytes) -> bytes:
    import pyarrow as pa

    compressed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return compressed


def page(body: str) -> bytes:
    menu = '<header><p id="par_id1">LibreOffice Help</p></header>'
    return f'<!DOCTYPE html><html><body>{menu}<div id="DisplayArea">{body}</div></body></html>'.encode()


def help_package(folder: Path, lang: str, bodies: Mapping[str, str], version: str = "4:7.4.7-1") -> Path:
    """A package of help: path of a page -> what stands in it."""
    locale = LOCALES[lang]
    name = f"libreoffice-help-{locale.lower()}"
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nDescription: help\n of many pages\n"
    files: dict[str, bytes | str] = {f"./usr/share/doc/{name}/copyright": COPYRIGHT.encode()}
    files |= {f"./usr/share/libreoffice/help/{locale}/text/{path}": page(body) for path, body in bodies.items()}
    return package(folder / f"{name}_{version.replace(':', '%3a')}_all.deb", fields, files)


def recorded(folder: Path, languages: Mapping[str, Mapping[str, str]]) -> Path:
    """Packages of several languages and their records; returns the English record."""
    for lang, bodies in languages.items():
        help_package(folder / "packages", lang, bodies)
        fetch_help(lang, folder / "none", folder / f"{lang}.json", folder / "packages")
    return folder / "en.json"
