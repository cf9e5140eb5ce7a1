"""The adapters of data sources, by the names that a config gives them.

inputs: an entry of `source` or `sources`; the file or record that it is read from
outputs: a `Source`; what must be fetched for it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.collect.options import SECTIONS
from polybatch.collect.source import Source
from polybatch.core.errors import ConfigError

# What `adapter` in a source's config entry may say.
ADAPTERS = tuple(SECTIONS)


def open_source(spec: dict[str, Any], path: Path, passages: Sequence[Path] = ()) -> Source:
    """The adapter for a config entry `{name, adapter, ...}`.

    Args:
        spec: The entry.
        path: The wheel, the user's own file, or the record of what was fetched (`hub.write_record`, `fetch_help`).
        passages: Files that questions without passages are looked up in
        (`polybatch.collect.adapters.entity_questions`).

    Raises:
        ConfigError: An unknown adapter or option.
        DataError: The files are not there, or not as the adapter knows them.
    """
    adapter = spec["adapter"]
    if adapter == "homeassistant":
        from polybatch.collect.adapters.homeassistant import HomeAssistant

        return HomeAssistant(spec["name"], path, spec.get("sha256", ""))
    if adapter == "libreoffice":
        from polybatch.collect.adapters.libreoffice import LibreOffice

        return LibreOffice(spec, path)
    if adapter == "local":
        from polybatch.collect.adapters.local import LocalSource

        return LocalSource(spec, path)
    if adapter == "mmarco":
        from polybatch.collect.adapters.mmarco import MMarco

        return MMarco(spec, path)
    if adapter == "entity_questions":
        from polybatch.collect.adapters.entity_questions import EntityQuestions

        return EntityQuestions(spec, path, passages)
    if adapter in ADAPTERS:
        from polybatch.collect.adapters.data_sets import HubSource

        return HubSource(spec, path)
    raise ConfigError(f"Unknown source adapter {adapter!r}.", expected=" ".join(ADAPTERS))


def open_sources(specs: Sequence[dict[str, Any]], paths: Sequence[Path], lang: str) -> list[Source]:
    """The sources that come with text in a language.

    Args:
        specs: The config's entries.
        paths: The file of each, in the same order.
        lang: ISO code.

    Raises:
        ConfigError: There are not as many files as entries, or as `open_source`.
    """
    if len(specs) != len(paths):
        raise ConfigError("Each source has an entry and a file.", found=f"{len(specs)} entries, {len(paths)} files")
    sources = [open_source(spec, path) for spec, path in zip(specs, paths, strict=True)]
    return [source for source in sources if lang in source.languages]


def request(spec: dict[str, Any]) -> dict[str, Any]:
    """What must be fetched from the hub for a config entry: {repo, kind, revision, files}; files are shell patterns.

    Of a data set with configurations and splits also its `parts`: what its card declares of these is fetched too.

    Raises:
        ConfigError: An unknown option, or a data set without a repository.
    """
    if spec["adapter"] == "mmarco":
        from polybatch.collect.adapters import mmarco

        return mmarco.request(spec)
    if spec["adapter"] == "entity_questions":
        from polybatch.collect.adapters import entity_questions

        return entity_questions.request(spec)
    from polybatch.collect.adapters import data_sets

    return data_sets.request(spec)


def expected_pairs(spec: dict[str, Any]) -> float | None:
    """Pairs of a source as its paper gives them, for planning; None where that is not known."""
    from polybatch.collect.adapters import data_sets, entity_questions, mmarco

    adapter = spec["adapter"]
    if adapter in data_sets.DATA_SETS:
        return data_sets.DATA_SETS[adapter].paper_pairs
    return {"mmarco": mmarco.MOST_PAIRS, "entity_questions": entity_questions.PAPER_PAIRS}.get(adapter)
