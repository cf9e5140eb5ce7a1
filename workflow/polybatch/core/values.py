"""What the user's files hold, value by value: text is text, an id is text or a whole number, and all else is refused.

inputs: one value as a reader of JSON, CSV or Parquet gives it, and the name of its column in the file
outputs: the value by the type that we need it in; or a `Fault`, whose words follow the place ("line 7: ...")

Nothing is converted that is not listed here: no number becomes text, no list its printed form. Missing are null, and
NaN, which pandas writes for it; both are "" as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from polybatch.core.errors import DataError

_SHOWN = 60
_SHOWN_FAULTS = 10
_LARGEST_WHOLE_FLOAT = 2.0**53  # beyond it, floats leave whole numbers out
_GRADE_DIGITS = 9
_PRINTED_MISSING = {"nan", "none", "null", "<na>", "nat", "#n/a", "undefined"}
_PRINTED_LIST = re.compile(r"""\[(?:'[^\n]*'|"[^\n]*")\]""")


class Fault(Exception):  # noqa: N818 (not an end, but what is gathered and told by a DataError)
    """What is wrong with a value or a row."""


class Faults:
    """The first faults of a file in words, and the number of all."""

    def __init__(self, path: object) -> None:
        self.path, self.number = path, 0
        self._first: list[str] = []

    def add(self, where: str, fault: object) -> None:
        """Takes in what is wrong at a place, for example "line 7"."""
        self.number += 1
        if self.number <= _SHOWN_FAULTS:
            self._first.append(f"{where}: {fault}")

    def tell(self, problem: str, *, expected: str = "", remedy: str = "") -> None:
        """Raises a DataError with the faults, if there are any; `{number}` in `problem` is how many."""
        if self.number:
            more = f"; and {self.number - _SHOWN_FAULTS} more" if self.number > _SHOWN_FAULTS else ""
            raise DataError(
                problem.format(number=self.number),
                where=self.path,
                expected=expected,
                found="; ".join(self._first) + more,
                remedy=remedy,
            )


def is_missing(value: object) -> bool:
    """Whether it is null or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text(value: object, name: str) -> str:
    """A text as it stands; "" where it is missing.

    Raises:
        Fault: It is of another type, or holds half a surrogate pair, which no Unicode text does.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise Fault(f"{name} is {_kind(value)}, not text: {shown(value)}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Fault(
                f"{name} holds half a surrogate pair, \\u{ord(value[error.start]):04x}, at character {error.start + 1}"
            ) from None
    return value


def looks_converted(value: str) -> bool:
    """Whether a text may well be the printed form of something else: of a missing value, or of a list of texts."""
    return value.casefold() in _PRINTED_MISSING or bool(_PRINTED_LIST.fullmatch(value))


def identifier(value: object, name: str) -> str:
    """An id: a text as it stands, or a whole number as text; "" where it is missing. The float 7.0 is 7: pandas turns
    a column of whole numbers into floats where one is missing.

    Raises:
        Fault: It is of another type.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:d}"
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE_FLOAT:
        return f"{value:.0f}"
    if is_missing(value) or isinstance(value, str):
        return text(value, name)
    raise Fault(f"{name} is {_kind(value)}, not an id (text or a whole number): {shown(value)}")


def texts(value: object, name: str) -> list[str]:
    """A list of texts, "" for each that is missing; [] where the list is missing or an empty text.

    Raises:
        Fault: It is no list, or an item of it is no text.
    """
    if is_missing(value) or (isinstance(value, str) and not value):
        return []
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise Fault(f"{name} is {_kind(value)}, no list of texts: {shown(value)}")
    return [text(item, f"{name}[{number}]") for number, item in enumerate(value)]


def grade(value: object, name: str) -> int:
    """A judgement: a whole number, or a text that spells one in at most nine digits.

    Raises:
        Fault: It is neither.
    """
    if isinstance(value, str):
        digits = value[1:] if value.startswith("-") else value
        if digits.isascii() and digits.isdecimal() and len(digits) <= _GRADE_DIGITS:
            return int(value)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_GRADE_DIGITS:
        return value
    raise Fault(f"{name} is {_kind(value)}, not a whole number: {shown(value)}")


def shown(value: object) -> str:
    """A value as it stands in a message: its beginning, on one line, whatever it holds."""
    return ascii(value if not isinstance(value, str | list | bytes) else value[:_SHOWN])[:_SHOWN]


def _kind(value: Any) -> str:
    kinds = {
        str: "text",
        dict: "an object",
        list: "a list",
        tuple: "a list",
        bytes: "bytes",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "missing",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")
