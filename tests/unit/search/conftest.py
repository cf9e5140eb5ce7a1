"""The study that these tests search: made once, copied by what damages it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import write_study

from polybatch.search.answers import Answers
from polybatch.search.indexed import read_study
from polybatch.search.loading import open_all


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results of the study `default`."""
    results = tmp_path_factory.mktemp("study") / "results"
    write_study(results)
    return results


@pytest.fixture(scope="session")
def answers(written: Path) -> Answers:
    """Its two models on the benchmark `test`, the untrained one first."""
    return open_all(read_study(written, "default").choose(None, None, "test"))
