"""Options, each declared once: its type, default, bounds and meaning, in a class that pydantic checks.

A declaration is all there is of an option. From it come the checks (`Options.from_json` of a stage, `faults_of` of the
configuration), the schema for editors and the tables of docs/config.md (polybatch.study.schema).

inputs: values as YAML or JSON give them
outputs: an instance, or every fault at once
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticUndefined

from polybatch.core.errors import ConfigError
from polybatch.core.option_faults import Fault, names_of, spelled

REQUIRED: Any = PydanticUndefined
# The default of an option that is simply not there when nobody gives it: null may not be written.
ABSENT: Any = None
# What pydantic calls an error of ours whose text is already in the user's words.
_OURS = "option"


class Conflict(NamedTuple):
    """Values that are sound each and do not go together. The first name is where it is told."""

    names: tuple[str, ...]
    text: str


def option(default: Any, meaning: str, *, otherwise: str = "", **bounds: Any) -> Any:
    """One option: the right side of its declaration.

    Args:
        default: Its value where nobody gives one; REQUIRED, or ABSENT for an option that is then not there.
        meaning: What docs/config.md and editors say of it, in Markdown.
        otherwise: What docs/config.md says in place of the default, where that is no constant.
        bounds: As `pydantic.Field` takes them: ge, gt, le, lt, min_length, alias.
    """
    return Field(default, description=meaning, json_schema_extra={"otherwise": otherwise}, **bounds)


class Options(BaseModel):
    """Base of all options. A subclass declares fields, and yields the `conflicts` between their values.

    Nothing is converted but a whole number to a number: "3", 3.0 and true are no whole numbers. NaN and infinity are
    no numbers.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=(), serialize_by_alias=True
    )

    def conflicts(self) -> Iterator[Conflict]:
        """One for each set of values that cannot be used together."""
        yield from ()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads `text`; keys left out keep their defaults.

        Raises:
            ConfigError: No JSON object, or, all in one error: unknown keys, wrong types, unusable values.
        """
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ConfigError("The options are no JSON.", expected="a JSON object", found=str(error)) from error
        if not isinstance(values, dict):
            raise ConfigError("The options are no JSON object.", expected="{...}", found=text)
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """As `from_json`, from a dictionary."""
        try:
            return cls.model_validate(values)
        except ValidationError:
            found = faults_of(cls, values)
            raise ConfigError(
                f"{cls.__name__}: {len(found)} option(s) cannot be used.",
                expected="options among " + ", ".join(names_of(cls)),
                found="; ".join(fault.text if not fault.path else str(fault) for fault in found),
            ) from None

    def as_dict(self) -> dict[str, Any]:
        """All options by name with their values, defaults included, as plain JSON values."""
        return self.model_dump()

    def given(self) -> dict[str, Any]:
        """What the options were read from, without defaults."""
        return self.model_dump(include=self.model_fields_set)

    def changed(self, **values: Any) -> Self:
        """The same options but for these."""
        return self.model_copy(update=values)

    @classmethod
    def default_of(cls, name: str) -> Any:
        """The default of an option."""
        return cls.model_fields[name].get_default(call_default_factory=True)

    @classmethod
    def conflicts_of(cls, values: dict[str, Any]) -> list[Conflict]:
        """Conflicts between those values that are sound each; none if `values` is no mapping."""
        return _conflicts(cls, values, {str(fault.path[0]) for fault in faults_of(cls, values) if fault.path})

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, values: Any, handler: Any) -> Any:
        """Tells conflicts together with the faults of single values, which pydantic would tell first and alone."""
        try:
            made = handler(values)
        except ValidationError as error:
            lines: list[InitErrorDetails] = [_again(line) for line in error.errors(include_url=False)]
            conflicts = _conflicts(cls, values, {str(line["loc"][0]) for line in error.errors() if line["loc"]})
            if not conflicts:
                raise
        else:
            lines, conflicts = [], list(made.conflicts())
            if not conflicts:
                return made
        lines += [
            {"type": PydanticCustomError(_OURS, "{text}", {"text": text}), "loc": names[:1], "input": values}
            for names, text in conflicts
        ]
        raise ValidationError.from_exception_data(cls.__name__, lines)


class Section(Options):
    """A part of the configuration itself, whose defaults the resolved configuration spells out.

    Options of a stage are not spelled out there: the stage fills in its own. Where a section is made of both, those
    that it declares itself are.
    """

    @classmethod
    def spelled_out(cls) -> dict[str, Any]:
        """Key -> default of the options of this section that are spelled out."""
        of_stages = {
            name
            for base in cls.__mro__
            if issubclass(base, Options) and not issubclass(base, Section)
            for name in base.model_fields
        }
        return {
            field.alias or name: field.get_default(call_default_factory=True)
            for name, field in cls.model_fields.items()
            if name not in of_stages and not field.is_required() and field.default is not ABSENT
        }


def faults_of(kind: Any, values: Any) -> list[Fault]:
    """Everything that is wrong with values for a class of options, in the order of its declaration."""
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return spelled(kind, values, error.errors(include_url=False))
    return []


def given(options: Options, *names: str) -> list[str]:
    """Those of the names that were given a value, whatever it is."""
    return [name for name in names if name in options.model_fields_set]


def one_of(options: Options, *names: str) -> Iterator[Conflict]:
    """A conflict unless just one of the names was given."""
    found = given(options, *names)
    if not found:
        yield Conflict((), f"needs one of {', '.join(names)}")
    elif len(found) > 1:
        yield Conflict((), f"{' and '.join(found)} do not go together")


def _conflicts(kind: type[Options], values: Any, faulty: set[str]) -> list[Conflict]:
    """The conflicts of what can be read: faulty values are left out, and so is each conflict that they are part of."""
    if not isinstance(values, dict):
        return []
    fields = {field.alias or name: name for name, field in kind.model_fields.items()}
    sound = {name: values[key] for key, name in fields.items() if key in values and key not in faulty}
    missing = {name: None for name, field in kind.model_fields.items() if field.is_required() and name not in sound}
    made = kind.model_construct({name for key, name in fields.items() if key in values}, **sound, **missing)
    found = []
    # A conflict may stumble over the None of a value that is missing; that it is missing is told.
    with contextlib.suppress(TypeError, AttributeError):
        for conflict in made.conflicts():
            if not faulty & set(conflict.names):
                found.append(conflict)
    return found


def _again(line: Any) -> InitErrorDetails:
    """A line of a caught error for a new one."""
    if line["type"] == _OURS:
        return {"type": PydanticCustomError(_OURS, "{text}", line["ctx"]), "loc": line["loc"], "input": line["input"]}
    return {"type": line["type"], "loc": line["loc"], "input": line["input"], "ctx": line.get("ctx", {})}
