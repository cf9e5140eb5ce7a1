"""What every data source offers: English pairs, the translations that come with them, and parallel strings.

An adapter is a class with three methods, `english`, `translations` and `strings`; `adapters.registry.open_source` picks
it from the config's `source` entry. All of them stream.

inputs: none; this is the protocol that adapters follow
outputs: `Pair`, `ParallelText`, `Source`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from polybatch.core.files import sha256_text
from polybatch.core.text import text_key

# Why translations are left out: by sources themselves (`Source.left_out`), or when they are cleaned.
NO_ENGLISH = "no English pair"  # a translation of nothing that the source has
IN_ENGLISH = "passage left in English"
ANOTHER = "another translation of the pair"


@dataclass(frozen=True)
class Pair:
    """One query with its relevant passage, in one language.

    `document` names the page or text that it was taken from, in a way that no other source does: all pairs of a
    document are held out together. Without one ("") a passage stands for itself.
    """

    pair_id: str
    query: str
    passage: str
    hard_negatives: list[str] = field(default_factory=list)
    document: str = ""


class ParallelText(NamedTuple):
    """Two texts that are translations of each other, and the document (`Pair.document`) that they stand in."""

    english: str
    text: str
    document: str = ""


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
        left_out: language -> what `translations` left out itself, step -> number, once they have been read.
        markup: {"rows", "marks"}: how many rows had markup that was taken out, and how many marks; empty if none.
    """

    name: str
    license: str
    languages: tuple[str, ...]
    examples: int | None
    dropped: dict[str, int]
    left_out: dict[str, dict[str, int]]
    markup: dict[str, int]

    def english(self) -> Iterator[Pair]:
        """English pairs; the same pair may come several times."""

    def translations(self, lang: str) -> Iterator[Pair]:
        """Translations that come with the source: pairs with the ids of `english`, texts in `lang`."""

    def strings(self, lang: str) -> Iterator[ParallelText]:
        """Texts that are translations of each other, beyond the pairs; may repeat."""
