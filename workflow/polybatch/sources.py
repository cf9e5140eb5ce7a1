"""What every data source offers: English pairs, their human translations, and parallel strings.

An adapter is a class with three methods, `english`, `translations` and `strings`; `open_source` picks it from
the config's `source` entry. All of them stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from polybatch.errors import ConfigError
from polybatch.fetch import check_wheel
from polybatch.files import sha256_text
from polybatch.text import has_placeholder, number_placeholders, text_key


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
    """A data source. `name` is what tables call it."""

    name: str
    license: str

    def english(self) -> Iterator[Pair]:
        """English pairs; the same pair may come several times."""

    def translations(self, lang: str) -> Iterator[Pair]:
        """Human translations: pairs with the ids of `english`, texts in `lang`."""

    def strings(self, lang: str) -> Iterator[tuple[str, str]]:
        """(English, `lang`) texts that are translations of each other, beyond the pairs; may repeat."""


def open_source(spec: dict[str, Any], path: Path) -> Source:
    """The adapter for a config entry `{name, adapter, ...}`, reading `path`."""
    if spec["adapter"] == "homeassistant":
        return HomeAssistant(spec["name"], path, spec.get("sha256", ""))
    if spec["adapter"] == "local":
        from polybatch.local_source import LocalSource

        return LocalSource(spec, path)
    raise ConfigError(f"Unknown source adapter {spec['adapter']!r}.", expected="homeassistant or local")


class HomeAssistant:
    """Interface strings of Home Assistant (see `polybatch.homeassistant`)."""

    def __init__(self, name: str, wheel: Path, sha256: str = "") -> None:
        from polybatch import homeassistant

        self._reader = homeassistant
        self.name, self.wheel, self.sha256 = name, wheel, sha256
        self.license = homeassistant.declared_license(wheel)
        self._english = homeassistant.read_strings(wheel, "en")
        # (query key, passage key, pair id), worked out once and not anew for every language.
        self._pairs = [
            (query_key, passage_key, pair_id(name, self._english[query_key], self._english[passage_key]))
            for query_key, passage_key in homeassistant.pair_keys(self._english)
            if not has_placeholder(self._english[query_key] + self._english[passage_key])
        ]

    def english(self) -> Iterator[Pair]:
        """Pairs without placeholders; a reader of the interface sees text only.

        Checks the archive first, its checksum and its paths: it may have been put in place by hand.
        """
        if self.sha256:
            check_wheel(self.wheel, self.sha256)
        self._reader.check_members(self.wheel)
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
