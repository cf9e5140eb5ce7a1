"""What differs between two manifests: what two versions were made from.

inputs: two manifests, or parts of them
outputs: part -> dotted key -> [old value, new value]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPARED = ("config", "code", "data", "packages", "revisions", "encoders", "translators", "benchmarks")


def manifest_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Part of the manifest -> dotted key -> [old value, new value]; None stands for a key that is not there."""
    changes = {}
    for part in COMPARED:
        before, after = flatten(old.get(part, {})), flatten(new.get(part, {}))
        differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if differing:
            changes[part] = {key: [before.get(key), after.get(key)] for key in differing}
    for part in ("git", "seeds"):
        if old.get(part) != new.get(part):
            changes[part] = {part: [old.get(part), new.get(part)]}
    return changes


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested JSON objects as dotted keys; lists stay whole."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    if not value and prefix:
        return {prefix: {}}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
