"""The catalogue: data sets, encoders and benchmarks that a study may name without describing them.

inputs: a configuration; catalogue.yaml beside this module
outputs: the configuration with what it names looked up
"""

from __future__ import annotations

import copy
import difflib
import functools
from importlib import resources
from pathlib import Path
from typing import Any

from polybatch.core.option_faults import Fault, Way

Config = dict[str, Any]
Catalogue = dict[str, dict[str, dict[str, Any]]]

# Keys that say what a source, encoder or benchmark is.
_IDENTITY = {
    "sources": {"adapter"},
    "encoders": {"scratch", "model", "wheel", "path"},
    "benchmarks": {"adapter", "split", "queries_of"},
}


@functools.cache
def catalogue() -> Catalogue:
    """kind -> name -> entry, for `sources`, `encoders` and `benchmarks`; what it returns must not be changed."""
    import yaml

    # The loader written in C is eight times as fast, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: Catalogue = yaml.load(
        resources.files("polybatch.config").joinpath("catalogue.yaml").read_text("utf-8"), Loader=loader
    )
    return content


def with_catalogue(config: Config) -> Config:
    """A copy of the config with the catalogue's entries below those that it names or adds to.

    An entry of the config that says what the thing is (an encoder's `model`, a benchmark's `adapter`) stands alone;
    one that does not, such as {languages: [...]}, is laid over the catalogue's.
    """
    resolved = copy.deepcopy(config)
    for kind, wanted in _named(resolved).items():
        known, own = catalogue()[kind], resolved.setdefault(kind, {})
        if not isinstance(own, dict):
            continue
        originals = [entry.get("queries_of") for entry in own.values() if isinstance(entry, dict)]
        for name in (*wanted, *(name for name in originals if isinstance(name, str)), *own):
            entry = own.get(name, {})
            if name in known and isinstance(entry, dict) and not _IDENTITY[kind] & set(entry):
                own[name] = {**copy.deepcopy(known[name]), **entry}
    return resolved


def _named(config: Config) -> dict[str, list[str]]:
    """The sources, encoders and benchmarks that a config names, as far as its shape allows to tell."""

    def texts(*path: str) -> list[str]:
        value: Any = config
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return [name for name in listed(value) if isinstance(name, str)]

    own = config.get("encoders")
    teachers = [name for encoder in (own if isinstance(own, dict) else {}) for name in texts(*teacher_way(encoder))]
    return {
        "sources": texts("source") + texts("validation", "source"),
        "encoders": texts("study", "encoders") + texts(*teacher_way()) + teachers,
        "benchmarks": texts("study", "benchmarks") + texts("decontamination", "benchmarks"),
    }


def teacher_way(encoder: str | None = None) -> tuple[str, ...]:
    """Where a configuration names a teacher: the study's, or that of one encoder's trainings."""
    return ("training", "teacher") if encoder is None else ("encoders", encoder, "training", "teacher")


def listed(value: Any) -> list[Any]:
    """A value that may be one or several, as a list: [] for None, a list as it is, anything else alone in a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def source_name(entry: Any) -> str:
    """What a source is called: its name, or that of its file."""
    if isinstance(entry, str):
        return entry
    name: str = entry.get("name") or Path(entry["path"]).name.split(".")[0].lower()
    return name


def collection_of(config: Config) -> str:
    """The folder of a configuration's data and models where it names none."""
    names = [source_name(entry) for entry in listed(config.get("source"))]
    name: str = names[0] if len(names) == 1 else config["study"]["name"]
    return name


def unknown(path: Way, name: str, kind: str, config: Config) -> Fault:
    """A fault: a name of neither the configuration nor the catalogue."""
    known = list(dict.fromkeys([*config[kind], *catalogue()[kind]]))
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else ", ".join(known)
    return Fault(path, f"{name!r} is neither among {kind} nor in the catalogue ({hint})")
