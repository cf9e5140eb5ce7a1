"""The rates that a plan reckons with where nothing was measured: values, ranges, and where they are from.

inputs: polybatch/study/rates.yaml, or a file like it
outputs: `Rate`s by name; their values, or those of the slowest or fastest end of every range
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from polybatch.core.errors import DataError

# What a plan is for: a card, or the two cores that were measured.
KINDS = ("gpu", "cpu")
Bound = Literal["usual", "slow", "fast"]
_SHARED = ("work", "core")


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
        DataError: The file is not like rates.yaml, or names what no plan reckons with.
    """
    import yaml

    ours = yaml.safe_load(resources.files("polybatch.study").joinpath("rates.yaml").read_text("utf-8"))
    found = {name: _rate(name, entry, "assumed") for name, entry in _of(ours, kind).items()}
    if path is None:
        return found
    own = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(own, Mapping):
        raise DataError("The rates cannot be read.", where=path, expected="a mapping, as rates.yaml", found=repr(own))
    # Without sections, as one number a line, or with them.
    given = _of(own, kind) if set(own) <= {*KINDS, *_SHARED} else own
    if unknown := sorted(set(given) - set(found)):
        raise DataError("Unknown rates.", where=path, expected=", ".join(found), found=", ".join(unknown))
    return found | {name: _rate(name, entry, "given") for name, entry in given.items()}


def at(of: Mapping[str, Rate], bound: Bound = "usual") -> dict[str, float]:
    """name -> value, or the end of its range."""
    return {name: rate.at(bound) for name, rate in of.items()}


def _of(sections: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name: entry for section in (*_SHARED, kind) for name, entry in (sections.get(section) or {}).items()}


def _rate(name: str, entry: Any, origin: str) -> Rate:
    entry = entry if isinstance(entry, Mapping) else {"value": entry}
    try:
        value = float(entry["value"])
        slow, fast = map(float, entry.get("range", (value, value)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The rate {name!r} cannot be read.", expected="{value, range: [slowest, fastest]}") from error
    if not (value > 0 and min(slow, fast) <= value <= max(slow, fast)):
        raise DataError(
            f"The rate {name!r} lies outside of its range.", expected=f"{slow:g} to {fast:g}", found=str(value)
        )
    return Rate(value, slow, fast, entry.get("origin", origin), entry.get("why", ""))
