"""What several tests of exports read, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_export import write_study

from polybatch.config.paths import Paths


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A whole small study, with scores and tables. It is not to be changed."""
    return write_study(tmp_path_factory.mktemp("study") / "results")


@pytest.fixture
def copy(made: Paths, tmp_path: Path) -> Paths:
    """The study, to be damaged."""
    shutil.copytree(made.results, tmp_path / "results")
    return Paths("small", "small", str(tmp_path / "results"))
