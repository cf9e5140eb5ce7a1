"""LibreOffice's help in one language, where it is on disk: a Debian package, or the folders of an unpacked one.

inputs: libreoffice-help-<lang>_<version>_all.deb, or <...>/help/<locale>/text/**.html
outputs: pages by their path below `text`, which all languages share; a record of what the help is and where
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polybatch.collect.adapters.debian_package import MOST_OF_FILE, control, data_files
from polybatch.core.errors import DataError
from polybatch.core.files import sha256_file, sha256_text
from polybatch.core.languages import LANGUAGES, language

_PAGE = re.compile(r"usr/share/libreoffice/help/([A-Za-z-]+)/text/(.+\.html)")
_COPYRIGHT = re.compile(r"usr/share/doc/[^/]+/copyright")
_LAYOUTS = ("", "help", "usr/share/libreoffice/help", "usr/lib/libreoffice/help")
_LICENCE_LINES = 12


def package_name(lang: str) -> str:
    """What Debian calls the help in a language; a DataError if there is none."""
    code = language(lang).libreoffice
    if not code:
        raise DataError(
            f"There is no help in {language(lang).name}.",
            expected="one of " + " ".join(iso for iso, entry in LANGUAGES.items() if entry.libreoffice),
            remedy="take the language out of the source's `languages`",
        )
    return f"libreoffice-help-{code}"


def find(folder: Path, lang: str) -> Path | None:
    """The help in a language among what a folder holds: a package, or the folder `<locale>/text` of an unpacked one.

    Raises:
        DataError: There are several.
    """
    name = package_name(lang)
    found = sorted([*folder.glob(f"{name}_*.deb"), *folder.glob(f"{name}.deb")])
    if not found:
        parents = [folder / layout for layout in _LAYOUTS if (folder / layout).is_dir()]
        locales = [locale for parent in parents for locale in sorted(parent.iterdir())]
        found = [locale / "text" for locale in locales if _is_locale(locale.name, lang) and (locale / "text").is_dir()]
    if len(found) > 1:
        raise DataError(
            f"There are several versions of the help in {language(lang).name}.",
            where=folder,
            expected="one",
            found=", ".join(str(path.relative_to(folder)) for path in found),
            remedy="delete all but one, of the same version in every language",
        )
    return found[0] if found else None


def pages(path: Path, lang: str) -> Iterator[tuple[str, bytes]]:
    """(path below `text`, HTML) of every page of a package, or of a folder `<locale>/text`.

    Raises:
        DataError: A package as in `debian_package.data_files`; no page in this language.
    """
    if path.is_dir():
        found: Iterator[tuple[str, bytes]] = (
            (file.relative_to(path).as_posix(), _content(file)) for file in sorted(path.rglob("*.html"))
        )
    else:
        found = _packed(path, lang)
    none = True
    for page in found:
        none = False
        yield page
    if none:
        raise DataError(
            f"A package holds no page of help in {language(lang).name}.",
            where=path,
            expected=f"usr/share/libreoffice/help/{language(lang).libreoffice}/text/**.html",
            remedy="put the right package in its place, or take the language out of the source's `languages`",
        )


def _packed(package: Path, lang: str) -> Iterator[tuple[str, bytes]]:
    def wanted(name: str) -> bool:
        match = _PAGE.fullmatch(name)
        return bool(match) and _is_locale(match[1], lang)  # type: ignore[index]

    for name, content in data_files(package, wanted):
        yield _PAGE.fullmatch(name)[2], content  # type: ignore[index]


def _content(file: Path) -> bytes:
    if file.stat().st_size > MOST_OF_FILE:
        raise DataError("A page is far larger than any real one.", where=file, expected=f"at most {MOST_OF_FILE} bytes")
    return file.read_bytes()


def _is_locale(name: str, lang: str) -> bool:
    """Whether a folder of the help (`pt-BR`) is that of a language (in packages' names `pt-br`)."""
    return name.lower() == language(lang).libreoffice


def describe(path: Path, lang: str) -> dict[str, Any]:
    """The record of a package or folder: what it is, its version where that is known, its checksum, its licence's text.

    Raises:
        DataError: It is not the help in this language, or is damaged.
    """
    name, fields, licence = package_name(lang), {}, {"path": "", "head": ""}
    if path.is_file():
        fields = control(path)
        if fields.get("Package") != name:
            raise DataError(
                "A Debian package is another than its name says.",
                where=path,
                expected=name,
                found=fields.get("Package", "no name"),
                remedy="put the right one in its place",
            )
        for file, content in data_files(path, _matches(_COPYRIGHT)):
            lines = content.decode("utf-8", "replace").splitlines()
            licence = {"path": file, "head": "\n".join(lines[:_LICENCE_LINES])}
    return {
        "language": lang,
        "package": name,
        "version": fields.get("Version", ""),
        "architecture": fields.get("Architecture", ""),
        "copyright": licence,
        "pages": sum(1 for _ in pages(path, lang)),
        "path": str(path),
        "size": path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*.html")),
        "sha256": checksum(path, lang),
    }


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: bool(pattern.fullmatch(name))


def checksum(path: Path, lang: str) -> str:
    """The SHA-256 of a package; of a folder that of its pages, names and content."""
    if path.is_file():
        return sha256_file(path)
    return sha256_text(*(part for name, page in pages(path, lang) for part in (name, page.hex())))
