"""What can be asked: a question that somebody typed, or one of the benchmark's own queries.

inputs: a benchmark; what a user gave
outputs: an `Own` query or a `Typed` question; a ConfigError that says why what was given cannot be asked
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from polybatch.benchmarks.benchmark import Benchmark
from polybatch.core.errors import ConfigError
from polybatch.core.text import is_blank

# Of a question. Models read some hundred words; this is far more, and still no book.
MOST_CHARACTERS = 5_000
MOST_PASSAGES = 100


@dataclass(frozen=True)
class Own:
    """One of the benchmark's queries.

    Attributes:
        query_id, lang, text: As in the benchmark.
        row: Its place in its language's file.
    """

    query_id: str
    lang: str
    row: int
    text: str


@dataclass(frozen=True)
class Typed:
    """A question that somebody typed, and its language where that matters to a model, else ""."""

    text: str
    lang: str


class Queries:
    """The queries of a benchmark, by id and by text.

    Attributes:
        name: The benchmark.
        by_id: Id -> query, language by language.
    """

    def __init__(self, benchmark: Benchmark) -> None:
        self.name = benchmark.name
        self.by_id = {
            query_id: Own(query_id, lang, row, text)
            for lang, texts in benchmark.queries.items()
            for row, (query_id, text) in enumerate(zip(texts.ids.to_pylist(), texts.texts.to_pylist(), strict=True))
        }

    @cached_property
    def by_text(self) -> dict[str, list[Own]]:
        """Text, without space around it -> the queries that read so."""
        found: dict[str, list[Own]] = {}
        for own in self.by_id.values():
            found.setdefault(own.text.strip(), []).append(own)
        return found

    def find(self, question: str, query_id: str) -> tuple[Own | None, str]:
        """The query that a text or an id means, None where the text is no query's; and what is to be said about it.

        Raises:
            ConfigError: There is no query of that id.
        """
        if query_id:
            if query_id not in self.by_id:
                raise ConfigError(
                    "The benchmark has no such query.", expected=f"a query of {self.name}", found=query_id
                )
            return self.by_id[query_id], ""
        same = self.by_text.get(question.strip(), [])
        if len(same) > 1:
            named = ", ".join(f"{own.query_id} ({own.lang})" for own in same[:3])
            return None, f"{len(same)} queries of the benchmark read so: {named}. Choose one of them in the list."
        return (same[0], "") if same else (None, "")


def usable(question: str) -> str:
    """The question without space around it; a ConfigError that says why if it cannot be asked."""
    if is_blank(question):
        raise ConfigError("The question is empty.", expected="some words, in any language", found="nothing to read")
    if len(question) > MOST_CHARACTERS:
        raise ConfigError(
            "The question is too long.",
            expected=f"at most {MOST_CHARACTERS:,} characters",
            found=f"{len(question):,} characters",
            remedy="ask for one thing at a time; a model reads some hundred words and no more",
        )
    # Bytes of a terminal that are no UTF-8 come as halves of characters, which no tokenizer takes.
    return question.strip().encode("utf-8", "replace").decode("utf-8")


def require_top(top: int) -> None:
    """Raises a ConfigError if a model does not list so many passages."""
    if not 1 <= top <= MOST_PASSAGES:
        raise ConfigError("So many passages are not listed.", expected=f"1 to {MOST_PASSAGES}", found=str(top))
