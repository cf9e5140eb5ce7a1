"""What pydantic finds, in words: which key, what it should be, what it is, and what a user may have meant.

inputs: a class of options, the values, pydantic's list of errors
outputs: `Fault`s
"""

from __future__ import annotations

import datetime
import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from polybatch.core.option_types import choices_of, described, unwrapped

Way = tuple[str | int, ...]
_LONGEST_SHOWN = 60
# Faults of a union's member that show that this member was meant.
_MEANT = ("missing", "extra_forbidden", "option")


class Fault(NamedTuple):
    """One thing that is wrong.

    Attributes:
        path: The way to it from the outermost mapping.
        text: What is wrong with it, which reads on from its name.
        at: The way to what stands in the file, where that is no path: its last part is a key that is no text.
    """

    path: Way
    text: str
    at: tuple[Any, ...] = ()

    @property
    def where(self) -> str:
        """The way as one text, its parts joined by dots: `languages.train.1`."""
        return ".".join(map(str, self.path)) or "the configuration"

    def under(self, *path: str | int) -> Fault:
        """The same fault as seen from further out."""
        return Fault((*path, *self.path), self.text)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class _Error(NamedTuple):
    """One of pydantic's errors, by its place in the values; `unions` are the places where a union was tried."""

    kind: str
    path: Way
    unions: frozenset[Way]
    of_key: bool
    text: str


def spelled(kind: type[BaseModel], values: Any, errors: Iterable[Any]) -> list[Fault]:
    """The faults that pydantic's errors stand for, each once."""
    placed = [_placed(values, error) for error in errors]
    for union in sorted({place for error in placed for place in error.unions}, key=len, reverse=True):
        placed = _of_the_meant_member(placed, union)
    return list(dict.fromkeys(Fault(error.path, _told(kind, values, error)) for error in placed))


def _placed(values: Any, error: Any) -> _Error:
    """Follows pydantic's location: what is neither a key nor an index there names a member of a union."""
    path: list[str | int] = []
    unions, of_key, value = set(), False, values
    for i, part in enumerate(error["loc"]):
        if part == "[key]":
            of_key = True
        elif (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            path.append(part)
            value = value[part]
        elif i == len(error["loc"]) - 1 and error["type"] in _MEANT:
            path.append(part)
        else:
            unions.add(tuple(path))
    text = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    return _Error(error["type"], tuple(path), frozenset(unions), of_key, text)


def _of_the_meant_member(errors: list[_Error], union: Way) -> list[_Error]:
    """Leaves of a union's errors those of the members that have the value's shape, or one that names all members."""
    here = [error for error in errors if union in error.unions]
    close = [error for error in here if error.path != union or error.kind in (*_MEANT, "value_error")]
    others = [error for error in errors if union not in error.unions]
    kept = close or [here[0]._replace(kind="union", path=union)]
    return [*others, *(error._replace(unions=error.unions - {union}) for error in kept)]


def _told(kind: type[BaseModel], values: Any, error: _Error) -> str:
    if error.kind == "extra_forbidden":
        return unknown_key(str(error.path[-1]), _keys_beside(kind, error.path))
    if error.kind == "missing":
        return "is missing" + (f"; it must be {words}" if (words := _described(kind, error.path)) else "")
    if error.kind in ("option", "value_error"):
        return error.text
    if error.kind == "too_short":
        return "must not be empty"
    if error.of_key:
        key = error.path[-1] if error.path else ""
        return f"the key {shown(key)} must be {_key_described(kind, error.path[:-1])}"
    value = _value_at(values, error.path)
    annotation = _declared(kind, error.path)
    text = f"must be {_described(kind, error.path)}, not {shown(value)}"
    return text + (_meant(value, annotation) if annotation is not None else "")


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What is said of a key that is not known."""
    close = difflib.get_close_matches(name, known, 1)
    return f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; known: {', '.join(known) or 'none'}"


def shown(value: Any) -> str:
    """A value as YAML spells it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def quoted_hint(value: Any) -> str:
    """How a text is written that YAML reads as something else, "" for a text."""
    if value is False:
        return "; write 'no' in quotes: YAML reads it as false"
    if value is True:
        return "; write 'yes' in quotes: YAML reads it as true"
    if value is None:
        return "; write 'null' in quotes if you mean the word: YAML reads it, and ~ and nothing, as no value"
    if isinstance(value, (int, float)):
        return "; write it in quotes: YAML reads it as a number"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return "; write it in quotes: YAML reads it as a date"
    return ""


def _meant(value: Any, annotation: Any) -> str:
    """A hint at what a value was meant to be."""
    kinds = {unwrapped(choice)[0] for choice in choices_of(annotation)}
    texts = [str(word) for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    if isinstance(value, str) and {int, float} & kinds:
        if re.fullmatch(r"[-+]?\d+e[-+]?\d+", value, re.I):
            mantissa, exponent = value.lower().split("e")
            signed = exponent if exponent[0] in "+-" else f"+{exponent}"
            return f"; YAML reads {value} as text: write {mantissa}.0e{signed}"
        if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value, re.I):
            return "; write it without quotes"
    if isinstance(value, str) and (close := difflib.get_close_matches(value, texts, 1)):
        return f"; did you mean {close[0]!r}?"
    if isinstance(value, float) and int in kinds and value.is_integer():
        return f"; write {int(value)}"
    if isinstance(value, str) and bool in kinds and value.lower() in ("yes", "no", "true", "false", "on", "off"):
        return "; write it without quotes"
    return quoted_hint(value) if str in kinds or (texts and isinstance(value, bool)) else ""


def _value_at(values: Any, path: Way) -> Any:
    for part in path:
        values = values[part]
    return values


def _declared(kind: Any, path: Way) -> Any:
    """The declared type at a place, None where there is none."""
    annotation = kind
    for part in path:
        annotation = next(
            (found for choice in choices_of(annotation) if (found := _child(choice, part)) is not None), None
        )
        if annotation is None:
            return None
    return annotation


def _child(annotation: Any, part: str | int) -> Any:
    bare, _ = unwrapped(annotation)
    if typing.get_origin(bare) is list and isinstance(part, int):
        return typing.get_args(bare)[0]
    if typing.get_origin(bare) is dict and isinstance(part, str):
        return typing.get_args(bare)[1]
    if isinstance(bare, type) and not isinstance(bare, types.GenericAlias) and issubclass(bare, BaseModel):
        for name, field in bare.model_fields.items():
            if part == (field.alias or name):
                return typing.Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return None


def _described(kind: Any, path: Way) -> str:
    annotation = _declared(kind, path)
    return "" if annotation is None else described(annotation)


def _key_described(kind: Any, path: Way) -> str:
    annotation = _declared(kind, path)
    for choice in choices_of(annotation):
        bare, _ = unwrapped(choice)
        if typing.get_origin(bare) is dict:
            return described(typing.get_args(bare)[0])
    return "text"


def names_of(kind: type[BaseModel]) -> list[str]:
    """The names of options as a user writes them, in the order of their declaration."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def _keys_beside(kind: Any, path: Way) -> list[str]:
    """The keys that are known beside one that is not."""
    annotation = _declared(kind, path[:-1])
    return [
        name
        for choice in choices_of(annotation)
        if isinstance(bare := unwrapped(choice)[0], type) and issubclass(bare, BaseModel)
        for name in names_of(bare)
    ]
