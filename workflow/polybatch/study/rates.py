"""The rates that a plan reckons with where nothing was measured: values, ranges, and where they are from.

inputs: polybatch/study/rates.yaml, or a file like it
outputs: `Rate`s by name; their values, or those of the slowest or fastest end of every range
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from polybatch.core.errors import DataError

# What a plan is for: a card, or the two cores that were measured.
KINDS = ("gpu", "cpu")
Bound = Literal["usual", "slow", "fast"]
_SHARED = ("work", "core")
_OURS = "rates.yaml"


class Rate(NamedTuple):
    """A number that a plan rests on.

    Attributes:
        value: What is most likely.
        slow, fast: The ends of its range: what makes a study take longest, and shortest.
        origin: "measured" by a command of measurements/, "assumed", or "given" by the user's own file.
        why: In words; where it was measured, the file of measurements/results.
    """

    value: float
    slow: float
    fast: float
    origin: str
    why: str

    def at(self, bound: Bound) -> float:
        """The value, or an end of the range."""
        return {"usual": self.value, "slow": self.slow, "fast": self.fast}[bound]


def rates(kind: str = "gpu", path: Path | None = None) -> dict[str, Rate]:
    """The rates of a card, or of the processor in its place, and those that both share.

    Args:
        kind: One of KINDS.
        path: The user's own file; what it does not name is taken from ours. A bare number has no range.

    Raises:
        DataError: The file is not there or not like rates.yaml, or names what no plan reckons with.
    """
    import yaml

    ours = yaml.safe_load(resources.files("polybatch.study").joinpath(_OURS).read_text("utf-8"))
    found = {name: _rate(name, entry, "assumed", _OURS) for name, entry in _of(ours, kind, _OURS).items()}
    if path is None:
        return found
    own = _own(path)
    # Without sections, as one number a line, or with them.
    given = _of(own, kind, path) if set(own) <= {*KINDS, *_SHARED} else own
    if unknown := sorted(map(str, set(given) - set(found))):
        raise DataError("Unknown rates.", where=path, expected=", ".join(found), found=", ".join(unknown))
    return found | {name: _rate(name, entry, "given", path) for name, entry in given.items()}


def _own(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        own = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            "The file of rates cannot be read.",
            where=path,
            expected="a YAML file, as rates.yaml",
            found=error.strerror or type(error).__name__,
            remedy="name one that is there with --rates, or leave it out",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(
            "The file of rates is not YAML.",
            where=path,
            expected="a name and a number a line, such as `effective_tflops: 300`",
            found=" ".join(str(error).split()),
        ) from error
    if not isinstance(own, Mapping):
        raise DataError("The rates cannot be read.", where=path, expected="a mapping, as rates.yaml", found=repr(own))
    return own


def at(of: Mapping[str, Rate], bound: Bound = "usual") -> dict[str, float]:
    """name -> value, or the end of its range."""
    return {name: rate.at(bound) for name, rate in of.items()}


def _of(sections: Mapping[str, Any], kind: str, where: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section in (*_SHARED, kind):
        entries = sections.get(section) or {}
        if not isinstance(entries, Mapping):
            raise DataError(
                "The rates cannot be read.",
                where=where,
                expected=f"rates by their names below {section!r}, as in rates.yaml",
                found=repr(entries),
            )
        found |= entries
    return found


def _rate(name: str, entry: Any, origin: str, where: object) -> Rate:
    entry = entry if isinstance(entry, Mapping) else {"value": entry}
    try:
        value = float(entry["value"])
        slow, fast = map(float, entry.get("range", (value, value)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"The rate {name!r} cannot be read.",
            where=where,
            expected="a number, or {value: ..., range: [slowest, fastest]}",
            found=repr(entry),
        ) from error
    if not 0 < min(slow, fast) <= value <= max(slow, fast) < math.inf:
        raise DataError(
            f"The rate {name!r} lies outside of its range.",
            where=where,
            expected=f"{slow:g} to {fast:g}, of numbers above 0",
            found=str(value),
        )
    return Rate(value, slow, fast, str(entry.get("origin", origin)), str(entry.get("why", "")))
