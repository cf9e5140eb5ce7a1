"""Versions that were damaged, edited by hand or deleted, and the numbers that are given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.tables.versions import versions


def publish(root: Path, fingerprint: str = "a") -> tuple[str, bool]:
    def fill(folder: Path, name: str) -> None:
        for file in (versions.TABLES, versions.SCORES, versions.GROUPS):
            (folder / file).write_text("[]", "utf-8")
        (folder / "main-test.csv").write_text("0.5\n", "utf-8")
        content = {"version": name, "fingerprint": fingerprint, "content": "", "config": {}}
        (folder / versions.MANIFEST).write_text(json.dumps(content), "utf-8")

    path, made = versions.publish(root, root / "latest", (fingerprint, ""), fill)
    return path.name, made


def test_a_whole_version_stays(tmp_path):
    assert publish(tmp_path) == ("v1", True)
    assert publish(tmp_path) == ("v1", False)
    assert (tmp_path / "latest/SHA256SUMS").read_bytes() == (tmp_path / "v1/SHA256SUMS").read_bytes()
    assert versions.read_version(tmp_path / "latest").name == "v1"


@pytest.mark.parametrize("resummed", [False, True])
def test_a_version_edited_by_hand_does_not_become_latest(tmp_path, caplog, resummed):
    publish(tmp_path)
    (tmp_path / "v1/main-test.csv").write_text("0.9\n", "utf-8")
    if resummed:
        versions.write_sums(tmp_path / "v1")
    assert publish(tmp_path) == ("v2", True)
    assert (tmp_path / "latest/main-test.csv").read_text("utf-8") == "0.5\n"
    assert (tmp_path / "v1.damaged-1/main-test.csv").read_text("utf-8") == "0.9\n"
    assert "v1 is damaged" in caplog.text and ("main-test.csv: another content" in caplog.text) != resummed


def test_an_edited_version_is_not_shown_or_compared(tmp_path):
    publish(tmp_path)
    (tmp_path / "v1/notes.txt").write_text("mine", "utf-8")
    with pytest.raises(DataError, match=r"notes\.txt: not there when the sums were written"):
        versions.read_version(tmp_path / "v1")


def test_pictures_lie_beside_a_copy_alone(tmp_path):
    publish(tmp_path)
    for name in ("v1", "latest"):
        (tmp_path / name / "trade_off-test.png").write_bytes(b"pixels")
    assert versions.read_version(tmp_path / "latest").name == "v1"
    with pytest.raises(DataError, match=r"trade_off-test\.png: not there when the sums were written"):
        versions.read_version(tmp_path / "v1")


def test_the_number_of_a_deleted_version_is_not_given_again(tmp_path):
    publish(tmp_path)
    publish(tmp_path, "b")
    shutil.rmtree(tmp_path / "v2")
    assert publish(tmp_path) == ("v1", False)
    assert publish(tmp_path, "b") == ("v3", True)
    assert list(read_json(tmp_path / "versions.json")) == ["v1", "v2", "v3"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"v1": 1, "~sha256": "0"}'])
def test_a_damaged_ledger_is_made_again_from_the_folder(tmp_path, content):
    publish(tmp_path)
    (tmp_path / "v1/main-test.csv").unlink()
    publish(tmp_path)
    (tmp_path / "versions.json").write_bytes(content)
    assert publish(tmp_path, "b") == ("v3", True)
    assert (tmp_path / "versions.json.damaged-1").read_bytes() == content
