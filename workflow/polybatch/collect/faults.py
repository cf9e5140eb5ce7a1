"""Faults of the sources of a configuration.

inputs: a configuration with its defaults filled in and what it names looked up (polybatch.study.resolve)
outputs: `Fault`s
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from polybatch.collect.options import SECTIONS, CleaningOptions, SourceSection
from polybatch.config.catalogue import Config, listed, source_name, unknown
from polybatch.config.user_files import path_fault
from polybatch.core.languages import help_languages
from polybatch.core.option_faults import Fault, Way, unknown_key
from polybatch.core.option_types import LONGEST_NAME, NAME_PATTERN
from polybatch.core.options import Options, faults_of
from polybatch.core.row_files import format_of


def entry_faults(config: Config) -> Iterator[Fault]:
    """Faults in the shape of the entries of `sources`: which keys an entry may have hangs on its adapter."""
    for name, entry in config["sources"].items():
        path: Way = ("sources", name)
        if not isinstance(entry, dict):
            continue
        if "adapter" not in entry:
            yield Fault((*path, "adapter"), f"is missing; it is one of {', '.join(SECTIONS)}")
        elif not isinstance(entry["adapter"], str) or entry["adapter"] not in SECTIONS:
            yield Fault((*path, "adapter"), _unknown_adapter(entry["adapter"]))
            yield from (fault.under(*path) for fault in _common(entry))
        else:
            yield from (fault.under(*path) for fault in faults_of(SECTIONS[entry["adapter"]], entry))


def source_faults(config: Config) -> Iterator[Fault]:
    """Faults in what is named as a source: unknown and equal names, and files that are not there."""
    entries = listed(config["source"])
    one = not isinstance(config["source"], list)
    paths: list[Way] = [("source",) if one else ("source", i) for i in range(len(entries))]
    for path, entry in zip(paths, entries, strict=True):
        if isinstance(entry, str) and entry not in config["sources"]:
            fault = unknown(path, entry, "sources", config)
            yield Fault(path, fault.text + "; for a file of your own write source: {path: ...}")
        elif isinstance(entry, dict):
            yield from (fault.under(*path) for fault in _file_faults(entry, "source"))
    names = [source_name(entry) for entry in entries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(("source",), f"two sources are called {name!r}; give one of them another name")
    for path, name in zip(paths, names, strict=True):
        if not re.fullmatch(NAME_PATTERN.rstrip("$"), name) or len(name) > LONGEST_NAME:
            yield Fault(path, f"{name!r}, taken from the file's name, cannot name a source; add name: to its entry")
        for other in config["sources"].get(name, {}).get("passages", []):
            if other not in names:
                text = f"{other!r} is not among the study's sources ({', '.join(names)})"
                yield Fault(("sources", name, "passages"), text)
    yield from _language_faults(config, names)
    yield from _length_faults(config, names)
    yield from _validation_faults(config, names)
    yield from _named_file_faults(config, names)


def _language_faults(config: Config, names: list[str]) -> Iterator[Fault]:
    """Languages that no source has text in and nothing is translated into: no row of them would come to be."""
    sources = [config["sources"].get(name, {"adapter": "local"}) for name in names]
    there = [languages for source in sources if (languages := _languages_of(source)) is not None]
    if not names or len(there) < len(sources):
        return  # a file says itself what it holds
    known = {"en", *(code for languages in there for code in languages)}
    held = " ".join(sorted(known))
    for i, code in enumerate(config["languages"]["train"]):
        if code not in known and code not in config["translation"]["languages"]:
            text = (
                f"no source has text in {code!r} (they have {held}), and translation.languages has not {code!r} either"
            )
            yield Fault(("languages", "train", i), f"{text}: take it out, or have it translated")
    for i, code in enumerate(config["split"].get("parallel_in", [])):
        if code not in known:
            yield Fault(("split", "parallel_in", i), f"no source has text in {code!r}; they have {held}")


def _languages_of(source: Config) -> tuple[str, ...] | None:
    """The languages, but English, of a source's own text; None where its files say it."""
    return help_languages(source) if source.get("adapter") == "libreoffice" else None


def _length_faults(config: Config, names: list[str]) -> Iterator[Fault]:
    """Passages that a source puts together, longer than the cleaning lets through: they would be made to be dropped."""
    most = config["cleaning"].get("max_words", CleaningOptions.default_of("max_words"))
    for name in _read_by(config, names):
        entry = config["sources"].get(name)
        kind = SECTIONS.get(entry.get("adapter", "")) if isinstance(entry, dict) else None
        if kind is None or "max_words" not in kind.model_fields:
            continue
        longest = entry.get("max_words", kind.default_of("max_words"))
        if longest > most:
            text = f"{most} drops the passages of {name!r} that have more words, up to {longest}"
            yield Fault(("cleaning", "max_words"), f"{text}; raise it, or lower sources.{name}.max_words")


def _read_by(config: Config, names: list[str]) -> list[str]:
    """The sources that the study reads: those named, and that of the validation pairs."""
    validation = (config.get("validation") or {}).get("source")
    return list(dict.fromkeys([*names, *([validation] if validation else [])]))


def _validation_faults(config: Config, names: list[str]) -> Iterator[Fault]:
    validation = (config.get("validation") or {}).get("source")
    if validation and validation not in config["sources"]:
        yield unknown(("validation", "source"), validation, "sources", config)
    if validation and validation in names:
        yield Fault(("validation", "source"), f"{validation!r} is trained on; name a source that is not")
    if not validation and config["languages"]["train"] and config["split"].get("dev_passages") == 0:
        text = "0 leaves no validation pairs; name validation.source, or hold some passages out"
        yield Fault(("split", "dev_passages"), text)


def _named_file_faults(config: Config, names: list[str]) -> Iterator[Fault]:
    """Files of those entries of `sources` that the study reads."""
    for name in _read_by(config, names):
        entry = config["sources"].get(name)
        if isinstance(entry, dict) and "path" in entry:
            yield from (fault.under("sources", name) for fault in _file_faults(entry, entry.get("adapter", "")))
        if isinstance(entry, dict) and entry.get("folder") and (text := path_fault(str(entry["folder"]), "folder")):
            yield Fault(("sources", name, "folder"), text)


def _file_faults(entry: dict[str, object], adapter: str) -> Iterator[Fault]:
    path = str(entry["path"])
    own = adapter in ("source", "local")
    if fault := path_fault(path, "file" if own else "file or folder"):
        yield Fault(("path",), fault)
    elif own and "format" not in entry and format_of(Path(path)) is None:
        yield Fault(("path",), "its ending does not tell the format; add format: jsonl, csv, tsv, parquet or squad")


def _unknown_adapter(adapter: object) -> str:
    hint = unknown_key(str(adapter), list(SECTIONS)).partition("; ")[2]
    return f"{adapter!r} is not one of {', '.join(SECTIONS)}" + (f"; {hint}" if hint.startswith("did") else "")


def _common(entry: dict[str, object]) -> list[Fault]:
    """Faults of what every source may say, for one whose adapter is not known."""
    kind: type[Options] = SourceSection
    return faults_of(kind, {key: value for key, value in entry.items() if key in kind.model_fields})
