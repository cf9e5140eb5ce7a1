"""What every data source offers: English pairs, the translations that come with them, and parallel strings.

An adapter is a class with three methods, `english`, `translations` and `strings`; `open_source` picks it from
the config's `source` entry. All of them stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from polybatch.core.download import check_pinned
from polybatch.core.errors import ConfigError
from polybatch.core.files import sha256_text
from polybatch.core.text import has_placeholder, number_placeholders, text_key


@dataclass(frozen=True)
class Pair:
    """One query with its relevant passage, in one language."""

    pair_id: str
    query: str
    passage: str
    hard_negatives: list[str] = field(default_factory=list)


def pair_id(source: str, query: str, passage: str) -> str:
    """The id of an English pair: equal for pairs that differ in case, punctuation or spacing only."""
    return sha256_text(source, text_key(query), text_key(passage))[:16]


class Source(Protocol):
    """A data source. All methods stream, and may be called again.

    Attributes:
        name: What tables call it.
        license: As its makers declare it.
        languages: ISO codes, but English, in which it has translations of its pairs.
        examples: Its size where that differs from its pairs (triples, say), once `english` has been read; else None.
        dropped: What `english` left out itself, step -> number, once it has been read.
    """

    name: str
    license: str
    languages: tuple[str, ...]
    examples: int | None
    dropped: dict[str, int]

    def english(self) -> Iterator[Pair]:
        """English pairs; the same pair may come several times."""

    def translations(self, lang: str) -> Iterator[Pair]:
        """Translations that come with the source: pairs with the ids of `english`, texts in `lang`."""

    def strings(self, lang: str) -> Iterator[tuple[str, str]]:
        """(English, `lang`) texts that are translations of each other, beyond the pairs; may repeat."""


# What `adapter` in a source's config entry may say.
ADAPTERS = (
    "homeassistant",
    "local",
    "wiki_qa",
    "mr_tydi",
    "duorc",
    "newsqa",
    "natural_questions",
    "yahoo_answers",
    "entity_questions",
    "mfaq",
    "mmarco",
    "squadshifts",
)


def open_source(spec: dict[str, Any], path: Path, passages: Sequence[Path] = ()) -> Source:
    """The adapter for a config entry `{name, adapter, ...}`.

    Args:
        spec: The entry.
        path: The wheel, the user's own file, or the record of a hub repository (`hub.write_record`).
        passages: Files that questions without passages are looked up in
        (`polybatch.collect.adapters.entity_questions`).

    Raises:
        ConfigError: An unknown adapter or option.
        DataError: The files are not there, or not as the adapter knows them.
    """
    adapter = spec["adapter"]
    if adapter == "homeassistant":
        return HomeAssistant(spec["name"], path, spec.get("sha256", ""))
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


class HomeAssistant:
    """Interface strings of Home Assistant (see `polybatch.collect.adapters.homeassistant`).

    Raises:
        DataError: The wheel is missing, too large, not the one that was pinned (looked at before anything is read out
            of it), damaged, or holds a path that leads out of it or a file that is far too large.
    """

    def __init__(self, name: str, wheel: Path, sha256: str = "") -> None:
        from polybatch.collect.adapters import homeassistant

        self._reader = homeassistant
        # First of all: the archive may have been put in place by hand.
        if sha256:
            check_pinned(wheel, sha256)
        homeassistant.check_members(wheel)
        self.examples: int | None = None
        self.dropped: dict[str, int] = {}
        self.name, self.wheel = name, wheel
        self.license = homeassistant.declared_license(wheel)
        self.languages = homeassistant.languages(wheel)
        self._english = homeassistant.read_strings(wheel, "en")
        # (query key, passage key, pair id), worked out once and not anew for every language.
        self._pairs = [
            (query_key, passage_key, pair_id(name, self._english[query_key], self._english[passage_key]))
            for query_key, passage_key in homeassistant.pair_keys(self._english)
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
        other = self._reader.read_strings(self.wheel, lang)
        versions: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for query_key, passage_key, identity in self._pairs:
            query, passage = other.get(query_key), other.get(passage_key)
            if not query or not passage or has_placeholder(query + passage):
                continue
            if lang == "en" or text_key(passage) != text_key(self._english[passage_key]):
                versions[identity][(query, passage)] += 1
        for identity, found in versions.items():
            (query, passage), _ = found.most_common(1)[0]
            yield Pair(identity, query, passage)

    def strings(self, lang: str) -> Iterator[tuple[str, str]]:
        """Every string of the interface that both languages have, placeholders numbered alike."""
        other = self._reader.read_strings(self.wheel, lang)
        for key, english in self._english.items():
            if key in other and (numbered := number_placeholders(english, other[key])):
                yield numbered
