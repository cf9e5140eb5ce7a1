"""The shape of a configuration: what any YAML may hold that no option can, and defaults that are spelled out.

inputs: a configuration as YAML gave it; the class that declares it
outputs: faults of keys that are no text and of values that are none of JSON's; the configuration with its defaults
"""

from __future__ import annotations

import copy
import datetime
import math
import typing
from collections.abc import Iterator
from typing import Any

from polybatch.core.option_faults import Fault, Way, quoted_hint, shown
from polybatch.core.option_types import LARGEST, choices_of, unwrapped
from polybatch.core.options import Options, Section

# Deeper than anything that an option holds, and far from where Python's own recursion ends.
DEEPEST = 50
# A list of all languages for all benchmarks is far below; anchors that name one another get above within ten lines.
_MOST_VALUES = 1_000_000


def plain(config: Any) -> tuple[Any, list[Fault]]:
    """A copy of what JSON can hold of a configuration, and a fault for everything else.

    Keys that are no text, values such as dates, NaN, infinity, whole numbers beyond 64 bits and broken texts are left
    out of the copy, and so is what lies too deep.
    """
    faults: list[Fault] = []
    left = [_MOST_VALUES]
    return _plain(config, (), faults, left), faults


class _LeftOut:
    """Stands for a value that is left out."""


def _plain(value: Any, path: Way, faults: list[Fault], left: list[int]) -> Any:
    left[0] -= 1
    if len(path) > DEEPEST:
        faults.append(Fault(path[:3], f"is nested more than {DEEPEST} levels deep, or holds itself"))
        return _LeftOut
    if left[0] < 0:
        if left[0] == -1:
            faults.append(Fault((), f"holds more than {_MOST_VALUES:,} values: anchors that name one another multiply"))
        return _LeftOut
    if isinstance(value, dict):
        return {key: kept for key, kept in _items(value, path, faults, left) if kept is not _LeftOut}
    if isinstance(value, (list, tuple)):
        kept = [_plain(item, (*path, i), faults, left) for i, item in enumerate(value)]
        return [item for item in kept if item is not _LeftOut]
    fault = _fault_of(value)
    if fault:
        faults.append(Fault(path, fault))
        return _LeftOut
    return value


def _items(mapping: dict[Any, Any], path: Way, faults: list[Fault], left: list[int]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(key, str) and not (fault := _fault_of(key)):
            yield key, _plain(value, (*path, key), faults, left)
        elif isinstance(key, str):
            faults.append(Fault(path, f"the key {shown(key)} {fault}", (*path, key)))
        else:
            faults.append(Fault(path, f"the key {shown(key)} is no text{quoted_hint(key)}", (*path, key)))


def _fault_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        # Neither can stand on a command line or in a file name.
        whole = "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
        return "" if whole else "holds a null character, or half of one"
    if isinstance(value, int):
        return "" if abs(value) <= LARGEST else f"is a whole number of more than 64 bits: {shown(value)}"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is no number that can be reckoned with: {shown(value)}"
    # What it holds is not shown: it may be a secret, which is looked for in texts alone.
    kind = "a date" if isinstance(value, datetime.date) else f"a YAML {type(value).__name__}"
    return f"is {kind}, not text, number, list or mapping{quoted_hint(value)}"


def spell_out_defaults(value: Any, declared: Any) -> None:
    """Fills the defaults of sections into a value, in place and in depth; what has another shape is left alone."""
    for choice in choices_of(declared):
        bare, _ = unwrapped(choice)
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is list and isinstance(value, list):
            for item in value:
                spell_out_defaults(item, arguments[0])
        elif origin is dict and isinstance(value, dict):
            for item in value.values():
                spell_out_defaults(item, arguments[1])
        elif isinstance(bare, type) and issubclass(bare, Options) and isinstance(value, dict):
            _fill(value, bare)


def _fill(values: dict[str, Any], kind: type[Options]) -> None:
    defaults = kind.spelled_out() if issubclass(kind, Section) else {}
    for name, field in kind.model_fields.items():
        key = field.alias or name
        if key not in values and key in defaults:
            values[key] = copy.deepcopy(defaults[key])
        if key in values:
            spell_out_defaults(values[key], field.annotation)
