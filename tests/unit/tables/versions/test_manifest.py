"""The manifest and its fingerprint."""

import json
import os

import pytest

from polybatch.core.errors import DataError
from polybatch.core.files import write_json
from polybatch.retrieval import faiss_builds
from polybatch.tables.versions import manifest


def build(tmp_path, **changes):
    data = tmp_path / "corpus.txt"
    data.write_text(changes.pop("text", "abc"), "utf-8")
    given = {
        "config": {"alpha": 0.5},
        "code_digests": {"train": "1"},
        "data": [data],
        "seeds": [1, 0],
        "encoders": {},
        "translators": {},
        "timings": {"train": {"jobs": 1, "wall_seconds": 5.0}},
    }
    return manifest.build(**{**given, **changes})


def test_the_fingerprint_ignores_times_and_seeds_order(tmp_path):
    slow = build(tmp_path, timings={"train": {"jobs": 1, "wall_seconds": 500.0}})
    assert build(tmp_path)["fingerprint"] == slow["fingerprint"]


@pytest.mark.parametrize("change", [{"config": {"alpha": 0.4}}, {"code_digests": {"train": "2"}}, {"text": "abd"}])
def test_the_fingerprint_follows_config_code_and_data(tmp_path, change):
    assert build(tmp_path)["fingerprint"] != build(tmp_path, **change)["fingerprint"]


def test_the_fingerprint_follows_package_versions(tmp_path, monkeypatch):
    before = build(tmp_path)["fingerprint"]
    versions = manifest.package_versions()
    monkeypatch.setattr(manifest, "package_versions", lambda: {**versions, "torch": "0.1"})
    assert build(tmp_path)["fingerprint"] != before


def test_the_fingerprint_follows_the_commit_that_a_branch_stood_for(tmp_path):
    found = [build(tmp_path, benchmarks={"xquad-r": {"files": {"en": {"sha256": digest}}}}) for digest in ("a", "b")]
    assert found[0]["revisions"] == {"benchmark xquad-r.files.en": "a"}
    assert found[0]["fingerprint"] != found[1]["fingerprint"]


def test_a_folder_of_data_is_hashed_file_by_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench" / "queries").mkdir(parents=True)
    (tmp_path / "bench" / "queries" / "en.parquet").write_text("x", "utf-8")
    (tmp_path / "bench" / ".partial").write_text("x", "utf-8")
    assert list(build(tmp_path, data=[tmp_path / "bench"])["data"]) == ["bench/queries/en.parquet"]


def test_a_missing_data_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="missing"):
        build(tmp_path, data=[tmp_path / "nothing.txt"])


def test_secrets_and_home_folders_do_not_get_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("MY_TOKEN", "sesame-open-now")
    config = {
        "hub": {
            "token": "abc",
            "api_key": "def",
            "max_tokens": 512,
            "pad_token": "[PAD]",
            "url": "https://user:pw@host/x",
        },
        "cache": ["/home/somebody/.cache", "/Users/other/data", "/root/x", "/data/root/x", "/data/roots"],
        "note": "hf_" + "A" * 30,
    }
    found = build(tmp_path, config=config)["config"]
    text = json.dumps(found)
    assert not any(secret in text for secret in ("abc", "def", "sesame", "user:pw", "hf_A", "somebody", "other"))
    assert (found["hub"]["max_tokens"], found["hub"]["pad_token"]) == (512, "[PAD]")
    assert found["cache"] == ["~/.cache", "~/data", "~/x", "/data/root/x", "/data/roots"]
    assert not any(value and value in text for name, value in os.environ.items() if name == "MY_TOKEN")


def test_data_paths_are_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(build(tmp_path)["data"]) == ["corpus.txt"]


def test_it_is_json_and_names_the_packages(tmp_path):
    found = build(tmp_path)
    write_json(tmp_path / "manifest.json", found)
    assert found["packages"]["pyarrow"][0].isdigit()
    assert {"torch", "python", *faiss_builds.installed()} <= found["packages"].keys()
    assert found["hardware"]["cores"] >= 1
    assert found["seeds"] == [0, 1]
