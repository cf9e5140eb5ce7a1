"""What two manifests differ in: nothing where a version of Polybatch writes the same in another place."""

from __future__ import annotations

from typing import Any

from polybatch.tables.versions import manifest
from polybatch.tables.versions.changes import manifest_changes

LANGUAGES = {"de": {"forward": {"repo_id": "org/en-de", "commit": "a"}, "backward": {"name": "own"}}}
FOLDERS = {"own": {"name": "own", "sha256": "b"}, "de-like": {"name": "third", "files": {"x": {"sha256": "c"}}}}


def of(translators: dict[str, Any]) -> dict[str, Any]:
    return {"translators": translators, "revisions": manifest.revisions("translator", translators)}


def test_translators_of_an_earlier_version_are_the_same_ones() -> None:
    flat, by_kind = of({**LANGUAGES, **FOLDERS}), of({"languages": LANGUAGES, "folders": FOLDERS})
    assert flat["revisions"].keys() != by_kind["revisions"].keys()
    assert manifest_changes(flat, by_kind) == manifest_changes(by_kind, flat) == {}
    assert manifest_changes(of({}), of({"languages": {}, "folders": {}})) == manifest_changes({}, of({})) == {}


def test_what_changed_in_them_is_told() -> None:
    new = {"languages": LANGUAGES, "folders": {**FOLDERS, "own": {"name": "own", "sha256": "z"}}}
    found = manifest_changes(of({**LANGUAGES, **FOLDERS}), of(new))
    assert found["translators"] == {"folders.own.sha256": ["b", "z"]}
    assert found["revisions"] == {"translator folders.own": ["b", "z"]}
