"""Options of a stage: one JSON object, checked as a whole, every fault told at once."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from polybatch.core.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Base of the stages' option dataclasses. A subclass gives its fields and yields its `faults`."""

    def faults(self) -> Iterator[str]:
        """One sentence for each value that cannot be used, empty if all can."""
        yield from ()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `text`; keys left out keep their defaults.

        Raises:
            ConfigError: No JSON object, or, all in one error: unknown keys, wrong types, unusable values.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError("The options are no JSON.", expected="a JSON object", found=str(error)) from error
        if not isinstance(values, dict):
            raise ConfigError("The options are no JSON object.", expected="{...}", found=text)
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """As `from_json`, from a dictionary."""
        hints = typing.get_type_hints(cls)
        known = [field.name for field in fields(cls)]
        found = [f"unknown option {name!r}" for name in values if name not in known]
        found += [
            f"{name} must be {_spelled(hints[name])}, not {value!r}"
            for name, value in values.items()
            if name in known and not _fits(value, hints[name])
        ]
        if not found:
            options = cls(**{name: _converted(value, hints[name]) for name, value in values.items()})
            object.__setattr__(options, "_given", dict(values))
            found = list(options.faults())
            if not found:
                return options
        raise ConfigError(
            f"{cls.__name__}: {len(found)} option(s) cannot be used.",
            expected="options among " + ", ".join(known),
            found="; ".join(found),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def given(self) -> dict[str, Any]:
        """What the options were read from, without defaults; all of them for options that were not read."""
        found: dict[str, Any] | None = getattr(self, "_given", None)
        return self.as_dict() if found is None else found


def require(condition: bool, fault: str) -> Iterator[str]:
    """Yields the fault unless the condition holds."""
    if not condition:
        yield fault


def _choices(hint: Any) -> tuple[type, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    choices = _choices(hint)
    if isinstance(value, bool):
        return bool in choices
    return isinstance(value, choices) or (isinstance(value, int) and float in choices)


def _converted(value: Any, hint: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and float in _choices(hint) and int not in _choices(hint) else value


def _spelled(hint: Any) -> str:
    names = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
    names |= {"list": "a list", "dict": "a mapping"}
    return " or ".join(names.get(choice.__name__, "null") for choice in _choices(hint))
