"""The code digest: changes with what runs, not with what is said about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from polybatch.core import digest

ROOMS = ("core", "collect", "retrieval")  # what these tests ask for; to parse the whole package takes a second


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, as far as it is asked for, and the record of a first start."""
    folder = tmp_path_factory.mktemp("parsed")
    source = Path(digest.__file__).parents[1]
    for room in ROOMS:
        shutil.copytree(source / room, folder / "polybatch" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".snakemake").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "_PACKAGE", folder / "polybatch")
        patch.chdir(folder)
        digest_of("collect.english")
    forget()
    return folder


@pytest.fixture
def package(parsed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(parsed, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(digest, "_PACKAGE", tmp_path / "polybatch")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "polybatch"
    forget()  # other tests of this process ask for other rooms


def digest_of(stage: str) -> str:
    forget()
    return digest.code_digest(stage)


def forget() -> None:
    for cached in (digest._closure, digest._module, digest._parsed_modules):
        cached.cache_clear()


def test_a_comment_or_docstring_changes_nothing(package: Path) -> None:
    before = digest_of("collect.english")
    module = package / "collect/english.py"
    text = module.read_text("utf-8")
    assert text.startswith('"""')
    module.write_text('# a comment\n"""Other words.\n' + text.removeprefix('"""'), "utf-8")
    assert digest_of("collect.english") == before


def test_an_edit_in_an_imported_module_changes_the_stages_that_use_it(package: Path) -> None:
    before = {stage: digest_of(stage) for stage in ("collect.english", "collect.supplied", "retrieval.index")}
    module = package / "collect/adapters/homeassistant.py"
    module.write_text(
        module.read_text("utf-8").replace("_MAX_MEMBER_BYTES = 16 << 20", "_MAX_MEMBER_BYTES = 1"), "utf-8"
    )
    after = {stage: digest_of(stage) for stage in before}
    assert after["collect.english"] != before["collect.english"]
    assert after["collect.supplied"] != before["collect.supplied"]
    assert after["retrieval.index"] == before["retrieval.index"]


def test_a_second_start_parses_nothing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest_of("collect.english")

    def fail(text: bytes) -> None:
        raise AssertionError("A module was parsed again.")

    monkeypatch.setattr(digest, "_parse", fail)
    assert digest_of("collect.english") == first


@pytest.mark.parametrize("kept", ["", "[]", '{"a": 1}', '{"a": ["b"]}', "\x00"])
def test_a_damaged_record_is_made_again(package: Path, kept: str) -> None:
    first = digest_of("collect.english")
    record = package.parent / ".snakemake/polybatch-code.json"
    good = record.read_text("utf-8")
    record.write_text(kept, "utf-8")
    assert digest_of("collect.english") == first
    assert record.read_text("utf-8") == good


def test_without_records_of_snakemake_nothing_is_kept(package: Path) -> None:
    shutil.rmtree(package.parent / ".snakemake")
    digest_of("collect.english")
    assert not (package.parent / ".snakemake").exists()


def test_a_packages_own_module_counts(package: Path) -> None:
    """Python runs polybatch/collect/__init__.py before any module of that package."""
    before = {stage: digest_of(stage) for stage in ("collect.english", "retrieval.index")}
    (package / "collect/__init__.py").write_text("LIMIT = 1\n", "utf-8")
    assert digest_of("collect.english") != before["collect.english"]
    assert digest_of("retrieval.index") == before["retrieval.index"]


def test_a_module_that_is_imported_by_its_package_counts(package: Path) -> None:
    """`from polybatch.core import stage` names a module, not something of polybatch.core."""
    before = digest_of("collect.english")
    module = package / "core/stage.py"
    module.write_text(module.read_text("utf-8") + "\nMORE = 1\n", "utf-8")
    assert digest_of("collect.english") != before


def test_an_unknown_stage_has_no_digest(package: Path) -> None:
    with pytest.raises(KeyError):
        digest_of("collect.nonsense")
