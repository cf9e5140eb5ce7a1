"""The files of a configuration and split, in every layout that repositories of the hub have."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_cache import HubCache

from polybatch.collect.adapters.parts import declared_patterns, fetch_patterns, part_files
from polybatch.core.errors import DataError
from polybatch.core.hub import read_record
from polybatch.prefetch.fetch import main


def repository(folder: Path, *files: str, configs: object = None) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"a": [1]}), folder / name)
    if configs is not None:
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n", "utf-8")
    return folder


def names(folder: Path, config: str, split: str) -> list[str]:
    return [path.relative_to(folder.resolve()).as_posix() for path in part_files(folder, config, split)]


LAYOUTS = {
    "pushed": (["SelfRC/train-00000-of-00002.parquet", "SelfRC/train-00001-of-00002.parquet"], "SelfRC", "train"),
    "pushed, one configuration": (["data/train-00000-of-00001-ec54.parquet"], "default", "train"),
    "at the root": (["train-00000-of-00001.parquet"], "default", "train"),
    "converted": (["nyt/test/0000.parquet", "nyt/test/0001.parquet"], "nyt", "test"),
    "converted, earlier": (["default/wiki_qa-validation.parquet"], "default", "validation"),
    "converted, earlier, in pieces": (["en_flat/mfaq-train-00000-of-00002.parquet"], "en_flat", "train"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_by_its_names(tmp_path: Path, layout: str) -> None:
    files, config, split = LAYOUTS[layout]
    folder = repository(tmp_path, *files, "another/train-00000-of-00001.parquet")
    assert names(folder, config, split) == files
    with pytest.raises(DataError, match="does not hold what is read from it"):
        part_files(folder, "nothing", split)


def test_a_card_goes_before_names_and_may_declare_what_was_not_fetched(tmp_path: Path) -> None:
    splits = [{"split": "train", "path": ["a/one.parquet", "b/*.parquet"]}, {"split": "test", "path": "c/x.parquet"}]
    configs = [
        {"config_name": "first", "data_files": splits},
        {"config_name": "second", "data_dir": "deep", "data_files": "*.parquet"},
    ]
    folder = repository(tmp_path, "a/one.parquet", "b/2.parquet", "b/1.parquet", "deep/x.parquet", configs=configs)
    assert names(folder, "first", "train") == ["a/one.parquet", "b/1.parquet", "b/2.parquet"]
    assert names(folder, "second", "train") == ["deep/x.parquet"]
    assert declared_patterns(folder, "third", "train") == []
    with pytest.raises(DataError, match="test"):
        part_files(folder, "first", "test")
    with pytest.raises(DataError, match=r"the splits train, test, by README\.md"):
        part_files(folder, "first", "dev")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("configs: [}", "card of a data set cannot be read"),
        ("configs: 3", "card of a data set cannot be read"),
        ("configs: [{config_name: a, data_files: 'https://host/x.parquet'}]", "outside the repository"),
        ("configs: [{config_name: a, data_files: '../x.parquet'}]", "outside the repository"),
        ("configs: [{config_name: a, data_files: '/etc/x.parquet'}]", "outside the repository"),
    ],
)
def test_a_card_that_cannot_be_followed_is_told(tmp_path: Path, head: str, words: str) -> None:
    repository(tmp_path, "a/train-0.parquet")
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n", "utf-8")
    with pytest.raises(DataError, match=words):
        part_files(tmp_path, "a", "train")


def test_files_that_are_no_parquet_name_the_branch_that_has_them(tmp_path: Path) -> None:
    repository(tmp_path, configs=[{"config_name": "a", "data_files": "train.jsonl"}])
    (tmp_path / "train.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="refs/convert/parquet"):
        part_files(tmp_path, "a", "train")


def test_names_with_letters_that_mean_something_in_patterns(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a [b] *c" / "d", "pair/train-0.parquet")
    assert names(folder, "pair", "train") == ["pair/train-0.parquet"]


class TestFetching:
    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return HubCache(tmp_path)

    def fetch(self, tmp_path: Path, config: str, split: str) -> Path:
        request = {"kind": "dataset", "repo": "o/n", "revision": "main", "parts": [(config, split)]}
        request["files"] = fetch_patterns(config, split)
        record = tmp_path / "record.json"
        main(["--request", json.dumps(request), "--revisions", str(tmp_path / "r"), "--record", str(record)])
        return record

    def test_what_the_card_declares_is_fetched_too(self, cache: HubCache, tmp_path: Path) -> None:
        made = repository(tmp_path / "made", "odd/name.parquet", configs=[{"data_files": "odd/name.parquet"}])
        cache.add("o/n", {p: made / p for p in ("README.md", "odd/name.parquet")}, kind="dataset")
        snapshot = read_record(self.fetch(tmp_path, "default", "train"))
        assert snapshot.patterns[-1] == "odd/name.parquet"
        assert names(snapshot.folder, "default", "train") == ["odd/name.parquet"]

    def test_a_part_that_is_not_there_is_told_when_it_is_fetched(self, cache: HubCache, tmp_path: Path) -> None:
        cache.add("o/n", {"README.md": "a card", "pair/train-0.parquet": b""}, kind="dataset")
        with pytest.raises(DataError, match="split test"):
            self.fetch(tmp_path, "pair", "test")
        assert not (tmp_path / "record.json").exists()
