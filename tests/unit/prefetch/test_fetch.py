"""A request of a study is carried out by the module of its kind, and leaves a record that the stages read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_cache import HubCache, commit_of

from polybatch.core.download import read_files
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, sha256_file
from polybatch.prefetch.fetch import main


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return HubCache(tmp_path)


def fetch(tmp_path: Path, request: dict) -> Path:
    record = tmp_path / "record.json"
    folders = ["--revisions", str(tmp_path / "revisions"), "--record", str(record)]
    main(["--request", json.dumps(request), *folders])
    return record


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_repository(cache: HubCache, tmp_path: Path, kind: str) -> None:
    from polybatch.core.hub import read_record

    cache.add("org/name", {"config.json": "{}", "weights.bin": "x"}, kind=kind)
    request = {"kind": kind, "repo": "org/name", "revision": "main", "files": ["config.json"]}
    snapshot = read_record(fetch(tmp_path, request))
    assert (snapshot.kind, snapshot.commit) == (kind, commit_of("org/name"))
    [kept] = (tmp_path / "revisions").iterdir()
    assert read_json(kept) == {"commit": commit_of("org/name")}, "a branch is held to its commit from now on"


def test_a_task_of_mteb_is_fetched_at_mteb_s_own_revision(cache: HubCache, tmp_path: Path) -> None:
    from polybatch.benchmarks.mteb_tasks import task_repo
    from polybatch.core.hub import read_record

    repo, revision, patterns = task_repo("SciFact", ["en"])
    cache.add(repo, {"corpus.jsonl": "{}", "README.md": ""}, kind="dataset", commit=revision)
    record = fetch(tmp_path, {"kind": "task", "task": "SciFact", "languages": ["en"]})
    snapshot = read_record(record)
    assert (snapshot.repo_id, snapshot.commit, snapshot.patterns) == (repo, revision, patterns)


def test_files(tmp_path: Path) -> None:
    place = tmp_path / "record" / "en.json"  # fetched before
    place.parent.mkdir()
    place.write_text("{}", "utf-8")
    files = {"en": {"url": "https://a.org/xquad/en.json", "sha256": sha256_file(place)}}
    assert read_files(fetch(tmp_path, {"kind": "files", "files": files})) == {"en": place}


def test_what_cannot_be_had_leaves_no_record(cache: HubCache, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        fetch(tmp_path, {"kind": "dataset", "repo": "org/nothing", "revision": "main", "files": ["*"]})
    with pytest.raises(ConfigError, match="Unknown kind"):
        fetch(tmp_path, {"kind": "space"})
    assert not (tmp_path / "record.json").exists()
