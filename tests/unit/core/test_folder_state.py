"""The state of a user's folder follows what is edited in it, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polybatch.core.folder_state import folder_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    for name in ("config.json", "deep/weights"):
        (folder / name).write_text("a", "utf-8")
    return folder


def test_an_edit_is_another_state(folder: Path) -> None:
    states = [folder_state(folder)]
    (folder / "deep/weights").write_text("longer", "utf-8")
    states.append(folder_state(folder))
    os.utime(folder / "config.json", ns=(1, 1))
    states.append(folder_state(folder))
    (folder / "deep/new").write_text("", "utf-8")
    states.append(folder_state(folder))
    (folder / "config.json").unlink()
    states.append(folder_state(folder))
    assert len(set(states)) == 5 and {len(state) for state in states} == {16}
    assert folder_state(folder / "deep/new") == folder_state(folder / "none") == ""


@pytest.mark.parametrize("name", [".DS_Store", ".#config.json", ".git/index", "deep/.cache/deep/weights"])
def test_hidden_files_are_no_edit(folder: Path, name: str) -> None:
    before = folder_state(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x", "utf-8")
    assert folder_state(folder) == before


def test_a_link_that_leads_nowhere_is_passed_over_until_it_leads_somewhere(folder: Path, tmp_path: Path) -> None:
    before = folder_state(folder)
    for name, target in (("gone", tmp_path / "elsewhere"), ("round", folder / "round")):
        (folder / name).symlink_to(target)
    assert folder_state(folder) == before
    (tmp_path / "elsewhere").write_text("here again", "utf-8")
    found = folder_state(folder)
    assert found != before
    (tmp_path / "elsewhere").write_text("edited behind the link", "utf-8")
    assert folder_state(folder) != found
