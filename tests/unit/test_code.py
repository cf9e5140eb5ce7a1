"""The code digest: changes with what runs, not with what is said about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polybatch import code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in Path(code.__file__).parent.glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(code, "_PACKAGE", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    return tmp_path


def digest(stage: str) -> str:
    for cached in (code._closure, code._module, code._parsed_modules):
        cached.cache_clear()
    return code.code_digest(stage)


def test_a_comment_or_docstring_changes_nothing(package: Path) -> None:
    before = digest("collect")
    module = package / "collect.py"
    module.write_text(
        "# a comment\n" + module.read_text("utf-8").replace("Collects English", "Gathers English"), "utf-8"
    )
    assert digest("collect") == before


def test_an_edit_in_an_imported_module_changes_the_stages_that_use_it(package: Path) -> None:
    before = {stage: digest(stage) for stage in ("collect", "parallel_text", "index")}
    module = package / "homeassistant.py"
    module.write_text(
        module.read_text("utf-8").replace("_MAX_MEMBER_BYTES = 16 << 20", "_MAX_MEMBER_BYTES = 1"), "utf-8"
    )
    after = {stage: digest(stage) for stage in before}
    assert after["collect"] != before["collect"]
    assert after["parallel_text"] != before["parallel_text"]
    assert after["index"] == before["index"]


def test_a_second_start_parses_nothing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest("collect")

    def fail(text: bytes) -> None:
        raise AssertionError("A module was parsed again.")

    monkeypatch.setattr(code, "_parse", fail)
    assert digest("collect") == first


@pytest.mark.parametrize("kept", ["", "[]", '{"a": 1}', '{"a": ["b"]}', "\x00"])
def test_a_damaged_record_is_made_again(package: Path, kept: str) -> None:
    first = digest("collect")
    record = package / ".snakemake/polybatch-code.json"
    good = record.read_text("utf-8")
    record.write_text(kept, "utf-8")
    assert digest("collect") == first
    assert record.read_text("utf-8") == good


def test_without_records_of_snakemake_nothing_is_kept(package: Path) -> None:
    (package / ".snakemake").rmdir()
    digest("collect")
    assert not (package / ".snakemake").exists()
