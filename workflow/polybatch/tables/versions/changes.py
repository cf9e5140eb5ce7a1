"""What differs between two manifests: what two versions were made from.

inputs: two manifests, or parts of them
outputs: part -> dotted key -> [old value, new value]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPARED = ("config", "code", "data", "packages", "revisions", "encoders", "translators", "benchmarks")
_KINDS = ("languages", "folders")
_WAYS = {"forward", "backward"}


def manifest_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Part of the manifest -> dotted key -> [old value, new value]; None stands for a key that is not there."""
    old, new = _by_kind(old), _by_kind(new)
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


def _by_kind(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """A manifest whose translators stand under `languages` and `folders`, with the names of their revisions.

    Manifests of earlier versions have them side by side: a language has the cards of its two ways, a folder its own.
    """
    flat = manifest.get("translators") or {}
    if flat.keys() & set(_KINDS):
        return manifest
    kinds: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for name, card in flat.items():
        kinds["languages" if not card or card.keys() <= _WAYS else "folders"][name] = card
    names = {f"translator {name}": f"translator {kind}.{name}" for kind, cards in kinds.items() for name in cards}
    revisions = {_renamed(key, names): value for key, value in manifest.get("revisions", {}).items()}
    return {**manifest, "translators": kinds, "revisions": revisions}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


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
