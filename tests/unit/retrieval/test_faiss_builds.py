"""A FAISS that is missing, or installed twice, is told before anything is computed, with the extra to install."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polybatch.core.errors import ConfigError
from polybatch.retrieval import faiss_builds, index, score


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that holds no more than the test puts into it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    return tmp_path


def install(folder: Path, name: str, version: str = "1.15.1") -> None:
    (folder / "faiss").mkdir(exist_ok=True)
    (folder / "faiss/__init__.py").touch()
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_one_build_is_as_it_should_be() -> None:
    faiss_builds.require()
    assert len(faiss_builds.installed()) == 1


def test_none_is_told_with_the_extra(environment: Path) -> None:
    with pytest.raises(ConfigError, match=r"FAISS is not installed(.|\n)*\.\[cpu\](.|\n)*\.\[gpu\]"):
        faiss_builds.require()


def test_indexing_and_searching_ask_before_they_read(environment: Path) -> None:
    nowhere = str(environment / "x")
    with pytest.raises(ConfigError, match="FAISS is not installed"):
        index.main(["--embeddings", nowhere, "--output", nowhere])
    names = ("embeddings", "index", "benchmark", "scores", "per-query", "run")
    grid = dict.fromkeys(("encoder", "sampling", "alpha", "num_pairs", "num_translated", "languages", "seed"), "x")
    files = [word for name in names for word in (f"--{name}", nowhere)]
    with pytest.raises(ConfigError, match="FAISS is not installed"):
        score.main([*files, "--grid", json.dumps(grid), "--options", "{}"])


def test_two_builds_in_each_others_files_are_told(environment: Path) -> None:
    install(environment, "faiss-cpu")
    faiss_builds.require()
    install(environment, "faiss_gpu")
    with pytest.raises(
        ConfigError, match=r"faiss-cpu 1\.15\.1, faiss-gpu 1\.15\.1(.|\n)*uninstall --yes faiss-cpu faiss-gpu"
    ):
        faiss_builds.require()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("faiss-gpu-cu12", True),
        ("faiss-cuda", True),
        ("faiss", True),
        ("faiss-server-client", False),
        ("autofaiss", False),
    ],
)
def test_builds_are_known_by_their_names(environment: Path, name: str, is_one: bool) -> None:
    install(environment, name)
    assert (name in faiss_builds.installed()) == is_one


def run(*rules: str, conda: bool = False) -> Any:
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=name)) for name in rules]
    settings = SimpleNamespace(deployment_method={"conda"} if conda else set())
    return SimpleNamespace(deployment_settings=settings, dag=SimpleNamespace(needrun_jobs=lambda: jobs))


def test_a_run_is_refused_only_where_its_own_jobs_would_lack_it(environment: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(ConfigError, match="FAISS is not installed"):
        faiss_builds.require_for(run("train_run", "build_index"))
    faiss_builds.require_for(run("train_run", "encode"))
    faiss_builds.require_for(run("build_index", conda=True))
    monkeypatch.setenv("PATH", str(environment))
    faiss_builds.require_for(run("score_run"))
