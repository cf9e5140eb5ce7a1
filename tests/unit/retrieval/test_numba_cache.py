"""Where numba keeps compiled code: one folder for all environments of the same versions."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from polybatch.retrieval import numba_cache
from polybatch.retrieval.numba_cache import SharedLocator, config, kept, one_at_a_time

SOURCE = "from numba import njit\n\n@njit(cache=True)\ndef twice(x):\n    return {} * x\n"


def function_of(environment: Path, source: str, package: str = "ranx") -> Any:
    """`twice` of a package that lies in this environment, defined within `kept`."""
    path = environment / "site-packages" / package / "metrics" / "small.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    spec = spec_from_file_location("small", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    with kept():
        spec.loader.exec_module(module)
    return module.twice


def test_what_one_environment_compiled_serves_another_with_the_same_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    first, second = (function_of(tmp_path / name, SOURCE.format(2)) for name in ("one", "two"))
    assert first(4) == second(4) == 8
    assert (first.stats.cache_hits, sum(second.stats.cache_hits.values())) == ({}, 1)
    edited = function_of(tmp_path / "three", SOURCE.format(3))
    assert edited(4) == 12 and not edited.stats.cache_hits
    assert str(tmp_path / "cache") == config.CACHE_DIR and not config.CACHE_LOCATOR_CLASSES


def test_other_packages_are_left_to_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    other = function_of(tmp_path / "one", SOURCE.format(2), package="other")
    assert other(4) == 8 and SharedLocator.from_function(other.py_func, str(tmp_path / "other" / "f.py")) is None


def test_the_folder_is_below_the_users_cache_and_names_versions_and_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with kept() as folder:
        assert folder.parent == tmp_path / "polybatch" / "numba" and folder.stat().st_mode & 0o077 == 0
    assert folder.name.startswith("ranx-0.") and "_numba-0." in folder.name
    monkeypatch.setattr(config, "CPU_NAME", "another")
    with kept() as other:
        assert other != folder and other.is_dir()


def test_a_folder_that_cannot_be_written_is_told_and_a_passing_one_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(numba_cache.tempfile, "tempdir", str(tmp_path))
    twice = function_of(tmp_path / "one", SOURCE.format(2))
    assert twice(4) == 8
    assert "cannot be written (Not a directory)" in caplog.text and "NUMBA_CACHE_DIR" in caplog.text
    assert list(tmp_path.glob("polybatch-numba-*/ranx_metrics/*.nbc"))


def test_jobs_take_turns_and_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with one_at_a_time(tmp_path):
        assert not caplog.text
        monkeypatch.setattr(numba_cache, "_LONGEST_WAIT_S", 0.05)
        with one_at_a_time(tmp_path):
            assert "is not locked" in caplog.text
    caplog.clear()
    with one_at_a_time(tmp_path):
        assert not caplog.text
