"""Types of options that several topics use, and how a declared type is said in words.

inputs: annotations of `Options` classes
outputs: "a whole number from 1", "`auto`, or a list of names": for the messages of faults and for docs/config.md
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, Field

from polybatch.core.addresses import address_faults
from polybatch.core.languages import LANGUAGES

# File systems take 255 bytes a name; ours get up to some 50 more around them ("source--", ".parquet", a process id).
LONGEST_NAME = 150
# A word in braces, as Snakemake finds wildcards.
_WILDCARD = re.compile(r"\{\s*\w+.*\}", re.DOTALL)
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]*$"
# Whole numbers go to torch, numpy, pyarrow and FAISS, which take no larger ones.
LARGEST = 2**63 - 1


class Said(typing.NamedTuple):
    """Marks an annotated type with its words: one value, and several."""

    one: str
    several: str


def _known_language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"unknown language {code!r}; known ISO 639-1 codes: {' '.join(LANGUAGES)}")
    return code


def _distinct(values: list[Any]) -> list[Any]:
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"must not repeat {repeated[0]!r}")
    return values


def _fetchable(url: str) -> str:
    if faults := list(address_faults(url)):
        raise ValueError("; ".join(faults))
    return url


def _hub_id(text: str) -> str:
    from polybatch.core.hub import id_faults

    if text and (faults := list(id_faults(text, "main"))):
        raise ValueError(faults[0])
    return text


def _revision(text: str) -> str:
    from polybatch.core.hub import id_faults

    if text and (faults := list(id_faults("name", text))):
        raise ValueError(faults[0])
    return text


def _plain_path(text: str) -> str:
    if not text.strip() or text.endswith(("\n", "\r")):
        raise ValueError(f"must be a path that does not end in a line break, not {text!r}")
    if word := _WILDCARD.search(text):
        raise ValueError(
            f"{text} holds {word[0]}, which Snakemake takes for a wildcard: give the file or folder a name without "
            "braces, or a link with such a name"
        )
    return text


Name = Annotated[
    str,
    Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME),
    Said(f"a name (lower-case letters, digits, _ . -, at most {LONGEST_NAME})", "names"),
]
LanguageCode = Annotated[
    str,
    AfterValidator(_known_language),
    Field(json_schema_extra={"enum": list(LANGUAGES)}),
    Said("a language code", "language codes"),
]
Address = Annotated[str, AfterValidator(_fetchable), Field(pattern="^https?://"), Said("an https address", "addresses")]
FilePath = Annotated[str, AfterValidator(_plain_path), Said("a path", "paths")]
HubId = Annotated[str, AfterValidator(_hub_id), Said("an id of the hub, org/name", "ids of the hub")]
Revision = Annotated[str, AfterValidator(_revision), Said("a commit or a branch", "revisions")]
DISTINCT = AfterValidator(_distinct)
_UNIQUE = Field(json_schema_extra={"uniqueItems": True})
Names = Annotated[list[Name], DISTINCT, _UNIQUE]
LanguageCodes = Annotated[list[LanguageCode], DISTINCT, _UNIQUE]
SomeLanguageCodes = Annotated[LanguageCodes, Field(min_length=1)]
Requirement = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_]+==[A-Za-z0-9.]+$"),
    Said("a version to fetch, such as homeassistant==2026.11.0", "versions"),
]
WheelChecksum = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$"), Said("the wheel's checksum, 64 hexadecimal digits", "checksums")
]
Share = Annotated[float, Ge(0), Le(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Prompt = str | None


def unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and what it was annotated with."""
    metadata: list[Any] = []
    while typing.get_origin(annotation) is Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata += more
    return annotation, [part for item in metadata for part in getattr(item, "metadata", [item])]


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    bare, _ = unwrapped(annotation)
    return typing.get_args(bare) if typing.get_origin(bare) in (typing.Union, types.UnionType) else (annotation,)


def described(annotation: Any, metadata: Iterable[Any] = (), *, several: bool = False, quote: str = "") -> str:
    """A type in words.

    Args:
        annotation, metadata: The type, and what is annotated to it from outside.
        several: As the items of a list are spoken of.
        quote: Put around values that are written as they stand.
    """
    bare, own = unwrapped(annotation)
    marks = [*own, *metadata]
    said = next((mark for mark in marks if isinstance(mark, Said)), None)
    if said is not None:
        return said.several if several else said.one
    words: list[str] = []
    for choice in choices_of(annotation):
        member, _ = unwrapped(choice)
        if typing.get_origin(member) is Literal:
            words += [f"{quote}{value}{quote}" if value != "" else "empty" for value in typing.get_args(member)]
        elif choice is not annotation:
            words.append(described(choice, marks, several=several, quote=quote))
    if words:
        return _listed(words)
    one, more = _words(bare, marks, quote)
    return more if several else one


def _words(bare: Any, marks: Iterable[Any], quote: str) -> tuple[str, str]:
    """A plain type, one value and several."""
    origin = typing.get_origin(bare) or bare
    if origin in (int, float):
        bounds = _bounds(marks)
        return ("a whole number" if origin is int else "a number") + bounds, "whole " * (
            origin is int
        ) + "numbers" + bounds
    if origin is list:
        items = "".join(f" of {described(item, several=True, quote=quote)}" for item in typing.get_args(bare))
        return f"a list{items}", f"lists{items}"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, BaseModel)):
        return "a mapping", "mappings"
    words = {str: ("text", "texts"), bool: ("true or false",) * 2, type(None): (f"{quote}null{quote}",) * 2}
    return words[origin]


def _listed(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _bounds(marks: Iterable[Any]) -> str:
    """The bounds of a number, as " from 0, below 1"."""
    least = most = ""
    for mark in marks:
        if isinstance(mark, Ge):
            least = f" from {mark.ge}"
        elif isinstance(mark, Gt):
            least = f" above {mark.gt}"
        elif isinstance(mark, Le):
            most = f" to {mark.le}"
        elif isinstance(mark, Lt):
            most = f", below {mark.lt}"
    return least + (most if least or not most.startswith(" to") else f" up{most}")
